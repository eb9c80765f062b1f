//! Who may call what: every route that is served, with no key, with a key that is gone, and with a key of each type. What is not listed here
//! as open to more needs a key that may manage, so a new route is closed until somebody opens it here.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::{TestApp, production, pushed, stage};

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
/// Where callers bring something in place of a key: `service_accounts.rs` and `sign_ins.rs` say what.
const KEYLESS: [&str; 5] = [
    "/v1/oauth/token",
    "/v1/oauth/options",
    "/v1/oauth/sign_in",
    "/v1/oauth/callback",
    "/v1/oauth/device_authorization",
];

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
        if KEYLESS.contains(&path.as_str()) {
            continue;
        }
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let method = method.to_uppercase();
            let needs = needs(&method, path);
            all.push((method.parse().unwrap(), path.clone(), needs));
        }
    }
    all.extend(UNDESCRIBED.map(|(method, path, needs)| (method.parse().unwrap(), path.to_owned(), needs)));
    all
}

/// What a route is about, which says whom it is for beside the type of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// A model: for those who are in its team.
    Model,
    /// A team: for those who are in it.
    Team,
    /// The whole organization: for its administrators.
    Organization,
    /// What is the caller's own, or everybody's.
    Own,
}

/// Routes for administrators of the organization.
const OF_ORGANIZATION: [(&str, &str); 14] = [
    ("GET", "/v1/audit_logs"),
    ("POST", "/v1/policies"),
    ("PUT", "/v1/policies/{policy_name}"),
    ("DELETE", "/v1/policies/{policy_name}"),
    ("POST", "/v1/users"),
    ("PATCH", "/v1/users/{user_id}"),
    ("DELETE", "/v1/users/{user_id}"),
    ("POST", "/v1/teams"),
    ("PATCH", "/v1/workspace_settings"),
    ("GET", "/v1/service_accounts"),
    ("POST", "/v1/service_accounts"),
    ("DELETE", "/v1/service_accounts/{service_account_id}"),
    ("POST", "/v1/service_accounts/{service_account_id}/rotate"),
    ("PATCH", "/v1/environment_groups/{env_name}"),
];
/// Routes about what is the caller's own team's, their own, or everybody's.
const OWN: [(&str, &str); 31] = [
    ("GET", "/metrics"),
    ("POST", "/graphql"),
    ("POST", "/graphql/"),
    ("GET", "/v1/activity"),
    ("GET", "/v1/api_keys"),
    ("POST", "/v1/api_keys"),
    ("DELETE", "/v1/api_keys/{api_key_prefix}"),
    ("GET", "/v1/billing/usage_summary"),
    ("GET", "/v1/environment_groups"),
    ("GET", "/v1/environment_groups/{env_name}"),
    ("GET", "/v1/events"),
    ("GET", "/v1/instance_type_prices"),
    ("GET", "/v1/instance_types"),
    ("GET", "/v1/models"),
    ("POST", "/v1/models"),
    ("POST", "/v1/oauth/device"),
    ("GET", "/v1/organizations/me"),
    ("GET", "/v1/policies"),
    ("GET", "/v1/policies/{policy_name}"),
    ("POST", "/v1/policies:explain"),
    ("POST", "/v1/prepare_model_upload"),
    ("GET", "/v1/regions"),
    ("GET", "/v1/secrets"),
    ("POST", "/v1/secrets"),
    ("DELETE", "/v1/secrets/{secret_name}"),
    ("GET", "/v1/spec"),
    ("GET", "/v1/teams"),
    ("GET", "/v1/users"),
    ("GET", "/v1/users/me"),
    ("GET", "/v1/users/{user_id}"),
    ("GET", "/v1/workspace_settings"),
];

fn about(method: &Method, path: &str) -> About {
    let route = (method.as_str(), path);
    match path {
        _ if path.starts_with("/v1/models/{model_id}") => About::Model,
        _ if path.starts_with("/v1/teams/{team_id}") => About::Team,
        _ if OF_ORGANIZATION.contains(&route) => About::Organization,
        _ if OWN.contains(&route) => About::Own,
        _ => panic!("{method} {path} is not in the matrix: say what it is about"),
    }
}

/// A body that a route understands, where it does not understand an empty one.
fn body(method: &Method, path: &str) -> Value {
    let source = json!({
        "kind": "model_archive", "name": "m", "s3_key": "k", "deployment": { "config": {} }
    });
    let last = path.rsplit('/').next().unwrap();
    match (method.as_str(), last) {
        ("POST", "deployments" | "models") => json!({ "source": source }),
        ("POST", "environments") => json!({ "name": "other" }),
        ("POST", "teams") | ("PATCH", "{team_id}" | "{model_id}") => json!({ "name": "other" }),
        ("POST", "api_keys") => json!({ "type": "WORKSPACE_INVOKE" }),
        ("POST", "secrets") => json!({ "name": "s", "value": "v" }),
        ("POST", "users") => json!({ "email": "somebody@example.com" }),
        ("POST", "service_accounts") => json!({ "name": "ci" }),
        ("POST", "policies") | ("PUT", "{policy_name}") => {
            json!({ "name": "nonesuch", "type": "location", "locations": [{ "type": "country", "name": "fr" }] })
        }
        ("PUT", "policies") => json!({ "policies": [] }),
        ("POST", "promote" | "promotion_plan") if path.contains("{env_name}") => json!({ "deployment_id": "{second}" }),
        ("POST", "patches") => json!({
            "prev_patch_hash": "x",
            "next_patch_point": { "config": "", "content_hashes": {} },
            "patch_ops": [{ "type": "model_code", "action": "UPDATE", "path": "model.py", "content": "" }],
        }),
        ("POST", "release" | "release_plan") => json!({ "from": "staging", "to": "production" }),
        ("PATCH", "workspace_settings") => json!({ "default_environment": null }),
        ("PATCH", "{env_name}") if path.contains("groups") => json!({ "manage_access": { "is_restricted": true } }),
        ("PATCH", "autoscaling_settings") => json!({ "max_replica": 2 }),
        _ => json!({}),
    }
}

