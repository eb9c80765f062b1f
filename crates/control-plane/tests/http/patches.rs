//! Live reload: patches over REST, and over GraphQL as the truss client 0.18.35 sends them.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::support::{Pushed, TestApp, archive_of, pushed};

const CONFIG: &str = "model_name: iris # kept\n";
const MODEL: &str = "class Model: pass\n";

/// A development deployment that is active.
async fn draft(app: &TestApp) -> Pushed {
    let archive = archive_of(&[
        ("config.yaml", CONFIG),
        ("model/model.py", MODEL),
        ("packages/own/__init__.py", ""),
        ("data/a", "a"),
    ]);
    let deployment = json!({ "config": {}, "raw_config": CONFIG, "is_development": true });
    let source = json!({ "name": "iris", "deployment": deployment, "s3_key": app.upload(archive).await });
    let one = pushed(app.post("/v1/models", json!({ "source": source })).await.ok());
    app.make_active(&one).await;
    one
}

fn hash(text: &str) -> Value {
    blake3::hash(text.as_bytes()).to_hex().to_string().into()
}

async fn state(app: &TestApp, one: &Pushed) -> Value {
    app.get(&one.path("/patches/state")).await.ok()
}

/// A patch that gives the model's file another text, on top of `base`.
fn new_code(base: &Value, text: &str) -> Value {
    let mut next = json!({ "content_hashes": base["content_hashes"], "config": base["config"] });
    next["content_hashes"]["model/model.py"] = hash(text);
    let op = json!({ "type": "model_code", "action": "UPDATE", "path": "model.py", "content": text });
    json!({ "prev_patch_hash": base["hash"], "next_patch_point": next, "patch_ops": [op] })
}

#[tokio::test]
async fn what_was_pushed_is_the_first_point_and_what_is_staged_the_next() {
    let app = TestApp::start().await;
    let one = draft(&app).await;
    let before = state(&app, &one).await;
    let running = &before["running_patch_point"];
    let expected = json!({
        "config.yaml": hash(CONFIG), "data": null, "data/a": hash("a"), "model": null, "model/model.py": hash(MODEL),
        "packages": null, "packages/own": null, "packages/own/__init__.py": hash("")
    });
    assert_eq!((&running["content_hashes"], &running["config"]), (&expected, &json!(CONFIG)));
    assert_eq!(before["pending_patch_point"], Value::Null);
    assert_eq!(app.get(&one.model_path("/deployments/development/patches/state")).await.ok(), before);

    let staged = app.post(&one.path("/patches"), new_code(running, "x = 1\n")).await.ok();
    let after = state(&app, &one).await;
    assert_eq!(after["pending_patch_point"], staged["patch_point"]);
    assert_eq!(&after["running_patch_point"], running);
    assert_ne!(staged["patch_point"]["hash"], running["hash"]);
    app.post(&one.path("/patches"), new_code(running, "x = 2\n")).await.refuses(409, "CONFLICT", "make the patch anew");

    let second = app.post(&one.path("/patches"), new_code(&staged["patch_point"], "x = 3\n")).await.ok();
    let patched = app.patched_files(&one).await;
    assert_eq!(patched["model/model.py"], "x = 3\n");
    assert_eq!((patched["data/a"].as_str(), patched["config.yaml"].as_str()), ("a", CONFIG));
    assert_eq!(state(&app, &one).await["pending_patch_point"], second["patch_point"]);

    let deeds = app.get("/v1/audit_logs?event_type_groups=PATCHED").await.ok();
    let last = &deeds["items"][0];
    assert_eq!(last["event_type"], "MODEL_DEPLOYMENT_PATCH_STAGED");
    assert_eq!(last["event_data"]["patch_hash"], second["patch_point"]["hash"]);
    assert_eq!(last["event_data"]["previous_settings"]["patch_hash"], staged["patch_point"]["hash"]);
    assert_eq!(deeds["items"].as_array().unwrap().len(), 2, "one that is refused is none");
}

#[tokio::test]
async fn a_sync_answers_when_what_was_staged_runs() {
    let app = TestApp::start().await;
    let one = draft(&app).await;
    let sync = one.path("/patches/sync");
    let in_sync = json!({ "needs_full_deploy_reason": null });
    assert_eq!(app.post(&sync, json!({})).await.ok(), in_sync, "there is nothing to do");
    let base = state(&app, &one).await["running_patch_point"].take();
    let staged = app.post(&one.path("/patches"), new_code(&base, "x = 1\n")).await.ok();
    let (answer, ()) = futures::join!(app.post(&sync, json!({})), app.let_patch_take_over(&one));
    assert_eq!(answer.ok(), in_sync);
    let after = state(&app, &one).await;
    assert_eq!((&after["running_patch_point"], &after["pending_patch_point"]), (&staged["patch_point"], &Value::Null));
    let deeds = app.get("/v1/audit_logs?event_type_groups=PATCHED").await.ok();
    assert_eq!(deeds["items"][0]["event_type"], "MODEL_DEPLOYMENT_PATCH_SYNCED");
    assert_eq!(deeds["items"][0]["event_data"]["patch_hash"], staged["patch_point"]["hash"]);
    assert_eq!(deeds["items"].as_array().unwrap().len(), 2, "asking for nothing is no deed");
}

