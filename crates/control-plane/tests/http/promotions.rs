//! Promotions: what is promoted, how, what is refused, and what would be.

use api::internal::replica::Phase;
use planner::{
    capacity::Capacity,
    promotion::{Cleanup, Ending, Mode, Room},
};
use serde_json::{Value, json};
use store::Placement;

use crate::support::{Pushed, TestApp, another, production, pushed, stage};

fn to(one: &Pushed) -> Value {
    json!({ "deployment_id": one.deployment })
}

#[tokio::test]
async fn a_deployment_of_its_own_goes_to_the_environment_itself() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    let answer = app.post(&production(&first, "/promote"), to(&second)).await.ok();
    assert_eq!(answer["id"], second.deployment);
    let environment = app.get(&production(&first, "")).await.ok();
    assert_eq!(environment["current_deployment"]["id"], first.deployment);
    assert_eq!(environment["candidate_deployment"]["id"], second.deployment);
    let progress = json!({
        "status": "RAMPING_UP", "percent_traffic_to_new_version": 100, "error_message": null, "rolling_deploy": false
    });
    assert_eq!(environment["in_progress_promotion"], progress, "it is ready, so nothing is to be waited for");
    let deployments = app.get(&first.model_path("/deployments")).await.ok();
    assert_eq!(deployments["deployments"].as_array().unwrap().len(), 2, "nothing was copied");

    app.end_promotion(&first, "production", Ending::Succeeded).await;
    let environment = app.get(&production(&first, "")).await.ok();
    assert_eq!(environment["current_deployment"]["id"], second.deployment);
    assert_eq!(app.get(&second.path("")).await.ok()["is_production"], true);
    let demoted = app.get(&first.path("")).await.ok();
    assert_eq!((&demoted["is_production"], &demoted["environment"]), (&json!(false), &Value::Null));
}

#[tokio::test]
async fn even_what_could_serve_at_once_is_left_to_tasks() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    app.post(&first.model_path("/environments"), json!({ "name": "staging" })).await.ok();
    app.post(&first.model_path("/environments/staging/promote"), to(&second)).await.ok();
    let begun = app.promotion(&first, "staging").await;
    assert_eq!((begun.state.ending(), begun.ended_at), (None, None));
    let staging = app.get(&first.model_path("/environments/staging")).await.ok();
    let progress = &staging["in_progress_promotion"];
    assert_eq!((&progress["status"], &progress["percent_traffic_to_new_version"]), (&json!("RELEASING"), &json!(0)));
    assert_eq!(staging["current_deployment"], Value::Null);
}

#[tokio::test]
async fn of_two_promotions_at_once_one_is_refused() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    let third = another(&app, &first).await;
    let path = production(&first, "/promote");
    let (one, other) = tokio::join!(app.post(&path, to(&second)), app.post(&path, to(&third)));
    let (won, lost) = if one.status == 200 { (one, other) } else { (other, one) };
    won.ok();
    lost.is_invalid("environment production has a promotion in progress: cancel it, or wait until it has ended");
    let history = app.get(&production(&first, "/promotions")).await.ok();
    assert_eq!(history["promotions"].as_array().unwrap().len(), 2, "the first push, and the one that won");
}

