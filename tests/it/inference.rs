//! Calls that stream, that are refused, and that are too large.

use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Server, answer, eventually, example, model};

fn endpoint(pushed: &Value) -> String {
    format!("/models/{}/production/predict", pushed["model"]["id"].as_str().expect("an id"))
}

/// Yields one piece, and the next only when another request says so.
const PATIENT: &str = "\
import asyncio
class Model:
    def load(self):
        self.released = asyncio.Event()
    async def predict(self, request):
        if request['release']:
            self.released.set()
            return 'released'
        return self.pieces()
    async def pieces(self):
        yield 'first\\n'
        await self.released.wait()
        yield 'second\\n'
";

#[tokio::test]
async fn a_stream_arrives_piece_by_piece() {
    let server = Server::start();
    let config = "model_name: m\nruntime: {predict_concurrency: 2}";
    let pushed = server.push(model(config, PATIENT).path());
    let request = server.request(Method::POST, &endpoint(&pushed)).json(&json!({"release": false}));
    let response = request.send().await.expect("answered");
    assert_eq!(response.status(), 200);
    let mut pieces = response.bytes_stream();
    let first = pieces.next().await.expect("a piece").expect("whole");
    assert_eq!(first, "first\n", "it comes while the model still works on the rest");
    let released = server.post(&endpoint(&pushed), &json!({"release": true})).await;
    assert_eq!(released, (200, json!("released")));
    let second = pieces.next().await.expect("a piece").expect("whole");
    assert_eq!(second, "second\n");
    assert!(pieces.next().await.is_none());
}

