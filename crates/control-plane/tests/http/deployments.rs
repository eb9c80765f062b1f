//! Deployments: pushed, changed, retired.

use planner::{autoscale, promotion::Ending};
use serde_json::{Value, json};
use store::domain::ScalingDecision;

use crate::support::{Pushed, TestApp, pushed};

#[tokio::test]
async fn names_count_up_and_can_be_chosen() {
    let app = TestApp::start().await;
    let first = app.push_model("iris").await;
    let name = |answer: Value| answer["deployment"]["name"].as_str().unwrap().to_owned();
    assert_eq!(name(app.push(&first.model, json!({ "config": {} })).await.ok()), "deployment-2");
    let chosen = json!({ "config": {}, "deployment_name": "v1.0_rc" });
    assert_eq!(name(app.push(&first.model, chosen.clone()).await.ok()), "v1.0_rc");
    app.push(&first.model, chosen).await.is_invalid("\"v1.0_rc\" already");
    for wrong in ["", "a b", "ü", &"x".repeat(256)] {
        let push = json!({ "config": {}, "deployment_name": wrong });
        app.push(&first.model, push).await.is_invalid("source.deployment.deployment_name");
    }
    let found = app.get(&first.model_path("/deployments?name=v1.0_rc")).await.ok();
    assert_eq!(found["deployments"].as_array().unwrap().len(), 1);
    assert_eq!(app.get(&first.model_path("")).await.ok()["deployments_count"], 3);
}

#[tokio::test]
async fn a_config_that_makes_no_sense_is_refused_by_path() {
    let app = TestApp::start().await;
    let model = app.push_model("iris").await.model;
    let cases = [
        (json!({ "resources": { "cpu": "lots" } }), "source.deployment.config.resources.cpu"),
        (json!({ "requirements": "numpy" }), "source.deployment.config.requirements"),
        (json!({ "runtime": { "predict_concurrency": 0 } }), "source.deployment.config.runtime.predict_concurrency"),
        (json!({ "model_module_dir": "../elsewhere" }), "source.deployment.config.model_module_dir"),
        (json!({ "resources": { "cpu": "1000" } }), "source.deployment.config.resources: no instance type"),
        (json!({ "resources": { "accelerator": "H100:8" } }), "source.deployment.config.resources: no instance type"),
        (json!({ "resources": { "instance_type": "9x9" } }), "there is no instance type \"9x9\""),
        (json!({ "requirements_file": "requirements.txt" }), "requirements.txt"),
    ];
    for (config, message) in cases {
        app.push(&model, json!({ "config": config })).await.is_invalid(message);
    }
    app.push(&model, json!({ "config": {}, "labels": ["a"] })).await.is_invalid("source.deployment.labels");
    app.push(&model, json!({ "config": {}, "deploy_timeout_minutes": 1441 }))
        .await
        .is_invalid("deploy_timeout_minutes");
    app.push(&model, json!({})).await.is_invalid("missing field `config`");
    assert_eq!(app.get(&format!("/v1/models/{model}")).await.ok()["deployments_count"], 1);
}

#[tokio::test]
async fn the_smallest_instance_type_that_fits_is_chosen() {
    let app = TestApp::start().await;
    let model = app.push_model("iris").await.model;
    for (resources, expected) in [
        (json!({}), "1x2"),
        (json!({ "cpu": "1500m" }), "2x8"),
        (json!({ "memory": "20Gi" }), "8x32"),
        (json!({ "instance_type": "4x16", "cpu": "1" }), "4x16"),
    ] {
        let answer = app.push(&model, json!({ "config": { "resources": resources } })).await.ok();
        assert_eq!(answer["deployment"]["instance_type_name"], expected);
    }
}

#[tokio::test]
async fn an_unknown_key_of_a_config_is_kept_and_warned_of_in_the_log() {
    let app = TestApp::start().await;
    let model = app.push_model("iris").await.model;
    let one = pushed(app.push(&model, json!({ "config": { "requirement": ["numpy"] } })).await.ok());
    let logs = app.get(&one.path("/logs")).await.ok();
    let messages: Vec<_> =
        logs["logs"].as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert!(messages.iter().any(|message| message.contains("did you mean `requirements`")), "{messages:?}");
    assert_eq!(app.get(&one.path("/config")).await.ok()["config"], json!({ "requirement": ["numpy"] }));
}

