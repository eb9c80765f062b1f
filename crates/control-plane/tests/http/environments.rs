//! Environments: made, changed, deleted; and pushes that go to one.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, model_archive, production, pushed, redacted};

#[tokio::test]
async fn a_change_that_is_only_tried_is_checked_and_not_made() {
    let app = TestApp::start().await;
    let first = app.push_model("iris").await;
    let before = app.get("/v1/audit_logs?limit=200").await.ok();
    let (all, one) = (first.model_path("/environments?dry_run=true"), production(&first, "?dry_run=true"));
    let tried = app.post(&all, json!({ "name": "staging", "autoscaling_settings": { "max_replica": 3 } })).await.ok();
    assert_eq!(tried["autoscaling_settings"]["max_replica"], 3, "as it would be");
    app.get(&first.model_path("/environments/staging")).await.refuses(404, "NOT_FOUND", "staging");
    let tried = app.patch(&one, json!({ "autoscaling_settings": { "max_replica": 4 } })).await.ok();
    assert_eq!(tried["environment"]["autoscaling_settings"]["max_replica"], 4);
    assert_eq!(app.get(&production(&first, "")).await.ok()["autoscaling_settings"]["max_replica"], 1);
    let wrong = json!({ "autoscaling_settings": { "min_replica": 5, "max_replica": 2 } });
    app.patch(&one, wrong.clone()).await.is_invalid("min_replica");
    app.post(&all, json!({ "name": "staging", "autoscaling_settings": wrong["autoscaling_settings"] }))
        .await
        .is_invalid("min_replica");
    let settings = json!({ "default_environment": "staging" });
    assert_eq!(app.patch("/v1/workspace_settings?dry_run=true", settings).await.ok()["default_environment"], "staging");
    assert_eq!(app.get("/v1/workspace_settings").await.ok()["default_environment"], Value::Null);

    let policy = json!({ "name": "fr", "type": "location", "locations": [{ "type": "country", "name": "fr" }] });
    assert_eq!(app.post("/v1/policies?dry_run=true", policy.clone()).await.ok()["name"], "fr");
    let put = async |path: &str, body: Value| app.call(Method::PUT, path, Some(body)).await;
    put("/v1/policies/fr?dry_run=true", policy).await.refuses(404, "NOT_FOUND", "fr");
    assert_eq!(app.get("/v1/policies").await.ok(), json!({ "policies": [] }));
    let attached = production(&first, "/policies?dry_run=true");
    put(&attached, json!({ "policies": ["fr"] })).await.refuses(422, "UNPROCESSABLE", "fr");
    let group = "/v1/environment_groups/production";
    let restricted = json!({ "manage_access": { "is_restricted": true } });
    let tried = app.patch(&format!("{group}?dry_run=true"), restricted).await.ok();
    assert_eq!(tried["manage_access"]["is_restricted"], true);
    assert_eq!(app.get(group).await.ok()["manage_access"]["is_restricted"], false);
    assert_eq!(app.get("/v1/audit_logs?limit=200").await.ok(), before, "nothing has been done");
}

#[tokio::test]
async fn production_is_there_from_the_start() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    let environments = app.get(&one.model_path("/environments")).await.ok();
    assert_eq!(
        redacted(environments),
        json!({ "environments": [{
            "name": "production", "created_at": "2026-01-02T03:04:05.678+00:00", "model_id": "[model_id]",
            "current_deployment": null, "candidate_deployment": null, "in_progress_promotion": null,
            "autoscaling_settings": {
                "min_replica": 0, "max_replica": 1, "autoscaling_window": 60, "scale_down_delay": 900, "concurrency_target": 1,
                "target_utilization_percentage": 70, "target_in_flight_tokens": null, "max_scale_down_rate": 50
            },
            "promotion_settings": {
                "redeploy_on_promotion": false, "rolling_deploy": false, "promotion_cleanup_strategy": "SCALE_TO_ZERO",
                "rolling_deploy_config": null, "ramp_up_while_promoting": false, "ramp_up_duration_seconds": 600
            },
            "instance_type": {
                "id": "1x2", "name": "1x2", "memory_limit_mib": 2048, "millicpu_limit": 1000,
                "gpu_count": 0, "gpu_type": null, "gpu_memory_limit_mib": null
            },
            "request_backpressure_settings": { "policy": null }
        }] })
    );
}

