//! The audit log: who did what, page by page.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::TestApp;

fn types(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["event_type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_change_leaves_an_entry() {
    let app = TestApp::start().await;
    let pushed = app.push_model("iris").await;
    app.pass(1);
    app.post("/v1/secrets", json!({ "name": "token", "value": "hunter2" })).await.ok();
    app.post(&pushed.path("/deactivate"), json!({})).await.ok();
    app.delete(&pushed.model_path("")).await.ok();
    let page = app.get("/v1/audit_logs").await.ok();
    assert_eq!(types(&page), ["MODEL_DELETED", "MODEL_DEPLOYMENT_DEACTIVATED", "SECRET_UPDATED", "MODEL_DEPLOYED"]);
    assert_eq!(page["pagination"], json!({ "has_more": false, "cursor": null }));
    let pushed_entry = &page["items"][3];
    assert_eq!(pushed_entry["created"], "2026-01-02T03:04:05.678+00:00");
    assert_eq!(pushed_entry["source"], "API");
    assert_eq!(pushed_entry["actor"]["email"], "admin@localhost");
    let data = &pushed_entry["event_data"];
    assert_eq!((&data["model_name"], &data["deployment_name"]), (&json!("iris"), &json!("deployment-1")));
    assert_eq!(data["deployment_id"], pushed.deployment);
    assert!(!page.to_string().contains("hunter2"));
}

#[tokio::test]
async fn a_change_that_changes_nothing_leaves_none() {
    let app = TestApp::start().await;
    let pushed = app.push_model("iris").await;
    app.make_active(&pushed).await;
    app.post(&pushed.path("/activate"), json!({})).await.ok();
    assert_eq!(types(&app.get("/v1/audit_logs").await.ok()), ["MODEL_DEPLOYED"]);
}

#[tokio::test]
async fn pages_follow_one_another_in_both_directions() {
    let app = TestApp::start().await;
    for number in 0..5 {
        app.post("/v1/secrets", json!({ "name": format!("s{number}"), "value": "v" })).await.ok();
        app.pass(1000);
    }
    for (direction, expected) in [("DESC", ["s4", "s3", "s2", "s1", "s0"]), ("ASC", ["s0", "s1", "s2", "s3", "s4"])] {
        let mut names = Vec::new();
        let mut path = format!("/v1/audit_logs?limit=2&direction={direction}");
        loop {
            let page = app.get(&path).await.ok();
            let items = page["items"].as_array().unwrap().iter();
            names.extend(items.map(|item| item["event_data"]["secret_name"].as_str().unwrap().to_owned()));
            let Some(cursor) = page["pagination"]["cursor"].as_str() else {
                break;
            };
            path = format!("/v1/audit_logs?limit=2&cursor={cursor}");
        }
        assert_eq!(names, expected, "{direction}");
    }
    let window =
        format!("/v1/audit_logs?start_epoch_millis={}&end_epoch_millis={}", app.now().0 - 4000, app.now().0 - 2000);
    assert_eq!(app.get(&window).await.ok()["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn entries_of_a_key_name_the_key() {
    let app = TestApp::start().await;
    let key = app.make_key("WORKSPACE_MANAGE_ALL").await;
    let secret = json!({ "name": "s", "value": "v" });
    app.call_as(Some(&key), Method::POST, "/v1/secrets", Some(secret)).await.ok();
    let page = app.get("/v1/audit_logs?limit=1").await.ok();
    let actor = &page["items"][0]["actor"];
    assert_eq!((actor["type"].as_str(), actor["api_key_prefix"].as_str()), (Some("API_KEY"), key.split('.').next()));
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_refused() {
    let app = TestApp::start().await;
    for (query, message) in
        [("limit=0", "limit"), ("limit=201", "limit"), ("cursor=x1", "cursor"), ("direction=UP", "direction")]
    {
        app.get(&format!("/v1/audit_logs?{query}")).await.is_invalid(message);
    }
    app.get("/v1/models/abcd1234/audit_logs").await.refuses(404, "NOT_FOUND", "abcd1234");
}
