//! Models: pushed, found by name, deleted; and pushes that are refused without a trace.

use serde_json::{Value, json};

use crate::support::{TestApp, archive_of, model_archive, pushed, redacted};

fn source(name: &str, s3_key: &str, deployment: Value) -> Value {
    json!({ "source": { "kind": "model_archive", "name": name, "deployment": deployment, "s3_key": s3_key } })
}

#[tokio::test]
async fn a_push_makes_a_model_with_its_first_deployment() {
    let app = TestApp::start().await;
    let s3_key = app.upload(model_archive()).await;
    let request = source("iris", &s3_key, json!({ "config": {}, "labels": { "team": "red" } }));
    let answer = app.post("/v1/models", request).await.ok();
    let ids = pushed(answer.clone());
    assert_eq!(
        redacted(answer),
        json!({
            "model": {
                "id": "[id]", "created_at": "2026-01-02T03:04:05.678+00:00", "name": "iris", "deployments_count": 1,
                "production_deployment_id": null, "development_deployment_id": null,
                "instance_type_name": "1x2", "team_name": "Default"
            },
            "deployment": {
                "id": "[id]", "created_at": "2026-01-02T03:04:05.678+00:00", "name": "deployment-1", "model_id": "[model_id]",
                "is_production": false, "is_development": false, "status": "BUILDING", "status_reason": "waiting for the build", "active_replica_count": 0,
                "autoscaling_settings": null, "instance_type_name": "1x2", "environment": null,
                "labels": { "team": "red" }, "region": null, "request_backpressure_settings": { "policy": null }
            }
        })
    );
    app.get(&ids.path("")).await.ok();
}

#[tokio::test]
async fn the_first_published_deployment_becomes_production_once_it_has_been_active() {
    let app = TestApp::start().await;
    let first = app.push_model("iris").await;
    app.get(&first.model_path("/deployments/production")).await.refuses(404, "NOT_FOUND", "production");
    app.make_active(&first).await;
    let production = app.get(&first.model_path("/deployments/production")).await.ok();
    assert_eq!(production["id"], first.deployment);
    assert_eq!((&production["is_production"], &production["environment"]), (&json!(true), &json!("production")));
    assert_eq!((&production["status"], &production["active_replica_count"]), (&json!("ACTIVE"), &json!(1)));
    assert_eq!(production["autoscaling_settings"]["scale_down_delay"], 900);
    assert_eq!(app.get(&first.model_path("")).await.ok()["production_deployment_id"], first.deployment);

    let second = pushed(app.push(&first.model, json!({ "config": {} })).await.ok());
    app.make_active(&second).await;
    assert_eq!(app.get(&second.path("")).await.ok()["environment"], Value::Null);
}

#[tokio::test]
async fn a_model_gets_another_name_and_keeps_everything_else() {
    let app = TestApp::start().await;
    let (one, other) = (app.push_model("iris").await, app.push_model("other").await);
    let before = app.get(&one.model_path("")).await.ok();
    for (name, message) in [("other", "another model is named \"other\""), ("", "model name"), (" a", "model name")] {
        app.patch(&one.model_path(""), json!({ "name": name })).await.is_invalid(message);
    }
    app.patch(&one.model_path(""), json!({ "nom": "x" })).await.is_invalid("unknown field `nom`");
    assert_eq!(app.patch(&one.model_path(""), json!({})).await.ok(), before);
    let mut expected = before;
    expected["name"] = "lily".into();
    assert_eq!(app.patch(&one.model_path(""), json!({ "name": "lily" })).await.ok(), expected);
    assert_eq!(app.get("/v1/models?name=iris").await.ok()["models"], json!([]));
    assert_eq!(app.get("/v1/models?name=lily").await.ok()["models"], json!([expected]));
    let audit = app.get(&one.model_path("/audit_logs")).await.ok();
    let event = &audit["items"][0]["event_data"];
    assert_eq!((&event["model_name"], &event["previous_name"]), (&json!("lily"), &json!("iris")));
    app.push_model("iris").await;
    let nonesuch = other.model_path("").replace(&other.model, "abcd1234");
    app.patch(&nonesuch, json!({ "name": "x" })).await.refuses(404, "NOT_FOUND", "abcd1234");
}

#[tokio::test]
async fn a_failed_first_push_does_not_hold_production() {
    let app = TestApp::start().await;
    let first = app.push_model("iris").await;
    app.fail_build(&first).await;
    let second = pushed(app.push(&first.model, json!({ "config": {} })).await.ok());
    app.make_active(&second).await;
    assert_eq!(app.get(&first.model_path("")).await.ok()["production_deployment_id"], second.deployment);
}

#[tokio::test]
async fn a_name_finds_exactly_one_model() {
    let app = TestApp::start().await;
    for name in ["iris", "iris-2"] {
        app.push_model(name).await;
        app.pass(1);
    }
    assert_eq!(app.model_names().await, ["iris-2", "iris"]);
    let names = |answer: Value| -> Vec<String> {
        answer["models"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().into()).collect()
    };
    assert_eq!(names(app.get("/v1/models?name=iris").await.ok()), ["iris"]);
    assert!(names(app.get("/v1/models?name=iri").await.ok()).is_empty());
    assert!(names(app.get("/v1/models?name=Iris").await.ok()).is_empty());
}