#[tokio::test]
async fn a_development_push_overwrites_the_one_there_is() {
    let app = TestApp::start().await;
    let model = app.push_model("iris").await.model;
    let development = json!({ "config": {}, "is_development": true });
    let first = pushed(app.push(&model, development.clone()).await.ok());
    app.make_active(&first).await;
    let second = pushed(app.push(&model, development.clone()).await.ok());
    assert_eq!(first.deployment, second.deployment);
    let found = app.get(&first.model_path("/deployments/development")).await.ok();
    assert_eq!((&found["is_development"], &found["status"]), (&json!(true), &json!("BUILDING")));
    assert_eq!(app.get(&first.model_path("")).await.ok()["development_deployment_id"], first.deployment);
    for (field, value) in [
        ("environment_name", json!("production")),
        ("deployment_name", json!("x")),
        ("preserve_env_instance_type", json!(false)),
    ] {
        let mut push = development.clone();
        push[field] = value;
        app.push(&model, push).await.is_invalid(field);
    }
    let many = json!({ "config": {}, "is_development": true, "autoscaling_settings": { "max_replica": 2 } });
    app.push(&model, many).await.is_invalid("development deployment");
    app.patch(&first.path(""), json!({ "name": "x" })).await.is_invalid("cannot be renamed");
    app.delete(&first.path("")).await.is_invalid("development deployment");
    app.patch(&first.path("/autoscaling_settings"), json!({ "min_replica": 1 }))
        .await
        .is_invalid("development deployment");
}

#[tokio::test]
async fn a_config_comes_back_as_it_was_pushed() {
    let app = TestApp::start().await;
    let model = app.push_model("iris").await.model;
    let raw = "model_name: iris # the famous one\n";
    let one = pushed(app.push(&model, json!({ "config": { "model_name": "iris" }, "raw_config": raw })).await.ok());
    let config = json!({ "model_name": "iris" });
    let get = async |format: &str| app.get(&one.path(&format!("/config{format}"))).await.ok();
    assert_eq!(get("").await, json!({ "config": config, "raw_config": raw }));
    assert_eq!(get("?output_format=both").await, json!({ "config": config, "raw_config": raw }));
    assert_eq!(get("?output_format=raw").await, json!({ "config": null, "raw_config": raw }));
    assert_eq!(get("?output_format=parsed").await, json!({ "config": config, "raw_config": null }));
    app.get(&one.path("/config?output_format=xml")).await.is_invalid("output_format");
    let broken = pushed(app.push(&model, json!({ "config": {}, "raw_config": "a: [" })).await.ok());
    assert_eq!(app.get(&broken.path("/config")).await.ok()["raw_config"], Value::Null);
}

#[tokio::test]
async fn an_archive_can_be_downloaded_unless_its_model_forbids_it() {
    let app = TestApp::start().await;
    let open = app.push_model("open").await;
    let url = app.get(&open.path("/download")).await.ok()["download_url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("http://localhost:8000/greenroom-uploads/") && url.contains("X-Amz-Signature="), "{url}");
    let s3_key = app.upload(crate::support::model_archive()).await;
    let source =
        json!({ "name": "shut", "deployment": { "config": {} }, "s3_key": s3_key, "disable_archive_download": true });
    let shut = pushed(app.post("/v1/models", json!({ "source": source })).await.ok());
    app.get(&shut.path("/download")).await.is_invalid("disable_archive_download");
}

#[tokio::test]
async fn a_deployment_is_renamed_unless_the_name_is_taken() {
    let app = TestApp::start().await;
    let first = app.push_model("iris").await;
    let second = pushed(app.push(&first.model, json!({ "config": {} })).await.ok());
    assert_eq!(app.patch(&second.path(""), json!({ "name": "blue" })).await.ok()["name"], "blue");
    assert_eq!(app.patch(&second.path(""), json!({})).await.ok()["name"], "blue");
    app.patch(&second.path(""), json!({ "name": "deployment-1" })).await.is_invalid("\"deployment-1\"");
    app.patch(&second.path(""), json!({ "name": "a b" })).await.is_invalid("deployment name");
    app.patch(&second.path(""), json!({ "title": "x" })).await.is_invalid("unknown field `title`");
}

#[tokio::test]
async fn what_serves_or_is_needed_is_not_deleted() {
    let app = TestApp::start().await;
    let first = app.push_model("iris").await;
    app.delete(&first.path("")).await.is_invalid("only deployment");
    let second = pushed(app.push(&first.model, json!({ "config": {} })).await.ok());
    app.delete(&first.path("")).await.is_invalid("on its way to environment production");
    app.make_active(&first).await;
    app.delete(&first.path("")).await.is_invalid("environment production serves it");
    app.delete(&first.model_path("/deployments/production")).await.is_invalid("environment production serves it");
    let tombstone = json!({ "id": second.deployment, "deleted": true, "model_id": second.model });
    assert_eq!(app.delete(&second.path("")).await.ok(), tombstone);
    app.get(&second.path("")).await.refuses(404, "NOT_FOUND", &second.deployment);
}

#[tokio::test]
async fn a_deployment_belongs_to_its_own_model_only() {
    let app = TestApp::start().await;
    let (one, two) = (app.push_model("one").await, app.push_model("two").await);
    let mixed = format!("/v1/models/{}/deployments/{}", one.model, two.deployment);
    app.get(&mixed).await.refuses(404, "NOT_FOUND", &two.deployment);
    app.delete(&mixed).await.refuses(404, "NOT_FOUND", &two.deployment);
    app.get(&one.model_path("/deployments/nonesuch")).await.refuses(
        404,
        "NOT_FOUND",
        "there is no deployment nonesuch",
    );
    app.get(&one.model_path("/deployments/development")).await.refuses(404, "NOT_FOUND", "development");
}

#[tokio::test]
async fn deactivating_drains_and_activating_starts_again() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    let replica = app.make_active(&one).await;
    let status = async || app.get(&one.path("")).await.ok()["status"].as_str().unwrap().to_owned();
    assert_eq!(status().await, "ACTIVE");
    assert_eq!(app.post(&one.path("/activate"), json!({})).await.ok(), json!({ "success": true }));
    assert_eq!(status().await, "ACTIVE");
    assert_eq!(app.post(&one.path("/deactivate"), json!({})).await.ok(), json!({ "success": true }));
    assert_eq!(status().await, "DEACTIVATING");
    app.store.delete_replica(&replica).await.unwrap();
    assert_eq!(status().await, "INACTIVE");
    let production = app.get(&one.model_path("/deployments/production")).await.ok();
    assert_eq!(production["id"], one.deployment, "it keeps its environment");
    app.post(&one.model_path("/deployments/production/activate"), json!({})).await.ok();
    assert_eq!(status().await, "DEPLOYING");
}

