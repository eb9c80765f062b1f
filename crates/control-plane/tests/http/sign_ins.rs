//! Signing in without a key. The way by an identity provider is gone in a real browser, in `tests/dashboard`; here are its refusals, and
//! devices that wait.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, TestApp};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const DEVICE: &str = "/v1/oauth/device_authorization";

async fn wait(app: &TestApp) -> (String, String) {
    let begun = app.call_as(None, Method::POST, DEVICE, Some(json!({}))).await;
    assert_eq!(begun.headers["cache-control"], "no-store");
    let begun = begun.ok();
    let text = |field: &str| begun[field].as_str().unwrap().to_owned();
    let (device, user) = (text("device_code"), text("user_code"));
    assert_eq!(text("verification_uri_complete"), format!("http://localhost:8000/ui/device?code={user}"));
    assert_eq!((&begun["expires_in"], &begun["interval"]), (&json!(600), &json!(2)));
    (device, user)
}

async fn ask(app: &TestApp, device: &str) -> Answer {
    let body = json!({ "grant_type": GRANT, "device_code": device });
    app.call_as(None, Method::POST, "/v1/oauth/token", Some(body)).await
}

async fn is_told(app: &TestApp, device: &str, error: &str) {
    let answer = ask(app, device).await;
    assert_eq!((answer.status.as_u16(), &answer.body["error"]), (400, &json!(error)), "{:#}", answer.body);
}

fn answer(code: &str, allow: bool) -> Value {
    json!({ "user_code": code, "allow": allow })
}

#[tokio::test]
async fn a_device_is_signed_in_as_whoever_agrees_and_once() {
    let app = TestApp::start().await;
    let (_, ann) = app.make_person("ann@x", &[(&app.team().await.to_string(), "MEMBER")]).await;
    let (device, code) = wait(&app).await;
    is_told(&app, &device, "authorization_pending").await;
    let typed = code.to_lowercase().replace('-', "");
    app.call_as(Some(&ann), Method::POST, "/v1/oauth/device", Some(answer(&typed, true))).await.ok();
    let token = ask(&app, &device).await.ok();
    assert_eq!(token["expires_in"], 7 * 24 * 3600);
    let token = token["access_token"].as_str().unwrap();
    let me = app.call_as(Some(token), Method::GET, "/v1/users/me", None).await.ok();
    assert_eq!((&me["email"], &me["role"]), (&json!("ann@x"), &json!("MEMBER")));
    is_told(&app, &device, "expired_token").await;
    let keys = app.call_as(Some(&ann), Method::GET, "/v1/api_keys", None).await.ok();
    let mut ends = keys["keys"].as_array().unwrap().iter().map(|key| &key["expires_at"]);
    assert!(ends.any(|end| *end == "2026-01-09T03:04:05.679+00:00"), "their own sign-ins are theirs to end: {keys}");
    let log = app.get("/v1/audit_logs?limit=200").await.ok().to_string();
    assert!(log.contains("DEVICE_ALLOWED") && !log.contains(&device));
}

#[tokio::test]
async fn a_device_that_is_refused_or_waits_too_long_stays_out() {
    let app = TestApp::start().await;
    let (device, code) = wait(&app).await;
    app.post("/v1/oauth/device", answer(&code, false)).await.ok();
    is_told(&app, &device, "access_denied").await;
    let (device, code) = wait(&app).await;
    app.pass(600_000);
    is_told(&app, &device, "expired_token").await;
    app.post("/v1/oauth/device", answer(&code, true)).await.is_invalid("no device waits with the code");
    is_told(&app, "unknown", "expired_token").await;
}

#[tokio::test]
async fn only_a_person_agrees() {
    let app = TestApp::start().await;
    let (_, code) = wait(&app).await;
    let key = app.make_key("WORKSPACE_MANAGE_ALL").await;
    let refused = app.call_as(Some(&key), Method::POST, "/v1/oauth/device", Some(answer(&code, true))).await;
    refused.refuses(403, "PERMISSION_DENIED", "a device is signed in as a person");
}

#[tokio::test]
async fn a_server_without_a_provider_says_so_and_a_code_from_elsewhere_opens_nothing() {
    let app = TestApp::start().await;
    let open = async |path: &str| app.call_as(None, Method::GET, path, None).await;
    assert_eq!(open("/v1/oauth/options").await.ok(), json!({ "provider": null }));
    let challenge = "a".repeat(43);
    open(&format!("/v1/oauth/sign_in?code_challenge={challenge}")).await.is_invalid("no identity provider");
    for (query, told) in [("state=x&code=y", "no%20identity%20provider"), ("error=access%5Fdenied", "access%5Fdenied")]
    {
        let back = open(&format!("/v1/oauth/callback?{query}")).await;
        assert_eq!(back.status, 303);
        let to = back.headers["location"].to_str().unwrap();
        assert!(to.starts_with("/ui/signed-in#error=") && to.contains(told), "{to}");
    }
    let body = json!({ "grant_type": "authorization_code", "code": "x", "code_verifier": "y" });
    let answer = app.call_as(None, Method::POST, "/v1/oauth/token", Some(body)).await;
    assert_eq!((answer.status.as_u16(), &answer.body["error"]), (400, &json!("invalid_grant")));
}
