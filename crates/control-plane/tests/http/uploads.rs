//! Preparing an upload: the same checks as the push, and credentials for one key.

use serde_json::json;

use crate::support::TestApp;

const PREPARE: &str = "/v1/prepare_model_upload";

#[tokio::test]
async fn credentials_point_at_this_server() {
    let app = TestApp::start().await;
    let answer = app.post(PREPARE, json!({ "name": "iris", "deployment": { "config": {} } })).await.ok();
    assert_eq!(answer["creds"]["endpoint_url"], "http://localhost:8000");
    assert_eq!((&answer["s3_bucket"], &answer["s3_region"]), (&json!("greenroom-uploads"), &json!("us-east-1")));
    let key = answer["s3_key"].as_str().unwrap();
    assert_eq!(uploads::team_of(key), Some(app.team().await), "{key}");
    for field in ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"] {
        assert!(answer["creds"][field].as_str().is_some_and(|value| !value.is_empty()), "{field}");
    }
}

#[tokio::test]
async fn credentials_point_at_where_the_client_has_found_this_server() {
    let app = TestApp::with(|settings| settings.public_url = None).await;
    let request = json!({ "name": "iris", "deployment": { "config": {} } });
    let answer = app.post_at("gpu-box:8000", PREPARE, request.clone()).await.ok();
    assert_eq!(answer["creds"]["endpoint_url"], "http://gpu-box:8000");
    app.post_at("not a host", PREPARE, request.clone()).await.is_invalid("Host: ");
    app.post(PREPARE, request).await.is_invalid("Host: ");
    let one = app.push_model("iris").await;
    let answer = app.get(&format!("http://[::1]:8000{}", one.path("/download"))).await.ok();
    let url = answer["download_url"].as_str().unwrap();
    assert!(url.starts_with("http://[::1]:8000/greenroom-uploads/"), "{url}");
}

#[tokio::test]
async fn a_dry_run_gives_nothing_and_checks_everything() {
    let app = TestApp::start().await;
    let request = json!({ "name": "iris", "deployment": { "config": {} }, "dry_run": true });
    let nothing = json!({ "creds": null, "s3_bucket": null, "s3_key": null, "s3_region": null });
    assert_eq!(app.post(PREPARE, request).await.ok(), nothing);
    let request =
        json!({ "name": "iris", "deployment": { "config": { "resources": { "cpu": "lots" } } }, "dry_run": true });
    app.post(PREPARE, request).await.is_invalid("deployment.config.resources.cpu");
    assert!(app.model_names().await.is_empty());
}

#[tokio::test]
async fn a_push_goes_to_a_name_or_to_a_model() {
    let app = TestApp::start().await;
    let pushed = app.push_model("iris").await;
    let deployment = json!({ "config": {} });
    let with = |fields: serde_json::Value| {
        let mut request = json!({ "deployment": deployment });
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        request
    };
    app.post(PREPARE, with(json!({ "model_id": pushed.model }))).await.ok();
    app.post(PREPARE, with(json!({ "name": "new", "team_id": app.team().await }))).await.ok();
    app.post(PREPARE, with(json!({}))).await.is_invalid("give name");
    app.post(PREPARE, with(json!({ "name": "n", "model_id": pushed.model }))).await.is_invalid("name and model_id");
    app.post(PREPARE, with(json!({ "team_id": "abcdefghij", "model_id": pushed.model }))).await.is_invalid("team_id");
    app.post(PREPARE, with(json!({ "name": "iris" }))).await.is_invalid("there is a model named \"iris\" already");
    app.post(PREPARE, with(json!({ "model_id": "abcd1234" }))).await.refuses(404, "NOT_FOUND", "there is no model");
    app.post(PREPARE, with(json!({ "model_id": "?" }))).await.refuses(404, "NOT_FOUND", "there is no model ?");
    app.post(PREPARE, with(json!({ "name": "n", "team_id": "abcdefghij" }))).await.refuses(404, "NOT_FOUND", "team");
}
