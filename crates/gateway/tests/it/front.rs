//! Clients that take the gateway for their proxy: they reach its own names, in the clear or through a tunnel, and nothing else.

use std::{path::Path, sync::Arc};

use gateway::{Front, Settings, Tunnel};
use http::{Request, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tls::{Authority, Names};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use crate::{errors::is_error, support::*};

/// A stage with tunnels to everything below `hosted.example.com`, and the folder of its authority.
async fn stage() -> (Stage, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let names = Names::new(["*.hosted.example.com"]);
    let tls = Authority::open(folder.path(), names.clone()).unwrap().acceptor();
    let front = Front { names: Names::default(), tunnel: Some(Tunnel { names, tls }) };
    (Stage::behind(front, Settings::default()).await, folder)
}

fn ask_for(host: &str) -> Request<Body> {
    Request::builder().method("CONNECT").uri(format!("{host}:443")).body(full("")).unwrap()
}

/// A tunnel to `host`, with TLS inside.
async fn tunnel(stage: &Stage, authority: &Path, host: &str) -> TlsStream<TokioIo<Upgraded>> {
    let mut client = stage.connect().await;
    let response = client.send(ask_for(host)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let inside = TokioIo::new(soon(hyper::upgrade::on(response)).await.unwrap());
    // The connection lives on in what it has become.
    std::mem::forget(client);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(Authority::certificate_file(authority)).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, inside)).await.unwrap()
}

/// What is answered to one request inside.
async fn exchange(stream: &mut TlsStream<TokioIo<Upgraded>>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Who closes TCP without closing TLS first is an error here, and no matter.
    let _ = soon(stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_tunnel_leads_to_this_server_in_the_name_that_was_asked_for() {
    let replica = Replica::quick(1);
    let (stage, folder) = stage().await;
    stage.publish(route(&[&replica]));

    let host = format!("model-{}.hosted.example.com", model());
    let mut stream = tunnel(&stage, folder.path(), &host).await;
    let request = format!(
        "POST /production/predict HTTP/1.1\r\nhost: {host}\r\nauthorization: {KEY}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
    );
    let answer = exchange(&mut stream, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("/v1/models/model:predict"), "{answer}");

    let mut stream = tunnel(&stage, folder.path(), "api.hosted.example.com").await;
    let request = "GET /v1/models HTTP/1.1\r\nhost: api.hosted.example.com\r\nconnection: close\r\n\r\n";
    let answer = exchange(&mut stream, request).await;
    assert!(answer.ends_with("fallback https://api.hosted.example.com/v1/models"), "{answer}");
}

#[tokio::test]
async fn this_is_a_proxy_to_nowhere_else() {
    let (stage, _folder) = stage().await;
    for host in ["example.com", "hosted.example.com", "127.0.0.1"] {
        is_error(&stage.call(ask_for(host)).await, 403, "client_error", "gateway", host);
    }
    let foreign = Request::get("http://example.com/v1/models").body(full("")).unwrap();
    is_error(&stage.call(foreign).await, 403, "client_error", "gateway", "example.com");
    let ours = Request::get("http://api.localhost:8000/v1/models").body(full("")).unwrap();
    assert_eq!(stage.call(ours).await.text(), "fallback http://api.localhost:8000/v1/models");
    let inside = Request::get("http://api.hosted.example.com/v1/models").body(full("")).unwrap();
    assert_eq!(stage.call(inside).await.status, 200);
}

#[tokio::test]
async fn without_a_word_in_the_configuration_there_are_no_tunnels() {
    let stage = Stage::with(Settings::default()).await;
    is_error(&stage.call(ask_for("api.hosted.example.com")).await, 403, "client_error", "gateway", "proxy.tls");
}

#[tokio::test]
async fn there_is_no_tunnel_within_a_tunnel_and_a_shutdown_ends_them() {
    let (mut stage, folder) = stage().await;
    let mut stream = tunnel(&stage, folder.path(), "api.hosted.example.com").await;
    let request =
        "CONNECT app.hosted.example.com:443 HTTP/1.1\r\nhost: app.hosted.example.com\r\nconnection: close\r\n\r\n";
    let answer = exchange(&mut stream, request).await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    let mut idle = tunnel(&stage, folder.path(), "api.hosted.example.com").await;
    stage.shut_down();
    soon(&mut stage.server).await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(idle.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}