#[tokio::test]
async fn an_environment_has_a_name_of_its_own() {
    let app = TestApp::start().await;
    let all = app.push_model("iris").await.model_path("/environments");
    app.post(&all, json!({ "name": "staging" })).await.ok();
    app.post(&all, json!({ "name": "staging" })).await.is_invalid("\"staging\"");
    for name in ["production", "", "Staging", "-a", "a_b", &"a".repeat(41)] {
        app.post(&all, json!({ "name": name })).await.is_invalid("environment name");
    }
    app.post(&all, json!({})).await.is_invalid("missing field `name`");
    let names: Vec<Value> =
        app.get(&all).await.ok()["environments"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["production", "staging"]);
    app.get(&format!("{all}/nonesuch")).await.refuses(404, "NOT_FOUND", "there is no environment nonesuch");
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused_and_nothing_is_made() {
    let app = TestApp::start().await;
    let all = app.push_model("iris").await.model_path("/environments");
    for (settings, message) in [
        (json!({ "autoscaling_settings": { "min_replica": 2 } }), "min_replica 2"),
        (json!({ "autoscaling_settings": { "nonsense": 2 } }), "nonsense"),
        (json!({ "promotion_settings": { "ramp_up_duration_seconds": 0 } }), "ramp_up_duration_seconds"),
        (json!({ "promotion_settings": { "rolling_deploy_config": { "max_surge_percent": 0 } } }), "exactly one"),
        (json!({ "promotion_settings": { "promotion_cleanup_strategy": "BURN" } }), "promotion_cleanup_strategy"),
        (json!({ "request_backpressure_settings": { "policy": "SHRUG" } }), "unknown variant `SHRUG`"),
    ] {
        let mut request = settings;
        request["name"] = "staging".into();
        app.post(&all, request).await.is_invalid(message);
    }
    assert_eq!(app.get(&all).await.ok()["environments"].as_array().unwrap().len(), 1);
}

/// What tools that keep settings as code rely on: they take a value that comes back changed for one that was not set.
#[tokio::test]
async fn what_is_written_reads_back_as_it_was_written() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    let settings = |max_replica: u32| {
        json!({
            "autoscaling_settings": {
                "min_replica": 1, "max_replica": max_replica, "autoscaling_window": 61, "scale_down_delay": 0,
                "concurrency_target": 3, "target_utilization_percentage": 100, "max_scale_down_rate": 7
            },
            "promotion_settings": {
                "redeploy_on_promotion": true, "rolling_deploy": true, "promotion_cleanup_strategy": "KEEP",
                "rolling_deploy_config": {
                    "rolling_deploy_strategy": "REPLICA", "max_surge_percent": 50, "max_unavailable_percent": 0,
                    "stabilization_time_seconds": 0, "replica_overhead_percent": 1
                },
                "ramp_up_while_promoting": false, "ramp_up_duration_seconds": 601
            },
            "request_backpressure_settings": { "policy": "REJECT_ON_FULL" }
        })
    };
    let reads_back = async |name: &str, written: &Value| {
        let read = app.get(&one.model_path(&format!("/environments/{name}"))).await.ok();
        for (part, fields) in written.as_object().unwrap() {
            for (field, value) in fields.as_object().unwrap() {
                assert_eq!(&read[part][field], value, "{part}.{field}");
            }
        }
    };
    let mut written = settings(4);
    written["name"] = "staging".into();
    app.post(&one.model_path("/environments"), written).await.ok();
    reads_back("staging", &settings(4)).await;
    let answer = app.patch(&one.model_path("/environments/staging"), settings(9)).await.ok();
    assert_eq!(answer["status"], "ACCEPTED");
    reads_back("staging", &settings(9)).await;
    let labels = json!({ "commit": "abc", "nested": { "list": [1, null, 0.5] } });
    let labelled =
        app.push(&one.model, json!({ "config": {}, "labels": labels, "deployment_name": "v1.0" })).await.ok();
    assert_eq!((&labelled["deployment"]["labels"], &labelled["deployment"]["name"]), (&labels, &json!("v1.0")));
}

#[tokio::test]
async fn a_change_of_settings_reaches_what_is_served() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    app.make_active(&one).await;
    let production = one.model_path("/environments/production");
    let change =
        json!({ "autoscaling_settings": { "max_replica": 5 }, "promotion_settings": { "rolling_deploy": true } });
    let answer = app.patch(&production, change.clone()).await.ok();
    assert_eq!(answer["status"], "ACCEPTED");
    assert_eq!(answer["environment"]["autoscaling_settings"]["max_replica"], 5);
    assert_eq!(answer["environment"]["promotion_settings"]["rolling_deploy"], true);
    assert_eq!(app.get(&one.path("")).await.ok()["autoscaling_settings"]["max_replica"], 5);
    assert_eq!(app.patch(&production, change).await.ok()["status"], "UNCHANGED");
    app.patch(&production, json!({ "autoscaling": {} })).await.is_invalid("unknown field `autoscaling`");
    app.patch(&production, json!([{ "max_replica": 2 }])).await.is_invalid("it needs to be an object");
    app.patch(&production, json!({ "autoscaling_schedule_settings": { "timezone": "UTC" } }))
        .await
        .is_invalid("schedules are not supported");
    app.patch(&production, json!({ "promotion_settings": { "ramp_up_step_size": 1 } }))
        .await
        .is_invalid("unknown field `ramp_up_step_size`");
    let both = json!({ "max_unavailable_percent": 20 });
    app.patch(&production, json!({ "promotion_settings": { "rolling_deploy_config": both } }))
        .await
        .is_invalid("exactly one of them must be 0");
    app.patch(&production, json!({ "autoscaling_settings": { "min_replica": 6 } })).await.is_invalid("min_replica 6");
}

