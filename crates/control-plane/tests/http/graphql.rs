//! GraphQL as the truss client 0.18.35 speaks it: its own documents, with ids of ours.

use axum::http::Method;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::support::{TestApp, archive_of, model_archive, pushed};

const USER_ENV: &str = r#"{"truss_client_version":"0.18.35","python_version":"3.11.7","git_info":null}"#;
const VERSION: &str = "model_version { id oracle { id name hostname } instance_type { name } }";

/// What a document is answered, which is no error.
async fn ask(app: &TestApp, document: &str, variables: Value) -> Value {
    let mut answer = app.post("/graphql/", json!({ "query": document, "variables": variables })).await.ok();
    assert_eq!(answer.get("errors"), None, "{answer:#}");
    answer["data"].take()
}

/// The first error of a document, which changes nothing.
async fn refused(app: &TestApp, document: &str, variables: Value) -> (String, String) {
    let answer = app.post("/graphql/", json!({ "query": document, "variables": variables })).await.ok();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let error = &answer["errors"][0];
    (text(&error["message"]), text(&error["extensions"]["code"]))
}

fn encoded(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

fn variables(labels: Option<&str>, raw_config: &str) -> Value {
    json!({ "trussUserEnv": USER_ENV, "userDeployMetadata": labels, "rawConfig": encoded(raw_config) })
}

/// The document with which the client pushes; `arguments` are those that differ.
fn push_document(field: &str, arguments: &str, s3_key: &str, config: &Value) -> String {
    format!(
        "mutation ($trussUserEnv: String, $userDeployMetadata: JSONString, $rawConfig: String) {{
             {field}( {arguments} s3_key: \"{s3_key}\" config: \"{}\" truss_user_env: $trussUserEnv
                 user_deploy_metadata: $userDeployMetadata raw_config: $rawConfig ) {{ {VERSION} }} }}",
        encoded(&config.to_string())
    )
}

#[tokio::test]
async fn whoami_and_teams_name_the_caller_and_one_default_team() {
    let app = TestApp::start().await;
    let found = ask(&app, "query{organization{workspace_name}user{email}}", Value::Null).await;
    assert_eq!(found["user"]["email"], "admin@localhost");
    assert!(found["organization"]["workspace_name"].is_string());
    let teams = ask(&app, "query Teams { teams { id name default } }", Value::Null).await;
    assert_eq!(teams["teams"], json!([{ "id": app.team().await, "name": teams["teams"][0]["name"], "default": true }]));
}

