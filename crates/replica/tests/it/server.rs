//! Servers of the user's own behind the proxy.

use api::internal::replica::{ExitCause, Phase};
use http_body_util::BodyExt as _;

use crate::support::{Draft, request};

const SERVER: &str = r#"
import http.server, os, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if self.path == "/stream":
            self.send_response(200); self.send_header("transfer-encoding", "chunked"); self.end_headers()
            for piece in (b"one", b"two"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece)); self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
            return
        text = ("%s %s %s" % (self.command, self.path, body.decode())).encode()
        if self.path == "/exit":
            os._exit(3)
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("content-length", str(len(text))); self.end_headers()
        self.wfile.write(text)
    do_GET = do_POST = do_PUT = answer
    def log_message(self, *arguments):
        print("served", self.path, flush=True)
assert sys.argv[1] == os.environ["PORT"]
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

#[tokio::test]
async fn contract_routes_lead_to_configured_endpoints_and_others_pass_unchanged() {
    let replica = Draft::server("python serve.py 8000", &[("serve.py", SERVER)]).ready().await;
    assert_eq!(replica.get("/").await, (200, "GET /alive ".into()));
    assert_eq!(replica.get("/v1/models/model").await, (200, "GET /health ".into()));
    let predicted = replica.exchange(request("POST", "/v1/models/model:predict?a=1", "{}")).await;
    assert_eq!(predicted, (200, "POST /infer?a=1 {}".into()));
    assert_eq!(replica.exchange(request("PUT", "/any/path?q", "x")).await, (200, "PUT /any/path?q x".into()));
    assert_eq!(replica.get("/missing").await.0, 404);
    let stream = replica.send(request("GET", "/stream", "")).await.into_body().collect().await.unwrap();
    assert_eq!(stream.to_bytes(), "onetwo");
    replica.log_line("served /any/path?q").await;
}

#[tokio::test]
async fn a_server_that_ends_is_explained() {
    let replica = Draft::server("python serve.py 8000", &[("serve.py", SERVER)]).ready().await;
    assert_eq!(replica.get("/exit").await.0, 502);
    assert_eq!(replica.exit().await.cause, ExitCause::Code { code: 3 });
}

#[tokio::test]
async fn a_server_that_never_answers_is_not_ready_and_then_given_up() {
    let mut draft = Draft::server("echo waiting; sleep 600", &[]);
    draft.spec.start_timeout_ms = 700;
    let replica = draft.start();
    replica.phase("loading", |phase| matches!(phase, Phase::Loading)).await;
    assert_eq!(replica.get("/v1/models/model").await.0, 503);
    let exit = replica.exit().await;
    assert_eq!(exit.cause, ExitCause::StartTimeout);
    assert_eq!(exit.detail.as_deref(), Some("waiting"));
}

#[tokio::test]
async fn a_server_is_asked_to_stop_before_it_is_ended() {
    let command = "trap 'echo goodbye; exit 0' TERM; python serve.py 8000 & wait $!";
    let replica = Draft::server(command, &[("serve.py", SERVER)]).ready().await;
    replica.exchange(request("POST", "/_greenroom/drain", "{\"timeout_ms\": 5000}")).await;
    assert_eq!(replica.exit().await.cause, ExitCause::Stopped);
    replica.log_line("goodbye").await;
}