#[tokio::test]
async fn what_has_failed_says_why_and_is_retried() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    let answer = app.post(&one.path("/retry"), json!({})).await.ok();
    assert_eq!(answer["retried"], false);
    assert!(answer["reason"].as_str().unwrap().contains("not failed"), "{answer}");
    app.fail_build(&one).await;
    let failed = app.get(&one.path("")).await.ok();
    assert_eq!(failed["status"], "BUILD_FAILED");
    assert_eq!(failed["status_reason"], "requirements: no version of nonesuch");
    let reason =
        json!({ "message": "requirements: no version of nonesuch", "hint": "correct the name", "detail": null });
    assert_eq!(failed["failure_reason"], reason);
    app.post(&one.path("/activate"), json!({})).await.is_invalid("retry");
    let answer = app.post(&one.path("/retry"), json!({})).await.ok();
    assert_eq!((&answer["retried"], &answer["reason"]), (&json!(true), &Value::Null));
    assert_eq!(answer["deployment"]["status"], "BUILDING");
    let deeds = app.get("/v1/audit_logs?limit=1").await.ok();
    assert_eq!(deeds["items"][0]["event_type"], "MODEL_DEPLOYMENT_RETRIED");
}

#[tokio::test]
async fn a_retry_does_not_push_out_what_has_come_to_the_environment_meanwhile() {
    let app = TestApp::start().await;
    let first = app.push_model("iris").await;
    let fail = async || {
        app.begin_pushed(&first).await;
        app.fail_build(&first).await;
        app.end_promotion(&first, "production", Ending::Failed { reason: "no build".into() }).await;
    };
    let target = async |one: &Pushed| app.store.deployment(&one.deployment_id()).await.unwrap().target_environment;
    fail().await;
    assert_eq!(target(&first).await, None);
    app.post(&first.path("/retry"), json!({})).await.ok();
    assert_eq!(target(&first).await.as_deref(), Some("production"), "production still waits for it");
    fail().await;
    let second = pushed(app.push(&first.model, json!({ "config": {} })).await.ok());
    app.begin_pushed(&second).await;
    app.post(&first.path("/retry"), json!({})).await.ok();
    assert_eq!(target(&first).await, None, "another one is on its way");
    app.make_active(&second).await;
    app.end_promotion(&second, "production", Ending::Succeeded).await;
    app.fail_build(&first).await;
    app.post(&first.path("/retry"), json!({})).await.ok();
    assert_eq!(target(&first).await, None);
    let logs = app.get(&first.path("/logs")).await.ok().to_string();
    assert!(logs.contains("environment production serves another deployment by now"), "{logs}");
}