#[tokio::test]
async fn a_deleted_model_is_gone_with_everything() {
    let app = TestApp::start().await;
    let model = app.push_model("iris").await;
    assert_eq!(app.delete(&model.model_path("")).await.ok(), json!({ "id": model.model, "deleted": true }));
    app.get(&model.model_path("")).await.refuses(404, "NOT_FOUND", &model.model);
    app.get(&model.path("")).await.refuses(404, "NOT_FOUND", &model.model);
    app.push_model("iris").await;
}

#[tokio::test]
async fn ids_that_name_nothing_are_not_found() {
    let app = TestApp::start().await;
    app.get("/v1/models/does-not-exist").await.refuses(404, "NOT_FOUND", "not a model id");
    app.get("/v1/models/abcd1234").await.refuses(404, "NOT_FOUND", "there is no model abcd1234");
    app.get("/v1/teams/abcdefghij/models").await.refuses(404, "NOT_FOUND", "there is no team abcdefghij");
}

#[tokio::test]
async fn a_taken_or_impossible_name_is_refused() {
    let app = TestApp::start().await;
    app.push_model("iris").await;
    let s3_key = app.upload(model_archive()).await;
    let config = json!({ "config": {} });
    app.post("/v1/models", source("iris", &s3_key, config.clone())).await.is_invalid("there is a model named \"iris\"");
    for name in ["", " iris", "two\nlines"] {
        app.post("/v1/models", source(name, &s3_key, config.clone())).await.is_invalid("model name");
    }
    app.post("/v1/models", source("other", &s3_key, config)).await.ok();
}

#[tokio::test]
async fn only_archives_can_be_pushed() {
    let app = TestApp::start().await;
    let listing =
        json!({ "source": { "kind": "library_listing", "lab_display_name": "x", "user_defined_listing_id": "y" } });
    app.post("/v1/models", listing).await.is_invalid("library_listing");
    let s3_key = app.upload(model_archive()).await;
    let untagged = json!({ "source": { "name": "iris", "deployment": { "config": {} }, "s3_key": s3_key } });
    app.post("/v1/models", untagged).await.ok();
}

#[tokio::test]
async fn a_push_without_an_upload_is_refused() {
    let app = TestApp::start().await;
    let missing = json!({ "source": { "name": "iris", "deployment": { "config": {} } } });
    app.post("/v1/models", missing).await.is_invalid("source.s3_key: it is missing");
    let team = app.team().await;
    let other_team = uploads::object_key(&api::id::TeamId::from_entropy(9), 1);
    app.upload_as(&other_team, model_archive()).await;
    for key in [uploads::object_key(&team, 1), other_team, "../../etc/passwd".into(), String::new()] {
        app.post("/v1/models", source("iris", &key, json!({ "config": {} })))
            .await
            .is_invalid("nothing has been uploaded");
    }
    assert!(app.model_names().await.is_empty());
}

#[tokio::test]
async fn an_archive_that_could_do_harm_is_refused_and_leaves_no_trace() {
    let app = TestApp::with(|settings| settings.archive_limits.total_bytes = 1000).await;
    let model = ("model/model.py", "class Model: ...");
    let long = "x".repeat(2000);
    let refusals = [
        (archive_of(&[model, ("../escape", "x")]), "../escape"),
        (archive_of(&[model, ("/etc/passwd", "x")]), "/etc/passwd"),
        (archive_of(&[model, ("data/bomb", &long)]), "data/bomb"),
        (archive_of(&[("config.yaml", "")]), "model/model.py"),
        (b"this is no archive".to_vec(), "not a tar archive"),
        (model_archive()[..700].to_vec(), "cut short"),
    ];
    for (archive, names) in refusals {
        let s3_key = app.upload(archive).await;
        let answer = app.post("/v1/models", source("iris", &s3_key, json!({ "config": {} }))).await;
        answer.is_invalid("source.s3_key: ");
        answer.is_invalid(names);
    }
    assert!(app.model_names().await.is_empty());
    assert_eq!(app.get("/v1/audit_logs").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn an_upload_survives_a_refusal_that_can_be_corrected() {
    let app = TestApp::start().await;
    let s3_key = app.upload(model_archive()).await;
    let wrong = json!({ "config": { "model_class_filename": "other.py" } });
    app.post("/v1/models", source("iris", &s3_key, wrong)).await.is_invalid("model/other.py");
    let broken = json!({ "config": {}, "deploy_timeout_minutes": 5 });
    app.post("/v1/models", source("iris", &s3_key, broken)).await.is_invalid("deploy_timeout_minutes");
    app.post("/v1/models", source("iris", &s3_key, json!({ "config": {} }))).await.ok();
}

#[tokio::test]
async fn an_archive_can_be_replaced_after_a_refusal() {
    let app = TestApp::start().await;
    let s3_key = app.upload(archive_of(&[("config.yaml", "")])).await;
    app.post("/v1/models", source("iris", &s3_key, json!({ "config": {} }))).await.is_invalid("model/model.py");
    app.upload_as(&s3_key, model_archive()).await;
    app.post("/v1/models", source("iris", &s3_key, json!({ "config": {} }))).await.ok();
}

#[tokio::test]
async fn a_server_of_the_users_own_needs_no_model_class() {
    let app = TestApp::start().await;
    let s3_key = app.upload(archive_of(&[("server.py", "...")])).await;
    let server = json!({
        "start_command": "python server.py", "server_port": 9000, "predict_endpoint": "/predict",
        "readiness_endpoint": "/", "liveness_endpoint": "/"
    });
    app.post("/v1/models", source("iris", &s3_key, json!({ "config": { "docker_server": server } }))).await.ok();
}