#[tokio::test]
async fn a_development_deployment_is_promoted_as_a_published_copy() {
    let app = TestApp::start().await;
    let (first, _) = stage(&app).await;
    let development = json!({
        "config": { "model_name": "iris" }, "raw_config": "model_name: iris\n", "is_development": true, "labels": { "team": "red" }
    });
    let development = pushed(app.push(&first.model, development).await.ok());
    app.make_active(&development).await;
    let source = app.get(&development.path("")).await.ok();
    let answer = app.post(&first.model_path("/deployments/development/promote"), json!({})).await.ok();
    let copy = Pushed { deployment: answer["id"].as_str().unwrap().to_owned(), ..first.clone() };
    assert_ne!(copy.deployment, development.deployment);
    let name = format!("{}.{}", source["name"].as_str().unwrap(), app.now().0 / 1000);
    assert_eq!(answer["name"], name);
    assert_eq!((&answer["is_development"], &answer["status"]), (&json!(false), &json!("DEPLOYING")));
    assert_eq!(answer["labels"], source["labels"]);
    assert_eq!(app.get(&copy.path("/config")).await.ok(), app.get(&development.path("/config")).await.ok());
    let stored = async |one: &Pushed| app.store.deployment(&one.deployment_id()).await.unwrap();
    let (made, original) = (stored(&copy).await, stored(&development).await);
    assert_eq!(made.archive, original.archive);
    assert_eq!(made.lifecycle.build, original.lifecycle.build, "the build is shared");
    assert_eq!(made.lifecycle.first_ready, None);
    let logs = app.get(&copy.path("/logs")).await.ok().to_string();
    assert!(logs.contains("a development deployment stays what it is"), "{logs}");
    app.get(&first.model_path("/deployments/development")).await.ok();
}

#[tokio::test]
async fn a_copy_of_what_is_being_built_is_built_itself() {
    let app = TestApp::start().await;
    let (first, _) = stage(&app).await;
    let development = json!({ "config": {}, "is_development": true });
    pushed(app.push(&first.model, development).await.ok());
    let answer = app.post(&first.model_path("/deployments/development/promote"), json!({})).await.ok();
    assert_eq!(answer["status"], "BUILDING");
}

#[tokio::test]
async fn what_an_environment_serves_is_copied_for_another_and_names_do_not_collide() {
    let app = TestApp::start().await;
    let (first, _) = stage(&app).await;
    let mut names = Vec::new();
    for name in ["staging", "canary"] {
        app.post(&first.model_path("/environments"), json!({ "name": name })).await.ok();
        let path = first.model_path(&format!("/environments/{name}/promote"));
        let copy = app.post(&path, to(&first)).await.ok();
        assert_ne!(copy["id"], first.deployment);
        names.push(copy["name"].as_str().unwrap().to_owned());
    }
    let second = app.now().0 / 1000;
    assert_eq!(names, [format!("deployment-1.{second}"), format!("deployment-1.{}", second + 1)]);
}

#[tokio::test]
async fn redeploy_on_promotion_makes_a_fresh_copy_even_of_what_is_served() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    let promote = production(&first, "/promote");
    app.post(&promote, to(&first)).await.is_invalid("environment production serves it already");
    let once =
        json!({ "deployment_id": first.deployment, "promotion_settings_override": { "redeploy_on_promotion": true } });
    let copy = app.post(&promote, once).await.ok();
    assert_ne!(copy["id"], first.deployment);
    app.end_promotion(&first, "production", Ending::Failed { reason: "broken".into() }).await;
    let settings = json!({ "promotion_settings": { "redeploy_on_promotion": true } });
    app.patch(&production(&first, ""), settings).await.ok();
    assert_ne!(app.post(&promote, to(&second)).await.ok()["id"], second.deployment);
}

#[tokio::test]
async fn the_environments_instance_type_is_kept_unless_the_deployments_is_asked_for() {
    let app = TestApp::start().await;
    let (first, _) = stage(&app).await;
    let large = json!({ "config": { "resources": { "cpu": "4" } } });
    let large = pushed(app.push(&first.model, large).await.ok());
    app.make_active(&large).await;
    let copy = app.post(&production(&first, "/promote"), to(&large)).await.ok();
    assert_ne!(copy["id"], large.deployment);
    assert_eq!(copy["instance_type_name"], "1x2");
    app.end_promotion(&first, "production", Ending::Canceled { reason: "by request".into() }).await;
    let its_own = json!({ "deployment_id": large.deployment, "preserve_env_instance_type": false });
    let itself = app.post(&production(&first, "/promote"), its_own).await.ok();
    assert_eq!((&itself["id"], &itself["instance_type_name"]), (&json!(large.deployment), &json!("4x16")));
    app.end_promotion(&first, "production", Ending::Succeeded).await;
    assert_eq!(app.get(&production(&first, "")).await.ok()["instance_type"]["id"], "4x16");
}

