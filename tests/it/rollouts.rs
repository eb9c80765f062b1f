//! Promotions in special places: without room for both sides, with callers that name themselves, taken back and forth, into an
//! environment that goes away.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    actors::{FINE, deployment, push, push_that, push_to_production},
    harness::{Server, answer, eventually, model},
    load::{Ledger, Load},
    stage::Stage,
};

/// A version that takes its time to load.
const SLOW: &str = "threading.Event().wait(4)";

/// Two replicas, and steps of one with a second after each.
fn two_replicas(cleanup: &str) -> Value {
    let steps = json!({"max_surge_percent": 50, "max_unavailable_percent": 0, "stabilization_time_seconds": 1});
    json!({
        "autoscaling_settings": {"min_replica": 2, "max_replica": 2},
        "promotion_settings": {
            "rolling_deploy": true, "rolling_deploy_config": steps, "promotion_cleanup_strategy": cleanup
        },
    })
}

/// The status of a deployment, and why.
async fn status(server: &Server, pushed: &Value) -> (String, String) {
    let of = pushed["model"]["id"].as_str().expect("an id");
    let (code, seen) = server.get(&format!("/v1/models/{of}/deployments/{}", deployment(pushed))).await;
    assert_eq!(code, 200, "{seen}");
    let text = |field: &str| seen[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("status_reason"))
}

async fn until_status(server: &Server, pushed: &Value, expected: &str) {
    eventually(expected, || async { (status(server, pushed).await.0 == expected).then_some(()) }).await;
}

#[tokio::test]
async fn without_room_for_both_sides_callers_wait_and_none_is_turned_away() {
    let ledger = Ledger::open();
    let server = Server::start_with("capacity.cpu = 2");
    let first = push(&server, "v1", &ledger);
    let stage = Stage::new(&first, "production");
    stage.set(&server, two_replicas("KEEP")).await;
    eventually("two replicas", || async {
        (stage.seen(&server).await["current_deployment"]["active_replica_count"] == 2).then_some(())
    })
    .await;
    let load = Load::start(&server.url, &stage.endpoint(), 8);
    let second = push_to_production(&server, "v2", FINE, &ledger);
    stage.until(&server, &["SUCCEEDED"]).await;
    assert_eq!(stage.current(&server).await, deployment(&second));
    let answered = load.answered();
    eventually("callers go on", || async { (load.answered() > answered + 500).then_some(()) }).await;
    let shown = server.greenroom(&["rollout", "status", "actor"]).stdout;
    assert!(shown.contains("rolling, in place"), "{shown}");
    until_status(&server, &first, "SCALED_TO_ZERO").await;

    let seen = load.stop();
    assert_eq!(seen.failures, Vec::<String>::new());
    assert_eq!(seen.versions.len(), 2, "both sides have answered");
    eventually("every answer was executed, once", || async {
        seen.answered.iter().all(|id| ledger.times(*id) == 1).then_some(())
    })
    .await;
    assert_eq!(ledger.twice(), Vec::<u64>::new());

    // A stranger finds no room, and hears so.
    let stranger = model("model_name: stranger", "class Model:\n    def predict(self, x):\n        return x\n");
    let stranger = server.json(&["push", stranger.path().to_str().expect("UTF-8"), "--no-wait"]);
    let why = "waiting for capacity: 1000 millicpu needed, 0 free";
    eventually(why, || async { (status(&server, &stranger).await.1 == why).then_some(()) }).await;
    let shown = server.greenroom(&["status", "stranger"]).stdout;
    assert!(shown.contains(why), "{shown}");
}

