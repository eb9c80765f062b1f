//! Steering a promotion, and what may not be done meanwhile to those who take part in it.

use axum::http::Method;
use planner::promotion::{Command, Ending, Phase, Resume};
use serde_json::{Value, json};

use crate::support::{Answer, Pushed, START, TestApp, production, pushed, stage};

const VERBS: [&str; 5] = [
    "cancel_promotion",
    "pause_promotion",
    "resume_promotion",
    "force_cancel_promotion",
    "force_roll_forward_promotion",
];

/// Production serves the first deployment, and the second is being promoted to it.
async fn in_promotion(app: &TestApp, settings: Value) -> (Pushed, Pushed) {
    let (first, second) = stage(app).await;
    app.post(&second.path("/promote"), json!({ "promotion_settings_override": settings })).await.ok();
    (first, second)
}

fn rolling() -> Value {
    json!({ "rolling_deploy": true })
}

/// As far as a rolling promotion is when half of the traffic has moved.
async fn half_way(app: &TestApp, first: &Pushed, phase: Phase) {
    app.move_promotion(first, "production", |promotion| {
        (promotion.state.percent, promotion.state.phase, promotion.command) = (50, phase, None);
    })
    .await;
}

async fn control(app: &TestApp, first: &Pushed, verb: &str) -> Answer {
    app.call(Method::POST, &production(first, &format!("/{verb}")), None).await
}

async fn pending(app: &TestApp, first: &Pushed) -> Option<Command> {
    app.promotion(first, "production").await.command
}

#[tokio::test]
async fn without_a_promotion_there_is_nothing_to_steer() {
    let app = TestApp::start().await;
    let first = app.push_model("iris").await;
    app.make_active(&first).await;
    for verb in VERBS {
        let answer = control(&app, &first, verb).await;
        answer.is_invalid("");
        assert_eq!(answer.body["message"], "Environment production has no in progress promotion.");
        let unknown = first.model_path(&format!("/environments/nonesuch/{verb}"));
        app.post(&unknown, json!({})).await.refuses(404, "NOT_FOUND", "nonesuch");
    }
}

#[tokio::test]
async fn a_promotion_that_moves_traffic_at_once_is_canceled_at_once() {
    let app = TestApp::start().await;
    let (first, _) = in_promotion(&app, json!({})).await;
    for verb in ["pause_promotion", "resume_promotion", "force_roll_forward_promotion"] {
        control(&app, &first, verb).await.is_invalid("not a rolling deployment");
    }
    assert_eq!(pending(&app, &first).await, None);
    let answer = control(&app, &first, "cancel_promotion").await.ok();
    assert_eq!(
        answer,
        json!({ "status": "CANCELED", "message": "Promotion to production was successfully canceled." })
    );
    assert_eq!(pending(&app, &first).await, Some(Command::Cancel));
    assert_eq!(app.get(&production(&first, "/promotion")).await.ok()["pending_action"], "GRACEFUL_CANCEL");
}

#[tokio::test]
async fn a_rolling_promotion_walks_back_once_traffic_has_moved() {
    let app = TestApp::start().await;
    let (first, _) = in_promotion(&app, rolling()).await;
    half_way(&app, &first, Phase::Growing).await;
    let answer = control(&app, &first, "cancel_promotion").await.ok();
    assert_eq!(answer["status"], "RAMPING_DOWN");
    assert!(answer["message"].as_str().unwrap().starts_with("Promotion to production is being canceled"), "{answer}");
}

