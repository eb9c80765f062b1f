//! From the command line: where work may run, how many tokens it may take, who did what, what was used, and the way to the dashboard.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    actors::{deployment, push},
    harness::{Server, eventually, example, model},
    load::{Ledger, Load},
    stage::Stage,
};

async fn replicas(server: &Server, pushed: &Value) -> Vec<Value> {
    let model = pushed["model"]["id"].as_str().expect("an id");
    let path = format!("/v1/models/{model}/deployments/{}/replicas", deployment(pushed));
    let (status, body) = server.get(&path).await;
    assert_eq!(status, 200, "{body}");
    body["replicas"].as_array().expect("a list").clone()
}

/// Where the replicas are that answer, when all do.
async fn places(server: &Server, pushed: &Value) -> Option<Vec<String>> {
    let place =
        |replica: &Value| (replica["state"] == "READY").then(|| replica["location"].as_str().map(str::to_owned));
    let replicas = replicas(server, pushed).await;
    replicas.iter().map(|replica| place(replica).flatten()).collect::<Option<Vec<_>>>().map(|mut places| {
        places.sort();
        places
    })
}

async fn until_places(server: &Server, pushed: &Value, expected: &[&str]) {
    eventually(&format!("replicas are ready in {expected:?}"), || async {
        (places(server, pushed).await? == expected).then_some(())
    })
    .await;
}

const CONFIG: &str = r#"
locations = [
    { name = "paris", country = "fr", continent = "eu", flavors = [{ type = "cpu", name = "x86", count = 4 }] },
    { name = "virginia", country = "us", continent = "na", flavors = [{ type = "gpu", name = "t4", count = 8 }] },
]
[metrics]
interval = "200ms"
[usage]
prices = "1x2=0.5"
"#;

