//! Restricted environments: who may change them, directly and by every way round.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Pushed, TestApp, production, pushed, stage};

const PRODUCTION: &str = "/v1/environment_groups/production";

async fn restrict(app: &TestApp, is_restricted: bool) -> Value {
    let access = json!({ "manage_access": { "is_restricted": is_restricted, "user_ids": [] } });
    app.patch(PRODUCTION, access).await.ok()
}

#[tokio::test]
async fn there_is_a_group_for_every_name_and_it_is_open_at_first() {
    let app = TestApp::start().await;
    app.get(PRODUCTION).await.refuses(404, "NOT_FOUND", "there is no environment group production");
    let first = app.push_model("iris").await;
    app.push_model("other").await;
    app.post(&first.model_path("/environments"), json!({ "name": "staging" })).await.ok();
    let groups = app.get("/v1/environment_groups").await.ok();
    let names: Vec<_> = groups["items"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["production", "staging"]);
    assert_eq!(groups["items"][0]["manage_access"], json!({ "is_restricted": false, "users": [] }));
    app.get("/v1/environment_groups/nonesuch").await.refuses(404, "NOT_FOUND", "nonesuch");
}

#[tokio::test]
async fn only_administrators_restrict_and_only_to_people_who_are_there() {
    let app = TestApp::start().await;
    let first = app.push_model("iris").await;
    let team_key = app.make_key("WORKSPACE_MANAGE_ALL").await;
    let access = json!({ "manage_access": { "is_restricted": true } });
    let answer = app.call_as(Some(&team_key), Method::PATCH, PRODUCTION, Some(access.clone())).await;
    answer.refuses(
        403,
        "PERMISSION_DENIED",
        "only an administrator of team Default can restrict environments named production",
    );
    let stranger = json!({ "manage_access": { "is_restricted": true, "user_ids": ["abcdefghij"] } });
    app.patch(PRODUCTION, stranger).await.is_invalid("there is no user abcdefghij");
    app.patch(PRODUCTION, json!({ "manage": {} })).await.is_invalid("unknown field `manage`");
    assert_eq!(app.patch(PRODUCTION, json!({})).await.ok()["manage_access"]["is_restricted"], false);

    let me = app.get("/v1/users/me").await.ok()["user_id"].clone();
    let shut = app.patch(PRODUCTION, access).await.ok();
    assert_eq!(shut["manage_access"]["users"][0]["user_id"], me, "administrators are always among them");
    assert_eq!(app.get(PRODUCTION).await.ok(), shut);
    let entry = &app.get("/v1/audit_logs?limit=1").await.ok()["items"][0];
    assert_eq!(entry["event_type"], "ENVIRONMENT_GROUP_UPDATED");
    assert_eq!(app.get(&production(&first, "")).await.status, 200);
    app.patch(&production(&first, ""), json!({ "autoscaling_settings": { "max_replica": 2 } })).await.ok();
}

/// Every call that would change what is in production, or put something there.
async fn changes(app: &TestApp, key: &str, first: &Pushed, second: &Pushed) -> Vec<(String, Answer)> {
    let settings = json!({ "autoscaling_settings": { "scale_down_delay": 30 } });
    let promote = json!({ "deployment_id": second.deployment });
    let replica = app.store.replicas(Some(&first.deployment_id())).await.unwrap().remove(0).id;
    let post = |path: String, body: Value| (Method::POST, path, body);
    let calls = [
        (Method::PATCH, production(first, ""), settings.clone()),
        post(production(first, "/promote"), promote.clone()),
        post(production(first, "/promotion_plan"), promote),
        post(second.path("/promote"), json!({})),
        post(production(first, "/rollback"), json!({})),
        post(production(first, "/cancel_promotion"), json!({})),
        post(production(first, "/pause_promotion"), json!({})),
        post(production(first, "/deactivate"), json!({})),
        post(production(first, "/activate"), json!({})),
        post(first.path("/deactivate"), json!({})),
        post(first.path("/activate"), json!({})),
        post(first.path("/retry"), json!({})),
        post(first.model_path("/deployments/production/deactivate"), json!({})),
        (Method::PATCH, first.path("/autoscaling_settings"), json!({ "scale_down_delay": 30 })),
        (
            Method::PATCH,
            first.model_path("/deployments/production/autoscaling_settings"),
            json!({ "scale_down_delay": 30 }),
        ),
        (Method::PATCH, first.path(""), json!({ "name": "renamed" })),
        (Method::DELETE, first.path(&format!("/replicas/{replica}")), json!({})),
        (Method::DELETE, first.path(""), json!({})),
        (Method::DELETE, first.model_path(""), json!({})),
    ];
    let mut answers = Vec::new();
    for (method, path, body) in calls {
        let answer = app.call_as(Some(key), method.clone(), &path, Some(body)).await;
        answers.push((format!("{method} {path}"), answer));
    }
    answers
}

#[tokio::test]
async fn whoever_is_not_let_changes_a_restricted_environment_by_no_way_and_still_reads_it() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    let key = app.make_key("WORKSPACE_MANAGE_ALL").await;
    restrict(&app, true).await;
    let before = app.get("/v1/audit_logs?limit=200").await.ok();
    for (call, answer) in changes(&app, &key, &first, &second).await {
        assert_eq!(answer.status, 403, "{call}: {:#}", answer.body);
        answer.refuses(403, "PERMISSION_DENIED", "environment production is restricted");
    }
    let push = async |deployment: Value| {
        let s3_key = app.upload(crate::support::model_archive()).await;
        let source = json!({ "kind": "model_archive", "deployment": deployment, "s3_key": s3_key });
        let path = first.model_path("/deployments");
        app.call_as(Some(&key), Method::POST, &path, Some(json!({ "source": source }))).await
    };
    let named = push(json!({ "config": {}, "environment_name": "production" })).await;
    named.refuses(403, "PERMISSION_DENIED", "environment production is restricted");
    assert_eq!(app.get("/v1/audit_logs?limit=200").await.ok(), before, "nothing has changed");

    for path in [production(&first, ""), production(&first, "/promotions"), production(&first, "/logs"), first.path("")]
    {
        app.call_as(Some(&key), Method::GET, &path, None).await.ok();
    }
    push(json!({ "config": {} })).await.ok();
    let other = app.call_as(Some(&key), Method::POST, &second.path("/deactivate"), None).await;
    other.ok();
}

#[tokio::test]
async fn a_first_push_by_somebody_who_is_not_let_stays_by_itself() {
    let app = TestApp::start().await;
    app.push_model("iris").await;
    let key = app.make_key("WORKSPACE_MANAGE_ALL").await;
    restrict(&app, true).await;
    let s3_key = app.upload(crate::support::model_archive()).await;
    let source = json!({ "kind": "model_archive", "name": "new", "deployment": { "config": {} }, "s3_key": s3_key });
    let answer = app.call_as(Some(&key), Method::POST, "/v1/models", Some(json!({ "source": source }))).await.ok();
    let new = pushed(answer);
    assert_eq!(app.store.deployment(&new.deployment_id()).await.unwrap().target_environment, None);
}

#[tokio::test]
async fn an_environment_that_is_opened_again_is_everybodys() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    let key = app.make_key("WORKSPACE_MANAGE_ALL").await;
    restrict(&app, true).await;
    restrict(&app, false).await;
    let promoted = app.call_as(Some(&key), Method::POST, &second.path("/promote"), Some(json!({}))).await.ok();
    assert_eq!(promoted["id"], second.deployment);
    app.promotion(&first, "production").await;
}