/// What lists of starts have to be asked with.
const STARTUPS_QUERY: &str = "?start_epoch_millis=1&end_epoch_millis=2";

/// A server with something behind every route.
struct Matrix {
    app: TestApp,
    things: Vec<(&'static str, String)>,
    /// A deployment that no environment serves.
    second: String,
}

impl Matrix {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let (first, second) = stage(&app).await;
        app.post(&first.model_path("/environments"), json!({ "name": "staging" })).await.ok();
        let team = app.team().await.to_string();
        let user: Value = app.get("/v1/users/me").await.ok()["user_id"].clone();
        let account = app.post("/v1/service_accounts", json!({ "name": "somebody" })).await.ok();
        let replica = app.store.replicas(Some(&first.deployment_id())).await.unwrap().remove(0).id.to_string();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let things = vec![
            ("{model_id}", first.model),
            ("{deployment_id}", first.deployment),
            ("{replica_id}", replica),
            ("{env_name}", "production".to_owned()),
            ("{team_id}", team),
            ("{user_id}", text(&user)),
            ("{service_account_id}", text(&account["service_account"]["id"])),
            // What is named so is not there: nothing is lost when its deletion is allowed.
            ("{secret_name}", "nonesuch".to_owned()),
            ("{policy_name}", "nonesuch".to_owned()),
            ("{api_key_prefix}", "nonesuch".to_owned()),
        ];
        Self { app, things, second: second.deployment }
    }

    /// The status of an answer, without its body: some go on for ever.
    async fn status(&self, key: Option<&str>, method: &Method, template: &str) -> StatusCode {
        let query = if template.contains("/startups") { STARTUPS_QUERY } else { "" };
        let path = self.things.iter().fold(template.to_owned(), |path, (name, value)| path.replace(name, value));
        assert!(!path.contains('{'), "{path} has a parameter that this test does not know");
        let mut request =
            Request::builder().method(method).uri(path + query).header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        let body = body(method, template).to_string().replace("{second}", &self.second);
        self.app.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap().status()
    }

    async fn audit_log(&self) -> Value {
        self.app.get("/v1/audit_logs?limit=200").await.ok()
    }
}

#[tokio::test]
async fn every_route_answers_to_the_types_of_keys_that_it_is_for_and_to_no_other() {
    let matrix = Matrix::new().await;
    let app = &matrix.app;
    let mut keys = Vec::new();
    for kind in KINDS {
        keys.push((kind, app.make_key(kind).await));
    }
    let gone = app.make_key("PERSONAL").await;
    app.delete(&format!("/v1/api_keys/{}", gone.split_once('.').unwrap().0)).await.ok();
    let before = matrix.audit_log().await;

    for path in OPEN {
        assert_eq!(matrix.status(None, &Method::GET, path).await, StatusCode::OK, "{path}");
    }
    let operations = operations();
    assert!(operations.len() > 80, "the description has all routes");
    for (method, template, needs) in &operations {
        for key in [None, Some("unknown.key"), Some(gone.as_str())] {
            assert_eq!(matrix.status(key, method, template).await, 401, "{method} {template} with {key:?}");
        }
        for (kind, key) in keys.iter().filter(|(kind, _)| !may(kind, *needs)) {
            assert_eq!(matrix.status(Some(key), method, template).await, 403, "{method} {template} with {kind}");
        }
    }
    assert_eq!(matrix.audit_log().await, before, "what was refused has changed nothing");

    // Reading is allowed to whom it is for. That changes are is the subject of other tests.
    for (method, template, needs) in operations.iter().filter(|(method, ..)| method == Method::GET) {
        for (kind, key) in keys.iter().filter(|(kind, _)| may(kind, *needs)) {
            let is_admins = about(method, template) == About::Organization;
            let status = matrix.status(Some(key), method, template).await;
            let is_open = status != 401 && status != 403 && status != 500;
            assert!(is_open || is_admins, "{method} {template} with {kind}: {status}");
        }
    }
}