#[tokio::test]
async fn the_command_line_passes_a_stream_on() {
    let server = Server::start();
    server.push(&example("stream"));
    let ran = server.greenroom(&["predict", "stream", "--data", r#"{"count": 3, "delay_seconds": 0}"#]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "0\n1\n2\n"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_graceful_end_lets_a_stream_finish() {
    let mut server = Server::start();
    let pushed = server.push(&example("stream"));
    let request = server.request(Method::POST, &endpoint(&pushed)).json(&json!({"count": 2, "delay_seconds": 3}));
    let mut pieces = request.send().await.expect("answered").bytes_stream();
    assert_eq!(pieces.next().await.expect("a piece").expect("whole"), "0\n");
    server.terminate();
    eventually("nobody is let in any more", || async {
        reqwest::get(format!("{}/healthz", server.url)).await.is_err().then_some(())
    })
    .await;
    assert_eq!(pieces.next().await.expect("a piece").expect("whole"), "1\n");
    assert!(pieces.next().await.is_none(), "the stream ends well");
    assert_eq!(server.wait().await, Some(0), "so does the server");
    assert_eq!(server.offspring(), Vec::<u32>::new(), "and nothing is left behind");
}

#[tokio::test]
async fn without_a_valid_key_nothing_answers() {
    let server = Server::start();
    let pushed = server.push(&example("hello"));
    for path in ["/v1/models", "/v1/users/me", &endpoint(&pushed)] {
        let url = format!("{}{path}", server.url);
        let client = reqwest::Client::new();
        let method = if path.starts_with("/v1") { Method::GET } else { Method::POST };
        assert_eq!(answer(client.request(method.clone(), &url).json(&json!({}))).await.0, 401, "{path} without a key");
        let wrong = client.request(method, &url).header("authorization", "Api-Key testtest.wrong").json(&json!({}));
        assert_eq!(answer(wrong).await.0, 401, "{path} with a wrong key");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(reqwest::get(format!("{}{path}", server.url)).await.expect("answered").status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_key_for_calling_can_only_call() {
    let server = Server::start();
    let pushed = server.push(&example("hello"));
    let made = server.json(&["keys", "create", "--type", "invoke", "--name", "caller"]);
    let key = made["api_key"].as_str().expect("a key");
    let with_key = |method: Method, path: &str| {
        reqwest::Client::new()
            .request(method, format!("{}{path}", server.url))
            .header("authorization", format!("Api-Key {key}"))
            .json(&json!({}))
    };
    let called = || async { answer(with_key(Method::POST, &endpoint(&pushed))).await.0 };
    eventually("the key is known", || async { (called().await == 200).then_some(()) }).await;
    assert_eq!(answer(with_key(Method::GET, "/v1/models")).await.0, 403);
    assert_eq!(answer(with_key(Method::DELETE, "/v1/models/abcdefgh")).await.0, 403);

    let prefix = key.split('.').next().expect("a prefix");
    assert_eq!(server.greenroom(&["keys", "revoke", prefix]).code, 0);
    eventually("the key is refused", || async { (called().await == 401).then_some(()) }).await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = Server::start();
    let pushed = server.push(&example("hello"));
    let id = pushed["model"]["id"].as_str().expect("an id");
    for path in [
        "/models/aaaaaaaa/production/predict".to_owned(),
        format!("/models/{id}/environments/nowhere/predict"),
        format!("/models/{id}/deployment/aaaaaaa/predict"),
        format!("/models/{id}/development/predict"),
    ] {
        assert_eq!(server.post(&path, &json!({})).await.0, 404, "{path}");
    }
    for path in ["/v1/models/aaaaaaaa", "/v1/nothing", &format!("/v1/models/{id}/deployments/aaaaaaa")] {
        let (status, body) = server.get(path).await;
        assert_eq!((status, &body["code"]), (404, &json!("NOT_FOUND")), "{path}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_or_no_json_is_refused_and_the_next_one_is_not() {
    let server = Server::start_with("limits.body = \"64 kB\"");
    let pushed = server.push(&example("hello"));
    let large = json!({"name": "x".repeat(70_000)});
    let (status, body) = server.post(&endpoint(&pushed), &large).await;
    assert_eq!((status, &body["error_code"]), (413, &json!("payload_too_large")), "{body}");
    let garbage = server.request(Method::POST, &endpoint(&pushed)).body("{not json");
    assert_eq!(answer(garbage).await.0, 400);
    assert_eq!(server.post(&endpoint(&pushed), &json!({})).await.0, 200);
}

#[tokio::test]
async fn slashes_too_many_do_no_harm() {
    let server = Server::start();
    assert_eq!(server.get("//v1//models").await.0, 200);
}

/// Says nothing until the test is over.
const SILENT: &str = "\
import asyncio
class Model:
    async def predict(self, request):
        await asyncio.Event().wait()
";

#[tokio::test]
async fn a_deployment_has_timeouts_of_its_own() {
    let server = Server::start();
    let timeouts =
        |what: &str| format!("model_name: m\nmodel_metadata: {{ greenroom: {{ timeouts: {{ {what} }} }} }}\n");
    let wrong = model(&timeouts("first_byte: 1"), SILENT);
    let refused = server.greenroom(&["push", wrong.path().to_str().expect("UTF-8")]);
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("first_byte_seconds"), "{}", refused.stderr);

    server.push(model(&timeouts("first_byte_seconds: 1"), SILENT).path());
    let id = server.json(&["status", "m"])["model"]["id"].as_str().expect("an id").to_owned();
    let (code, body) = server.post(&format!("/models/{id}/production/predict"), &json!({})).await;
    assert_eq!((code, &body["error_code"]), (504, &json!("timeout")), "{body}");
}

/// Works without end, and counts who is in it and who was sent away.
const ENDLESS: &str = "\
import asyncio
class Model:
    def load(self):
        self.inside = self.left = 0
    async def predict(self, request):
        if not request['stays']:
            return {'inside': self.inside, 'left': self.left}
        self.inside += 1
        try:
            await asyncio.sleep(3600)
        finally:
            self.inside -= 1
            self.left += 1
";

#[tokio::test]
async fn a_thousand_clients_that_leave_take_nothing_with_them() {
    const AT_ONCE: u64 = 100;
    let server = Server::start();
    let pushed = server.push(model("model_name: m\nruntime: {predict_concurrency: 101}", ENDLESS).path());
    let endpoint = endpoint(&pushed);
    let counts = |inside: u64, left: u64| {
        let (server, endpoint) = (&server, &endpoint);
        async move {
            let seen = server.post(endpoint, &json!({"stays": false})).await;
            (seen == (200, json!({"inside": inside, "left": left}))).then_some(())
        }
    };
    for round in 1..=10 {
        let stay = (0..AT_ONCE).map(|_| server.request(Method::POST, &endpoint).json(&json!({"stays": true})).send());
        let clients: Vec<_> = stay.map(tokio::spawn).collect();
        eventually("all at the model", || counts(AT_ONCE, (round - 1) * AT_ONCE)).await;
        clients.iter().for_each(tokio::task::JoinHandle::abort);
        // The same model has counted all: its process has survived them.
        eventually("all sent away", || counts(0, round * AT_ONCE)).await;
    }
}
