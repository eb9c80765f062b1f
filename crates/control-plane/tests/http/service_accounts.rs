//! Service accounts, and the tokens that they ask for.

use axum::{
    body::Body,
    http::{Method, Request},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::support::{Answer, TestApp};

const TOKEN: &str = "/v1/oauth/token";
const TWO_HOURS_MS: u64 = 2 * 3_600_000;

async fn make(app: &TestApp, name: &str) -> (String, String, String) {
    let made = app.post("/v1/service_accounts", json!({ "name": name })).await.ok();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&made["service_account"]["id"]), text(&made["service_account"]["client_id"]), text(&made["client_secret"]))
}

async fn ask(app: &TestApp, id: &str, secret: &str) -> Answer {
    let body = json!({ "grant_type": "client_credentials", "client_id": id, "client_secret": secret });
    app.call_as(None, Method::POST, TOKEN, Some(body)).await
}

async fn is_good(app: &TestApp, token: &str) -> bool {
    app.call_as(Some(token), Method::GET, "/v1/users/me", None).await.status == 200
}

#[tokio::test]
async fn a_service_account_gets_a_token_for_two_hours() {
    let app = TestApp::start().await;
    let model = app.push_model("iris").await;
    let (account, id, secret) = make(&app, "ci").await;
    let answer = ask(&app, &id, &secret).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let answer = answer.ok();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(7200)));
    let token = answer["access_token"].as_str().unwrap();
    let me = app.call_as(Some(token), Method::GET, "/v1/users/me", None).await.ok();
    assert_eq!((&me["user_id"], &me["name"]), (&json!(account), &json!("ci")));
    app.call_as(Some(token), Method::GET, &model.model_path(""), None).await.ok();
    let policy = app.call_as(Some(token), Method::POST, "/v1/teams", Some(json!({ "name": "x" }))).await;
    policy.refuses(403, "PERMISSION_DENIED", "administrator");
    app.pass(TWO_HOURS_MS - 1);
    assert!(is_good(&app, token).await);
    app.pass(1);
    assert!(!is_good(&app, token).await);
}

#[tokio::test]
async fn what_it_did_is_told_by_its_name() {
    let app = TestApp::start().await;
    let (account, id, secret) = make(&app, "ci").await;
    let token = ask(&app, &id, &secret).await.ok()["access_token"].as_str().unwrap().to_owned();
    let set = json!({ "name": "hf", "value": "v" });
    app.call_as(Some(&token), Method::POST, "/v1/secrets", Some(set)).await.ok();
    let entries = app.get(&format!("/v1/audit_logs?user_ids={account}")).await.ok();
    let types: Vec<_> = entries["items"].as_array().unwrap().iter().map(|entry| &entry["event_type"]).collect();
    assert_eq!(types, ["SECRET_UPDATED", "TOKEN_ISSUED"]);
    let all = app.get("/v1/audit_logs?limit=200").await.ok().to_string();
    assert!(!all.contains(&secret) && !all.contains(token.split_once('.').unwrap().1));
    let keys = app.get("/v1/api_keys").await.ok().to_string();
    assert!(!keys.contains(token.split_once('.').unwrap().0), "tokens of programs are no keys to be managed");
}

#[tokio::test]
async fn a_form_and_basic_credentials_are_taken_as_the_standard_has_them() {
    let app = TestApp::start().await;
    let (_, id, secret) = make(&app, "ci").await;
    let form = || Request::post(TOKEN).header("content-type", "application/x-www-form-urlencoded");
    let whole = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    app.answer_to(form().body(Body::from(whole)).unwrap()).await.ok();
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{secret}")));
    let request = form().header("authorization", basic).body(Body::from("grant_type=client_credentials")).unwrap();
    app.answer_to(request).await.ok();
}

#[tokio::test]
async fn anything_else_gets_no_token_and_an_error_as_the_standard_has_it() {
    let app = TestApp::start().await;
    let (_, id, secret) = make(&app, "ci").await;
    let (_, other, _) = make(&app, "other").await;
    for (id, secret) in [(id.as_str(), "wrong"), ("nonesuch", secret.as_str()), (other.as_str(), secret.as_str())] {
        let answer = ask(&app, id, secret).await;
        assert_eq!((answer.status.as_u16(), &answer.body["error"]), (401, &json!("invalid_client")));
        assert_eq!(answer.headers["www-authenticate"], "Basic");
    }
    for (body, error) in [
        (json!({ "grant_type": "password" }), "unsupported_grant_type"),
        (json!({ "client_id": id }), "invalid_request"),
        (json!({ "grant_type": "client_credentials" }), "invalid_client"),
    ] {
        let answer = app.call_as(None, Method::POST, TOKEN, Some(body)).await;
        assert_eq!(answer.body["error"], error, "{:#}", answer.body);
        assert!(answer.body["error_description"].as_str().is_some_and(|text| !text.is_empty()));
    }
}

#[tokio::test]
async fn another_secret_ends_the_one_before_with_its_tokens_and_deletion_ends_all() {
    let app = TestApp::start().await;
    let (account, id, secret) = make(&app, "ci").await;
    let token =
        async |id: &str, secret: &str| ask(&app, id, secret).await.ok()["access_token"].as_str().unwrap().to_owned();
    let first = token(&id, &secret).await;
    let rotated = app.post(&format!("/v1/service_accounts/{account}/rotate"), json!({})).await.ok();
    assert!(!is_good(&app, &first).await);
    assert_eq!(ask(&app, &id, &secret).await.body["error"], "invalid_client");
    let new = rotated["service_account"]["client_id"].as_str().unwrap();
    let second = token(new, rotated["client_secret"].as_str().unwrap()).await;
    assert!(is_good(&app, &second).await);
    let listed = app.get("/v1/service_accounts").await.ok();
    assert_eq!(listed["service_accounts"][0], rotated["service_account"]);
    app.delete(&format!("/v1/service_accounts/{account}")).await.ok();
    assert!(!is_good(&app, &second).await);
    app.delete(&format!("/v1/service_accounts/{account}")).await.refuses(404, "NOT_FOUND", "service account");
    let me = app.get("/v1/users/me").await.ok()["user_id"].as_str().unwrap().to_owned();
    app.delete(&format!("/v1/service_accounts/{me}")).await.refuses(404, "NOT_FOUND", "service account");
}
