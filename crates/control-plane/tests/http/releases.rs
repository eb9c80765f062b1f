//! Releases: what one environment serves goes to another.

use axum::http::Method;
use planner::{
    policy::{Inventory, Location, written},
    promotion::Ending,
};
use serde_json::{Value, json};

use crate::support::{Answer, Pushed, TestApp, production, pushed};

/// A model whose production serves A and whose development serves B.
async fn begin(app: &TestApp) -> (Pushed, Pushed) {
    let a = app.push_model("iris").await;
    app.make_active(&a).await;
    let b = deploy(app, &a, json!({ "config": { "model_name": "b" } })).await;
    (a, b)
}

/// Pushes something to development, which serves it then.
async fn deploy(app: &TestApp, model: &Pushed, deployment: Value) -> Pushed {
    app.pass(1000);
    let mut deployment = deployment;
    deployment["environment_name"] = "development".into();
    deployment["create_environment_if_missing"] = true.into();
    let sent = pushed(app.push(&model.model, deployment).await.ok());
    app.make_active(&sent).await;
    sent
}

fn from_development(more: Value) -> Value {
    let mut request = json!({ "from": "development", "to": "production" });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

async fn release(app: &TestApp, of: &Pushed, more: Value) -> Answer {
    app.post(&of.model_path("/release"), from_development(more)).await
}

/// The copy in the answer to a release, made active and brought to its end.
async fn arrived(app: &TestApp, of: &Pushed, answer: Value) -> Pushed {
    let copy = Pushed { deployment: answer["deployment"]["id"].as_str().unwrap().into(), ..of.clone() };
    app.make_active(&copy).await;
    app.end_promotion(of, "production", Ending::Succeeded).await;
    copy
}

async fn serves(app: &TestApp, of: &Pushed, environment: &str) -> Value {
    let path = of.model_path(&format!("/environments/{environment}"));
    app.get(&path).await.ok()["current_deployment"]["id"].clone()
}

async fn config(app: &TestApp, of: &Pushed, deployment: &Value) -> Value {
    let path = of.model_path(&format!("/deployments/{}/config", deployment.as_str().unwrap()));
    app.get(&path).await.ok()["config"].clone()
}

#[tokio::test]
async fn production_gets_what_development_serves_and_development_keeps_it() {
    let app = TestApp::start().await;
    let (a, b) = begin(&app).await;
    assert_eq!(serves(&app, &a, "production").await, json!(a.deployment));
    assert_eq!(serves(&app, &a, "development").await, json!(b.deployment));

    let copy = arrived(&app, &a, release(&app, &a, json!({})).await.ok()).await;
    assert_ne!(copy.deployment, b.deployment, "it is a deployment of its own");
    assert_eq!(serves(&app, &a, "production").await, json!(copy.deployment));
    assert_eq!(config(&app, &a, &json!(copy.deployment)).await, config(&app, &a, &json!(b.deployment)).await);
    assert_eq!(serves(&app, &a, "development").await, json!(b.deployment), "its origin stays as it was");
    assert_eq!(app.get(&a.path("")).await.ok()["environment"], Value::Null, "A is served nowhere any more");

    let c = deploy(&app, &a, json!({ "config": { "model_name": "c" } })).await;
    assert_eq!(serves(&app, &a, "development").await, json!(c.deployment));
    assert_eq!(serves(&app, &a, "production").await, json!(copy.deployment), "until the next release");
    app.post(&production(&a, "/rollback"), json!({})).await.ok();
    app.end_promotion(&a, "production", Ending::Succeeded).await;
    assert_eq!(serves(&app, &a, "production").await, json!(a.deployment), "a release is undone like a promotion");
}

#[tokio::test]
async fn what_changes_is_told_before_and_kept_with_the_promotion() {
    let app = TestApp::start().await;
    let a = app.push_model("iris").await;
    app.make_active(&a).await;
    let config = json!({ "model_name": "b", "resources": { "cpu": "1" },
        "environment_variables": { "TOKEN": "hunter2" } });
    deploy(&app, &a, json!({ "config": config })).await;
    let plan = app.post(&a.model_path("/release_plan"), from_development(json!({}))).await.ok();
    assert_eq!((&plan["refused"], &plan["previous_deployment_id"]), (&Value::Null, &json!(a.deployment)));
    assert_eq!(plan["copy_reasons"], json!(["environment development serves it"]));
    let changes = plan["difference"]["changes"].as_array().unwrap();
    let change = |field: &str| changes.iter().find(|one| one["field"] == field).unwrap();
    let added = json!({ "part": "CONFIG", "field": "model_name", "kind": "ADDED", "old": null, "new": "\"b\"" });
    assert_eq!(change("model_name"), &added);
    assert_eq!(change("environment_variables.TOKEN")["kind"], "ADDED");
    assert!(!plan.to_string().contains("hunter2"), "names only: {plan:#}");
    assert_eq!(app.get(&production(&a, "/promotions")).await.ok()["promotions"].as_array().unwrap().len(), 1);

    let begun = release(&app, &a, json!({})).await.ok();
    assert_eq!(begun["difference"], plan["difference"]);
    let history = app.get(&production(&a, "/promotions")).await.ok();
    assert_eq!(history["promotions"][0]["difference"], plan["difference"]);
    assert_eq!(history["promotions"][1]["difference"], Value::Null, "nobody asked for the first push's");
    let entry = &app.get("/v1/audit_logs?limit=1").await.ok()["items"][0];
    assert_eq!(
        (&entry["event_type"], &entry["event_data"]["released_from"]),
        (&json!("MODEL_DEPLOYMENT_PROMOTED"), &json!("development"))
    );
}

#[tokio::test]
async fn what_cannot_be_released_is_refused_and_changes_nothing() {
    let app = TestApp::start().await;
    let (a, _) = begin(&app).await;
    app.post(&a.model_path("/environments"), json!({ "name": "empty" })).await.ok();
    let path = a.model_path("/release");
    for (body, message) in [
        (json!({ "from": "development", "to": "development" }), "to: environment development is where it comes from"),
        (json!({ "from": "empty", "to": "production" }), "from: environment empty serves no deployment yet"),
        (json!({ "from": "development" }), "missing field `to`"),
        (json!({ "from": "development", "to": "production", "copy": true }), "unknown field `copy`"),
    ] {
        app.post(&path, body).await.is_invalid(message);
    }
    for (from, to) in [("nonesuch", "production"), ("development", "nonesuch")] {
        let refused = app.post(&path, json!({ "from": from, "to": to })).await;
        refused.refuses(404, "NOT_FOUND", "there is no environment nonesuch");
    }
    release(&app, &a, json!({})).await.ok();
    release(&app, &a, json!({})).await.is_invalid("environment production has a promotion in progress");

    let restricted = json!({ "manage_access": { "is_restricted": true, "user_ids": [] } });
    app.patch("/v1/environment_groups/production", restricted).await.ok();
    let member = app.make_key("WORKSPACE_MANAGE_ALL").await;
    for path in ["/release", "/release_plan"] {
        let path = a.model_path(path);
        let refused = app.call_as(Some(&member), Method::POST, &path, Some(from_development(json!({})))).await;
        refused.refuses(403, "PERMISSION_DENIED", "environment production is restricted");
    }
    let to_development = json!({ "from": "production", "to": "development" });
    app.call_as(Some(&member), Method::POST, &path, Some(to_development)).await.ok();
}

fn location(name: &str, country: &str) -> Location {
    let stock = written::Stock { kind: "cpu".into(), name: "x86".into(), count: 8, memory_mib: None };
    let written = written::Location {
        name: name.into(),
        country: country.into(),
        continent: "eu".into(),
        coordinates: None,
        flavors: vec![stock],
    };
    written.try_into().unwrap()
}

/// A server in France and Germany, whose production has the policies `of_production` and whose deployments have those that are named
/// for them.
async fn with_policies(of_production: Value, of_a: Value, of_b: Value) -> (TestApp, Pushed) {
    let inventory = Inventory::new(vec![location("paris", "fr"), location("berlin", "de")]).unwrap();
    let app = TestApp::with(|settings| settings.inventory = inventory).await;
    let (a, b) = begin(&app).await;
    for code in ["fr", "de"] {
        let allowed = json!([{ "type": "country", "name": code }]);
        let policy = json!({ "name": code, "type": "location", "locations": allowed });
        app.post("/v1/policies", policy).await.ok();
    }
    for (path, policies) in
        [(production(&a, "/policies"), of_production), (a.path("/policies"), of_a), (b.path("/policies"), of_b)]
    {
        app.call(Method::PUT, &path, Some(json!({ "policies": policies }))).await.ok();
    }
    (app, a)
}

#[tokio::test]
async fn policies_of_the_deployment_stay_or_come_along_as_the_caller_chooses() {
    for (copies, expected) in [(false, json!(["fr"])), (true, json!(["de"]))] {
        let (app, a) = with_policies(json!([]), json!(["fr"]), json!(["de"])).await;
        let answer = release(&app, &a, json!({ "copy_policies": copies })).await.ok();
        let changes = answer["difference"]["changes"].as_array().unwrap();
        assert_eq!(changes.iter().any(|one| one["part"] == "PLACEMENT"), copies, "{changes:#?}");
        let copy = arrived(&app, &a, answer).await;
        let policies = app.get(&copy.path("/policies")).await.ok()["policies"].clone();
        assert_eq!(policies, expected, "copy_policies: {copies}");
    }
}

#[tokio::test]
async fn a_release_that_could_run_nowhere_in_its_target_is_refused_with_the_reason() {
    let (app, a) = with_policies(json!(["fr"]), json!([]), json!(["de"])).await;
    let refused = release(&app, &a, json!({ "copy_policies": true })).await;
    refused.refuses(409, "CONFLICT", "the deployment's location policy de removed the last");
    let plan = from_development(json!({ "copy_policies": true }));
    let plan = app.post(&a.model_path("/release_plan"), plan).await.ok();
    assert!(plan["refused"].as_str().unwrap().contains("policy de removed the last"), "{plan:#}");
    assert_eq!(serves(&app, &a, "production").await, json!(a.deployment));
    release(&app, &a, json!({})).await.ok();
}