#[tokio::test]
async fn policies_are_written_attached_explained_and_hold() {
    let server = Server::start_with(CONFIG);
    server.push(&example("hello"));
    let ran = |args: &[&str]| server.greenroom(args);
    assert!(ran(&["locations"]).stdout.contains("paris (fr, eu): 4 x cpu x86"));
    assert_eq!(ran(&["policies", "set", "us-only", "--allow", "country:us"]).code, 0);
    assert_eq!(ran(&["policies", "attach", "hello", "--environment", "production", "us-only"]).code, 0);
    let explained = ran(&["policies", "explain", "hello", "--environment", "production"]).stdout;
    assert!(explained.contains("environment_locations (us-only) took away paris on cpu x86"), "{explained}");
    assert!(explained.contains("none of 2 pairs"), "there are no CPUs in virginia: {explained}");
    let why = "waiting for a place: none of 2 pairs";
    eventually("what may run nowhere has ended and says why", || async {
        ran(&["deployments", "hello"]).stdout.contains(why).then_some(())
    })
    .await;
    let refused = ran(&["push", example("hello").to_str().expect("UTF-8"), "--environment", "production"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("location policy us-only"), "{}", refused.stderr);
    let in_use = ran(&["policies", "delete", "us-only"]);
    assert!(in_use.stderr.contains("attached to environment production"), "{}", in_use.stderr);

    assert_eq!(ran(&["policies", "set", "us-only", "--allow", "country:us", "--allow", "location:paris"]).code, 0);
    let listed = ran(&["policies", "list"]).stdout;
    assert!(listed.contains("country:us, location:paris"), "{listed}");
    let explained = ran(&["policies", "explain", "hello", "--environment", "production"]).stdout;
    assert!(explained.contains("May run in paris on cpu x86"), "{explained}");
    assert_eq!(ran(&["predict", "hello", "--data", "{}"]).code, 0, "it runs again where it may");
    let mixed = ran(&["policies", "set", "mixed", "--allow", "country:us", "--allow", "gpu:t4"]);
    assert!(mixed.stderr.contains("make two policies"), "{}", mixed.stderr);
}

#[tokio::test]
async fn where_so_configured_policies_move_nothing_that_runs_before_the_next_deployment() {
    let server = Server::start_with(
        r#"
        locations = [
            { name = "paris", country = "fr", continent = "eu", flavors = [{ type = "cpu", name = "x86", count = 4 }] },
            { name = "virginia", country = "us", continent = "na", flavors = [{ type = "cpu", name = "x86", count = 4 }] },
        ]
        [policies]
        enforcement = "next-deployment"
        "#,
    );
    let first = server.push(&example("hello"));
    until_places(&server, &first, &["paris"]).await;
    let ran = |args: &[&str]| assert_eq!(server.greenroom(args).code, 0, "{args:?}");
    ran(&["policies", "set", "us-only", "--allow", "country:us"]);
    ran(&["policies", "attach", "hello", "--environment", "production", "us-only"]);
    ran(&["environments", "set", "hello", "production", "--min-replicas", "2", "--max-replicas", "2"]);
    until_places(&server, &first, &["paris", "virginia"]).await;
    let pushed = server.json(&["push", example("hello").to_str().expect("UTF-8"), "--environment", "production"]);
    until_places(&server, &pushed, &["virginia", "virginia"]).await;
}

#[tokio::test]
async fn deeds_and_use_are_told_and_the_dashboard_is_found() {
    let server = Server::start_with(CONFIG);
    let pushed = server.push(&example("hello"));
    let ran = |args: &[&str]| server.greenroom(args);
    let deeds = ran(&["audit", "hello", "--kind", "deployed"]).stdout;
    let version = env!("CARGO_PKG_VERSION");
    assert!(deeds.contains("admin@localhost") && deeds.contains(&format!("greenroom {version}")), "{deeds}");
    assert!(deeds.contains("model deployed") && deeds.contains("deployment-1 of"), "{deeds}");
    assert!(!ran(&["audit", "--source", "ui"]).stdout.contains("model deployed"));

    let csv = eventually("a minute is charged", || async {
        let csv = ran(&["usage", "--csv"]).stdout;
        csv.contains(",1,0,0.5,false").then_some(csv)
    })
    .await;
    assert!(csv.starts_with("date,team_id,model_id,model_name"), "{csv}");
    assert!(ran(&["usage"]).stdout.contains("0.5000"));

    let model = pushed["model"]["id"].as_str().expect("an id");
    let opened = ran(&["open", "hello", "--print"]);
    assert_eq!(opened.stdout.trim(), format!("{}/ui/models/{model}", server.url));
    assert_eq!(ran(&["open", "hello", "--environment", "nonesuch", "--print"]).code, 4, "there is no such page");
}

/// Answers as OpenAI's API does: whole, or as a stream.
const CHAT: &str = r#"
import json

class Model:
    def predict(self, asked):
        usage = {"prompt_tokens": asked["input"], "completion_tokens": asked["output"]}
        if asked.get("stream"):
            return self.stream(usage)
        return {"choices": [{"message": {"content": "\"usage\": {"}}], "usage": usage}

    def stream(self, usage):
        for text in ["Hel", "lo"]:
            yield "data: " + json.dumps({"choices": [{"delta": {"content": text}}]}) + "\n\n"
        yield "data: " + json.dumps({"choices": [], "usage": usage}) + "\n\n"
        yield "data: [DONE]\n\n"
"#;

#[tokio::test]
async fn tokens_are_limited_within_a_window_that_outlasts_the_server_and_told_in_usage() {
    let mut server = Server::start_with(CONFIG);
    let pushed = server.push(model("model_name: chat", CHAT).path());
    let id = pushed["model"]["id"].as_str().expect("an id").to_owned();
    let deployment = pushed["deployment"]["id"].as_str().expect("an id").to_owned();
    // A window of centuries, which does not end while this runs.
    let window = "10000months";
    let set = ["policies", "set", "free", "--max-tokens", "total:100", "--max-tokens", "input:90", "--each", window];
    let made = server.greenroom(&set);
    assert_eq!(made.code, 0, "{}", made.stderr);
    assert!(
        made.stdout.contains("free allows 90 tokens of input and 100 tokens every 10000 months"),
        "{}",
        made.stdout
    );
    assert_eq!(server.greenroom(&["policies", "attach", "chat", "--environment", "production", "free"]).code, 0);
    let explained = server.greenroom(&["policies", "explain", "chat", "--environment", "production"]).stdout;
    assert!(explained.contains("environment (free) allows 90 tokens of input and 100 tokens"), "{explained}");

    let (own, production) = (format!("deployment/{deployment}"), "production".to_owned());
    let ask = async |server: &Server, by: &str, asked: serde_json::Value| {
        let path = format!("/models/{id}/{by}/predict");
        server.request(Method::POST, &path).json(&asked).send().await.expect("the server answers")
    };
    assert_eq!(ask(&server, &production, json!({ "input": 40, "output": 9 })).await.status(), 200);
    let stream = ask(&server, &own, json!({ "input": 30, "output": 20, "stream": true })).await;
    assert!(stream.text().await.expect("it is whole").ends_with("data: [DONE]\n\n"));
    let crossing = ask(&server, &production, json!({ "input": 1, "output": 1 })).await;
    assert_eq!(crossing.status(), 200);
    drop(crossing.bytes().await);
    assert_eq!(ask(&server, &production, json!({ "input": 5, "output": 0 })).await.status(), 429);
    let refused = ask(&server, &own, json!({ "input": 5, "output": 0 })).await;
    assert_eq!(refused.status(), 429, "it serves in production");
    let after_s: u64 = refused.headers()["retry-after"].to_str().expect("text").parse().expect("a number");
    assert!(after_s > 1_000_000, "{after_s}");
    let body: serde_json::Value = refused.json().await.expect("JSON");
    let said = "environment production: policy free allows 100 tokens every 10000 months, and 101 are used";
    assert!(body["error"].as_str().expect("text").starts_with(said), "{body}");

    let usage = eventually("they are in the usage", || async {
        let csv = server.greenroom(&["usage", "--csv"]).stdout;
        csv.contains(",71,30\n").then_some(())
    });
    usage.await;
    let metrics = server.request(Method::GET, "/metrics").send().await.expect("it answers").text().await.expect("text");
    let is_it = |line: &str| line.starts_with("greenroom_tokens_total{") && line.contains("direction=\"output\"");
    let counted = metrics.lines().find(|line| is_it(line)).expect("it is counted");
    assert!(counted.ends_with(" 30.0"), "{counted}");

    server.kill();
    server.restart();
    let after_kill = eventually("it has routes again", || async {
        let status = ask(&server, &production, json!({ "input": 1, "output": 1 })).await.status().as_u16();
        (status != 503).then_some(status)
    })
    .await;
    assert_eq!(after_kill, 429, "what was recorded counts on");
    let wider = ["policies", "set", "free", "--max-tokens", "total:103", "--each", window];
    assert_eq!(server.greenroom(&wider).code, 0);
    eventually("the wider limit holds", || async {
        let status = ask(&server, &production, json!({ "input": 1, "output": 1 })).await.status();
        (status == 200).then_some(())
    })
    .await;
    server.terminate();
    server.wait().await;
    server.restart();
    let after_stop = ask(&server, &production, json!({ "input": 1, "output": 1 })).await.status();
    assert_eq!(after_stop, 429, "an orderly end forgets nothing");
}

const TWO_LOCATIONS: &str = r#"
locations = [
    { name = "virginia", country = "us", continent = "na", flavors = [{ type = "cpu", name = "x86", count = 4 }] },
    { name = "paris", country = "fr", continent = "eu", flavors = [{ type = "cpu", name = "x86", count = 4 }] },
]
"#;

#[tokio::test]
async fn what_runs_moves_to_where_a_new_policy_lets_it_and_no_request_fails() {
    let ledger = Ledger::open();
    let server = Server::start_with(TWO_LOCATIONS);
    let pushed = push(&server, "v1", &ledger);
    let stage = Stage::new(&pushed, "production");
    stage.set(&server, json!({ "autoscaling_settings": { "min_replica": 2, "max_replica": 2 } })).await;
    until_places(&server, &pushed, &["paris", "virginia"]).await;
    let load = Load::start(&server.url, &stage.endpoint(), 4);
    let ran = |args: &[&str]| server.greenroom(args);
    assert_eq!(ran(&["policies", "set", "eu-only", "--allow", "continent:eu"]).code, 0);
    assert_eq!(ran(&["policies", "attach", "actor", "--environment", "production", "eu-only"]).code, 0);
    until_places(&server, &pushed, &["paris", "paris"]).await;
    let answered = load.answered();
    eventually("callers go on", || async { (load.answered() > answered + 200).then_some(()) }).await;
    let seen = load.stop();
    assert_eq!(seen.failures, Vec::<String>::new());
    eventually("every answer was executed, once", || async {
        seen.answered.iter().all(|id| ledger.times(*id) == 1).then_some(())
    })
    .await;
    let shown = ran(&["status", "actor"]).stdout;
    assert!(shown.contains("paris") && !shown.contains("virginia"), "{shown}");
}

#[tokio::test]
async fn replicas_are_found_again_in_their_locations_and_leave_those_that_fail_or_are_taken_away() {
    let ledger = Ledger::open();
    let mut server = Server::start_with(TWO_LOCATIONS);
    let pushed = push(&server, "v1", &ledger);
    let stage = Stage::new(&pushed, "production");
    stage.set(&server, json!({ "autoscaling_settings": { "min_replica": 2, "max_replica": 2 } })).await;
    until_places(&server, &pushed, &["paris", "virginia"]).await;
    let started = async |server: &Server| {
        let replicas = replicas(server, &pushed).await.into_iter();
        replicas.map(|replica| (replica["id"].to_string(), replica["created_at"].to_string())).collect::<BTreeSet<_>>()
    };
    let before = started(&server).await;
    server.kill();
    server.restart();
    until_places(&server, &pushed, &["paris", "virginia"]).await;
    assert_eq!(started(&server).await, before, "the same ones");

    let folder = server.data_dir().join("local/locations/virginia");
    let away = server.data_dir().join("local/away");
    std::fs::rename(&folder, &away).expect("it is there");
    let listed = eventually("the location is not healthy", || async {
        let listed = server.greenroom(&["locations"]).stdout;
        listed.contains("unhealthy since").then_some(listed)
    })
    .await;
    assert!(listed.contains("cannot run replicas") && listed.contains("No such file"), "{listed}");
    eventually("its replica is replaced in Paris", || async {
        let shown = server.greenroom(&["status", "actor"]).stdout;
        (shown.matches("paris").count() == 2).then_some(())
    })
    .await;
    std::fs::rename(&away, &folder).expect("it is there");
    until_places(&server, &pushed, &["paris", "paris"]).await;
    eventually("it is healthy again", || async {
        (!server.greenroom(&["locations"]).stdout.contains("unhealthy")).then_some(())
    })
    .await;
}
