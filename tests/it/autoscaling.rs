//! Replicas follow the load, and people can see why.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Server, answer, eventually, model};

const SLOW: &str = "import threading\n\nclass Model:\n    def predict(self, x):\n        threading.Event().wait(2)\n        return x\n";

const SHORT: &str = "import threading\n\nclass Model:\n    def predict(self, x):\n        threading.Event().wait(0.005)\n        return x\n";

#[tokio::test]
async fn a_burst_brings_replicas_that_go_again_until_a_request_wakes_one() {
    let server = Server::start();
    server.push(model("model_name: m", SLOW).path());
    let id = server.json(&["status", "m"])["model"]["id"].as_str().expect("an id").to_owned();
    let scale = json!({ "max_replica": 3, "autoscaling_window": 10, "scale_down_delay": 1 });
    let path = format!("/v1/models/{id}/deployments/production/autoscaling_settings");
    let (code, changed) = answer(server.request(reqwest::Method::PATCH, &path).json(&scale)).await;
    assert_eq!((code, &changed["status"]), (200, &json!("ACCEPTED")));

    let predict = format!("/models/{id}/production/predict");
    let call = || {
        let request = server.request(reqwest::Method::POST, &predict).json(&json!(7)).timeout(Duration::from_secs(60));
        answer(request)
    };
    let deployment = async || server.get(&format!("/v1/models/{id}/deployments/production")).await.1;
    let burst = futures::future::join_all((0..15).map(|_| call()));
    let three =
        eventually("three replicas", || async { (deployment().await["active_replica_count"] == 3).then_some(()) });
    let (answers, ()) = futures::join!(burst, three);
    assert!(answers.iter().all(|answer| *answer == (200, json!(7))), "{answers:?}");

    eventually("it goes to zero", || async { (deployment().await["status"] == "SCALED_TO_ZERO").then_some(()) }).await;
    assert_eq!(call().await, (200, json!(7)), "a request wakes it");

    let explained = server.json(&["autoscale", "explain", "m"]);
    let decisions = explained["autoscaling_decisions"].as_array().expect("decisions");
    let replicas: Vec<_> = decisions.iter().rev().map(|one| one["replica_count"].as_u64().expect("a number")).collect();
    let peak = replicas.iter().position(|count| *count == 3).expect("three replicas were wanted");
    let zero = replicas.iter().position(|count| *count == 0).expect("none was wanted");
    assert!(
        replicas[..=peak].is_sorted() && replicas[peak..=zero].is_sorted_by(|one, next| one > next),
        "{replicas:?}"
    );
    assert!(replicas[zero..].len() > 1, "the wake-up is explained, too: {replicas:?}");
    let shown = server.greenroom(&["autoscale", "explain", "m"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!(shown.stdout.contains("1 -> 0") && shown.stdout.contains("there was no traffic"), "{}", shown.stdout);
}

#[tokio::test]
async fn a_burst_to_zero_is_answered_whole_and_where_nobody_waits_the_rest_is_told_to_come_again() {
    let server = Server::start();
    server.push(model("model_name: m", SHORT).path());
    let id = server.json(&["status", "m"])["model"]["id"].as_str().expect("an id").to_owned();
    let production = format!("/v1/models/{id}/deployments/production");
    let predict = format!("/models/{id}/production/predict");
    let call = || {
        let request = server.request(reqwest::Method::POST, &predict).json(&json!(7)).timeout(Duration::from_secs(60));
        answer(request)
    };
    let quick = ["--autoscaling-window", "10s", "--scale-down-delay", "1s"];
    assert_eq!(server.greenroom(&[&["environments", "set", "m", "production"], &quick[..]].concat()).code, 0);
    let rests = || async { (server.get(&production).await.1["status"] == "SCALED_TO_ZERO").then_some(()) };
    assert_eq!(call().await, (200, json!(7)));
    eventually("it goes to zero", rests).await;
    let burst = futures::future::join_all((0..500).map(|_| call())).await;
    assert!(burst.iter().all(|answer| *answer == (200, json!(7))), "{burst:?}");

    let set = server.greenroom(&["environments", "set", "m", "production", "--when-full", "reject"]);
    assert_eq!(set.code, 0, "{}", set.stderr);
    eventually("some are refused", || async {
        let burst = futures::future::join_all((0..20).map(|_| call())).await;
        let (served, refused): (Vec<_>, Vec<_>) = burst.into_iter().partition(|(status, _)| *status == 200);
        assert!(!served.is_empty(), "a free slot is given to whoever comes");
        assert!(refused.iter().all(|(status, _)| *status == 429), "{refused:?}");
        let is_told = |(_, body): &(u16, Value)| body["error"].as_str().is_some_and(|text| text.contains("busy"));
        refused.first().map(|first| assert!(is_told(first), "{refused:?}"))
    })
    .await;
}
