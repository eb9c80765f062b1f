//! Replicas follow the load, and people can see why.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Server, answer, eventually, model};

const SLOW: &str = "import threading\n\nclass Model:\n    def predict(self, x):\n        threading.Event().wait(2)\n        return x\n";

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