#[tokio::test]
async fn a_push_makes_a_model_and_the_next_one_adds_to_it() {
    let app = TestApp::start().await;
    let team = app.team().await;
    let credentials = ask(
        &app,
        "{ model_s3_upload_credentials { s3_bucket s3_key aws_access_key_id aws_secret_access_key aws_session_token } }",
        Value::Null,
    )
    .await["model_s3_upload_credentials"]
        .take();
    assert_eq!(credentials["endpoint_url"], "http://localhost:8000", "the client hands it on to its S3 library");
    let key = credentials["s3_key"].as_str().unwrap();
    app.upload_as(key, model_archive()).await;

    let arguments = format!(
        "name: \"iris\" semver_bump: \"MINOR\" allow_truss_download: true team_id: \"{team}\" deploy_timeout_minutes: 12"
    );
    let document = push_document("create_model_from_truss", &arguments, key, &json!({ "python_version": "py311" }));
    let made = ask(&app, &document, variables(None, "# kept\n")).await;
    let version = &made["create_model_from_truss"]["model_version"];
    let model = version["oracle"]["id"].as_str().unwrap();
    assert_eq!(version["oracle"]["hostname"], format!("http://localhost:8000/models/{model}"));
    assert_eq!(version["instance_type"]["name"], "1x2");

    let second = app.upload(model_archive()).await;
    let arguments = format!(
        "model_id: \"{model}\" semver_bump: \"MINOR\" scale_down_old_production: false preserve_env_instance_type: true
         name: \"dep-1\" environment_name: \"production\""
    );
    let document = push_document("create_model_version_from_truss", &arguments, &second, &json!({}));
    ask(&app, &document, variables(Some(r#"{"a": "b"}"#), "")).await;

    let document = format!(
        "{{ model(id: \"{model}\") {{ id name hostname team {{ id name }} versions {{ id semver truss_hash truss_signature is_draft \
         is_primary current_model_deployment_status {{ status }} }} }} }}"
    );
    let found = ask(&app, &document, Value::Null).await;
    let versions = found["model"]["versions"].as_array().unwrap();
    assert_eq!(found["model"]["team"]["id"], json!(team));
    assert_eq!(versions.len(), 2);
    assert_eq!(versions[0]["current_model_deployment_status"]["status"], "BUILDING_MODEL");
    let first = app.get(&format!("/v1/models/{model}/deployments?name=deployment-1")).await.ok();
    let config = format!("/v1/models/{model}/deployments/{}/config", first["deployments"][0]["id"].as_str().unwrap());
    assert_eq!(app.get(&config).await.ok()["raw_config"], "# kept\n");
    let named = app.get(&format!("/v1/models/{model}/deployments?name=dep-1")).await.ok();
    assert_eq!(named["deployments"][0]["labels"], json!({ "a": "b" }));
    let id = named["deployments"][0]["id"].as_str().unwrap().parse().unwrap();
    assert!(app.store.deployment(&id).await.unwrap().keep_previous);
}

#[tokio::test]
async fn a_draft_is_the_models_development_deployment_and_is_overwritten_in_place() {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let key = app.upload(model_archive()).await;
        let document =
            push_document("deploy_draft_truss", "name: \"iris\" allow_truss_download: true", &key, &json!({}));
        let made = ask(&app, &document, variables(None, "")).await;
        ids.push(made["deploy_draft_truss"]["model_version"]["id"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    let document = format!("{{ model_version(id: {}) {{ id is_draft oracle{{ id name hostname }} }} }}", ids[0]);
    assert_eq!(ask(&app, &document, Value::Null).await["model_version"]["is_draft"], true);
}

#[tokio::test]
async fn a_signature_says_what_each_file_contains() {
    let app = TestApp::start().await;
    let archive = archive_of(&[("config.yaml", "model_name: iris\n"), ("model/model.py", "class Model: ...\n")]);
    let source = json!({ "name": "iris", "s3_key": app.upload(archive).await,
        "deployment": { "config": {}, "raw_config": "model_name: iris\n" } });
    let iris = pushed(app.post("/v1/models", json!({ "source": source })).await.ok());
    let document =
        format!("{{ model_version(id: \"{}\") {{ id is_draft truss_hash truss_signature }} }}", iris.deployment);
    let version = ask(&app, &document, Value::Null).await["model_version"].take();
    assert_eq!(version["truss_hash"].as_str().map(str::len), Some(64));
    let signature: Value = serde_json::from_str(version["truss_signature"].as_str().unwrap()).unwrap();
    assert_eq!(signature["config"], "model_name: iris\n");
    let hashes = &signature["content_hashes_by_path"];
    assert!(hashes["model"].is_null() && hashes["model/model.py"].is_string(), "{hashes:#}");
}

#[tokio::test]
async fn a_config_is_checked_before_anything_is_uploaded() {
    let app = TestApp::start().await;
    let check = async |config: Value| {
        let document = format!(
            "query ($trussUserEnv: String) {{ truss_validation( truss_user_env: $trussUserEnv config: \"{}\" ) {{ success \
             details }} }}",
            encoded(&config.to_string())
        );
        let found = ask(&app, &document, json!({ "trussUserEnv": USER_ENV })).await["truss_validation"].take();
        let details: Value = serde_json::from_str(found["details"].as_str().unwrap()).unwrap();
        (found["success"].as_bool().unwrap(), details)
    };
    assert_eq!(check(json!({})).await, (true, json!({ "errors": [], "warnings": [] })));
    let (success, details) = check(json!({ "resources": { "cpu": "many" } })).await;
    assert!(!success && details["errors"][0].as_str().unwrap().contains("resources.cpu"), "{details}");
    let (success, details) = check(json!({ "resources": { "cpu": "4000" } })).await;
    assert!(!success && details["errors"][0].as_str().unwrap().contains("resources"), "{details}");
}

#[tokio::test]
async fn a_refusal_has_the_words_of_the_routes_and_leaves_nothing() {
    let app = TestApp::start().await;
    let (message, code) = refused(&app, "{ model(id: \"nope\") { id } }", Value::Null).await;
    assert_eq!((message.as_str(), code.as_str()), ("there is no model nope", "NOT_FOUND"));
    let document = push_document("create_model_from_truss", "name: \"iris\"", "uploads/x/y", &json!({}));
    let (message, _) = refused(&app, &document, variables(None, "")).await;
    assert!(message.contains("nothing has been uploaded"), "{message}");
    let broken = document.replace(&encoded("{}"), "***");
    let (message, _) = refused(&app, &broken, variables(None, "")).await;
    assert!(message.starts_with("config: it is not base64"), "{message}");
    let (message, _) = refused(&app, &document, variables(Some("[1]"), "")).await;
    assert!(message.contains("it is not a JSON object"), "{message}");
    assert!(app.model_names().await.is_empty());
}

#[tokio::test]
async fn the_endpoint_asks_for_a_key_and_bounds_what_one_document_may_ask() {
    let app = TestApp::start().await;
    let request = json!({ "query": "{ teams { id } }" });
    app.call_as(None, axum::http::Method::POST, "/graphql/", Some(request.clone())).await.refuses(
        401,
        "UNAUTHENTICATED",
        "no valid API key",
    );
    let invoker = app.make_key("WORKSPACE_INVOKE").await;
    let answer = app.call_as(Some(&invoker), axum::http::Method::POST, "/graphql/", Some(request)).await;
    assert_eq!(answer.status, 403);
    let many: String = (0..300).map(|number| format!("a{number}: teams {{ id }} ")).collect();
    let (message, _) = refused(&app, &format!("{{ {many} }}"), Value::Null).await;
    assert!(message.contains("complex"), "{message}");
    let (message, _) = refused(&app, "{ nothing_like_that }", Value::Null).await;
    assert!(message.contains("nothing_like_that"), "{message}");
}

#[tokio::test]
async fn a_push_into_a_restricted_environment_or_another_teams_model_is_refused() {
    let app = TestApp::start().await;
    let first = app.push_model("iris").await;
    let other = app.post("/v1/teams", json!({ "name": "other" })).await.ok()["id"].as_str().unwrap().to_owned();
    let (_, member) = app.make_person("member@x", &[(app.team().await.as_str(), "MEMBER")]).await;
    let (_, stranger) = app.make_person("stranger@x", &[(&other, "MEMBER")]).await;
    let restricted = json!({ "manage_access": { "is_restricted": true, "user_ids": [] } });
    app.patch("/v1/environment_groups/production", restricted).await.ok();
    let arguments = format!("model_id: \"{}\" semver_bump: \"MINOR\" environment_name: \"production\"", first.model);
    let key = app.upload(model_archive()).await;
    let document = push_document("create_model_version_from_truss", &arguments, &key, &json!({}));
    let before = app.get(&first.model_path("/deployments")).await.ok();
    for (key, why) in
        [(&member, "environment production is restricted"), (&stranger, "of somebody who is not in that team")]
    {
        let body = json!({ "query": document, "variables": variables(None, "") });
        let answer = app.call_as(Some(key), Method::POST, "/graphql/", Some(body)).await.ok();
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "PERMISSION_DENIED", "{answer}");
        assert!(error["message"].as_str().unwrap().contains(why), "{answer}");
    }
    assert_eq!(app.get(&first.model_path("/deployments")).await.ok(), before);
}
