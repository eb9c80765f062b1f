//! Every served route, called once as its client would: what it takes and gives is what the contract says, and each change leaves an entry
//! in the audit log.

use std::collections::BTreeSet;

use axum::http::Method;
use planner::promotion::{Ending, Phase, Resume};
use serde_json::{Value, json};
use store::domain::Promotion;

use crate::{
    contract::{OF_PEOPLE, OPERATIONS, Operation, SCHEMAS, STREAMS, described, owned, validate},
    support::{Pushed, START, TestApp, model_archive, pushed},
};

/// Asked by another method than GET, and answered without a change.
const QUESTIONS: [(&str, &str); 5] = [
    ("POST", "/v1/prepare_model_upload"),
    ("POST", "/v1/models/{model_id}/deployments/{deployment_id}/logs"),
    ("POST", "/v1/models/{model_id}/environments/{env_name}/promotion_plan"),
    ("POST", "/v1/models/{model_id}/release_plan"),
    ("POST", "/v1/policies:explain"),
];

/// Called on the way where they have nothing to do. `deployments` and `patches` see them change something, and note that down.
const IDLE: [(&str, &str); 4] = [
    ("POST", "/v1/models/{model_id}/deployments/{deployment_id}/retry"),
    ("POST", "/v1/models/{model_id}/deployments/production/retry"),
    ("POST", "/v1/models/{model_id}/deployments/development/retry"),
    ("POST", "/v1/models/{model_id}/deployments/{deployment_id}/patches/sync"),
];

/// Calls routes by the contract's names, and keeps count.
struct Walk {
    app: TestApp,
    walked: BTreeSet<Operation>,
    /// Those that have left an entry in the audit log.
    noted: BTreeSet<Operation>,
}

impl Walk {
    /// One call. `template` names the operation, `path` has real ids in it.
    async fn call(&mut self, method: Method, template: &str, path: &str, body: Option<Value>) -> Value {
        let what = format!("{method} {template}");
        let operation = OPERATIONS.iter().find(|one| one["method"] == method.as_str() && one["path"] == template);
        if let (Some(name), Some(body)) = (operation.and_then(|one| one["request"].as_str()), &body) {
            validate(name, &what, body);
        }
        let before = self.newest_entry().await;
        let answer = self.app.call(method.clone(), path, body).await.ok();
        if self.newest_entry().await != before {
            self.noted.insert((method.to_string(), template.to_owned()));
        }
        if let Some(name) = operation.and_then(|one| one["response"].as_str()) {
            validate(name, &what, &answer);
        }
        self.walked.insert((method.to_string(), template.to_owned()));
        answer
    }

    async fn newest_entry(&self) -> Value {
        // Entries of one moment have no order of their own.
        self.app.pass(1);
        self.app.get("/v1/audit_logs?limit=1").await.ok()["items"].take()
    }

    async fn get(&mut self, template: &str, path: &str) -> Value {
        self.call(Method::GET, template, path, None).await
    }

    async fn post(&mut self, template: &str, path: &str, body: Option<Value>) -> Value {
        self.call(Method::POST, template, path, body).await
    }

    async fn patch(&mut self, template: &str, path: &str, body: Value) -> Value {
        self.call(Method::PATCH, template, path, Some(body)).await
    }

    async fn delete(&mut self, template: &str, path: &str) -> Value {
        self.call(Method::DELETE, template, path, None).await
    }
}

#[tokio::test]
async fn every_route_takes_and_gives_what_the_contract_says() {
    let mut walk = Walk { app: TestApp::start().await, walked: BTreeSet::new(), noted: BTreeSet::new() };
    people_and_keys(&mut walk).await;
    let pushed = models(&mut walk).await;
    deployments(&mut walk, &pushed).await;
    environments(&mut walk, &pushed).await;
    promotions(&mut walk, &pushed).await;
    audit_and_ends(&mut walk, &pushed).await;
    assert_eq!(walk.walked, &(&described() - &owned(&STREAMS)) - &owned(&OF_PEOPLE));
    let changes = walk.walked.iter().filter(|(method, _)| method != "GET").cloned().collect::<BTreeSet<_>>();
    assert_eq!(
        walk.noted,
        &(&changes - &owned(&QUESTIONS)) - &owned(&IDLE),
        "each change leaves an entry in the audit log, and nothing else does"
    );
}

