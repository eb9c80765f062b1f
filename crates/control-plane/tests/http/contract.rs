//! Every served route: it is described, as the contract has it, and it refuses strangers.

use std::{collections::BTreeSet, sync::LazyLock};

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::TestApp;

pub static SCHEMAS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../../tests/contract/schemas.json")).unwrap());
pub static OPERATIONS: LazyLock<Vec<Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../../tests/contract/operations.json")).unwrap());
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi/v1.json");

/// Served beside the contract, answered at once.
const OURS_ALONE: [(&str, &str); 22] = [
    ("POST", "/v1/models/{model_id}/release"),
    ("POST", "/v1/models/{model_id}/release_plan"),
    ("GET", "/v1/workspace_settings"),
    ("PATCH", "/v1/workspace_settings"),
    ("GET", "/v1/policies"),
    ("POST", "/v1/policies"),
    ("POST", "/v1/policies:explain"),
    ("GET", "/v1/policies/{policy_name}"),
    ("PUT", "/v1/policies/{policy_name}"),
    ("DELETE", "/v1/policies/{policy_name}"),
    ("GET", "/v1/models/{model_id}/environments/{env_name}/policies"),
    ("PUT", "/v1/models/{model_id}/environments/{env_name}/policies"),
    ("GET", "/v1/models/{model_id}/deployments/{deployment_id}/policies"),
    ("PUT", "/v1/models/{model_id}/deployments/{deployment_id}/policies"),
    ("GET", "/v1/models/{model_id}/deployments/{deployment_id}/replicas"),
    ("GET", "/v1/activity"),
    ("GET", "/v1/models/{model_id}/deployments/{deployment_id}/autoscaling_decisions"),
    ("GET", "/v1/spec"),
    ("POST", "/v1/models/{model_id}/environments/{env_name}/promotion_plan"),
    ("POST", "/v1/models/{model_id}/environments/{env_name}/rollback"),
    ("GET", "/v1/models/{model_id}/environments/{env_name}/promotion"),
    ("GET", "/v1/models/{model_id}/environments/{env_name}/promotions"),
];

/// Served beside the contract, with answers that go on: `events.rs` listens to them.
pub const STREAMS: [(&str, &str); 2] =
    [("GET", "/v1/events"), ("GET", "/v1/models/{model_id}/deployments/{deployment_id}/logs/stream")];

/// Served beside the contract, about who may what: `members.rs`, `service_accounts.rs` and `sign_ins.rs` walk them.
pub const OF_PEOPLE: [(&str, &str); 19] = [
    ("POST", "/v1/users"),
    ("PATCH", "/v1/users/{user_id}"),
    ("DELETE", "/v1/users/{user_id}"),
    ("POST", "/v1/teams"),
    ("PATCH", "/v1/teams/{team_id}"),
    ("DELETE", "/v1/teams/{team_id}"),
    ("GET", "/v1/teams/{team_id}/members"),
    ("PUT", "/v1/teams/{team_id}/members/{user_id}"),
    ("DELETE", "/v1/teams/{team_id}/members/{user_id}"),
    ("GET", "/v1/service_accounts"),
    ("POST", "/v1/service_accounts"),
    ("DELETE", "/v1/service_accounts/{service_account_id}"),
    ("POST", "/v1/service_accounts/{service_account_id}/rotate"),
    ("POST", "/v1/oauth/token"),
    ("GET", "/v1/oauth/options"),
    ("GET", "/v1/oauth/sign_in"),
    ("GET", "/v1/oauth/callback"),
    ("POST", "/v1/oauth/device_authorization"),
    ("POST", "/v1/oauth/device"),
];
/// Where callers bring something in place of a key.
const KEYLESS: [&str; 5] = [
    "/v1/oauth/token",
    "/v1/oauth/options",
    "/v1/oauth/sign_in",
    "/v1/oauth/callback",
    "/v1/oauth/device_authorization",
];

pub type Operation = (String, String);

pub fn described() -> BTreeSet<Operation> {
    let spec = serde_json::to_value(control_plane::openapi()).unwrap();
    let paths = spec["paths"].as_object().unwrap();
    let methods =
        |item: &Value| item.as_object().unwrap().keys().filter(|key| *key != "parameters").cloned().collect::<Vec<_>>();
    paths
        .iter()
        .flat_map(|(path, item)| methods(item).into_iter().map(|method| (method.to_uppercase(), path.clone())))
        .collect()
}

