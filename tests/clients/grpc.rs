//! The gRPC client of Python, against a server of the user's own that speaks gRPC.

use std::{fs, process::Command};

use crate::{
    harness::{API_KEY, Server, run},
    packages::{environment, here},
};

const PACKAGES: [&str; 1] = ["grpcio==1.76.0"];

const CONFIG: &str = "\
model_name: echo
requirements: [grpcio==1.76.0]
docker_server:
  start_command: python data/server.py 50051
  server_port: 50051
  predict_endpoint: /
  readiness_endpoint: /
  liveness_endpoint: /
runtime:
  predict_concurrency: 8
  transport: {kind: grpc}
";

const SERVER: &str = r#"
import sys
from concurrent import futures

import grpc


def shout(request, context):
    context.set_trailing_metadata([("heard", str(len(request)))])
    return request.upper()


def chat(requests, context):
    for request in requests:
        yield request.upper()


def fail(request, context):
    context.abort(grpc.StatusCode.DATA_LOSS, "it is all gone")


server = grpc.server(futures.ThreadPoolExecutor(8))
handlers = {
    "Shout": grpc.unary_unary_rpc_method_handler(shout),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
}
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("echo.Echo", handlers)])
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
server.wait_for_termination()
"#;

#[test]
fn a_grpc_client_calls_a_server_that_speaks_grpc() {
    let Some(python) = environment("grpc-venv", &PACKAGES) else { return };
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("data")).expect("written");
    fs::write(folder.path().join("config.yaml"), CONFIG).expect("written");
    fs::write(folder.path().join("data/server.py"), SERVER).expect("written");
    let pushed = server.push(folder.path());
    let id = pushed["model"]["id"].as_str().expect("an id");
    let address = server.url.strip_prefix("http://").expect("an address");
    let mut walk = Command::new(python);
    walk.arg(here().join("tests/clients/grpc_call.py")).args([address, id, API_KEY]);
    walk.env_clear();
    let ran = run(walk, b"");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}
