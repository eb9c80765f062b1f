//! The main job: push a folder, call it, push again, manage what is there.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{API_KEY, Server, answer, eventually, example, model};

const HELLO: &str = "class Model:\n    def predict(self, request):\n        return {'version': 1}\n";

fn id_of(pushed: &Value) -> &str {
    pushed["model"]["id"].as_str().expect("an id")
}

#[tokio::test]
async fn a_pushed_folder_answers_on_its_own_endpoint() {
    let server = Server::start();
    let pushed = server.push(&example("hello"));
    assert_eq!(pushed["deployment"]["status"], "ACTIVE");
    assert_eq!(pushed["deployment"]["environment"], "production");
    let id = id_of(&pushed);
    let expected = (200, json!({"greeting": "Hello, you!"}));

    let said = server.greenroom(&["predict", "hello", "--data", r#"{"name": "you"}"#]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(said.stdout.trim(), expected.1.to_string().replace(':', ": "), "the model's own bytes");

    let input = json!({"name": "you"});
    for target in [
        "production",
        "environments/production",
        &format!("deployment/{}", pushed["deployment"]["id"].as_str().expect("an id")),
    ] {
        assert_eq!(server.post(&format!("/models/{id}/{target}/predict"), &input).await, expected, "{target}");
    }
    let by_host = server.request(Method::POST, "/production/predict").header("host", format!("model-{id}.example.com"));
    assert_eq!(answer(by_host.json(&input)).await, expected);
    let endpoint = pushed["endpoint"].as_str().expect("a URL");
    let bearer = reqwest::Client::new().post(endpoint).header("authorization", format!("Bearer {API_KEY}"));
    assert_eq!(answer(bearer.json(&input)).await, expected);
}

#[tokio::test]
async fn a_second_push_shares_the_environment_and_leaves_production_alone() {
    let server = Server::start();
    let first = server.push(&example("hello"));
    let second = server.push(&example("hello"));
    assert_eq!(id_of(&first), id_of(&second));
    assert_eq!(second["deployment"]["name"], "deployment-2");
    assert_eq!(second["deployment"]["environment"], Value::Null);
    let environments = std::fs::read_dir(server.data_dir().join("local/environments")).expect("made").count();
    assert_eq!(environments, 1, "equal requirements, one environment");
    let (_, model) = server.get(&format!("/v1/models/{}", id_of(&first))).await;
    assert_eq!(model["production_deployment_id"], first["deployment"]["id"]);
}

#[tokio::test]
async fn a_push_to_an_environment_takes_it_over_when_it_serves() {
    let server = Server::start();
    let first = server.push(model("model_name: m", HELLO).path());
    let created = server.greenroom(&["environments", "create", "m", "staging"]);
    assert_eq!(created.code, 0, "{}", created.stderr);

    let next = model("model_name: m", &HELLO.replace('1', "2"));
    let folder = next.path().to_str().expect("UTF-8");
    let pushed = server.json(&["push", folder, "--environment", "staging"]);
    let endpoint = format!("/models/{}/environments/staging/predict", id_of(&first));
    eventually("staging serves the new one", || async {
        (server.post(&endpoint, &json!({})).await == (200, json!({"version": 2}))).then_some(())
    })
    .await;
    assert_eq!(pushed["model"]["id"], first["model"]["id"]);
    let production = format!("/models/{}/production/predict", id_of(&first));
    assert_eq!(server.post(&production, &json!({})).await, (200, json!({"version": 1})));

    server.json(&["push", folder, "--environment", "production"]);
    eventually("production serves the new one", || async {
        (server.post(&production, &json!({})).await == (200, json!({"version": 2}))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_push_to_an_environment_that_is_not_there_changes_nothing() {
    let server = Server::start();
    server.push(model("model_name: m", HELLO).path());
    let folder = model("model_name: m", HELLO);
    let refused = server.greenroom(&["push", folder.path().to_str().expect("UTF-8"), "--environment", "nowhere"]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains("nowhere"), "{}", refused.stderr);
    let found = server.json(&["deployments", "m"]);
    assert_eq!(found["deployments"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_failed_first_push_does_not_keep_production() {
    let server = Server::start();
    let broken = model(
        "model_name: m",
        "class Model:\n    def load(self):\n        raise ValueError('boom')\n    def predict(self, x): pass\n",
    );
    let failed = server.greenroom(&["push", broken.path().to_str().expect("UTF-8")]);
    assert_eq!(failed.code, 6, "{}", failed.stderr);
    let good = server.push(model("model_name: m", HELLO).path());
    assert_eq!(good["deployment"]["environment"], "production");
    let production = format!("/models/{}/production/predict", id_of(&good));
    assert_eq!(server.post(&production, &json!({})).await.0, 200);
}

#[tokio::test]
async fn a_deactivated_deployment_rests_until_it_is_activated() {
    let server = Server::start();
    let pushed = server.push(&example("hello"));
    let endpoint = format!("/models/{}/production/predict", id_of(&pushed));

    assert_eq!(server.greenroom(&["deactivate", "hello"]).code, 0);
    let (status, body) = eventually("it rests", || async {
        let answered = server.post(&endpoint, &json!({})).await;
        (answered.0 == 404).then_some(answered)
    })
    .await;
    assert_eq!((status, &body["error_code"]), (404, &json!("model_unavailable")), "{body}");
    eventually("no process is left", || async { server.offspring().is_empty().then_some(()) }).await;

    let activated = server.greenroom(&["activate", "hello"]);
    assert_eq!(activated.code, 0, "{}", activated.stderr);
    assert_eq!(server.post(&endpoint, &json!({})).await.0, 200);
}

#[tokio::test]
async fn what_serves_cannot_be_deleted_but_the_rest_and_the_whole_can() {
    let server = Server::start();
    server.push(&example("hello"));
    server.push(&example("hello"));
    let guarded = server.greenroom(&["delete", "hello", "--deployment", "deployment-1", "--yes"]);
    assert_eq!(guarded.code, 5, "{}", guarded.stderr);
    let unasked = server.greenroom(&["delete", "hello"]);
    assert_eq!(unasked.code, 2, "nobody can be asked: {}", unasked.stderr);

    let deleted = server.greenroom(&["delete", "hello", "--deployment", "deployment-2", "--yes"]);
    assert_eq!(deleted.code, 0, "{}", deleted.stderr);
    let deleted = server.greenroom(&["delete", "hello", "--yes"]);
    assert_eq!(deleted.code, 0, "{}", deleted.stderr);
    assert_eq!(server.greenroom(&["status", "hello"]).code, 4);
    eventually("no process is left", || async { server.offspring().is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn a_renamed_deployment_keeps_its_id_and_a_taken_name_is_refused() {
    let server = Server::start();
    let pushed = server.push(&example("hello"));
    server.json(&["push", example("hello").to_str().expect("UTF-8"), "--deployment-name", "canary"]);
    let renamed = server.json(&["rename", "hello", "deployment-1", "first"]);
    assert_eq!((&renamed["name"], &renamed["id"]), (&json!("first"), &pushed["deployment"]["id"]));
    let taken = server.greenroom(&["rename", "hello", "first", "canary"]);
    assert_eq!(taken.code, 5, "{}", taken.stderr);
    assert!(taken.stderr.contains("canary"), "{}", taken.stderr);
}

#[tokio::test]
async fn a_model_gets_the_secrets_it_declares_and_no_others() {
    let server = Server::start();
    let class = "class Model:\n    def __init__(self, secrets):\n        self.secrets = secrets\n    def predict(self, x):\n        return {'token': self.secrets['token']}\n";
    let set = server.greenroom_with_input(&["secrets", "set", "token"], b"s3cret\n");
    assert_eq!(set.code, 0, "{}", set.stderr);
    assert!(!set.stdout.contains("s3cret") && !set.stderr.contains("s3cret"));
    let pushed = server.push(model("model_name: m\nsecrets: {token: null}", class).path());
    let endpoint = format!("/models/{}/production/predict", id_of(&pushed));
    assert_eq!(server.post(&endpoint, &json!({})).await, (200, json!({"token": "s3cret"})));
    let listed = server.greenroom(&["secrets", "list", "--json"]).stdout;
    assert!(listed.contains("token") && !listed.contains("s3cret"), "{listed}");
}

#[tokio::test]
async fn a_server_of_ones_own_is_served_like_a_model() {
    let server = Server::start();
    let pushed = server.push(&example("server"));
    let id = id_of(&pushed);
    let echoed = server.post(&format!("/models/{id}/production/predict"), &json!({"a": 1})).await;
    assert_eq!(echoed, (200, json!({"echo": {"a": 1}})));
    let other_path = server.get(&format!("/models/{id}/production/sync/health")).await;
    assert_eq!(other_path, (200, json!({"ok": true})));
}

#[tokio::test]
async fn what_a_model_says_is_in_its_log() {
    let server = Server::start();
    let class = "class Model:\n    def load(self):\n        print('loading now')\n    def predict(self, x):\n        print('asked', x)\n        return x\n";
    let pushed = server.push(model("model_name: m", class).path());
    let endpoint = format!("/models/{}/production/predict", id_of(&pushed));
    server.post(&endpoint, &json!(["something"])).await;
    eventually("both lines are in the log", || async {
        let log = server.greenroom(&["logs", "m"]).stdout;
        (log.contains("loading now") && log.contains("asked ['something']")).then_some(())
    })
    .await;
}