#[tokio::test]
async fn callers_that_name_themselves_stay_on_their_side() {
    let ledger = Ledger::open();
    let server = Server::start();
    let first = push(&server, "v1", &ledger);
    let second = push(&server, "v2", &ledger);
    let stage = Stage::new(&first, "production");
    stage.set(&server, two_replicas("SCALE_TO_ZERO")).await;
    stage.promote(&server, &deployment(&second)).await;
    stage.until_share(&server, &["RAMPING_UP"], 1).await;
    stage.ask(&server, "pause").await;
    let share = stage.until(&server, &["PAUSED"]).await;
    assert!((1..100).contains(&share), "traffic is divided: {share} %");

    let number = std::cell::Cell::new(0_u64);
    let version_for = async |caller: &str| {
        number.set(number.get() + 1);
        let request = server.request(Method::POST, &stage.endpoint()).header("X-Greenroom-Sticky", caller);
        let (code, body) = answer(request.json(&json!({"id": number.get()}))).await;
        assert_eq!(code, 200, "{body}");
        body["version"].as_str().expect("a version").to_owned()
    };
    let mut sides = BTreeSet::new();
    for user in 0..24 {
        let caller = format!("user-{user}");
        let version = version_for(&caller).await;
        for _ in 0..4 {
            assert_eq!(version_for(&caller).await, version, "{caller}");
        }
        sides.insert(version);
    }
    assert_eq!(sides, BTreeSet::from(["v1".to_owned(), "v2".to_owned()]), "of 24 callers some are on each side");

    stage.ask(&server, "force_cancel").await;
    stage.until(&server, &["CANCELED"]).await;
    assert_eq!(version_for("user-1").await, "v1");
    assert_eq!(stage.current(&server).await, deployment(&first));
}

#[tokio::test]
async fn what_goes_back_can_still_be_forced_forward() {
    let ledger = Ledger::open();
    let server = Server::start();
    let first = push_that(&server, "v1", SLOW, &ledger);
    let second = push(&server, "v2", &ledger);
    let stage = Stage::new(&first, "production");
    stage.set(&server, two_replicas("SCALE_TO_ZERO")).await;
    let replicas = |count: u64| {
        let (stage, server) = (&stage, &server);
        async move {
            eventually(&format!("{count} replicas of the first version"), || async {
                let seen = stage.seen(server).await;
                (seen["current_deployment"]["active_replica_count"] == count).then_some(())
            })
            .await;
        }
    };
    replicas(2).await;
    let load = Load::start(&server.url, &stage.endpoint(), 8);
    stage.promote(&server, &deployment(&second)).await;
    stage.until_share(&server, &["RAMPING_UP"], 1).await;
    replicas(1).await;
    stage.ask(&server, "cancel").await;
    stage.until(&server, &["RAMPING_DOWN"]).await;
    stage.ask(&server, "force_roll_forward").await;
    stage.until(&server, &["SUCCEEDED"]).await;
    assert_eq!(stage.current(&server).await, deployment(&second));
    assert_eq!(load.stop().failures, Vec::<String>::new());
}

#[tokio::test]
async fn an_environment_that_is_deleted_in_mid_promotion_ends_it_and_leaves_the_others_alone() {
    let ledger = Ledger::open();
    let server = Server::start();
    let first = push(&server, "v1", &ledger);
    let second = push(&server, "v2", &ledger);
    let production = Stage::new(&first, "production");
    let made = server.greenroom(&["environments", "create", "actor", "staging"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let staging = Stage::new(&first, "staging");
    staging.promote(&server, &deployment(&second)).await;
    staging.until(&server, &["SUCCEEDED"]).await;
    let third = push(&server, "v3", &ledger);
    let canary = json!({"ramp_up_while_promoting": true, "ramp_up_duration_seconds": 60});
    staging.set(&server, json!({"promotion_settings": canary})).await;
    let load = Load::start(&server.url, &production.endpoint(), 4);
    staging.promote(&server, &deployment(&third)).await;
    staging.until_share(&server, &["RAMPING_UP"], 10).await;
    let deleted = server.greenroom(&["environments", "delete", "actor", "staging", "--yes"]);
    assert_eq!(deleted.code, 0, "{}", deleted.stderr);

    eventually("its endpoint is gone", || async {
        (server.post(&staging.endpoint(), &json!({"id": 0})).await.0 == 404).then_some(())
    })
    .await;
    until_status(&server, &second, "SCALED_TO_ZERO").await;
    until_status(&server, &third, "SCALED_TO_ZERO").await;
    assert_eq!(status(&server, &first).await.0, "ACTIVE");
    let answered = load.answered();
    eventually("production goes on", || async { (load.answered() > answered + 100).then_some(()) }).await;
    assert_eq!(load.stop().failures, Vec::<String>::new());
}
