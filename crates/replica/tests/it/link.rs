//! Links: what the gateway relies on when many requests share one connection.

use std::time::Duration;

use api::internal::{
    frame::{Frame, Kind, decode, encode, meta_pairs, put_meta},
    link::{LONGEST_BODY, LONGEST_FRAME, PATH, PROTOCOL},
    replica::Phase,
};
use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::support::{Draft, PATIENCE, Replica, request};

const MODEL: &str = r#"
import asyncio
from fastapi import Request, Response
class Model:
    async def predict(self, inputs, request: Request):
        kind = inputs.get("kind")
        if kind == "headers":
            return {"path": str(request.url.path), "headers": dict(request.headers)}
        if kind == "wait":
            print("begun", flush=True)
            try:
                await asyncio.sleep(inputs["seconds"])
            except asyncio.CancelledError:
                print("told that nobody waits", flush=True)
                raise
            return "waited"
        if kind == "large head":
            return Response(b"", headers={"x-large": "x" * (1 << 20)})
        if kind == "long":
            return "x" * inputs["length"]
        if kind == "stream":
            async def pieces():
                for number in range(inputs["count"]):
                    print(f"piece {number}", flush=True)
                    yield "x" * inputs["length"]
            return pieces()
        return inputs
"#;

/// The gateway's end of a link.
struct Link {
    stream: TokioIo<Upgraded>,
    input: BytesMut,
}

impl Link {
    async fn open(replica: &Replica) -> Self {
        let opening = Request::get(PATH).header("host", "model").header("connection", "upgrade");
        let opening = opening.header("upgrade", PROTOCOL).body(Full::default()).unwrap();
        let answer = replica.send(opening).await;
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(answer.headers()["upgrade"], PROTOCOL);
        let stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
        Self { stream, input: BytesMut::new() }
    }

    async fn send(&mut self, id: u32, kind: Kind, meta: &[u8], body: &[u8]) {
        let mut out = BytesMut::new();
        encode(&mut out, id, kind, 0, 0, meta, body);
        self.stream.write_all(&out).await.unwrap();
    }

    async fn ask(&mut self, id: u32, body: &str) {
        self.send(id, Kind::Request, &head("POST", "/v1/models/model:predict"), body.as_bytes()).await;
    }

    /// The next frame; none when the replica has closed the link.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = decode(&mut self.input, LONGEST_FRAME).unwrap() {
                return Some(frame);
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await.expect("something comes");
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn expect(&mut self, kind: Kind) -> Frame {
        let frame = self.next().await.expect("the link is open");
        assert_eq!(frame.kind, kind, "{frame:?}");
        frame
    }
}

fn head(method: &str, path: &str) -> Vec<u8> {
    let mut meta = Vec::new();
    let pairs = [(":method", method), (":path", path), ("content-type", "application/json"), ("host", "localhost")];
    pairs.iter().for_each(|(name, value)| put_meta(&mut meta, name.as_bytes(), value.as_bytes()));
    put_meta(&mut meta, b"x-baseten-request-id", b"r1");
    meta
}

async fn replica() -> Replica {
    let mut draft = Draft::model(MODEL);
    draft.spec.predict_concurrency = 8;
    draft.ready().await
}

