//! What is told of promotions, for how long, and how one is undone.

use std::collections::BTreeMap;

use api::internal::replica::Phase;
use axum::http::Method;
use planner::{
    capacity::Capacity,
    promotion::{Ending, Mode},
};
use serde_json::{Value, json};

use crate::support::{Pushed, TestApp, another, production, pushed, stage};

/// A successful promotion of a deployment to production, to its end.
async fn promote(app: &TestApp, one: &Pushed) -> Pushed {
    let answer = app.post(&one.path("/promote"), json!({})).await.ok();
    let candidate = Pushed { deployment: answer["id"].as_str().unwrap().to_owned(), ..one.clone() };
    app.make_active(&candidate).await;
    app.end_promotion(one, "production", Ending::Succeeded).await;
    candidate
}

fn to(one: &Pushed) -> Value {
    json!({ "deployment_id": one.deployment })
}

#[tokio::test]
async fn an_end_is_shown_for_a_minute() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    app.pass(60_000);
    let progress = async || app.get(&production(&first, "")).await.ok();
    assert_eq!(progress().await["in_progress_promotion"], Value::Null);
    app.post(&second.path("/promote"), json!({})).await.ok();
    let failure = Ending::Failed { reason: "the candidate ended three times in a row".into() };
    app.end_promotion(&first, "production", failure).await;
    let failed = progress().await;
    assert_eq!(
        failed["in_progress_promotion"],
        json!({
            "status": "FAILED", "percent_traffic_to_new_version": 0, "rolling_deploy": false,
            "error_message": "the candidate ended three times in a row"
        })
    );
    assert_eq!(failed["candidate_deployment"]["id"], second.deployment);
    app.pass(59_999);
    assert_eq!(progress().await["in_progress_promotion"]["status"], "FAILED");
    app.pass(1);
    let over = progress().await;
    assert_eq!((&over["in_progress_promotion"], &over["candidate_deployment"]), (&Value::Null, &Value::Null));

    promote(&app, &second).await;
    let succeeded = progress().await;
    assert_eq!(succeeded["in_progress_promotion"]["status"], "SUCCEEDED");
    assert_eq!(succeeded["in_progress_promotion"]["percent_traffic_to_new_version"], 100);
    assert_eq!(succeeded["candidate_deployment"], Value::Null);
}

#[tokio::test]
async fn the_history_tells_what_happened_and_why() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    app.post(&first.model_path("/environments"), json!({ "name": "staging" })).await.ok();
    let staging = first.model_path("/environments/staging");
    app.get(&format!("{staging}/promotion")).await.refuses(404, "NOT_FOUND", "there is no promotion");
    assert_eq!(app.get(&format!("{staging}/promotions")).await.ok(), json!({ "promotions": [] }));

    app.post(&second.path("/promote"), json!({})).await.ok();
    let newest = app.get(&production(&first, "/promotion")).await.ok();
    assert_eq!((&newest["origin"], &newest["mode"]), (&json!("REQUEST"), &json!("IMMEDIATE")));
    assert_eq!(newest["candidate"]["deployment_id"], second.deployment);
    assert_eq!(newest["previous"]["deployment_name"], "deployment-1");
    assert_eq!((&newest["ended_at"], &newest["cleanup_strategy"]), (&Value::Null, &json!("SCALE_TO_ZERO")));
    assert_eq!(newest["requested_by"].as_str(), app.key.split('.').next());
    assert!(newest["deadline_at"].as_str() > newest["started_at"].as_str(), "{newest}");
    assert!(!newest["why"].as_str().unwrap().is_empty());

    app.pass(1000);
    let failure = Ending::Failed { reason: "no replica was ready in time".into() };
    app.end_promotion(&first, "production", failure).await;
    app.delete(&second.path("")).await.ok();
    let history = app.get(&production(&first, "/promotions")).await.ok();
    let statuses: Vec<_> = history["promotions"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, ["FAILED", "SUCCEEDED"]);
    let failed = &history["promotions"][0];
    assert_eq!(failed["error_message"], "no replica was ready in time");
    assert_eq!((&failed["candidate"]["deployment_name"], &failed["deadline_at"]), (&Value::Null, &Value::Null));
    assert!(failed["ended_at"].is_string());
    assert_eq!(
        app.get(&production(&first, "/promotions?limit=1")).await.ok()["promotions"].as_array().unwrap().len(),
        1
    );
    for limit in ["0", "201", "x"] {
        app.get(&production(&first, &format!("/promotions?limit={limit}"))).await.is_invalid("limit");
    }
}

#[tokio::test]
async fn a_new_environment_has_no_history_of_one_that_had_its_name() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    let staging = first.model_path("/environments/staging");
    app.post(&first.model_path("/environments"), json!({ "name": "staging" })).await.ok();
    app.post(&format!("{staging}/promote"), to(&second)).await.ok();
    app.delete(&staging).await.ok();
    let candidate = app.get(&second.path("")).await.ok();
    assert_eq!((&candidate["id"], &candidate["environment"]), (&json!(second.deployment), &Value::Null));
    app.pass(1);
    app.post(&first.model_path("/environments"), json!({ "name": "staging" })).await.ok();
    assert_eq!(app.get(&format!("{staging}/promotions")).await.ok(), json!({ "promotions": [] }));
    app.post(&format!("{staging}/promote"), to(&second)).await.ok();
}

