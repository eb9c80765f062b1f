//! Websockets: bytes pass both ways, and a connection counts as one request for as long as it lives.

use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

/// A replica that agrees to every upgrade and returns what it is sent, preceded by a greeting.
fn echo() -> Replica {
    Replica::start(1, |mut request: Request<Incoming>| async move {
        assert_eq!(request.uri(), "/v1/websocket?room=1");
        assert_eq!(request.headers()["upgrade"], "websocket");
        assert_eq!(request.headers()["sec-websocket-key"], "a2V5");
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            stream.write_all(b"hello").await.unwrap();
            let (mut read, mut write) = tokio::io::split(stream);
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        Response::builder()
            .status(101)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-accept", "accepted")
            .body(full(""))
            .unwrap()
    })
}

fn handshake() -> Request<Body> {
    let mut call = request("GET", "/production/websocket?room=1", full(""));
    for (name, value) in
        [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "a2V5")]
    {
        call.headers_mut().insert(name, value.parse().unwrap());
    }
    call
}

async fn open(stage: &Stage, client: &mut Client) -> TokioIo<Upgraded> {
    let response = client.send(handshake()).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["sec-websocket-accept"], "accepted");
    assert_eq!(response.headers()["upgrade"], "websocket");
    assert_eq!(response.headers()["x-baseten-request-id"].len(), 32);
    let mut stream = TokioIo::new(soon(hyper::upgrade::on(response)).await.unwrap());
    let mut greeting = [0; 5];
    soon(stream.read_exact(&mut greeting)).await.unwrap();
    assert_eq!((&greeting, stage.load().in_flight > 0), (b"hello", true));
    stream
}

async fn echoes(stream: &mut TokioIo<Upgraded>, text: &[u8]) {
    stream.write_all(text).await.unwrap();
    let mut heard = vec![0; text.len()];
    soon(stream.read_exact(&mut heard)).await.unwrap();
    assert_eq!(heard, text);
}

#[tokio::test]
async fn bytes_pass_both_ways_and_hold_a_slot_until_the_end() {
    let replica = echo();
    let mut route = route(&[&replica]);
    route.slots_per_replica = 1;
    let stage = Stage::new(route).await;
    let (mut first, mut second) = (stage.connect().await, stage.connect().await);
    let mut stream = open(&stage, &mut first).await;
    echoes(&mut stream, b"one").await;
    echoes(&mut stream, &[7; 100_000]).await;
    assert_eq!(stage.load().in_flight, 1);
    let mut waiting = second.try_send(handshake());
    tokio::select! {
        _ = &mut waiting => panic!("there is one slot only"),
        () = stage.has(1, 1) => {}
    }
    drop(stream);
    assert_eq!(waiting.await.unwrap().status(), 101);
    stage.has(1, 0).await;
}

#[tokio::test]
async fn the_end_of_the_replica_is_the_end_for_the_client() {
    let mut replica = echo();
    let stage = Stage::new(route(&[&replica])).await;
    let mut client = stage.connect().await;
    let mut stream = open(&stage, &mut client).await;
    // The tasks that hold upgraded streams end only with their peers: the replica's is told to by its own.
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    soon(stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"");
    stage.has(0, 0).await;
    replica.die().await;
}

#[tokio::test]
async fn a_refused_upgrade_passes_as_an_answer() {
    let replica = Replica::start(1, |_| async { Response::builder().status(403).body(full("no")).unwrap() });
    let stage = Stage::new(route(&[&replica])).await;
    let answer = stage.call(handshake()).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (403, "no"));
    assert_eq!(answer.headers["x-greenroom-error-source"], "model");
    stage.has(0, 0).await;
}

#[tokio::test]
async fn an_upgrade_works_through_sync_too() {
    let replica = echo();
    let stage = Stage::new(route(&[&replica])).await;
    let mut call = handshake();
    *call.uri_mut() = format!("/models/{}/production/sync/v1/websocket?room=1", model()).parse().unwrap();
    let mut client = stage.connect().await;
    let response = client.send(call).await;
    assert_eq!(response.status(), 101);
    let mut stream = TokioIo::new(soon(hyper::upgrade::on(response)).await.unwrap());
    let mut greeting = [0; 5];
    soon(stream.read_exact(&mut greeting)).await.unwrap();
    echoes(&mut stream, b"one").await;
}

#[tokio::test]
async fn a_shutdown_waits_for_open_websockets() {
    let replica = echo();
    let mut stage = Stage::new(route(&[&replica])).await;
    let mut client = stage.connect().await;
    let mut stream = open(&stage, &mut client).await;
    stage.shut_down();
    eventually("the port is closed", || std::net::TcpStream::connect(stage.address).is_err()).await;
    echoes(&mut stream, b"still here").await;
    assert!(!stage.server.is_finished());
    drop(stream);
    soon(&mut stage.server).await.unwrap();
}
