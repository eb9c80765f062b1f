//! `Model.websocket`, and websockets of a server of the user's own.

use futures::{SinkExt as _, StreamExt as _};
use tokio::net::UnixStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, protocol::CloseFrame},
};

use crate::support::{Draft, PATIENCE, Replica};

const MODEL: &str = r#"
import fastapi
class Model:
    async def websocket(self, websocket: fastapi.WebSocket):
        print("opened by", websocket.headers.get("x-baseten-request-id"), websocket.url.query)
        try:
            while True:
                message = await websocket.receive()
                if message["type"] == "websocket.disconnect":
                    print("left with", message["code"])
                    return
                if message.get("text") == "raise":
                    raise ValueError("boom")
                if message.get("text") == "close":
                    await websocket.close(4001, "enough")
                    return
                if message.get("text") == "done":
                    return
                if message.get("text") is not None:
                    await websocket.send_json({"got": message["text"]})
                else:
                    await websocket.send_bytes(message["bytes"][::-1])
        finally:
            print("over")
"#;

async fn open(replica: &Replica) -> WebSocketStream<UnixStream> {
    let stream = UnixStream::connect(replica.directory.join("replica.sock")).await.unwrap();
    let mut request =
        tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request("ws://model/v1/websocket?a=b")
            .unwrap();
    request.headers_mut().insert("x-baseten-request-id", "r-ws".parse().unwrap());
    client_async(request, stream).await.unwrap().0
}

async fn next(socket: &mut WebSocketStream<UnixStream>) -> Message {
    tokio::time::timeout(PATIENCE, socket.next()).await.expect("a message in time").unwrap().unwrap()
}

async fn close_of(socket: &mut WebSocketStream<UnixStream>) -> CloseFrame {
    loop {
        match next(socket).await {
            Message::Close(frame) => return frame.unwrap(),
            other => assert!(!matches!(other, Message::Text(_) | Message::Binary(_)), "{other:?}"),
        }
    }
}

#[tokio::test]
async fn messages_go_both_ways_as_they_are() {
    let replica = Draft::model(MODEL).ready().await;
    let mut socket = open(&replica).await;
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(next(&mut socket).await, Message::text("{\"got\":\"hello\"}"));
    let large: Vec<u8> = (0..3_000_000u32).map(|number| number as u8).collect();
    socket.send(Message::binary(large.clone())).await.unwrap();
    let back = next(&mut socket).await.into_data();
    assert!(back.iter().eq(large.iter().rev()));
    replica.log_line("opened by r-ws a=b").await;
}

#[tokio::test]
async fn each_way_to_close_has_its_code() {
    let replica = Draft::model(MODEL).ready().await;
    for (message, code, reason) in
        [("done", 1000, ""), ("close", 4001, "enough"), ("raise", 1011, "Internal Server Error (in model/chainlet).")]
    {
        let mut socket = open(&replica).await;
        socket.send(Message::text(message)).await.unwrap();
        let close = close_of(&mut socket).await;
        assert_eq!((u16::from(close.code), close.reason.as_str()), (code, reason));
    }
    replica.log_line("ValueError: boom").await;
}

#[tokio::test]
async fn a_model_hears_when_its_client_leaves() {
    let replica = Draft::model(MODEL).ready().await;
    let mut socket = open(&replica).await;
    socket.close(Some(CloseFrame { code: 4100.into(), reason: "bye".into() })).await.unwrap();
    replica.log_line("left with 4100").await;
    let socket = open(&replica).await;
    drop(socket);
    replica.log_line("left with 1006").await;
}

#[tokio::test]
async fn a_model_without_websocket_says_so() {
    let replica = Draft::model("class Model:\n    def predict(self, inputs):\n        return 1\n").ready().await;
    let close = close_of(&mut open(&replica).await).await;
    assert_eq!(u16::from(close.code), 1003);
    assert_eq!(close.reason.as_str(), "WebSocket is not implemented on this deployment.");
}

#[tokio::test]
async fn a_model_that_only_talks_stops_when_its_client_has_left() {
    let source = r#"
import fastapi
class Model:
    async def websocket(self, websocket: fastapi.WebSocket):
        try:
            while True:
                await websocket.send_text("x" * 1000)
        finally:
            print("stopped")
"#;
    let replica = Draft::model(source).ready().await;
    let mut socket = open(&replica).await;
    next(&mut socket).await;
    socket.send(Message::Close(None)).await.unwrap();
    replica.log_line("stopped").await;
    // The close is answered: the client sees no broken connection.
    while let Some(message) = socket.next().await {
        message.unwrap();
    }
}

#[tokio::test]
async fn a_model_that_ignores_a_close_is_cancelled_in_time() {
    let source = r#"
import asyncio
import fastapi
class Model:
    async def websocket(self, websocket: fastapi.WebSocket):
        try:
            await asyncio.sleep(600)
        finally:
            print("cancelled")
"#;
    let replica = Draft::model(source).ready().await;
    drop(open(&replica).await);
    replica.log_line("cancelled").await;
}

#[tokio::test]
async fn a_model_and_a_client_may_both_send_before_they_read() {
    let source = r#"
import asyncio
import fastapi
class Model:
    async def websocket(self, websocket: fastapi.WebSocket):
        for number in range(80):
            await asyncio.sleep(0.01)  # so that what the client sends piles up first
            await websocket.send_bytes(b"x" * 100_000)
        size = 0
        for number in range(80):
            size += len(await websocket.receive_bytes())
        await websocket.send_text(str(size))
"#;
    let replica = Draft::model(source).ready().await;
    let (mut sender, mut receiver) = open(&replica).await.split();
    let sent = async {
        for _ in 0..80 {
            sender.send(Message::binary(vec![0; 100_000])).await.unwrap();
        }
    };
    let received = async {
        let mut size = 0;
        loop {
            match receiver.next().await.unwrap().unwrap() {
                Message::Binary(bytes) => size += bytes.len(),
                Message::Text(text) => return (size, text.to_string()),
                other => panic!("{other:?}"),
            }
        }
    };
    let both = futures::future::join(sent, received);
    let ((), received) = tokio::time::timeout(PATIENCE, both).await.expect("neither waits for the other");
    assert_eq!(received, (8_000_000, "8000000".into()));
}

const SERVER: &str = r#"
import base64, hashlib, http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *arguments): pass
    def do_GET(self):
        if self.path == "/health":
            self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
            return
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("upgrade", "websocket"); self.send_header("connection", "upgrade")
        self.send_header("sec-websocket-accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.wfile.write(b"\x81\x02hi"); self.wfile.flush()
        self.close_connection = True
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[tokio::test]
async fn upgrades_pass_through_to_a_server() {
    let replica = Draft::server("python serve.py", &[("serve.py", SERVER)]).ready().await;
    assert_eq!(next(&mut open(&replica).await).await, Message::text("hi"));
}
