//! What every route shares: errors of one shape, request ids, limits, health.

use std::{net::IpAddr, time::Duration};

use api::internal::client::ClientAddress;
use axum::{
    body::{Body, Bytes},
    http::{Method, Request},
};
use futures::stream;
use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn unknown_paths_and_methods_answer_in_the_same_shape() {
    let app = TestApp::start().await;
    app.get("/v1/nonesuch").await.refuses(404, "NOT_FOUND", "/v1/nonesuch");
    app.get("/").await.refuses(404, "NOT_FOUND", "GET /v1/spec");
    app.call(Method::PUT, "/v1/models", None).await.refuses(405, "METHOD_NOT_ALLOWED", "PUT");
    app.call(Method::POST, "/healthz", None).await.refuses(405, "METHOD_NOT_ALLOWED", "POST");
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own() {
    let app = TestApp::start().await;
    let mut seen = std::collections::BTreeSet::new();
    for path in ["/healthz", "/v1/models", "/v1/nonesuch"] {
        let answer = app.get(path).await;
        let id = answer.headers["x-baseten-request-id"].to_str().unwrap().to_owned();
        assert_eq!(id.len(), 32);
        if answer.status.is_client_error() {
            assert_eq!(answer.body["request_id"], id, "an error says its id in its body too");
        }
        assert!(seen.insert(id));
    }
    assert!(app.call_as(None, Method::GET, "/v1/models", None).await.headers.contains_key("x-baseten-request-id"));
}

#[tokio::test]
async fn health_needs_no_key() {
    let app = TestApp::start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(app.call_as(None, Method::GET, path, None).await.ok(), json!({ "status": "ok" }));
    }
}

#[tokio::test]
async fn no_page_of_another_site_is_allowed_in() {
    let app = TestApp::start().await;
    let answer = app.get("/v1/models").await;
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let app = TestApp::start().await;
    let key = format!("Bearer {}", app.key);
    for body in ["", "{", "not json", r#"{"name": "a", "value": "b"} {}"#] {
        let answer = app.send(Method::POST, "/v1/secrets", Some(&key), Body::from(body)).await;
        answer.is_invalid("not JSON");
    }
    app.post("/v1/secrets", json!([])).await.is_invalid("body");
}

#[tokio::test]
async fn the_character_nul_names_nothing() {
    let app = TestApp::start().await;
    let pushed = app.push_model("iris").await;
    for path in [pushed.model_path("/environments/a%00"), "/v1/models/%00".into()] {
        app.get(&path).await.refuses(404, "NOT_FOUND", "there is nothing at");
    }
    app.delete("/v1/api_keys/a%00").await.refuses(404, "NOT_FOUND", "there is nothing at");
    app.delete("/v1/secrets/a%00").await.refuses(404, "NOT_FOUND", "there is nothing at");
    for path in ["/v1/models?name=a%00".to_owned(), pushed.model_path("/deployments?name=%00")] {
        app.get(&path).await.is_invalid("name: it has the character NUL");
    }
    app.get(&pushed.path("/logs?limit=1&request_id=%00")).await.is_invalid("request_id: ");
    app.post(&pushed.path("/logs"), json!({ "replica": "\0" })).await.is_invalid("replica: ");
    let key = format!("{}\0", app.upload(Vec::new()).await);
    let source = json!({ "kind": "model_archive", "name": "n", "deployment": { "config": {} }, "s3_key": key });
    app.post("/v1/models", json!({ "source": source })).await.is_invalid("source.s3_key");
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_named_by_its_path() {
    let app = TestApp::start().await;
    let body = json!({ "source": { "name": "m", "deployment": { "config": {}, "labels": 1 } } });
    app.post("/v1/models", body).await.is_invalid("source.deployment.labels");
    app.post("/v1/models", json!({ "source": {} })).await.is_invalid("source: missing field `name`");
    app.get("/v1/users?limit=many").await.is_invalid("limit");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let app = TestApp::with(|settings| settings.max_body_bytes = 1000).await;
    let secret = json!({ "name": "s", "value": "v".repeat(1000) });
    app.post("/v1/secrets", secret).await.refuses(413, "PAYLOAD_TOO_LARGE", "upload endpoint");
}

#[tokio::test]
async fn a_key_that_calls_one_endpoint_too_often_is_told_when_to_come_back() {
    let app = TestApp::with(|settings| settings.rate_limits.retries_per_minute = 2.try_into().unwrap()).await;
    let pushed = app.push_model("iris").await;
    for _ in 0..2 {
        app.post(&pushed.path("/retry"), json!({})).await.ok();
    }
    let answer = app.post(&pushed.path("/retry"), json!({})).await;
    assert_eq!(answer.status.as_u16(), 429);
    let wait = answer.body["retry_after"].as_u64().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(answer.headers["retry-after"].to_str().unwrap(), wait.to_string());
    assert_eq!(answer.body["error"], "Rate limit exceeded. Please try again later.");
    // Other endpoints and other keys have limits of their own.
    app.get(&pushed.path("")).await.ok();
    let other = app.make_key("PERSONAL").await;
    app.call_as(Some(&other), Method::POST, &pushed.path("/retry"), None).await.ok();
}

#[tokio::test]
async fn one_who_comes_too_often_without_a_key_keeps_no_other_from_signing_in() {
    let app = TestApp::with(|settings| settings.rate_limits.requests_per_second = 1.try_into().unwrap()).await;
    let from = async |address: [u8; 4]| {
        let request = Request::get("/v1/oauth/options").extension(ClientAddress(IpAddr::from(address)));
        app.answer(request, None, Body::empty()).await.status.as_u16()
    };
    let mut calls = 0;
    while from([192, 0, 2, 1]).await != 429 {
        calls += 1;
        assert!(calls < 50, "nobody stops it");
    }
    assert_eq!(from([192, 0, 2, 2]).await, 200);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let app = TestApp::with(|settings| settings.body_timeout = Duration::from_millis(10)).await;
    let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let key = format!("Bearer {}", app.key);
    let answer = app.send(Method::POST, "/v1/secrets", Some(&key), never).await;
    answer.is_invalid("the body was not there after 0.01 s");
}