#[tokio::test]
async fn a_patch_that_does_not_work_is_told_with_its_reason_and_kept_for_the_next() {
    let app = TestApp::start().await;
    let one = draft(&app).await;
    let sync = one.path("/patches/sync");
    let base = state(&app, &one).await["running_patch_point"].take();
    let staged = app.post(&one.path("/patches"), new_code(&base, "boom\n")).await.ok();
    let (answer, ()) = futures::join!(app.post(&sync, json!({})), app.let_patch_fail(&one));
    answer.is_invalid("what ran before runs on: `load` raised ValueError: boom\nTraceback");
    let after = state(&app, &one).await;
    assert_eq!((&after["running_patch_point"], &after["pending_patch_point"]), (&base, &staged["patch_point"]));
    app.post(&one.path("/patches"), new_code(&staged["patch_point"], "mended\n")).await.ok();
    let (answer, ()) = futures::join!(app.post(&sync, json!({})), app.let_patch_take_over(&one));
    answer.ok();
}

#[tokio::test]
async fn what_only_a_push_can_change_is_said_and_a_change_back_is_none() {
    let app = TestApp::start().await;
    let one = draft(&app).await;
    let sync = one.path("/patches/sync");
    let base = state(&app, &one).await["running_patch_point"].take();
    let larger = "model_name: iris\nresources: { cpu: \"3\" }\n";
    let patch = |base: &Value, text: &str, config: Value| {
        let mut next = json!({ "content_hashes": base["content_hashes"], "config": text });
        next["content_hashes"]["config.yaml"] = hash(text);
        let op = json!({ "type": "config", "config": config, "path": "config.yaml" });
        json!({ "prev_patch_hash": base["hash"], "next_patch_point": next, "patch_ops": [op] })
    };
    let config = json!({ "model_name": "iris", "resources": { "cpu": "3" } });
    let staged = app.post(&one.path("/patches"), patch(&base, larger, config)).await.ok();
    let answer = app.post(&sync, json!({})).await.ok();
    assert!(answer["needs_full_deploy_reason"].as_str().unwrap().contains("resources"), "{answer}");
    let back = patch(&staged["patch_point"], CONFIG, json!({ "model_name": "iris" }));
    app.post(&one.path("/patches"), back).await.ok();
    let (answer, ()) = futures::join!(app.post(&sync, json!({})), app.let_patch_take_over(&one));
    assert_eq!(answer.ok()["needs_full_deploy_reason"], Value::Null);
    assert_eq!(app.get(&one.path("/config")).await.ok()["raw_config"], CONFIG);
}

#[tokio::test]
async fn a_patch_that_makes_no_sense_changes_nothing() {
    let app = TestApp::start().await;
    let one = draft(&app).await;
    let before = state(&app, &one).await;
    let base = &before["running_patch_point"];
    let all = one.path("/patches");
    let with = |ops: Value| {
        let mut patch = new_code(base, "x\n");
        patch["patch_ops"] = ops;
        patch
    };
    for (ops, message) in [
        (json!([]), "it is empty"),
        (json!([{ "type": "model_code", "action": "ADD", "path": "../../x", "content": "" }]), "\"..\" in its path"),
        (json!([{ "type": "model_code", "action": "ADD", "path": "x" }]), "needs content"),
        (json!([{ "type": "model_code", "action": "REMOVE", "path": "model.py" }]), "no file \"model/model.py\""),
        (json!([{ "type": "model_code", "action": "ADD", "path": "model.py/x", "content": "" }]), "not a folder"),
        (json!([{ "type": "config", "config": { "resources": { "cpu": "lots" } } }]), "resources.cpu"),
        (json!([{ "type": "shrug", "action": "ADD" }]), "unknown variant `shrug`"),
    ] {
        app.post(&all, with(ops)).await.is_invalid(message);
    }
    assert_eq!(state(&app, &one).await, before);
    let invoker = app.make_key("WORKSPACE_INVOKE").await;
    let method = axum::http::Method::POST;
    assert_eq!(app.call_as(Some(&invoker), method, &all, Some(new_code(base, "x"))).await.status, 403);
}

#[tokio::test]
async fn a_patch_may_carry_a_large_file_but_not_any() {
    let app = TestApp::start().await;
    let one = draft(&app).await;
    let base = state(&app, &one).await["running_patch_point"].take();
    let with = |bytes: usize| new_code(&base, &format!("#{}\n", "x".repeat(bytes)));
    app.post(&one.path("/patches"), with(33 << 20)).await.refuses(413, "PAYLOAD_TOO_LARGE", "");
    app.post(&one.path("/patches"), with(8 << 20)).await.ok();
}