#[tokio::test]
async fn every_route_is_for_the_teams_that_it_is_about() {
    let matrix = Matrix::new().await;
    let app = &matrix.app;
    let other = app.make_team("other").await;
    let (_, outsider) = app.make_person("outsider@x", &[(&other, "ADMIN")]).await;
    let (_, member) = app.make_person("member@x", &[(&matrix.things[4].1, "MEMBER")]).await;
    let of_other = app.post(&format!("/v1/teams/{other}/api_keys"), json!({ "type": "WORKSPACE_MANAGE_ALL" })).await;
    let of_other = of_other.ok()["api_key"].as_str().unwrap().to_owned();
    let before = matrix.audit_log().await;
    let mut wrong = Vec::new();
    for (method, template, _) in &operations() {
        let about = about(method, template);
        // The group of that name in another team is another one, and not there.
        let is_group = template == "/v1/environment_groups/{env_name}";
        let is_shut = matches!(about, About::Model | About::Team) || (about == About::Organization && !is_group);
        for (who, key, is_shut) in [
            ("somebody of another team", &outsider, is_shut),
            ("another team's key", &of_other, is_shut),
            ("a member", &member, about == About::Organization),
        ] {
            // That changes are allowed to whom they are for is the subject of other tests.
            if !is_shut && method != Method::GET {
                continue;
            }
            let status = matrix.status(Some(key), method, template).await.as_u16();
            if (status == 403) != is_shut || status == 401 || status == 500 {
                wrong.push(format!("{method} {template} for {who}: {status}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(matrix.audit_log().await, before, "what was refused has changed nothing");
}

/// What a member may do with a model whose production is restricted: what is not in production, and reading.
const OF_MEMBERS: [(&str, &str); 6] = [
    ("PATCH", "/v1/models/{model_id}"),
    ("POST", "/v1/models/{model_id}/deployments"),
    ("POST", "/v1/models/{model_id}/environments"),
    ("POST", "/v1/models/{model_id}/deployments/{deployment_id}/logs"),
    // There is no development deployment, and what is published is not patched.
    ("POST", "/v1/models/{model_id}/deployments/{deployment_id}/patches"),
    ("POST", "/v1/models/{model_id}/deployments/{deployment_id}/patches/sync"),
];

#[tokio::test]
async fn no_route_changes_a_restricted_environment_for_a_member() {
    let matrix = Matrix::new().await;
    let app = &matrix.app;
    let (_, member) = app.make_person("member@x", &[(&matrix.things[4].1, "MEMBER")]).await;
    let restricted = json!({ "manage_access": { "is_restricted": true, "user_ids": [] } });
    app.patch("/v1/environment_groups/production", restricted).await.ok();
    let before = matrix.audit_log().await;
    let operations = operations();
    let changes = operations.iter().filter(|(method, path, _)| {
        about(method, path) == About::Model && method != Method::GET && !OF_MEMBERS.contains(&(method.as_str(), path))
    });
    let mut wrong = Vec::new();
    for (method, template, _) in changes.filter(|(_, path, _)| !path.contains("deployments/development")) {
        let status = matrix.status(Some(&member), method, template).await;
        if status != 403 {
            wrong.push(format!("{method} {template}: {status}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(matrix.audit_log().await, before, "what was refused has changed nothing");
}

#[tokio::test]
async fn what_a_member_develops_reaches_a_restricted_environment_by_no_way() {
    let app = TestApp::start().await;
    let (first, _) = stage(&app).await;
    let development = app.push(&first.model, json!({ "config": {}, "is_development": true })).await.ok();
    app.make_active(&pushed(development.clone())).await;
    let (_, member) = app.make_person("member@x", &[(app.team().await.as_str(), "MEMBER")]).await;
    let restricted = json!({ "manage_access": { "is_restricted": true, "user_ids": [] } });
    app.patch("/v1/environment_groups/production", restricted).await.ok();
    let development = pushed(development);
    for (path, body) in [
        (first.model_path("/deployments/development/promote"), json!({})),
        (development.path("/promote"), json!({})),
        (production(&first, "/promote"), json!({ "deployment_id": development.deployment })),
        (production(&first, "/promotion_plan"), json!({ "deployment_id": development.deployment })),
    ] {
        let refused = app.call_as(Some(&member), Method::POST, &path, Some(body)).await;
        refused.refuses(403, "PERMISSION_DENIED", "environment production is restricted");
    }
    app.call_as(Some(&member), Method::GET, &development.path(""), None).await.ok();
    app.call_as(Some(&member), Method::POST, &development.path("/deactivate"), None).await.ok();
}

#[tokio::test]
async fn a_key_in_a_header_of_our_own_goes_before_another() {
    let app = TestApp::start().await;
    let status = async |headers: &[(&str, &str)]| {
        let request =
            headers.iter().fold(Request::get("/v1/models"), |request, (name, value)| request.header(*name, *value));
        app.answer(request, None, Body::empty()).await.status.as_u16()
    };
    let ours = format!("Api-Key {}", app.key);
    assert_eq!(status(&[("x-greenroom-authorization", &ours)]).await, 200);
    assert_eq!(status(&[("x-greenroom-authorization", &ours), ("authorization", "Bearer the model's")]).await, 200);
    assert_eq!(status(&[("x-greenroom-authorization", "Bearer wrong"), ("authorization", &ours)]).await, 401);
}