async fn people_and_keys(walk: &mut Walk) {
    let team = walk.get("/v1/teams", "/v1/teams").await["teams"][0]["id"].as_str().unwrap().to_owned();
    let of_team = |rest: &str| format!("/v1/teams/{team}{rest}");
    walk.get("/v1/teams/{team_id}", &of_team("")).await;
    walk.get("/v1/teams/{team_id}/regions", &of_team("/regions")).await;
    walk.get("/v1/regions", "/v1/regions").await;
    walk.get("/v1/users", "/v1/users?limit=1").await;
    let me = walk.get("/v1/users/me", "/v1/users/me").await;
    let user = format!("/v1/users/{}", me["user_id"].as_str().unwrap());
    walk.get("/v1/users/{user_id}", &user).await;
    walk.get("/v1/organizations/me", "/v1/organizations/me").await;
    walk.get("/v1/instance_types", "/v1/instance_types").await;
    walk.get("/v1/instance_type_prices", "/v1/instance_type_prices").await;
    walk.get("/v1/spec", "/v1/spec").await;

    let secret = json!({ "name": "hf_token", "value": "hunter2" });
    walk.post("/v1/secrets", "/v1/secrets", Some(secret.clone())).await;
    walk.get("/v1/secrets", "/v1/secrets").await;
    walk.delete("/v1/secrets/{secret_name}", "/v1/secrets/hf-token").await;
    walk.post("/v1/teams/{team_id}/secrets", &of_team("/secrets"), Some(secret)).await;
    walk.get("/v1/teams/{team_id}/secrets", &of_team("/secrets")).await;
    walk.delete("/v1/teams/{team_id}/secrets/{secret_name}", &of_team("/secrets/hf_token")).await;

    let personal = json!({ "name": "mine", "type": "PERSONAL" });
    walk.post("/v1/api_keys", "/v1/api_keys", Some(personal)).await;
    let of_workspace = json!({ "name": "ci", "type": "WORKSPACE_MANAGE_ALL" });
    let key = walk.post("/v1/teams/{team_id}/api_keys", &of_team("/api_keys"), Some(of_workspace)).await;
    walk.get("/v1/api_keys", "/v1/api_keys").await;
    let prefix = key["api_key"].as_str().unwrap().split_once('.').unwrap().0.to_owned();
    walk.delete("/v1/api_keys/{api_key_prefix}", &format!("/v1/api_keys/{prefix}")).await;
}

async fn models(walk: &mut Walk) -> Pushed {
    let team = walk.app.team().await;
    let deployment =
        json!({ "config": { "model_name": "iris" }, "raw_config": "model_name: iris\n", "labels": { "team": "red" } });
    let prepare = json!({ "name": "iris", "deployment": deployment });
    let prepared = walk.post("/v1/prepare_model_upload", "/v1/prepare_model_upload", Some(prepare)).await;
    let s3_key = prepared["s3_key"].as_str().unwrap().to_owned();
    walk.app.upload_as(&s3_key, model_archive()).await;
    let source = json!({ "kind": "model_archive", "name": "iris", "deployment": deployment, "s3_key": s3_key });
    let first = pushed(walk.post("/v1/models", "/v1/models", Some(json!({ "source": source }))).await);
    let s3_key = walk.app.upload(model_archive()).await;
    let source = json!({ "kind": "model_archive", "name": "other", "deployment": { "config": {} }, "s3_key": s3_key });
    let of_team = format!("/v1/teams/{team}/models");
    let other = pushed(walk.post("/v1/teams/{team_id}/models", &of_team, Some(json!({ "source": source }))).await);
    walk.get("/v1/models", "/v1/models?name=iris").await;
    walk.get("/v1/teams/{team_id}/models", &of_team).await;
    walk.get("/v1/models/{model_id}", &first.model_path("")).await;
    walk.patch("/v1/models/{model_id}", &other.model_path(""), json!({ "name": "renamed" })).await;
    walk.delete("/v1/models/{model_id}", &other.model_path("")).await;
    first
}

