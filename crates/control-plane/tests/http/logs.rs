//! Logs: a line from the start, windows, filters, and both ways of asking.

use api::internal::replica::{Level, LogLine};
use serde_json::{Value, json};
use store::domain::{Component, LogRecord};

use crate::support::{Pushed, START, TestApp};

fn messages(answer: &Value) -> Vec<&str> {
    answer["logs"].as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap()).collect()
}

async fn append(app: &TestApp, one: &Pushed, after_ms: u64, level: Option<Level>, message: &str) {
    let line = LogLine {
        timestamp_ns: (START.0 + after_ms) as i64 * 1_000_000,
        level,
        request_id: Some(format!("request-{message}")),
        message: message.into(),
    };
    let record = LogRecord { deployment_id: one.deployment_id(), replica_id: None, component: Component::Build, line };
    app.store.append_logs(&[record]).await.unwrap();
}

async fn app_with_lines() -> (TestApp, Pushed) {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    append(&app, &one, 1, None, "alpha").await;
    append(&app, &one, 2, Some(Level::Info), "alpha beta").await;
    append(&app, &one, 3, Some(Level::Error), "gamma").await;
    app.pass(10);
    (app, one)
}

#[tokio::test]
async fn a_log_begins_with_the_push() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    let logs = app.get(&one.path("/logs")).await.ok();
    assert_eq!(
        logs,
        json!({ "logs": [{
            "timestamp": "1767323045678000000", "message": "pushed; goes to environment production when it is first active",
            "replica": null, "request_id": null, "level": "INFO"
        }] })
    );
}

#[tokio::test]
async fn lines_come_newest_first_unless_asked_otherwise() {
    let (app, one) = app_with_lines().await;
    let logs = app.get(&one.path("/logs?limit=3")).await.ok();
    assert_eq!(messages(&logs), ["gamma", "alpha beta", "alpha"]);
    let logs = app.get(&one.path("/logs?direction=asc&component=build&limit=2")).await.ok();
    assert_eq!(messages(&logs), ["alpha", "alpha beta"]);
}

#[tokio::test]
async fn every_filter_narrows() {
    let (app, one) = app_with_lines().await;
    for (query, expected) in [
        ("includes=alpha&includes=beta", vec!["alpha beta"]),
        ("component=build&excludes=beta", vec!["gamma", "alpha"]),
        ("component=build&min_level=INFO", vec!["gamma", "alpha beta"]),
        ("min_level=ERROR", vec!["gamma"]),
        ("request_id=request-gamma", vec!["gamma"]),
        ("search_pattern=%5Eal.*a%24&component=build", vec!["alpha beta", "alpha"]),
        ("replica=abcde", vec![]),
    ] {
        assert_eq!(messages(&app.get(&one.path(&format!("/logs?{query}"))).await.ok()), expected, "{query}");
    }
    let window = format!("/logs?start_epoch_millis={}&end_epoch_millis={}", START.0 + 2, START.0 + 2);
    assert_eq!(messages(&app.get(&one.path(&window)).await.ok()), ["alpha beta"]);
}

#[tokio::test]
async fn the_older_way_of_asking_gives_the_same() {
    let (app, one) = app_with_lines().await;
    let body = json!({ "includes": ["alpha"], "excludes": [], "limit": 10, "min_level": null, "direction": null });
    assert_eq!(messages(&app.post(&one.path("/logs"), body).await.ok()), ["alpha beta", "alpha"]);
    assert_eq!(app.post(&one.path("/logs"), json!({})).await.ok()["logs"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_refused() {
    let (app, one) = app_with_lines().await;
    for (query, message) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("min_level=LOUD", "min_level"),
        ("direction=up", "direction"),
        ("search_pattern=(", "search_pattern"),
        ("start_epoch_millis=0", "7 days"),
        ("start_epoch_millis=2&end_epoch_millis=1", "start_epoch_millis"),
        ("component=engine", "component"),
    ] {
        app.get(&one.path(&format!("/logs?{query}"))).await.is_invalid(message);
    }
    app.post(&one.path("/logs"), json!({ "includes": vec!["x"; 9] })).await.is_invalid("includes");
}
