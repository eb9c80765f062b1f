//! Answers that outlast a promotion: they end on the side they began on, and that side stays for them.

use futures::{SinkExt as _, StreamExt as _};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use crate::{
    actors::deployment,
    harness::{API_KEY, Server, eventually, model},
    stage::Stage,
};

/// Streams the lines that it is told over a connection of its own.
const READER: &str = "\
import asyncio, os
VERSION = os.environ['VERSION']
class Model:
    async def predict(self, request):
        return self.lines() if request['stream'] else VERSION
    async def lines(self):
        prompter, _ = await asyncio.open_connection('127.0.0.1', int(os.environ['PROMPTER']))
        async for line in prompter:
            yield VERSION + ': ' + line.decode()
";

/// Talks.
const TALKER: &str = "\
import fastapi, os
class Model:
    async def websocket(self, websocket: fastapi.WebSocket):
        while True:
            message = await websocket.receive()
            if message['type'] == 'websocket.disconnect':
                return
            await websocket.send_text(os.environ['VERSION'] + ': ' + message['text'])
";

fn reader(version: &str, prompter: u16) -> TempDir {
    let variables = format!("environment_variables: {{VERSION: {version}, PROMPTER: '{prompter}'}}\n");
    model(&format!("model_name: reader\nruntime: {{predict_concurrency: 8}}\n{variables}"), READER)
}

fn talker(version: &str) -> TempDir {
    model(&format!("model_name: talker\nenvironment_variables: {{VERSION: {version}}}\n"), TALKER)
}

#[tokio::test]
async fn a_stream_ends_on_the_side_it_began_on() {
    let prompter = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = prompter.local_addr().expect("bound").port();
    let server = Server::start();
    let first = server.push(reader("v1", port).path());
    let second = server.push(reader("v2", port).path());
    let stage = Stage::new(&first, "production");
    let answering = async || server.post(&stage.endpoint(), &json!({"stream": false})).await;

    let stream = server.request(Method::POST, &stage.endpoint()).json(&json!({"stream": true}));
    let (stream, prompt) = tokio::join!(stream.send(), async {
        let (mut prompt, _) = prompter.accept().await.expect("connected");
        prompt.write_all(b"to be\n").await.expect("heard");
        prompt
    });
    let (mut stream, mut prompt) = (stream.expect("answered").bytes_stream(), prompt);
    assert_eq!(stream.next().await.expect("a piece").expect("whole"), "v1: to be\n");

    stage.promote(&server, &deployment(&second)).await;
    stage.until(&server, &["SUCCEEDED"]).await;
    assert_eq!(answering().await, (200, json!("v2")), "new requests go to the new side");

    prompt.write_all(b"or not to be\n").await.expect("heard");
    assert_eq!(stream.next().await.expect("a piece").expect("whole"), "v1: or not to be\n");
    drop(prompt);
    assert!(stream.next().await.is_none(), "the stream ends well");
    until_at_rest(&server, &first).await;
    assert_eq!(answering().await, (200, json!("v2")));
}

#[tokio::test]
async fn a_websocket_ends_on_the_side_it_began_on() {
    let server = Server::start();
    let first = server.push(talker("v1").path());
    let second = server.push(talker("v2").path());
    let stage = Stage::new(&first, "production");
    let mut old = open(&server, &stage).await;
    assert_eq!(say(&mut old, "hello").await, "v1: hello");

    stage.promote(&server, &deployment(&second)).await;
    stage.until(&server, &["SUCCEEDED"]).await;
    let mut new = open(&server, &stage).await;
    assert_eq!(say(&mut new, "hello").await, "v2: hello");
    assert_eq!(say(&mut old, "still there?").await, "v1: still there?");

    old.close(None).await.expect("closed");
    until_at_rest(&server, &first).await;
    assert_eq!(say(&mut new, "and you?").await, "v2: and you?");
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(server: &Server, stage: &Stage) -> Socket {
    let url = server.url.replace("http://", "ws://") + &stage.endpoint().replace("/predict", "/websocket");
    let mut request = url.into_client_request().expect("a URL");
    request.headers_mut().insert("authorization", format!("Api-Key {API_KEY}").parse().expect("a header"));
    tokio_tungstenite::connect_async(request).await.expect("opened").0
}

/// Says something, and returns what is answered.
async fn say(socket: &mut Socket, text: &str) -> String {
    socket.send(Message::text(text)).await.expect("sent");
    socket.next().await.expect("a message").expect("whole").into_text().expect("text").to_string()
}

/// Waits until nothing keeps a deployment any more.
async fn until_at_rest(server: &Server, pushed: &Value) {
    let model = pushed["model"]["id"].as_str().expect("an id");
    let path = format!("/v1/models/{model}/deployments/{}", deployment(pushed));
    eventually("the old side rests", || async {
        let (_, seen) = server.get(&path).await;
        (seen["status"] == "SCALED_TO_ZERO" && seen["active_replica_count"] == 0).then_some(())
    })
    .await;
}