async fn deployments(walk: &mut Walk, first: &Pushed) {
    const ALL: &str = "/v1/models/{model_id}/deployments";
    const ONE: &str = "/v1/models/{model_id}/deployments/{deployment_id}";
    let s3_key = walk.app.upload(model_archive()).await;
    let deployment = json!({ "config": {}, "deployment_name": "second", "deploy_timeout_minutes": 30 });
    let source = json!({ "kind": "model_archive", "deployment": deployment, "s3_key": s3_key });
    let all = first.model_path("/deployments");
    let second = pushed(walk.post(ALL, &all, Some(json!({ "source": source }))).await);
    walk.get(ALL, &all).await;
    walk.get(ONE, &first.path("")).await;
    walk.patch(ONE, &second.path(""), json!({ "name": "renamed" })).await;
    walk.get(&format!("{ONE}/config"), &first.path("/config?output_format=both")).await;
    walk.get(&format!("{ONE}/download"), &first.path("/download")).await;
    let logs = format!("{ONE}/logs");
    walk.get(&logs, &first.path("/logs?limit=10&direction=asc&includes=a&includes=b")).await;
    walk.post(
        &logs,
        &first.path("/logs"),
        Some(json!({ "end_epoch_millis": START.0 + 1, "includes": [], "excludes": [] })),
    )
    .await;

    let replica = walk.app.make_active(first).await;
    let development = json!({ "config": {}, "is_development": true });
    let development = pushed(walk.app.push(&first.model, development).await.ok());
    walk.app.make_active(&development).await;
    let targets =
        [("{deployment_id}", first.deployment.as_str()), ("production", "production"), ("development", "development")];
    for (concurrency, (template, target)) in (2..).zip(targets) {
        let (template, path) = (format!("{ALL}/{template}"), format!("{all}/{target}"));
        if !template.ends_with('}') {
            walk.get(&template, &path).await;
        }
        let settings = json!({ "scale_down_delay": 60, "concurrency_target": concurrency });
        walk.patch(&format!("{template}/autoscaling_settings"), &format!("{path}/autoscaling_settings"), settings)
            .await;
        for verb in ["deactivate", "activate", "retry"] {
            walk.post(&format!("{template}/{verb}"), &format!("{path}/{verb}"), None).await;
        }
    }
    patches(walk, &development).await;
    let (policy, settings) = (json!({ "policy": "REJECT_ON_FULL" }), "request_backpressure_settings");
    walk.patch(&format!("{ONE}/{settings}"), &first.path(&format!("/{settings}")), policy).await;
    walk.get(&format!("{ONE}/autoscaling_decisions"), &first.path("/autoscaling_decisions?limit=5")).await;
    walk.get(&format!("{ONE}/replicas"), &first.path("/replicas")).await;
    startups(walk, ONE, &first.path("/startups"), 1).await;
    metrics(walk, ONE, &first.path("/metrics")).await;
    walk.delete(&format!("{ONE}/replicas/{{replica_id}}"), &first.path(&format!("/replicas/{replica}"))).await;
    walk.delete(ONE, &second.path("")).await;
}

async fn patches(walk: &mut Walk, development: &Pushed) {
    const ALL: &str = "/v1/models/{model_id}/deployments/{deployment_id}/patches";
    let all = development.path("/patches");
    let point = walk.get(&format!("{ALL}/state"), &format!("{all}/state")).await["running_patch_point"].take();
    walk.post(&format!("{ALL}/sync"), &format!("{all}/sync"), Some(json!({}))).await;
    let next = json!({ "content_hashes": point["content_hashes"], "config": point["config"] });
    let op = json!({ "type": "model_code", "action": "ADD", "path": "more.py", "content": "" });
    let patch = json!({ "prev_patch_hash": point["hash"], "next_patch_point": next, "patch_ops": [op] });
    walk.post(ALL, &all, Some(patch)).await;
    walk.get(&format!("{ALL}/state"), &format!("{all}/state")).await;
}

async fn startups(walk: &mut Walk, template: &str, path: &str, count: usize) {
    let window = "start_epoch_millis=0&end_epoch_millis=9999999999999";
    let found = walk.get(&format!("{template}/startups"), &format!("{path}?{window}&outcomes=SUCCESS&limit=1")).await;
    assert_eq!(found["total_count"], count, "{found:#}");
    walk.get(&format!("{template}/startups/summary"), &format!("{path}/summary?{window}")).await;
}

async fn metrics(walk: &mut Walk, template: &str, path: &str) {
    for mode in ["CURRENT", "SUMMARY", "SERIES"] {
        let found = walk.get(&format!("{template}/metrics"), &format!("{path}?mode={mode}")).await;
        assert_eq!(found["metric_descriptors"].as_array().unwrap().len(), 3, "{found:#}");
    }
}

