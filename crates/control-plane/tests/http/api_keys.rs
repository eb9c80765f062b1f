//! API keys: what they open, how they are made, and where they show.

use axum::http::Method;
use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn both_schemes_are_taken() {
    let app = TestApp::start().await;
    for scheme in ["Api-Key", "Bearer", "bearer"] {
        let authorization = format!("{scheme} {}", app.key);
        app.send(Method::GET, "/v1/users/me", Some(&authorization), axum::body::Body::empty()).await.ok();
    }
    let authorization = format!("Basic {}", app.key);
    let answer = app.send(Method::GET, "/v1/users/me", Some(&authorization), axum::body::Body::empty()).await;
    answer.refuses(401, "UNAUTHENTICATED", "Bearer");
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn a_new_key_works_until_it_is_deleted() {
    let app = TestApp::start().await;
    let key = app.make_key("PERSONAL").await;
    app.call_as(Some(&key), Method::GET, "/v1/users/me", None).await.ok();
    let prefix = key.split_once('.').unwrap().0;
    assert_eq!(app.delete(&format!("/v1/api_keys/{prefix}")).await.ok(), json!({ "prefix": prefix }));
    app.call_as(Some(&key), Method::GET, "/v1/users/me", None).await.refuses(401, "UNAUTHENTICATED", "");
    app.delete(&format!("/v1/api_keys/{prefix}")).await.refuses(404, "NOT_FOUND", prefix);
}

#[tokio::test]
async fn a_listing_shows_prefixes_and_never_keys() {
    let app = TestApp::start().await;
    app.pass(1);
    let key = app.make_key("WORKSPACE_INVOKE").await;
    let listed = app.get("/v1/api_keys").await.ok();
    let prefix = key.split_once('.').unwrap().0;
    let found = listed["keys"].as_array().unwrap().iter().find(|one| one["prefix"] == prefix).unwrap().clone();
    assert_eq!(
        found,
        json!({
            "prefix": prefix, "name": null, "type": "WORKSPACE_INVOKE", "model_ids": null, "team_name": "Default",
            "created_at": "2026-01-02T03:04:05.679+00:00", "last_used_at": null, "owner": null,
            "environment_names": null, "requests_per_minute": null, "expires_at": null
        })
    );
    let admin = &listed["keys"][0];
    assert_eq!((&admin["type"], &admin["owner"]["email"]), (&json!("PERSONAL"), &json!("admin@localhost")));
    assert!(!listed.to_string().contains(key.split_once('.').unwrap().1));
}

#[tokio::test]
async fn a_key_for_keys_makes_keys_of_its_team_only() {
    let app = TestApp::start().await;
    let keys = app.make_key("WORKSPACE_MANAGE_API_KEYS").await;
    app.pass(1);
    let invoke = json!({ "type": "WORKSPACE_INVOKE" });
    app.call_as(Some(&keys), Method::POST, "/v1/api_keys", Some(invoke)).await.ok();
    let personal = json!({ "type": "PERSONAL" });
    let answer = app.call_as(Some(&keys), Method::POST, "/v1/api_keys", Some(personal)).await;
    answer.refuses(403, "PERMISSION_DENIED", "may do more than itself");
    let all = json!({ "type": "WORKSPACE_MANAGE_ALL" });
    for path in ["/v1/api_keys".to_owned(), format!("/v1/teams/{}/api_keys", app.team().await)] {
        let answer = app.call_as(Some(&keys), Method::POST, &path, Some(all.clone())).await;
        answer.refuses(403, "PERMISSION_DENIED", "may do more than itself");
    }
    let deployer = app.make_key("WORKSPACE_MANAGE_ALL").await;
    app.call_as(Some(&deployer), Method::POST, "/v1/api_keys", Some(all)).await.ok();
    let answer = app.call_as(Some(&deployer), Method::POST, "/v1/api_keys", Some(json!({ "type": "PERSONAL" }))).await;
    answer.is_invalid("only a personal key can make a PERSONAL key");
    let listed = app.call_as(Some(&keys), Method::GET, "/v1/api_keys", None).await.ok();
    let kinds: Vec<_> = listed["keys"].as_array().unwrap().iter().map(|key| key["type"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"WORKSPACE_INVOKE") && !kinds.contains(&"PERSONAL"), "{kinds:?}");
}

#[tokio::test]
async fn a_request_for_a_key_that_makes_no_sense_is_refused() {
    let app = TestApp::start().await;
    let team = app.team().await;
    app.post("/v1/api_keys", json!({})).await.is_invalid("type");
    app.post("/v1/api_keys", json!({ "type": "ROOT" })).await.is_invalid("type: unknown variant `ROOT`");
    app.post("/v1/api_keys", json!({ "type": "PERSONAL", "name": "Mine!" })).await.is_invalid("\"Mine!\"");
    app.post("/v1/api_keys", json!({ "type": "PERSONAL", "model_ids": [] })).await.is_invalid("model_ids");
    let unknown = json!({ "type": "WORKSPACE_INVOKE", "model_ids": ["abcd1234"] });
    app.post("/v1/api_keys", unknown).await.is_invalid("there is no model abcd1234");
    let malformed = json!({ "type": "WORKSPACE_INVOKE", "model_ids": ["x"] });
    app.post("/v1/api_keys", malformed).await.is_invalid("model_ids: \"x\"");
    let personal = json!({ "type": "PERSONAL" });
    app.post(&format!("/v1/teams/{team}/api_keys"), personal).await.is_invalid("cannot be PERSONAL");
    app.post("/v1/teams/abcdefghij/api_keys", json!({ "type": "WORKSPACE_INVOKE" })).await.refuses(
        404,
        "NOT_FOUND",
        "team",
    );
}

#[tokio::test]
async fn names_of_keys_are_unique_while_they_live() {
    let app = TestApp::start().await;
    let request = json!({ "type": "WORKSPACE_INVOKE", "name": "ci" });
    let key = app.post("/v1/api_keys", request.clone()).await.ok();
    app.post("/v1/api_keys", request.clone()).await.is_invalid("\"ci\"");
    let prefix = key["api_key"].as_str().unwrap().split_once('.').unwrap().0.to_owned();
    app.delete(&format!("/v1/api_keys/{prefix}")).await.ok();
    app.post("/v1/api_keys", request).await.ok();
}

#[tokio::test]
async fn a_first_start_makes_one_key_and_a_second_none() {
    let app = TestApp::start().await;
    let again = control_plane::ops::bootstrap(&app.store, app.now(), Some("admin.0123456789")).await.unwrap();
    assert_eq!(again, None);
    app.get("/v1/users/me").await.ok();
}