#[tokio::test]
async fn what_becomes_of_requests_while_all_is_busy_is_set_on_the_environment_and_on_what_it_serves() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    app.make_active(&one).await;
    let production = one.model_path("/environments/production");
    let policies = async || {
        let of = async |path: &str| app.get(path).await.ok()["request_backpressure_settings"]["policy"].clone();
        (of(&production).await, of(&one.path("")).await)
    };
    let reject = json!({ "request_backpressure_settings": { "policy": "REJECT_ON_FULL" } });
    assert_eq!(app.patch(&production, reject.clone()).await.ok()["status"], "ACCEPTED");
    assert_eq!(policies().await, (json!("REJECT_ON_FULL"), json!("REJECT_ON_FULL")));
    assert_eq!(app.patch(&production, reject).await.ok()["status"], "UNCHANGED");
    app.patch(&production, json!({ "request_backpressure_settings": {} })).await.ok();
    assert_eq!(policies().await, (json!("REJECT_ON_FULL"), json!("REJECT_ON_FULL")));

    let settings = one.path("/request_backpressure_settings");
    let answer = app.patch(&settings, json!({ "policy": "QUEUE_ON_FULL" })).await.ok();
    assert_eq!(answer, json!({ "policy": "QUEUE_ON_FULL" }));
    assert_eq!(policies().await, (json!("QUEUE_ON_FULL"), json!("QUEUE_ON_FULL")));
    app.patch(&settings, json!({ "policy": "SHRUG" })).await.is_invalid("unknown variant `SHRUG`");
    app.patch(&settings, json!({ "policy": null })).await.ok();
    assert_eq!(policies().await, (Value::Null, Value::Null));
    let nonesuch = one.model_path("/deployments/nonesuch/request_backpressure_settings");
    app.patch(&nonesuch, json!({ "policy": null })).await.refuses(404, "NOT_FOUND", "nonesuch");

    let audit = app.get(&one.model_path("/audit_logs")).await.ok();
    let changed = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["event_type"] == "MODEL_DEPLOYMENT_REQUEST_BACKPRESSURE_SETTINGS_CHANGED");
    assert_eq!(changed.count(), 2);
}

#[tokio::test]
async fn what_is_promoted_rejects_as_its_environment_does() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    app.make_active(&one).await;
    let reject = json!({ "policy": "REJECT_ON_FULL" });
    let staging = json!({ "name": "staging", "request_backpressure_settings": reject });
    app.post(&one.model_path("/environments"), staging).await.ok();
    let two = pushed(app.push(&one.model, json!({ "config": {}, "environment_name": "staging" })).await.ok());
    app.make_active(&two).await;
    assert_eq!(app.get(&two.path("")).await.ok()["request_backpressure_settings"], reject);
    assert_eq!(app.get(&one.path("")).await.ok()["request_backpressure_settings"], json!({ "policy": null }));
    let sent = json!({ "config": {}, "request_backpressure_settings": reject });
    let alone = pushed(app.push(&one.model, sent).await.ok());
    assert_eq!(app.get(&alone.path("")).await.ok()["request_backpressure_settings"], reject);
}

