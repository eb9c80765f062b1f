//! Listening: to what changes, and to a log as it grows.

use std::time::Duration;

use api::internal::replica::{Level, LogLine};
use axum::{
    body::{Body, BodyDataStream},
    http::{Request, StatusCode, header},
};
use futures::StreamExt as _;
use serde_json::Value;
use store::domain::{Component, LogRecord};
use tower::ServiceExt as _;

use crate::support::{Pushed, START, TestApp};

/// News comes within a second; a test that waits longer has failed.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Server-sent events as they come.
struct Events {
    body: BodyDataStream,
    text: String,
}

impl Events {
    async fn open(app: &TestApp, key: &str, path: &str, last_event_id: Option<&str>) -> Self {
        let mut request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {key}"));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = app.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event, as its id and its data; none when the stream has ended.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let found = field("data:").map(|data| {
                    (field("id:").unwrap_or_default().to_owned(), serde_json::from_str(data).expect("data is JSON"))
                });
                self.text = rest.to_owned();
                if found.is_some() {
                    return found;
                }
                continue;
            }
            let chunk = tokio::time::timeout(LONGEST_WAIT, self.body.next()).await.expect("something happens")?;
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    /// Waits until this topic has changed.
    async fn wait_for(&mut self, topic: &str) {
        while let Some((_, data)) = self.next().await {
            if data["topics"].as_array().unwrap().iter().any(|one| one == topic) {
                return;
            }
        }
        panic!("the stream ended without {topic}");
    }

    /// The message of the next line.
    async fn message(&mut self) -> String {
        self.next().await.unwrap().1["message"].as_str().unwrap().to_owned()
    }
}

async fn append(app: &TestApp, one: &Pushed, level: Option<Level>, message: &str) {
    let line = LogLine {
        timestamp_ns: i64::try_from(START.0).unwrap() * 1_000_000,
        level,
        request_id: None,
        message: message.into(),
    };
    let record = LogRecord { deployment_id: one.deployment_id(), replica_id: None, component: Component::Model, line };
    app.store.append_logs(&[record]).await.unwrap();
}

#[tokio::test]
async fn a_listener_hears_of_what_changes_until_its_key_is_gone() {
    let app = TestApp::start().await;
    let key = app.make_key("PERSONAL").await;
    let mut events = Events::open(&app, &key, "/v1/events", None).await;
    assert_eq!(events.next().await.unwrap().1, serde_json::json!({ "topics": [] }), "the server says that it listens");
    app.push_model("iris").await;
    events.wait_for("deployments").await;
    app.post("/v1/secrets", serde_json::json!({ "name": "token", "value": "hunter2" })).await.ok();
    events.wait_for("secrets").await;
    app.delete(&format!("/v1/api_keys/{}", key.split_once('.').unwrap().0)).await.ok();
    while let Some((_, data)) = events.next().await {
        let topics = data["topics"].as_array().unwrap();
        assert!(!topics.contains(&"keys".into()), "a key that is gone hears of nothing more");
    }
}

#[tokio::test]
async fn a_log_is_followed_from_a_moment_on_and_taken_up_where_it_was_left() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    let other = app.push_model("other").await;
    append(&app, &one, None, "first").await;
    let path = one.path(&format!("/logs/stream?start_epoch_millis={}&component=model", START.0));
    let mut events = Events::open(&app, &app.key, &path, None).await;
    assert_eq!(events.message().await, "first");
    append(&app, &other, None, "of another deployment").await;
    append(&app, &one, None, "second").await;
    let (id, line) = events.next().await.unwrap();
    assert_eq!(line["message"], "second");
    drop(events);
    append(&app, &one, None, "while nobody listened").await;
    let mut again = Events::open(&app, &app.key, &path, Some(&id)).await;
    assert_eq!(again.message().await, "while nobody listened");
}

#[tokio::test]
async fn a_log_without_a_moment_is_followed_from_now_on_and_filters_narrow_it() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    append(&app, &one, Some(Level::Error), "before").await;
    let mut events =
        Events::open(&app, &app.key, &one.path("/logs/stream?min_level=WARNING&excludes=dull"), None).await;
    append(&app, &one, Some(Level::Info), "too mild").await;
    append(&app, &one, Some(Level::Error), "dull").await;
    append(&app, &one, Some(Level::Error), "bad").await;
    assert_eq!(events.message().await, "bad");
}

#[tokio::test]
async fn what_a_followed_log_cannot_have_is_refused() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    for query in ["limit=3", "end_epoch_millis=5", "direction=asc"] {
        app.get(&one.path(&format!("/logs/stream?{query}"))).await.is_invalid("leave it out");
    }
    app.get(&one.path("/logs/stream?search_pattern=(")).await.is_invalid("search_pattern");
    app.get("/v1/models/abcdefgh/deployments/abcdefg/logs/stream").await.refuses(404, "NOT_FOUND", "abcdefgh");
}

#[tokio::test]
async fn those_who_listen_do_not_hold_up_the_end_of_the_server() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    let mut events = Events::open(&app, &app.key, "/v1/events", None).await;
    let mut log = Events::open(&app, &app.key, &one.path("/logs/stream"), None).await;
    events.next().await.unwrap();
    app.stopping.cancel();
    assert_eq!(events.next().await, None);
    assert_eq!(log.next().await, None);
}