#[tokio::test]
async fn plain_answers_offer_a_link_and_it_answers_in_any_order() {
    let replica = replica().await;
    let answer = replica.send(request("POST", "/v1/models/model:predict", "{}")).await;
    assert_eq!(answer.headers()["upgrade"], PROTOCOL);
    let mut link = Link::open(&replica).await;
    link.ask(1, r#"{"kind": "wait", "seconds": 0.3}"#).await;
    link.ask(2, r#"{"a": 1}"#).await;
    let first = link.expect(Kind::Response).await;
    assert_eq!((first.id, first.detail, &first.body[..]), (2, 200, &br#"{"a": 1}"#[..]));
    assert!(meta_pairs(&first.meta).any(|pair| pair == (b"content-type", b"application/json")));
    let second = link.expect(Kind::Response).await;
    assert_eq!((second.id, &second.body[..]), (1, &br#""waited""#[..]));
}

#[tokio::test]
async fn a_model_sees_the_head_of_a_request_as_over_plain_http() {
    let replica = replica().await;
    let mut link = Link::open(&replica).await;
    link.ask(1, r#"{"kind": "headers"}"#).await;
    let seen: serde_json::Value = serde_json::from_slice(&link.expect(Kind::Response).await.body).unwrap();
    assert_eq!(seen["path"], "/v1/models/model:predict");
    assert_eq!(seen["headers"]["x-baseten-request-id"], "r1");
    assert_eq!(seen["headers"]["host"], "localhost");
    // Other paths and what is wrong are answered as ever.
    link.send(2, Kind::Request, &head("POST", "/nowhere?x=1"), b"").await;
    assert_eq!(link.expect(Kind::Response).await.detail, 404);
    link.send(3, Kind::Request, &head("POST", "not a path"), b"").await;
    assert_eq!(link.expect(Kind::Response).await.detail, 400);
    // One answer that fits into no frame is broken off; the link goes on.
    link.ask(4, r#"{"kind": "large head"}"#).await;
    link.expect(Kind::Abort).await;
    link.ask(4, "not JSON").await;
    assert_eq!(link.expect(Kind::Response).await.detail, 400);
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_is_cancelled_and_no_other() {
    let replica = replica().await;
    let mut link = Link::open(&replica).await;
    link.ask(1, r#"{"kind": "wait", "seconds": 600}"#).await;
    link.ask(2, r#"{"kind": "wait", "seconds": 0.5}"#).await;
    replica.log_line("begun").await;
    link.send(1, Kind::Cancel, b"", b"").await;
    assert_eq!(link.expect(Kind::Abort).await.id, 1);
    replica.log_line("told that nobody waits").await;
    assert_eq!(link.expect(Kind::Response).await.id, 2);
    // The id is free again.
    link.ask(1, "{}").await;
    assert_eq!(link.expect(Kind::Response).await.id, 1);
}

#[tokio::test]
async fn a_gateway_that_goes_cancels_all_its_requests() {
    let replica = replica().await;
    let mut link = Link::open(&replica).await;
    link.ask(1, r#"{"kind": "wait", "seconds": 600}"#).await;
    replica.log_line("begun").await;
    drop(link);
    replica.log_line("told that nobody waits").await;
}

#[tokio::test]
async fn long_answers_come_in_pieces_with_their_length() {
    let replica = replica().await;
    let mut link = Link::open(&replica).await;
    link.ask(1, &format!(r#"{{"kind": "stream", "count": 3, "length": {}}}"#, LONGEST_BODY * 2)).await;
    link.expect(Kind::Head).await;
    let mut length = 0;
    loop {
        let frame = link.next().await.unwrap();
        match frame.kind {
            Kind::Chunk => {
                assert!(frame.body.len() <= LONGEST_BODY);
                length += frame.body.len();
            }
            kind => break assert_eq!(kind, Kind::End),
        }
    }
    assert_eq!(length, 3 * LONGEST_BODY * 2);
    link.ask(2, &format!(r#"{{"kind": "long", "length": {}}}"#, LONGEST_BODY * 2)).await;
    let head = link.expect(Kind::Head).await;
    let length = (LONGEST_BODY * 2 + 2).to_string();
    assert!(meta_pairs(&head.meta).any(|pair| pair == (b"content-length", length.as_bytes())));
}

#[tokio::test]
async fn a_paused_stream_makes_its_model_wait_and_holds_back_no_other_request() {
    let replica = replica().await;
    let mut link = Link::open(&replica).await;
    // It would go on for hours: however late the pause arrives, it arrives in the middle.
    link.ask(1, r#"{"kind": "stream", "count": 1000000000, "length": 60000}"#).await;
    link.expect(Kind::Head).await;
    link.send(1, Kind::Pause, b"", b"").await;
    link.ask(2, "{}").await;
    let answered = loop {
        let frame = link.next().await.unwrap();
        if frame.kind != Kind::Chunk {
            break frame;
        }
    };
    assert_eq!((answered.id, answered.kind), (2, Kind::Response));
    // What was on its way still comes; then nothing does until it is wanted.
    while let Ok(frame) = timeout(Duration::from_millis(200), link.next()).await {
        assert_eq!(frame.unwrap().kind, Kind::Chunk);
    }
    link.send(1, Kind::Resume, b"", b"").await;
    link.expect(Kind::Chunk).await;
}

#[tokio::test]
async fn a_drain_answers_what_is_under_way_refuses_the_rest_and_closes_the_link() {
    let replica = replica().await;
    let mut link = Link::open(&replica).await;
    link.ask(1, r#"{"kind": "wait", "seconds": 1}"#).await;
    replica.log_line("begun").await;
    let drain = request("POST", "/_greenroom/drain", Bytes::from_static(br#"{"timeout_ms": 10000}"#));
    replica.exchange(drain).await;
    replica.phase("draining", |phase| matches!(phase, Phase::Draining)).await;
    link.ask(2, "{}").await;
    assert_eq!(link.expect(Kind::NotTaken).await.id, 2);
    let last = link.expect(Kind::Response).await;
    assert_eq!((last.id, last.detail), (1, 200));
    assert!(link.next().await.is_none());
    replica.exit().await;
}

#[tokio::test]
async fn what_was_on_its_way_when_a_drain_began_is_answered() {
    let replica = replica().await;
    let mut link = Link::open(&replica).await;
    let drain = request("POST", "/_greenroom/drain", Bytes::from_static(br#"{"timeout_ms": 10000}"#));
    replica.exchange(drain).await;
    link.ask(1, "{}").await;
    assert_eq!(link.expect(Kind::Response).await.detail, 200);
    replica.exit().await;
}

#[tokio::test]
async fn what_no_gateway_sends_ends_the_link_and_not_the_replica() {
    let replica = replica().await;
    for nonsense in [&[0xff; 64][..], &[0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        let mut link = Link::open(&replica).await;
        link.stream.write_all(nonsense).await.unwrap();
        assert!(link.next().await.is_none());
    }
    assert_eq!(replica.predict(serde_json::json!({"a": 1})).await, (200, r#"{"a": 1}"#.into()));
}