#[tokio::test]
async fn a_push_to_an_environment_is_served_there_once_it_has_been_active() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    app.make_active(&one).await;
    let to_staging = json!({ "config": {}, "environment_name": "staging" });
    app.push(&one.model, to_staging.clone()).await.refuses(404, "NOT_FOUND", "there is no environment staging");
    app.post(
        &one.model_path("/environments"),
        json!({ "name": "staging", "autoscaling_settings": { "max_replica": 3 } }),
    )
    .await
    .ok();
    let two = pushed(app.push(&one.model, to_staging).await.ok());
    let staging = one.model_path("/environments/staging");
    assert_eq!(app.get(&staging).await.ok()["current_deployment"], Value::Null);
    app.make_active(&two).await;
    let environment = app.get(&staging).await.ok();
    assert_eq!(environment["current_deployment"]["id"], two.deployment);
    assert_eq!(environment["current_deployment"]["autoscaling_settings"]["max_replica"], 3);
    let logs = app.get(&format!("{staging}/logs")).await.ok();
    assert!(logs["logs"][0]["message"].as_str().unwrap().contains("environment staging"), "{logs}");

    let new = json!({ "config": {}, "environment_name": "canary", "create_environment_if_missing": true });
    app.push(&one.model, new).await.ok();
    app.get(&one.model_path("/environments/canary")).await.ok();
    let audit = app.get(&one.model_path("/audit_logs")).await.ok();
    let made = audit["items"].as_array().unwrap().iter().filter(|item| item["event_type"] == "ENVIRONMENT_CREATED");
    let names: Vec<_> = made.map(|item| item["event_data"]["environment_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["canary", "staging"]);
}

#[tokio::test]
async fn a_new_model_may_bring_an_environment_of_its_own() {
    let app = TestApp::start().await;
    let deployment = json!({ "config": {}, "environment_name": "staging", "create_environment_if_missing": true });
    let source = json!({ "name": "iris", "deployment": deployment, "s3_key": app.upload(model_archive()).await });
    let one = pushed(app.post("/v1/models", json!({ "source": source })).await.ok());
    app.make_active(&one).await;
    let staging = app.get(&one.model_path("/environments/staging")).await.ok();
    assert_eq!(staging["current_deployment"]["id"], one.deployment);
    let production = app.get(&one.model_path("/environments/production")).await.ok();
    assert_eq!(production["current_deployment"], Value::Null);
}

#[tokio::test]
async fn a_push_keeps_the_instance_type_of_its_environment_unless_told_otherwise() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    app.make_active(&one).await;
    let large = |preserve: bool| {
        json!({
            "config": { "resources": { "cpu": "4" } }, "environment_name": "production", "preserve_env_instance_type": preserve
        })
    };
    let instance_type = |answer: Value| answer["deployment"]["instance_type_name"].as_str().unwrap().to_owned();
    assert_eq!(instance_type(app.push(&one.model, large(true)).await.ok()), "1x2");
    assert_eq!(instance_type(app.push(&one.model, large(false)).await.ok()), "4x16");
}

#[tokio::test]
async fn a_deleted_environment_leaves_its_deployment_asleep() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    app.make_active(&one).await;
    app.post(
        &one.model_path("/environments"),
        json!({ "name": "staging", "autoscaling_settings": { "min_replica": 1 } }),
    )
    .await
    .ok();
    let two = pushed(app.push(&one.model, json!({ "config": {}, "environment_name": "staging" })).await.ok());
    app.make_active(&two).await;
    let staging = one.model_path("/environments/staging");
    let tombstone = json!({ "name": "staging", "model_id": one.model, "deleted": true });
    assert_eq!(app.delete(&staging).await.ok(), tombstone);
    app.get(&staging).await.refuses(404, "NOT_FOUND", "staging");
    let left = app.store.deployment(&two.deployment_id()).await.unwrap();
    assert_eq!((left.target_replicas, left.autoscaling.min_replica), (0, 0));
    assert_eq!(app.get(&two.path("")).await.ok()["environment"], Value::Null);
    app.delete(&one.model_path("/environments/production")).await.is_invalid("production cannot be deleted");
}

#[tokio::test]
async fn activation_of_an_environment_is_that_of_what_it_serves() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    let production = one.model_path("/environments/production");
    app.post(&format!("{production}/activate"), json!({})).await.is_invalid("serves no deployment");
    app.post(&format!("{production}/deactivate"), json!({})).await.is_invalid("serves no deployment");
    app.make_active(&one).await;
    app.post(&format!("{production}/deactivate"), json!({})).await.ok();
    assert_eq!(app.get(&one.path("")).await.ok()["status"], "DEACTIVATING");
    app.post(&format!("{production}/activate"), json!({})).await.ok();
    assert_ne!(app.get(&one.path("")).await.ok()["status"], "DEACTIVATING");
}

#[tokio::test]
async fn settings_are_changed_in_the_very_moment_in_which_others_change_the_environment() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    app.make_active(&one).await;
    let path = one.model_path("/environments/production");
    let model = one.model.parse().unwrap();
    // The end of a promotion saves the environment too.
    let others = async || {
        for _ in 0..5 {
            let mut production = app.store.environment(&model, "production").await.unwrap();
            app.store.save_environment(&mut production, None).await.ok();
        }
    };
    for max_replica in 2..12 {
        let change = json!({ "autoscaling_settings": { "max_replica": max_replica } });
        let (answer, ()) = tokio::join!(app.patch(&path, change), others());
        assert_eq!(answer.ok()["environment"]["autoscaling_settings"]["max_replica"], max_replica);
    }
}