#[tokio::test]
async fn what_cannot_be_promoted_is_refused_and_nothing_changes() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    let (failed, other) = (another(&app, &first).await, app.push_model("other").await);
    app.fail_build(&failed).await;
    app.post(&second.path("/deactivate"), json!({})).await.ok();
    let before = app.get("/v1/audit_logs?limit=200").await.ok();
    let promote = production(&first, "/promote");
    app.post(&promote, to(&failed)).await.is_invalid("BUILD_FAILED: retry it");
    app.post(&promote, to(&second)).await.is_invalid("it is inactive: activate it first");
    app.post(&promote, to(&other)).await.refuses(404, "NOT_FOUND", &other.deployment);
    for id in ["abcd123", "nonesuch", "production", "development", ""] {
        app.post(&promote, json!({ "deployment_id": id })).await.refuses(404, "NOT_FOUND", "there is no deployment");
    }
    let unknown = first.model_path("/environments/nonesuch/promote");
    app.post(&unknown, to(&second)).await.refuses(404, "NOT_FOUND", "there is no environment nonesuch");
    let from_production = first.model_path("/deployments/production/promote");
    app.post(&from_production, json!({})).await.refuses(404, "NOT_FOUND", "give an id");
    let development = first.model_path("/deployments/development/promote");
    app.post(&development, json!({})).await.refuses(404, "NOT_FOUND", "development");
    app.post(&promote, json!({})).await.is_invalid("missing field `deployment_id`");
    app.post(&promote, json!({ "deployment_id": 1 })).await.is_invalid("deployment_id");
    for (field, value, message) in [
        ("colour", json!("red"), "unknown field `colour`"),
        ("scale_down_previous_production", json!(true), "unknown field"),
        ("environment_settings_update", json!({}), "environment_settings_update is not supported"),
        ("promotion_settings_override", json!({ "colour": 1 }), "unknown field `colour`"),
        ("promotion_settings_override", json!({ "ramp_up_duration_seconds": 0 }), "ramp_up_duration_seconds is 0"),
        (
            "promotion_settings_override",
            json!({ "rolling_deploy_config": { "max_unavailable_percent": 20 } }),
            "exactly one of them must be 0",
        ),
        (
            "promotion_settings_override",
            json!({ "rolling_deploy_config": { "max_surge_percent": 51 } }),
            "max_surge_percent is 51",
        ),
    ] {
        let mut request = to(&first);
        request[field] = value;
        app.post(&promote, request).await.is_invalid(message);
    }
    assert_eq!(app.get("/v1/audit_logs?limit=200").await.ok(), before);
    let environment = app.get(&production(&first, "")).await.ok();
    assert_eq!(environment["candidate_deployment"], Value::Null);
}

#[tokio::test]
async fn a_candidate_is_not_promoted_a_second_time_elsewhere() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    app.post(&first.model_path("/environments"), json!({ "name": "staging" })).await.ok();
    app.post(&second.path("/promote"), json!({})).await.ok();
    let staging = first.model_path("/environments/staging/promote");
    app.post(&staging, to(&second)).await.is_invalid("it is being promoted to environment production");
}

