//! Promotions from the command line: what will happen, what happens, and what an end means for the exit code.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use serde_json::json;

use crate::harness::{API_KEY, Ran, Server, eventually, greenroom, model, signal};

const FINE: &str = "class Model:\n    def predict(self, x): return VERSION\n";

/// A server with a model `m` whose production serves the first of two deployments.
fn begin() -> Server {
    let server = Server::start();
    for version in ["1", "2"] {
        server.push(model("model_name: m", &FINE.replace("VERSION", version)).path());
    }
    server
}

fn done(ran: &Ran) {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

/// Hides what differs from run to run.
fn check(name: &str, ran: &Ran) {
    let filters = vec![
        (r"\([0-9a-z]{7}\)", "(DEPLOY)"),
        (r"deployment [0-9a-z]{7}\b", "deployment DEPLOY"),
        (r"deployment-1\.[0-9]{10}", "deployment-1.MOMENT"),
        (r#""[0-9a-f]{32}""#, "ARTIFACT"),
        (r"\b[0-9]+[smhd]\b( ago)?", "AGE"),
        (r"after [0-9.]+ s\b", "after TIME"),
        // What is seen on the way is a matter of luck.
        (r"production: [A-Z_]+ [^\n]*\n", ""),
        (r"in [0-9]+ (h|min) [0-9]+ (min|s)", "in TIME"),
        (r" +\n", "\n"),
    ];
    insta::with_settings!({filters => filters}, { insta::assert_snapshot!(name, ran.shown()) });
}

#[tokio::test]
async fn a_plan_says_what_will_happen_and_changes_nothing() {
    let server = begin();
    check("plan-immediate", &server.greenroom(&["promote", "m", "--plan"]));
    let rolling = "environments set m production --min-replicas 3 --max-replicas 3 --mode rolling --max-unavailable 34 \
                   --stabilization 10s --cleanup keep";
    done(&server.greenroom(&rolling.split_whitespace().collect::<Vec<_>>()));
    eventually("three replicas", || async {
        let seen = server.json(&["deployments", "m"]);
        (seen["deployments"][0]["active_replica_count"] == 3 || seen["deployments"][1]["active_replica_count"] == 3)
            .then_some(())
    })
    .await;
    check("plan-rolling", &server.greenroom(&["promote", "m", "deployment-2", "--plan"]));
    check("plan-refused", &server.greenroom(&["promote", "m", "deployment-1", "--plan"]));
    done(&server.greenroom(&["environments", "create", "m", "staging"]));
    check("plan-copy", &server.greenroom(&["promote", "m", "--from", "production", "-e", "staging", "--plan"]));
    check("no-promotion", &server.greenroom(&["rollout", "status", "m", "staging"]));
    let history = server.json(&["rollout", "history", "m", "staging"]);
    assert_eq!(history["promotions"], json!([]), "nothing has begun");
}

#[tokio::test]
async fn a_promotion_that_is_waited_for_and_its_rollback_read_well() {
    let server = begin();
    check("promoted", &server.greenroom(&["promote", "m", "--wait"]));
    assert_eq!(server.greenroom(&["predict", "m", "--data", "0"]).stdout, "2\n");
    check("promoted-twice", &server.greenroom(&["promote", "m", "--wait"]));
    eventually("the previous one rests", || async {
        let status = server.json(&["rollout", "status", "m"]);
        (status["previous"]["deployment_status"] == "SCALED_TO_ZERO").then_some(())
    })
    .await;
    check("status-of-the-end", &server.greenroom(&["rollout", "status", "m"]));
    check("rolled-back", &server.greenroom(&["rollback", "m", "production", "--wait"]));
    assert_eq!(server.greenroom(&["predict", "m", "--data", "0"]).stdout, "1\n");
    check("nothing-to-cancel", &server.greenroom(&["rollout", "cancel", "m"]));
    let history = server.json(&["rollout", "history", "m"]);
    let statuses: Vec<_> = history["promotions"].as_array().expect("a list").iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, vec!["SUCCEEDED"; 3], "the first push, the promotion, the rollback");
}

#[tokio::test]
async fn a_candidate_that_fails_says_so_and_leaves_what_was_served() {
    let server = begin();
    let broken = model(
        "model_name: m",
        "class Model:\n    def load(self): raise ValueError('boom')\n    def predict(self, x): pass\n",
    );
    let ran = server.greenroom(&["push", broken.path().to_str().expect("UTF-8"), "--promote"]);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    assert!(ran.stderr.contains("boom"), "{}", ran.stderr);
    eventually("the promotion has failed", || async {
        (server.json(&["rollout", "status", "m"])["status"] == "FAILED").then_some(())
    })
    .await;
    let watched = server.greenroom(&["rollout", "status", "m", "--watch"]);
    assert_eq!(watched.code, 6, "{}", watched.stderr);
    assert!(watched.stderr.contains("production still serves deployment-1"), "{}", watched.stderr);
    assert_eq!(server.greenroom(&["predict", "m", "--data", "0"]).stdout, "1\n");
}

#[tokio::test]
async fn somebody_who_stops_following_leaves_the_promotion_under_way() {
    let server = begin();
    done(&server.greenroom(&[
        "environments",
        "set",
        "m",
        "production",
        "--mode",
        "canary",
        "--canary-duration",
        "10m",
    ]));
    let home = tempfile::tempdir().expect("a folder");
    let mut command: Command = greenroom(home.path());
    command.env("GREENROOM_URL", &server.url).env("GREENROOM_API_KEY", API_KEY);
    command.args(["promote", "m", "--wait"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut following = command.spawn().expect("greenroom starts");
    let mut said = BufReader::new(following.stderr.take().expect("piped")).lines().map_while(Result::ok);
    assert!(said.next().expect("a line").starts_with("production: "), "it says where the promotion stands");
    signal("-INT", following.id());
    let parting: Vec<_> = said.collect();
    assert!(parting.iter().any(|line| line.contains("the promotion goes on without us")), "{parting:?}");
    assert_eq!(following.wait().expect("it ends").code(), Some(130));

    let status = server.json(&["rollout", "status", "m"]);
    assert_eq!((&status["mode"], &status["ended_at"]), (&json!("CANARY"), &json!(null)), "{status:#}");
    let cancelled = server.json(&["rollout", "cancel", "m", "--watch"]);
    assert_eq!(cancelled["status"], "CANCELED", "that is what was asked for");
}
