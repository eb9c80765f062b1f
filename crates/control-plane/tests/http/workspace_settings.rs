//! What holds for the whole workspace, and what follows for pushes.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Pushed, TestApp, model_archive, pushed};

const PATH: &str = "/v1/workspace_settings";

async fn environments(app: &TestApp, of: &Pushed) -> Vec<String> {
    let found = app.get(&of.model_path("/environments")).await.ok();
    found["environments"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// The environment that a push is on its way to.
async fn target(app: &TestApp, of: &Pushed) -> Option<String> {
    app.store.deployment(&of.deployment_id()).await.unwrap().target_environment
}

async fn push(app: &TestApp, model: &Pushed, more: Value) -> Pushed {
    let mut payload = json!({ "config": { "model_name": "iris" } });
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    pushed(app.push(&model.model, payload).await.ok())
}

#[tokio::test]
async fn everybody_reads_them_and_administrators_change_them() {
    let app = TestApp::start().await;
    let member = app.make_key("WORKSPACE_MANAGE_ALL").await;
    let first = json!({ "default_environment": null, "initial_environments": [] });
    assert_eq!(app.call_as(Some(&member), Method::GET, PATH, None).await.ok(), first);
    let change = json!({ "default_environment": "development", "initial_environments": ["development", "production"] });
    let by_member = app.call_as(Some(&member), Method::PATCH, PATH, Some(change.clone())).await;
    by_member.refuses(
        403,
        "PERMISSION_DENIED",
        "only an administrator of the organization can change the workspace's settings",
    );
    assert_eq!(app.patch(PATH, change.clone()).await.ok(), change);
    assert_eq!(app.get(PATH).await.ok(), change);
    let entry = &app.get("/v1/audit_logs?limit=1").await.ok()["items"][0];
    assert_eq!(entry["event_type"], "WORKSPACE_SETTINGS_UPDATED");
    assert_eq!(entry["event_data"]["previous_settings"], first);

    app.patch(PATH, json!({ "default_environment": "A" })).await.is_invalid("default_environment: environment name");
    app.patch(PATH, json!({ "default": null })).await.is_invalid("unknown field `default`");
    let before = app.get("/v1/audit_logs?limit=200").await.ok();
    assert_eq!(app.patch(PATH, json!({})).await.ok(), change);
    assert_eq!(
        app.get("/v1/audit_logs?limit=200").await.ok(),
        before,
        "nothing has changed, so there is nothing to tell"
    );
    let cleared = app.patch(PATH, json!({ "default_environment": null })).await.ok();
    assert_eq!(cleared, json!({ "default_environment": null, "initial_environments": change["initial_environments"] }));
}

#[tokio::test]
async fn a_new_model_has_the_environments_that_models_have_from_the_start() {
    let app = TestApp::start().await;
    let old = app.push_model("old").await;
    app.patch(PATH, json!({ "initial_environments": ["development", "production", "staging"] })).await.ok();
    let new = app.push_model("new").await;
    assert_eq!(environments(&app, &new).await, ["production", "development", "staging"]);
    assert_eq!(environments(&app, &old).await, ["production"], "models that are there stay as they are");
    assert_eq!(target(&app, &new).await.as_deref(), Some("production"), "the first deployment goes there, as ever");
    let audit = app.get("/v1/audit_logs?limit=200").await.ok();
    let made = audit["items"].as_array().unwrap().iter().filter(|one| one["event_type"] == "ENVIRONMENT_CREATED");
    assert_eq!(made.count(), 2);
}

#[tokio::test]
async fn a_push_that_names_no_environment_goes_to_the_workspaces() {
    let app = TestApp::start().await;
    let first = app.push_model("iris").await;
    app.patch(PATH, json!({ "default_environment": "development" })).await.ok();
    let sent = push(&app, &first, json!({})).await;
    assert_eq!(target(&app, &sent).await.as_deref(), Some("development"));
    assert_eq!(environments(&app, &first).await, ["production", "development"], "it was made for it");
    let named = push(&app, &first, json!({ "environment_name": "production" })).await;
    assert_eq!(target(&app, &named).await.as_deref(), Some("production"));
    let development = push(&app, &first, json!({ "is_development": true })).await;
    assert_eq!(target(&app, &development).await, None, "a development deployment is for no environment");
    let new = app.push_model("other").await;
    assert_eq!(target(&app, &new).await.as_deref(), Some("development"));

    let restricted = json!({ "manage_access": { "is_restricted": true, "user_ids": [] } });
    app.patch("/v1/environment_groups/development", restricted).await.ok();
    let member = app.make_key("WORKSPACE_MANAGE_ALL").await;
    let key = app.upload(model_archive()).await;
    let body = json!({ "source": {
        "kind": "model_archive", "deployment": { "config": { "model_name": "iris" } }, "s3_key": key
    } });
    let path = first.model_path("/deployments");
    let alone = pushed(app.call_as(Some(&member), Method::POST, &path, Some(body)).await.ok());
    assert_eq!(target(&app, &alone).await, None, "who may not change the default stays outside of it");
}