#[tokio::test]
async fn settings_are_those_of_the_moment_at_which_it_begins() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    let rolling = json!({
        "rolling_deploy": true, "promotion_cleanup_strategy": "DEACTIVATE",
        "rolling_deploy_config": { "max_surge_percent": 0, "max_unavailable_percent": 20, "stabilization_time_seconds": 5 }
    });
    app.patch(&production(&first, ""), json!({ "promotion_settings": rolling })).await.ok();
    app.post(&second.path("/promote"), json!({})).await.ok();
    let begun = app.promotion(&first, "production").await;
    assert!(matches!(begun.settings.mode, Mode::Rolling { stabilization_ms: 5000, .. }), "{:?}", begun.settings);
    assert_eq!(begun.settings.cleanup, Cleanup::Deactivate);
    let change = json!({ "promotion_settings": { "rolling_deploy": false, "promotion_cleanup_strategy": "KEEP" } });
    let answer = app.patch(&production(&first, ""), change).await.ok();
    assert_eq!(answer["status"], "QUEUED");
    assert_eq!(
        answer["message"],
        "the settings hold from the next promotion on: the one in progress goes on as it began"
    );
    let answer = app.patch(&production(&first, ""), json!({ "autoscaling_settings": { "max_replica": 4 } })).await.ok();
    assert_eq!(answer["status"], "ACCEPTED", "both sides scale by them at once");
    assert_eq!(app.promotion(&first, "production").await.settings, begun.settings);
    assert_eq!(app.get(&production(&first, "")).await.ok()["in_progress_promotion"]["rolling_deploy"], true);
}

#[tokio::test]
async fn a_request_may_keep_the_previous_deployment_running_and_override_the_rest_once() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    let once = json!({
        "scale_down_previous_production": false,
        "promotion_settings_override": { "ramp_up_while_promoting": true, "ramp_up_duration_seconds": 60 }
    });
    app.post(&second.path("/promote"), once).await.ok();
    let begun = app.promotion(&first, "production").await;
    assert_eq!(begun.settings.cleanup, Cleanup::Keep);
    assert_eq!(begun.settings.mode, Mode::Canary { duration_ms: 60_000 });
    let settings = &app.get(&production(&first, "")).await.ok()["promotion_settings"];
    assert_eq!(settings["ramp_up_while_promoting"], false, "the environment's stay as they are");
    let entry = &app.get("/v1/audit_logs?limit=1").await.ok()["items"][0];
    assert_eq!(entry["event_type"], "MODEL_DEPLOYMENT_PROMOTED");
    let data = &entry["event_data"];
    assert_eq!((&data["deployment_id"], &data["environment_name"]), (&json!(second.deployment), &json!("production")));
}

#[tokio::test]
async fn a_plan_tells_what_would_happen_and_changes_nothing() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    app.patch(&production(&first, ""), json!({ "autoscaling_settings": { "max_replica": 4 } })).await.ok();
    app.set_target(&first, 4).await;
    let before = app.get(&production(&first, "/promotions")).await.ok();
    let plan = async |request: Value| app.post(&production(&first, "/promotion_plan"), request).await;
    let rolling = json!({ "deployment_id": second.deployment, "promotion_settings_override": { "rolling_deploy": true,
        "rolling_deploy_config": { "max_surge_percent": 50 } } });
    let planned = plan(rolling).await.ok();
    assert_eq!((&planned["refused"], &planned["copy_reasons"]), (&Value::Null, &json!([])));
    assert_eq!((&planned["mode"], &planned["previous_deployment_id"]), (&json!("ROLLING"), &json!(first.deployment)));
    let steps = planned["steps"].as_array().unwrap();
    let percents: Vec<u64> = steps.iter().map(|one| one["percent_traffic_to_new_version"].as_u64().unwrap()).collect();
    assert!(percents.is_sorted() && percents.len() > 3 && percents.last() == Some(&100), "{planned:#}");

    let redeployed =
        json!({ "deployment_id": second.deployment, "promotion_settings_override": { "redeploy_on_promotion": true } });
    let copied = plan(redeployed).await.ok();
    assert_eq!(copied["copy_reasons"], json!(["the promotion settings have redeploy_on_promotion"]));
    assert_eq!(copied["copy_name"], format!("deployment-2.{}", app.now().0 / 1000));
    let refused = plan(to(&first)).await.ok();
    assert!(refused["refused"].as_str().unwrap().contains("serves it already"), "{refused}");
    assert_eq!(refused["steps"], json!([]));
    plan(json!({ "deployment_id": "nonesuch" })).await.refuses(404, "NOT_FOUND", "nonesuch");
    assert_eq!(app.get(&production(&first, "/promotions")).await.ok(), before);
}