async fn environments(walk: &mut Walk, first: &Pushed) {
    const ALL: &str = "/v1/models/{model_id}/environments";
    const ONE: &str = "/v1/models/{model_id}/environments/{env_name}";
    let all = first.model_path("/environments");
    let staging = json!({ "name": "staging", "autoscaling_settings": { "max_replica": 3 }, "promotion_settings": { "rolling_deploy": true } });
    walk.post(ALL, &all, Some(staging)).await;
    walk.get(ALL, &all).await;
    let one = |name: &str, rest: &str| format!("{all}/{name}{rest}");
    walk.get(ONE, &one("production", "")).await;
    walk.patch(ONE, &one("production", ""), json!({ "autoscaling_settings": { "min_replica": 1 } })).await;
    walk.get(&format!("{ONE}/logs"), &one("production", "/logs")).await;
    startups(walk, ONE, &one("production", "/startups"), 1).await;
    metrics(walk, ONE, &one("production", "/metrics")).await;
    walk.post(&format!("{ONE}/deactivate"), &one("production", "/deactivate"), None).await;
    walk.post(&format!("{ONE}/activate"), &one("production", "/activate"), None).await;
    walk.delete(ONE, &one("staging", "")).await;
}

async fn promotions(walk: &mut Walk, first: &Pushed) {
    const ONE: &str = "/v1/models/{model_id}/environments/{env_name}";
    const PROMOTE: &str = "/v1/models/{model_id}/deployments/{deployment_id}/promote";
    let one = |rest: &str| first.model_path(&format!("/environments/production{rest}"));
    let candidate = pushed(walk.app.push(&first.model, json!({ "config": {} })).await.ok());
    walk.app.make_active(&candidate).await;
    let promote = json!({ "deployment_id": candidate.deployment, "preserve_env_instance_type": false,
        "promotion_settings_override": { "rolling_deploy": true } });
    walk.post(&format!("{ONE}/promotion_plan"), &one("/promotion_plan"), Some(promote.clone())).await;
    walk.post(&format!("{ONE}/promote"), &one("/promote"), Some(promote)).await;
    for (verb, shift) in [
        ("pause_promotion", Phase::Growing),
        ("resume_promotion", paused()),
        ("force_cancel_promotion", Phase::Growing),
    ] {
        let put = |promotion: &mut Promotion| (promotion.state.phase, promotion.command) = (shift, None);
        walk.app.move_promotion(first, "production", put).await;
        walk.post(&format!("{ONE}/{verb}"), &one(&format!("/{verb}")), None).await;
    }
    walk.get(ONE, &one("")).await;
    walk.get(&format!("{ONE}/promotion"), &one("/promotion")).await;
    let roll_forward = "force_roll_forward_promotion";
    walk.post(&format!("{ONE}/{roll_forward}"), &one(&format!("/{roll_forward}")), None).await;
    walk.post(&format!("{ONE}/cancel_promotion"), &one("/cancel_promotion"), None).await;
    walk.app.end_promotion(first, "production", Ending::Canceled { reason: "by request".into() }).await;
    walk.get(ONE, &one("")).await;

    walk.post(PROMOTE, &candidate.path("/promote"), Some(json!({ "scale_down_previous_production": false }))).await;
    walk.app.end_promotion(first, "production", Ending::Succeeded).await;
    walk.get(ONE, &one("")).await;
    walk.post(&format!("{ONE}/rollback"), &one("/rollback"), None).await;
    walk.app.end_promotion(first, "production", Ending::Succeeded).await;
    let staging = pushed(
        walk.app
            .push(
                &first.model,
                json!({ "config": {}, "environment_name": "releasing",
        "create_environment_if_missing": true }),
            )
            .await
            .ok(),
    );
    walk.app.make_active(&staging).await;
    let release = json!({ "from": "releasing", "to": "production" });
    walk.post("/v1/models/{model_id}/release_plan", &first.model_path("/release_plan"), Some(release.clone())).await;
    walk.post("/v1/models/{model_id}/release", &first.model_path("/release"), Some(release)).await;
    walk.app.end_promotion(first, "production", Ending::Canceled { reason: "by request".into() }).await;
    let development = "/v1/models/{model_id}/deployments/development/promote";
    walk.post(development, &first.model_path("/deployments/development/promote"), None).await;
    let history = walk.get(&format!("{ONE}/promotions"), &one("/promotions?limit=10")).await;
    assert_eq!(history["promotions"].as_array().unwrap().len(), 6, "{history:#}");
}