#[tokio::test]
async fn a_rollback_brings_back_what_was_there_before_and_the_next_goes_further() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    let rollback = production(&first, "/rollback");
    app.post(&rollback, json!({})).await.is_invalid("environment production cannot be rolled back: it served no other");
    let rolling = json!({ "promotion_settings": { "rolling_deploy": true } });
    app.patch(&production(&first, ""), rolling).await.ok();
    promote(&app, &second).await;
    let third = another(&app, &first).await;
    promote(&app, &third).await;

    assert_eq!(app.post(&rollback, json!({})).await.ok()["id"], second.deployment);
    assert_eq!(app.promotion(&first, "production").await.settings.mode, Mode::Immediate);
    app.post(&rollback, json!({})).await.is_invalid("environment production has a promotion in progress");
    app.end_promotion(&first, "production", Ending::Succeeded).await;
    assert_eq!(app.post(&rollback, json!({ "immediate": false })).await.ok()["id"], first.deployment);
    assert!(matches!(app.promotion(&first, "production").await.settings.mode, Mode::Rolling { .. }));
    app.end_promotion(&first, "production", Ending::Succeeded).await;
    app.post(&rollback, json!({})).await.is_invalid("cannot be rolled back");
    app.post(&rollback, json!({ "immediat": false })).await.is_invalid("unknown field `immediat`");
    let origins: Vec<Value> = app.get(&production(&first, "/promotions")).await.ok()["promotions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["origin"].clone())
        .collect();
    assert_eq!(origins, ["ROLLBACK", "ROLLBACK", "REQUEST", "REQUEST", "PUSH"]);
}

#[tokio::test]
async fn a_rollback_wakes_what_rests_and_brings_back_its_instance_type() {
    let app = TestApp::start().await;
    let (first, _) = stage(&app).await;
    let large = pushed(app.push(&first.model, json!({ "config": { "resources": { "cpu": "4" } } })).await.ok());
    let request = json!({ "preserve_env_instance_type": false });
    app.make_active(&large).await;
    app.post(&large.path("/promote"), request).await.ok();
    app.end_promotion(&first, "production", Ending::Succeeded).await;
    app.post(&first.path("/deactivate"), json!({})).await.ok();
    let back = app.post(&production(&first, "/rollback"), Value::Null).await;
    back.is_invalid("body");
    let back = app.call(Method::POST, &production(&first, "/rollback"), None).await.ok();
    assert_eq!((&back["id"], &back["instance_type_name"]), (&json!(first.deployment), &json!("1x2")));
    assert!(!["INACTIVE", "DEACTIVATING"].contains(&back["status"].as_str().unwrap()), "{back}");
}

#[tokio::test]
async fn a_rollback_that_is_refused_leaves_what_rests_at_rest() {
    let app = TestApp::with(|settings| {
        settings.capacity = Capacity { millicpu: Some(2000), ..Capacity::default() };
    })
    .await;
    let (first, second) = stage(&app).await;
    promote(&app, &second).await;
    app.post(&first.path("/deactivate"), json!({})).await.ok();
    for replica in app.store.replicas(Some(&first.deployment_id())).await.unwrap() {
        app.store.delete_replica(&replica.id).await.unwrap();
    }
    for _ in 0..2 {
        app.add_replica(&another(&app, &first).await, Phase::Ready).await;
    }
    let before = app.store.deployment(&first.deployment_id()).await.unwrap();
    app.post(&production(&first, "/rollback"), json!({})).await.is_invalid("no room, not even without the previous");
    assert_eq!(app.store.deployment(&first.deployment_id()).await.unwrap(), before);
    assert_eq!(app.get(&first.path("")).await.ok()["status"], "INACTIVE");
}

#[tokio::test]
async fn an_environment_that_serves_nothing_has_nothing_to_go_back_from() {
    let app = TestApp::start().await;
    let first = app.push_model("iris").await;
    let rollback = production(&first, "/rollback");
    app.post(&rollback, json!({}))
        .await
        .is_invalid("environment production cannot be rolled back: it serves no deployment");
    app.post(&first.model_path("/environments/nonesuch/rollback"), json!({})).await.refuses(
        404,
        "NOT_FOUND",
        "nonesuch",
    );
}

#[tokio::test]
async fn logs_of_an_environment_are_those_of_all_who_took_part() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    app.post(&second.path("/promote"), json!({})).await.ok();
    let lines = |logs: &Value| {
        let mut counts = BTreeMap::new();
        for line in logs["logs"].as_array().unwrap() {
            *counts.entry(line["message"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
        counts
    };
    let logs = app.get(&production(&first, "/logs")).await.ok();
    assert!(lines(&logs).contains_key("is being promoted to environment production"), "{logs}");
    app.end_promotion(&first, "production", Ending::Succeeded).await;
    let logs = app.get(&production(&first, "/logs")).await.ok();
    assert!(
        lines(&logs).keys().any(|line| line.contains("goes to environment production")),
        "the demoted one's: {logs}"
    );
}
