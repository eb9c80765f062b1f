//! Secrets: values go in and do not come out.

use serde_json::json;

use crate::support::{TestApp, redacted};

#[tokio::test]
async fn setting_a_secret_again_keeps_its_id_whatever_the_spelling() {
    let app = TestApp::start().await;
    let first = app.post("/v1/secrets", json!({ "name": "hf_access_token", "value": "one" })).await.ok();
    app.pass(1000);
    let second = app.post("/v1/secrets", json!({ "name": "hf-access-token", "value": "two" })).await.ok();
    assert_eq!((&first["id"], &first["created_at"]), (&second["id"], &second["created_at"]));
    let listed = app.get("/v1/secrets").await.ok();
    assert_eq!(
        redacted(listed),
        json!({ "secrets": [{
            "id": "[id]", "created_at": "2026-01-02T03:04:05.678+00:00", "name": "hf-access-token", "team_name": "Default"
        }] })
    );
}

#[tokio::test]
async fn a_deleted_secret_is_gone() {
    let app = TestApp::start().await;
    app.post("/v1/secrets", json!({ "name": "a.b", "value": "v" })).await.ok();
    assert_eq!(app.delete("/v1/secrets/a_b").await.ok(), json!({ "name": "a.b" }));
    app.delete("/v1/secrets/a_b").await.refuses(404, "NOT_FOUND", "there is no secret a_b");
    assert_eq!(app.get("/v1/secrets").await.ok(), json!({ "secrets": [] }));
}

#[tokio::test]
async fn a_secret_that_could_not_be_a_file_is_refused() {
    let app = TestApp::start().await;
    for name in ["", "../etc/passwd", "a b", "_"] {
        app.post("/v1/secrets", json!({ "name": name, "value": "v" })).await.is_invalid("secret name");
    }
    let large = json!({ "name": "s", "value": "v".repeat(70_000) });
    app.post("/v1/secrets", large).await.is_invalid("value");
    app.post("/v1/secrets", json!({ "name": "s" })).await.is_invalid("value");
    app.get("/v1/teams/abcdefghij/secrets").await.refuses(404, "NOT_FOUND", "team");
}
