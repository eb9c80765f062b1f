//! Teams, people, instance types.

use axum::http::Method;
use serde_json::json;

use crate::support::{TestApp, redacted};

#[tokio::test]
async fn there_is_exactly_one_default_team() {
    let app = TestApp::start().await;
    let teams = app.get("/v1/teams").await.ok();
    let default =
        json!({ "id": "[id]", "name": "Default", "default": true, "created_at": "2026-01-02T03:04:05.678+00:00" });
    assert_eq!(redacted(teams), json!({ "teams": [default] }));
    assert_eq!(app.get("/v1/teams?name=Default").await.ok()["teams"].as_array().unwrap().len(), 1);
    assert_eq!(app.get("/v1/teams?name=Def").await.ok(), json!({ "teams": [] }));
    app.get("/v1/teams/abcdefghij").await.refuses(404, "NOT_FOUND", "there is no team");
    app.get("/v1/teams/x").await.refuses(404, "NOT_FOUND", "not a team id");
}

#[tokio::test]
async fn whoever_calls_is_shown_with_the_workspace() {
    let app = TestApp::start().await;
    let me = json!({
        "user_id": "[user_id]", "email": "admin@localhost", "name": "Admin", "workspace_name": "Greenroom",
        "role": "ADMIN", "teams": []
    });
    assert_eq!(redacted(app.get("/v1/users/me").await.ok()), me);
    let key = app.make_key("WORKSPACE_MANAGE_ALL").await;
    assert_eq!(redacted(app.call_as(Some(&key), Method::GET, "/v1/users/me", None).await.ok()), me);
    app.get("/v1/users/abcdefghij").await.refuses(404, "NOT_FOUND", "there is no user");
    app.get("/v1/users?limit=0").await.is_invalid("limit");
    app.get("/v1/users?cursor=x").await.is_invalid("cursor");
    let all = app.get("/v1/users").await.ok();
    assert_eq!(all["pagination"], json!({ "has_more": false, "cursor": null }));
}

#[tokio::test]
async fn instance_types_are_listed_smallest_first_with_prices() {
    let app = TestApp::with(|settings| {
        settings.prices.insert("1x2".into(), 0.5);
    })
    .await;
    let types = app.get("/v1/instance_types").await.ok();
    let smallest = json!({
        "id": "1x2", "name": "1x2", "memory_limit_mib": 2048, "millicpu_limit": 1000,
        "gpu_count": 0, "gpu_type": null, "gpu_memory_limit_mib": null
    });
    assert_eq!(types["instance_types"][0], smallest);
    let prices = app.get("/v1/instance_type_prices").await.ok();
    assert_eq!(prices["instance_types"][0], json!({ "instance_type": smallest, "price": 0.5 }));
    assert_eq!(prices["instance_types"][1]["price"], 0.0);
}