fn paused() -> Phase {
    Phase::Paused { since: START, resume: Resume::Growing }
}

async fn policies(walk: &mut Walk, first: &Pushed) {
    const WORKSPACE: &str = "/v1/workspace_settings";
    walk.get(WORKSPACE, WORKSPACE).await;
    let settings = json!({ "default_environment": null, "initial_environments": ["staging"] });
    walk.call(Method::PATCH, WORKSPACE, WORKSPACE, Some(settings)).await;
    walk.call(Method::PATCH, WORKSPACE, WORKSPACE, Some(json!({ "initial_environments": [] }))).await;
    const ALL: &str = "/v1/policies";
    const ONE: &str = "/v1/policies/{policy_name}";
    let rule = json!({ "type": "location", "locations": [{ "type": "country", "name": "fr" }] });
    let mut made = rule.clone();
    made["name"] = "fr".into();
    walk.post(ALL, ALL, Some(made)).await;
    walk.get(ALL, ALL).await;
    walk.get(ONE, "/v1/policies/fr").await;
    walk.call(Method::PUT, ONE, "/v1/policies/fr", Some(rule)).await;
    walk.post("/v1/policies:explain", "/v1/policies:explain", Some(json!({ "environment_policies": ["fr"] }))).await;
    let of_environment = "/v1/models/{model_id}/environments/{env_name}/policies";
    let of_deployment = "/v1/models/{model_id}/deployments/{deployment_id}/policies";
    let environment = first.model_path("/environments/production/policies");
    for (template, path) in [(of_environment, &environment), (of_deployment, &first.path("/policies"))] {
        walk.call(Method::PUT, template, path, Some(json!({ "policies": ["fr"] }))).await;
        walk.get(template, path).await;
        walk.call(Method::PUT, template, path, Some(json!({ "policies": [] }))).await;
    }
    walk.delete(ONE, "/v1/policies/fr").await;
}

/// Events that the contract has no names for.
const OUR_EVENTS: [&str; 2] = ["MODEL_DEPLOYMENT_PATCH_STAGED", "MODEL_DEPLOYMENT_RENAMED"];

async fn audit_and_ends(walk: &mut Walk, first: &Pushed) {
    walk.get("/v1/audit_logs", "/v1/audit_logs?event_type_groups=PROMOTED").await;
    walk.get("/v1/models/{model_id}/audit_logs", &first.model_path("/audit_logs?limit=1")).await;
    let all = walk.app.get("/v1/audit_logs?limit=200").await.ok();
    let mut seen = BTreeSet::new();
    for entry in all["items"].as_array().unwrap() {
        let event_type = entry["event_type"].as_str().unwrap();
        seen.insert(event_type);
        if OUR_EVENTS.contains(&event_type) {
            continue;
        }
        validate("AuditLogEntry", event_type, entry);
        let words = event_type.split('_').map(|word| word[..1].to_owned() + &word[1..].to_lowercase());
        validate(&format!("AuditLogEvent{}", words.collect::<String>()), event_type, &entry["event_data"]);
    }
    let of_contract = SCHEMAS["$defs"]["AuditLogEntry"]["properties"]["event_type"]["enum"].as_array().unwrap();
    let missing: Vec<_> = OUR_EVENTS.iter().filter(|event_type| !seen.contains(*event_type)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(OUR_EVENTS.iter().all(|event_type| !of_contract.contains(&json!(event_type))));
    // What follows writes more events that the contract does not have.
    policies(walk, first).await;
    const GROUPS: &str = "/v1/environment_groups";
    const TEAM_GROUPS: &str = "/v1/teams/{team_id}/environment_groups";
    let of_team = format!("/v1/teams/{}/environment_groups", walk.app.team().await);
    let change = json!({ "manage_access": { "is_restricted": true, "user_ids": [] } });
    for (template, path) in [(GROUPS, GROUPS), (TEAM_GROUPS, &of_team)] {
        walk.get(template, path).await;
        let (template, path) = (format!("{template}/{{env_name}}"), format!("{path}/production"));
        walk.get(&template, &path).await;
        walk.patch(&template, &path, change.clone()).await;
    }
    walk.get("/v1/activity", "/v1/activity").await;
    let usage = "/v1/billing/usage_summary";
    walk.get(usage, &format!("{usage}?start_date=2026-01-01&end_date=2026-01-31T00:00:00Z")).await;
}