#[tokio::test]
async fn without_room_for_both_it_goes_in_place_and_without_any_it_is_refused() {
    let room = |millicpu: u64| {
        move |settings: &mut control_plane::Settings| {
            settings.capacity = Capacity { millicpu: Some(millicpu), ..Capacity::default() };
        }
    };
    for (millicpu, expected) in [(3000, Some(Room::Beside)), (1000, Some(Room::InPlace)), (500, None)] {
        let app = TestApp::with(room(millicpu)).await;
        let first = app.push_model("iris").await;
        app.make_active(&first).await;
        let second = another(&app, &first).await;
        let plan = app.post(&production(&first, "/promotion_plan"), to(&second)).await.ok();
        let answer = app.post(&production(&first, "/promote"), to(&second)).await;
        let Some(expected) = expected else {
            answer.is_invalid("no room, not even without the previous deployment: 1000 millicpu needed, 500 free");
            assert!(plan["refused"].as_str().unwrap().contains("millicpu"), "{plan}");
            continue;
        };
        answer.ok();
        assert_eq!(app.promotion(&first, "production").await.settings.room, expected, "{millicpu}");
        assert_eq!(plan["in_place_reason"].is_string(), expected == Room::InPlace, "{plan}");
        assert_eq!(app.get(&production(&first, "/promotion")).await.ok()["in_place"], expected == Room::InPlace);
    }
}

#[tokio::test]
async fn what_is_put_to_rest_is_on_its_way_to_no_environment_any_more() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    app.post(&production(&first, "/promote"), to(&second)).await.ok();
    let third = json!({ "config": { "model_name": "iris" }, "environment_name": "production" });
    let third = pushed(app.push(&first.model, third).await.ok());
    let waits_for = async || app.store.deployment(&third.deployment_id()).await.unwrap().target_environment;
    assert_eq!(waits_for().await.as_deref(), Some("production"), "a person's promotion goes first");
    app.post(&third.path("/deactivate"), json!({})).await.ok();
    app.post(&third.path("/activate"), json!({})).await.ok();
    assert_eq!(waits_for().await, None);
    let logs = app.get(&third.path("/logs")).await.ok().to_string();
    assert!(logs.contains("it goes to environment production no more, unless it is promoted"), "{logs}");
}

#[tokio::test]
async fn what_waits_for_room_says_so_and_leaves_it_to_others() {
    let app = TestApp::with(|settings| {
        settings.capacity = Capacity { millicpu: Some(3000), ..Capacity::default() };
    })
    .await;
    let (first, second) = stage(&app).await;
    let third = another(&app, &first).await;
    for _ in 0..3 {
        let waiting = app.add_replica(&third, Phase::Starting).await;
        app.store
            .record_placements(&[(
                waiting,
                Placement::WaitsFor("waiting for capacity: 1000 millicpu needed, 0 free".into()),
            )])
            .await
            .unwrap();
    }
    let seen = app.get(&third.path("")).await.ok();
    assert_eq!(seen["status_reason"], "waiting for capacity: 1000 millicpu needed, 0 free");
    let plan = app.post(&production(&first, "/promotion_plan"), to(&third)).await.ok();
    assert_eq!((&plan["refused"], &plan["in_place_reason"]), (&Value::Null, &Value::Null), "one CPU is free: {plan}");

    app.store.delete_deployment(&second.deployment_id(), None).await.unwrap();
    let large = json!({ "config": { "resources": { "cpu": "2" } }, "environment_name": "production", "preserve_env_instance_type": false });
    let large = pushed(app.push(&first.model, large).await.ok());
    let with = json!({ "deployment_id": large.deployment, "preserve_env_instance_type": false });
    let plan = app.post(&production(&first, "/promotion_plan"), with).await.ok();
    let reason = "no room beside the previous deployment: 2000 millicpu needed, 1000 free";
    assert_eq!(plan["in_place_reason"], reason, "replicas of what was deleted are still there: {plan}");
}