#[tokio::test]
async fn what_is_published_is_never_patched() {
    let app = TestApp::start().await;
    let one = app.push_model("iris").await;
    app.get(&one.path("/patches/state")).await.is_invalid("only a development deployment can be patched");
    app.post(&one.path("/patches/sync"), json!({})).await.is_invalid("only a development deployment can be patched");
}

#[tokio::test]
async fn a_sync_while_the_push_is_being_built_is_to_be_asked_again() {
    let app = TestApp::start().await;
    let deployment = json!({ "config": {}, "is_development": true });
    let source = json!({ "name": "iris", "deployment": deployment, "s3_key": app.upload(crate::support::model_archive()).await });
    let one = pushed(app.post("/v1/models", json!({ "source": source })).await.ok());
    app.post(&one.path("/patches/sync"), json!({})).await.refuses(503, "UNAVAILABLE", "still being built");
}

/// One answer of the endpoint that truss speaks to.
async fn graphql(app: &TestApp, document: String) -> Value {
    let variables = json!({ "trussUserEnv": "{}" });
    let mut answer = app.post("/graphql/", json!({ "query": document, "variables": variables })).await.ok();
    assert_eq!(answer.get("errors"), None, "{answer:#}");
    answer["data"].take()
}

#[tokio::test]
async fn the_truss_client_stages_and_syncs_in_its_own_words() {
    const STATE: &str = "is_container_built_from_push django_patch_state { current_hash current_signature } \
                         container_patch_state { current_hash current_signature }";
    const PATCHED: &str = "id name version_id succeeded needs_full_deploy error";
    let app = TestApp::start().await;
    let one = draft(&app).await;
    let watch = async || {
        let document = format!("{{ truss_watch_state(id: \"{}\") {{ {STATE} }} }}", one.model);
        graphql(&app, document).await["truss_watch_state"].take()
    };
    let nothing =
        json!({ "is_container_built_from_push": true, "django_patch_state": null, "container_patch_state": null });
    assert_eq!(watch().await, nothing);

    let base = state(&app, &one).await["running_patch_point"].take();
    let stage = async |ops: Value| {
        let mut hashes = base["content_hashes"].clone();
        hashes["model/model.py"] = hash("x = 1\n");
        let signature =
            json!({ "content_hashes_by_path": hashes, "config": CONFIG, "requirements_file_requirements": [] });
        let patch = json!({
            "prev_hash": base["hash"], "prev_signature": {}, "next_hash": "opaque", "next_signature": signature,
            "patch_ops": ops
        });
        let patch = BASE64_STANDARD.encode(patch.to_string());
        let document = format!(
            "mutation ($trussUserEnv: String) {{ stage_patch_for_draft_truss(id: \"{}\" truss_user_env: $trussUserEnv \
             patch: \"{patch}\") {{ {PATCHED} }} }}",
            one.model
        );
        graphql(&app, document).await["stage_patch_for_draft_truss"].take()
    };
    let refused = stage(json!([{ "type": "system_package", "body": { "action": "ADD", "package": "curl" } }])).await;
    assert_eq!((&refused["succeeded"], &refused["needs_full_deploy"]), (&json!(false), &json!(true)));
    assert_eq!(watch().await, nothing);

    let code =
        json!({ "type": "model_code", "body": { "action": "UPDATE", "path": "model.py", "content": "x = 1\n" } });
    let variable = json!({ "type": "environment_variable", "body": { "action": "ADD", "item": { "A": "1" } } });
    let staged = stage(json!([code, variable])).await;
    let expected = json!({
        "id": one.model, "name": "deployment-1", "version_id": one.deployment, "succeeded": true,
        "needs_full_deploy": false, "error": null
    });
    assert_eq!(staged, expected);
    let waiting = watch().await;
    assert_eq!(waiting["is_container_built_from_push"], true);
    assert_eq!(waiting["container_patch_state"]["current_hash"], base["hash"]);
    assert_ne!(waiting["django_patch_state"]["current_hash"], base["hash"]);

    let document = format!(
        "mutation ($trussUserEnv: String) {{ sync_draft_truss(id: \"{}\" truss_user_env: $trussUserEnv) {{ {PATCHED} }} }}",
        one.model
    );
    let (answer, ()) = futures::join!(graphql(&app, document), app.let_patch_take_over(&one));
    assert_eq!(answer["sync_draft_truss"], expected);
    let after = watch().await;
    assert_eq!(after["is_container_built_from_push"], false);
    assert_eq!(after["container_patch_state"], after["django_patch_state"]);
    let signature: Value =
        serde_json::from_str(after["django_patch_state"]["current_signature"].as_str().unwrap()).unwrap();
    assert_eq!(signature["content_hashes_by_path"]["model/model.py"], hash("x = 1\n"));
    assert_eq!(app.get(&one.path("/config")).await.ok()["config"]["environment_variables"], json!({ "A": "1" }));
}