#[tokio::test]
async fn signals_are_recorded_and_refused_where_they_make_no_sense() {
    let app = TestApp::start().await;
    let (first, second) = in_promotion(&app, rolling()).await;
    let success = json!({ "success": true });
    half_way(&app, &first, Phase::Growing).await;
    control(&app, &first, "resume_promotion").await.is_invalid("the promotion is not paused");
    assert_eq!(control(&app, &first, "pause_promotion").await.ok(), success);
    assert_eq!(pending(&app, &first).await, Some(Command::Pause));
    assert_eq!(control(&app, &first, "resume_promotion").await.ok(), success, "before anybody has looked at the pause");
    half_way(&app, &first, Phase::Paused { since: START, resume: Resume::Growing }).await;
    assert_eq!(app.get(&production(&first, "")).await.ok()["in_progress_promotion"]["status"], "PAUSED");
    control(&app, &first, "pause_promotion").await.is_invalid("paused already");
    assert_eq!(control(&app, &first, "resume_promotion").await.ok(), success);
    assert_eq!(control(&app, &first, "force_cancel_promotion").await.ok(), success);
    control(&app, &first, "resume_promotion").await.is_invalid("it has been canceled");
    assert_eq!(control(&app, &first, "cancel_promotion").await.ok()["status"], "CANCELED");
    assert_eq!(pending(&app, &first).await, Some(Command::ForceCancel), "a weaker wish does not take its place");
    assert_eq!(control(&app, &first, "force_roll_forward_promotion").await.ok(), success);
    assert_eq!(pending(&app, &first).await, Some(Command::ForceRollForward));

    let audit = app.get(&first.model_path("/audit_logs?limit=200&direction=ASC")).await.ok();
    let of_control =
        audit["items"].as_array().unwrap().iter().filter(|one| one["event_type"] == "MODEL_PROMOTION_CONTROL_ACTION");
    let actions: Vec<&str> = of_control
        .inspect(|one| assert_eq!(one["event_data"]["deployment_id"], second.deployment))
        .map(|one| one["event_data"]["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["PAUSE", "RESUME", "RESUME", "FORCE_CANCEL", "FORCE_ROLL_FORWARD"]);
}

#[tokio::test]
async fn what_is_about_to_end_is_steered_no_more_and_has_not_ended_before_the_environment_has_changed() {
    let app = TestApp::start().await;
    let (first, _) = in_promotion(&app, rolling()).await;
    let over = Phase::Ended { at: START, ending: Ending::Succeeded };
    half_way(&app, &first, over).await;
    for verb in VERBS {
        control(&app, &first, verb).await.is_invalid("Environment production has no in progress promotion.");
    }
    let status = async || app.get(&production(&first, "")).await.ok()["in_progress_promotion"]["status"].clone();
    assert_eq!(status().await, "RAMPING_UP");
    app.end_promotion(&first, "production", Ending::Succeeded).await;
    assert_eq!(status().await, "SUCCEEDED");
}

#[tokio::test]
async fn nobody_takes_a_side_away_from_a_promotion() {
    let app = TestApp::start().await;
    let (first, second) = in_promotion(&app, rolling()).await;
    app.delete(&second.path("")).await.is_invalid("it is being promoted to environment production: cancel that first");
    app.delete(&first.path("")).await.is_invalid("environment production serves it");
    for path in [
        first.path("/deactivate"),
        second.path("/deactivate"),
        production(&first, "/deactivate"),
        first.model_path("/deployments/production/deactivate"),
    ] {
        app.post(&path, json!({})).await.is_invalid("it takes part in the promotion to environment production");
    }
    app.end_promotion(&first, "production", Ending::Canceled { reason: "by request".into() }).await;
    app.post(&second.path("/deactivate"), json!({})).await.ok();
    app.delete(&second.path("")).await.ok();
}

#[tokio::test]
async fn an_environment_that_is_deleted_ends_its_promotion() {
    let app = TestApp::start().await;
    let first = app.push_model("iris").await;
    app.make_active(&first).await;
    app.post(&first.model_path("/environments"), json!({ "name": "staging" })).await.ok();
    let staging = first.model_path("/environments/staging");
    let copy = app.post(&format!("{staging}/promote"), json!({ "deployment_id": first.deployment })).await.ok();
    app.delete(&staging).await.ok();
    assert!(app.store.active_promotions().await.unwrap().is_empty());
    let copy = Pushed { deployment: copy["id"].as_str().unwrap().into(), ..first };
    app.get(&copy.path("")).await.ok();
    app.delete(&copy.path("")).await.ok();
}

#[tokio::test]
async fn the_settings_of_a_candidate_are_those_of_where_it_goes() {
    let app = TestApp::start().await;
    let (first, second) = in_promotion(&app, json!({})).await;
    let change = json!({ "max_replica": 3 });
    app.patch(&second.path("/autoscaling_settings"), change.clone())
        .await
        .is_invalid("change those of environment production");
    app.patch(&first.path("/autoscaling_settings"), change.clone()).await.ok();
    assert_eq!(app.get(&production(&first, "")).await.ok()["autoscaling_settings"]["max_replica"], 3);
    app.end_promotion(&first, "production", Ending::Succeeded).await;
    assert_eq!(app.get(&second.path("")).await.ok()["autoscaling_settings"]["max_replica"], 3);

    let other = app.push_model("other").await;
    app.begin_pushed(&other).await;
    assert_eq!(app.patch(&other.path("/autoscaling_settings"), change).await.ok()["status"], "QUEUED");
    assert_eq!(app.get(&production(&other, "")).await.ok()["autoscaling_settings"]["max_replica"], 3);
}

#[tokio::test]
async fn a_push_beside_a_first_one_that_is_on_its_way_stays_by_itself() {
    let app = TestApp::start().await;
    let first = app.push_model("iris").await;
    app.begin_pushed(&first).await;
    let second = pushed(app.push(&first.model, json!({ "config": {} })).await.ok());
    assert_eq!(app.store.deployment(&second.deployment_id()).await.unwrap().target_environment, None);
    app.end_promotion(&first, "production", Ending::Failed { reason: "no build".into() }).await;
    let third = pushed(app.push(&first.model, json!({ "config": {} })).await.ok());
    let target = app.store.deployment(&third.deployment_id()).await.unwrap().target_environment;
    assert_eq!(target.as_deref(), Some("production"), "production never had one");
}