#[tokio::test]
async fn settings_change_field_by_field_and_reach_the_environment() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    let settings = one.path("/autoscaling_settings");
    let patch = async |body: Value| app.patch(&settings, body).await;
    assert_eq!(patch(json!({ "max_replica": 2 })).await.ok()["status"], "QUEUED");
    app.make_active(&one).await;
    assert_eq!(patch(json!({ "max_replica": 2 })).await.ok()["status"], "UNCHANGED");
    assert_eq!(patch(json!({ "min_replica": 1, "scale_down_delay": null })).await.ok()["status"], "ACCEPTED");
    let expected = json!({
        "min_replica": 1, "max_replica": 2, "autoscaling_window": 60, "scale_down_delay": 900, "concurrency_target": 1,
        "target_utilization_percentage": 70, "target_in_flight_tokens": null, "max_scale_down_rate": 50
    });
    assert_eq!(app.get(&one.path("")).await.ok()["autoscaling_settings"], expected);
    let environment = app.get(&one.model_path("/environments/production")).await.ok();
    assert_eq!(environment["autoscaling_settings"], expected);
    patch(json!({ "min_replica": 3 })).await.is_invalid("min_replica 3 is more than max_replica 2");
    patch(json!({ "max_replica": 0 })).await.is_invalid("max_replica");
    patch(json!({ "max_replica": 101 })).await.is_invalid("max_replica");
    patch(json!({ "autoscaling_window": 5 })).await.is_invalid("autoscaling_window");
    patch(json!({ "concurrency_target": -1 })).await.is_invalid("concurrency_target");
    patch(json!({ "max_replicas": 1 })).await.is_invalid("unknown field `max_replicas`");
    patch(json!({ "target_in_flight_tokens": 1 })).await.is_invalid("target_in_flight_tokens");
    assert_eq!(app.get(&one.path("")).await.ok()["autoscaling_settings"], expected);
}

#[tokio::test]
async fn changes_of_the_number_of_replicas_are_listed_with_what_they_were_worked_out_from() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    app.make_active(&one).await;
    let path = one.path("/autoscaling_decisions");
    assert_eq!(app.get(&path).await.ok(), json!({ "autoscaling_decisions": [] }));
    for replicas in [2, 4] {
        let inputs = autoscale::Inputs {
            current: replicas / 2,
            in_flight: 1,
            queued: 3,
            average_milli: 2_650,
            averaged_ms: 60_000,
            per_replica_milli: 700,
            asked: 4,
            min_replica: 0,
            max_replica: 10,
        };
        let why = autoscale::Why::LoadAboveTarget;
        let decision = ScalingDecision { deployment_id: one.deployment_id(), at: app.now(), replicas, why, inputs };
        app.store.add_scaling_decision(&decision).await.unwrap();
    }
    let listed = app.get(&path).await.ok();
    let newest = &listed["autoscaling_decisions"][0];
    assert_eq!((&newest["previous_replica_count"], &newest["replica_count"]), (&json!(2), &json!(4)));
    assert_eq!((&newest["reason"], &newest["average_in_flight"]), (&json!("LOAD_ABOVE_TARGET"), &json!(2.65)));
    assert_eq!(
        newest["explanation"],
        "the load is above its target: 2.6 requests on average over 60 s, and 3 that wait now, at 0.7 for each replica ask \
         for 4; allowed are 0 to 10"
    );
    let listed = app.get(&one.model_path("/deployments/production/autoscaling_decisions?limit=1")).await.ok();
    assert_eq!(listed["autoscaling_decisions"].as_array().unwrap().len(), 1);
    app.get(&one.path("/autoscaling_decisions?limit=0")).await.is_invalid("limit");
}

#[tokio::test]
async fn a_replica_is_marked_to_stop_and_nothing_more() {
    let app = TestApp::start().await;
    let (one, two) = (app.push_model("one").await, app.push_model("two").await);
    let replica = app.make_active(&one).await;
    app.delete(&two.path(&format!("/replicas/{replica}"))).await.refuses(404, "NOT_FOUND", "there is no replica");
    app.delete(&one.path("/replicas/zzzzz")).await.refuses(404, "NOT_FOUND", "there is no replica zzzzz");
    assert_eq!(app.delete(&one.path(&format!("/replicas/{replica}"))).await.ok(), json!({ "success": true }));
    let replicas = app.store.replicas(Some(&one.deployment_id())).await.unwrap();
    assert_eq!(replicas[0].stopping_since, Some(app.now()));
    assert_eq!(app.get(&one.path("")).await.ok()["active_replica_count"], 0);
}

#[tokio::test]
async fn replicas_are_listed_with_where_they_stand() {
    let app = TestApp::start().await;
    let pushed = app.push_model("iris").await;
    assert_eq!(app.get(&pushed.path("/replicas")).await.ok(), json!({ "replicas": [] }));
    let replica = app.make_active(&pushed).await;
    let listed = app.get(&pushed.path("/replicas")).await.ok();
    let one = &listed["replicas"][0];
    assert_eq!((&one["id"], &one["state"]), (&json!(replica), &json!("READY")));
    assert_eq!((&one["instance_type"], &one["waits_for"]), (&json!("1x2"), &json!(null)));
    app.delete(&pushed.path(&format!("/replicas/{replica}"))).await.ok();
    assert_eq!(app.get(&pushed.path("/replicas")).await.ok()["replicas"][0]["state"], "STOPPING");
}
