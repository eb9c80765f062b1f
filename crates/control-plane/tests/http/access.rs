//! Who may call what: every route that is served, with no key, with a key that is gone, and with a key of each type. What is not listed here
//! as open to more needs a key that may manage, so a new route is closed until somebody opens it here.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::support::{TestApp, stage};

/// Routes for keys that may manage keys.
const KEYS: [(&str, &str); 4] = [
    ("GET", "/v1/api_keys"),
    ("POST", "/v1/api_keys"),
    ("DELETE", "/v1/api_keys/{api_key_prefix}"),
    ("POST", "/v1/teams/{team_id}/api_keys"),
];
/// Routes for every key.
const ANY_KEY: [(&str, &str); 1] = [("GET", "/v1/spec")];
/// What is served beside the description: who answers to whom.
const UNDESCRIBED: [(&str, &str, Needs); 3] =
    [("GET", "/metrics", Needs::Metrics), ("POST", "/graphql", Needs::Manage), ("POST", "/graphql/", Needs::Manage)];
/// What needs no key: whether the server lives, and is ready.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Manage,
    Keys,
    Metrics,
    AnyKey,
}

/// Which types of keys may do what.
fn may(kind: &str, needs: Needs) -> bool {
    match kind {
        "PERSONAL" | "WORKSPACE_MANAGE_ALL" => true,
        "WORKSPACE_MANAGE_API_KEYS" => matches!(needs, Needs::Keys | Needs::AnyKey),
        "WORKSPACE_EXPORT_METRICS" => matches!(needs, Needs::Metrics | Needs::AnyKey),
        "WORKSPACE_INVOKE" => needs == Needs::AnyKey,
        other => panic!("{other} is not in the matrix"),
    }
}

const KINDS: [&str; 5] =
    ["PERSONAL", "WORKSPACE_MANAGE_ALL", "WORKSPACE_MANAGE_API_KEYS", "WORKSPACE_EXPORT_METRICS", "WORKSPACE_INVOKE"];

/// Every operation with what it needs.
fn operations() -> Vec<(Method, String, Needs)> {
    let spec = serde_json::to_value(control_plane::openapi()).unwrap();
    let needs = |method: &str, path: &str| match (method, path) {
        one if KEYS.contains(&one) => Needs::Keys,
        one if ANY_KEY.contains(&one) => Needs::AnyKey,
        _ => Needs::Manage,
    };
    let mut all = Vec::new();
    for (path, item) in spec["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let method = method.to_uppercase();
            let needs = needs(&method, path);
            all.push((method.parse().unwrap(), path.clone(), needs));
        }
    }
    all.extend(UNDESCRIBED.map(|(method, path, needs)| (method.parse().unwrap(), path.to_owned(), needs)));
    all
}

/// The status of an answer, without its body: some go on for ever.
async fn status(app: &TestApp, key: Option<&str>, method: &Method, path: &str) -> StatusCode {
    let mut request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    }
    app.router.clone().oneshot(request.body(Body::from("{}")).unwrap()).await.unwrap().status()
}

/// A path to something that is there.
fn filled(template: &str, things: &[(&str, &str)]) -> String {
    let path = things.iter().fold(template.to_owned(), |path, (name, value)| path.replace(name, value));
    assert!(!path.contains('{'), "{path} has a parameter that this test does not know");
    path
}

#[tokio::test]
async fn every_route_answers_to_the_keys_that_it_is_for_and_to_no_other() {
    let app = TestApp::start().await;
    let (first, _) = stage(&app).await;
    let team = app.team().await.to_string();
    let user: Value = app.get("/v1/users/me").await.ok()["user_id"].clone();
    let replica = app.store.replicas(Some(&first.deployment_id())).await.unwrap().remove(0).id.to_string();
    let things = [
        ("{model_id}", first.model.as_str()),
        ("{deployment_id}", first.deployment.as_str()),
        ("{replica_id}", &replica),
        ("{env_name}", "production"),
        ("{team_id}", &team),
        ("{user_id}", user.as_str().unwrap()),
        // What is named so is not there: nothing is lost when its deletion is allowed.
        ("{secret_name}", "nonesuch"),
        ("{policy_name}", "nonesuch"),
        ("{api_key_prefix}", "nonesuch"),
    ];
    let mut keys = Vec::new();
    for kind in KINDS {
        keys.push((kind, app.make_key(kind).await));
    }
    let gone = app.make_key("PERSONAL").await;
    app.delete(&format!("/v1/api_keys/{}", gone.split_once('.').unwrap().0)).await.ok();
    let before = app.get("/v1/audit_logs?limit=200").await.ok();

    for path in OPEN {
        assert_eq!(status(&app, None, &Method::GET, path).await, StatusCode::OK, "{path}");
    }
    let operations = operations();
    assert!(operations.len() > 80, "the description has all routes");
    for (method, template, needs) in &operations {
        let path = filled(template, &things);
        for key in [None, Some("unknown.key"), Some(gone.as_str())] {
            assert_eq!(status(&app, key, method, &path).await, 401, "{method} {template} with {key:?}");
        }
        for (kind, key) in keys.iter().filter(|(kind, _)| !may(kind, *needs)) {
            assert_eq!(status(&app, Some(key), method, &path).await, 403, "{method} {template} with {kind}");
        }
    }
    assert_eq!(app.get("/v1/audit_logs?limit=200").await.ok(), before, "what was refused has changed nothing");

    // Reading is allowed to whom it is for. That changes are is the subject of other tests.
    for (method, template, needs) in operations.iter().filter(|(method, ..)| method == Method::GET) {
        let path = filled(template, &things);
        for (kind, key) in keys.iter().filter(|(kind, _)| may(kind, *needs)) {
            let status = status(&app, Some(key), method, &path).await;
            assert!(status != 401 && status != 403 && status != 500, "{method} {template} with {kind}: {status}");
        }
    }
}