pub fn owned(operations: &[(&str, &str)]) -> BTreeSet<Operation> {
    operations.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect()
}

#[track_caller]
pub fn validate(name: &str, what: &str, body: &Value) {
    let mut schema = SCHEMAS.clone();
    assert!(schema["$defs"][name].is_object(), "the contract has no {name}");
    schema["$ref"] = format!("#/$defs/{name}").into();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let errors: Vec<_> =
        validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{what}: {name} {body:#}: {errors:#?}");
}

#[test]
fn the_description_lists_what_the_contract_lists() {
    let contract: BTreeSet<Operation> = OPERATIONS
        .iter()
        .map(|one| (one["method"].as_str().unwrap().to_owned(), one["path"].as_str().unwrap().to_owned()))
        .collect();
    let ours = [owned(&OURS_ALONE), owned(&STREAMS), owned(&OF_PEOPLE)];
    let expected: BTreeSet<Operation> = contract.into_iter().chain(ours.into_iter().flatten()).collect();
    assert_eq!(described(), expected);
}

#[test]
fn operation_ids_are_unique() {
    let spec = serde_json::to_value(control_plane::openapi()).unwrap();
    let mut seen = BTreeSet::new();
    for item in spec["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(seen.insert(id.to_owned()), "{id} is there twice");
        }
    }
}

#[test]
fn every_reference_in_the_description_leads_somewhere() {
    fn walk(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|field| walk(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            _ => {}
        }
    }
    let spec = serde_json::to_value(control_plane::openapi()).unwrap();
    let mut found = BTreeSet::new();
    walk(&spec, &mut found);
    let dangling: Vec<_> = found.iter().filter(|reference| spec.pointer(&reference[1..]).is_none()).collect();
    assert!(dangling.is_empty() && !found.is_empty(), "{dangling:?}");
}

#[test]
fn the_committed_description_is_the_one_that_the_code_makes() {
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    let committed: Value = serde_json::from_str(&committed).unwrap_or_default();
    let made = serde_json::to_value(control_plane::openapi()).unwrap();
    assert!(committed == made, "openapi/v1.json is stale: run `make openapi` and commit the difference");
}

#[tokio::test]
async fn every_route_refuses_a_missing_and_a_wrong_key() {
    let app = TestApp::start().await;
    let prefix = app.key.split_once('.').unwrap().0;
    let wrong = [format!("{prefix}.wrong"), "nobody.wrong".into(), "nodot".into(), String::new()];
    for (method, path) in described().into_iter().filter(|(_, path)| !KEYLESS.contains(&path.as_str())) {
        let method: Method = method.parse().unwrap();
        app.call_as(None, method.clone(), &path, None).await.refuses(401, "UNAUTHENTICATED", "Api-Key");
        for key in &wrong {
            let answer = app.call_as(Some(key), method.clone(), &path, None).await;
            answer.refuses(401, "UNAUTHENTICATED", "Api-Key");
        }
    }
}

#[tokio::test]
async fn every_route_but_those_of_keys_refuses_keys_of_lesser_types() {
    let app = TestApp::start().await;
    let (invoke, metrics) = (app.make_key("WORKSPACE_INVOKE").await, app.make_key("WORKSPACE_EXPORT_METRICS").await);
    let keys = app.make_key("WORKSPACE_MANAGE_API_KEYS").await;
    for (method, path) in described() {
        if path == "/v1/spec" || KEYLESS.contains(&path.as_str()) {
            continue;
        }
        // Whoever may not call a route learns nothing from it: ids that are there answer as ids that are not.
        let concrete = path
            .replace("{model_id}", "abcd1234")
            .replace("{deployment_id}", "abcd123")
            .replace("{team_id}", "abcdefghij")
            .replace("{user_id}", "abcdefghij")
            .replace("{service_account_id}", "abcdefghij");
        let method: Method = method.parse().unwrap();
        for key in [&invoke, &metrics] {
            let answer = app.call_as(Some(key), method.clone(), &concrete, Some(json!({}))).await;
            answer.refuses(403, "PERMISSION_DENIED", "may not do this");
        }
        if !path.contains("api_keys") {
            let answer = app.call_as(Some(&keys), method, &concrete, Some(json!({}))).await;
            answer.refuses(403, "PERMISSION_DENIED", "may not do this");
        }
    }
}
