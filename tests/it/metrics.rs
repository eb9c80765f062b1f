//! What a real server counts of a real model.

use serde_json::json;

use crate::harness::{Server, eventually, model};

const CLASS: &str = "class Model:\n    def load(self):\n        self.weights = bytearray(b'x' * (64 << 20))\n    def predict(self, x):\n        if x == 'fail':\n            raise ValueError(x)\n        return x\n";

/// The value of the first series whose line begins and ends so, labels in between.
fn value(text: &str, name: &str, label: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains(label))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn requests_replicas_and_their_use_are_counted_and_survive_a_kill() {
    let mut server = Server::start_with("[metrics]\ninterval = \"200ms\"\n");
    let pushed = server.push(model("model_name: m", CLASS).path());
    let (model, deployment) = (&pushed["model"]["id"], &pushed["deployment"]["id"]);
    let (model, deployment) = (model.as_str().expect("an id"), deployment.as_str().expect("an id"));
    let endpoint = format!("/models/{model}/production/predict");
    for (input, status) in [("a", 200), ("b", 200), ("fail", 500)] {
        assert_eq!(server.post(&endpoint, &json!(input)).await.0, status);
    }
    let metrics = async |server: &Server| {
        let answer = server.request(reqwest::Method::GET, "/metrics").send().await.expect("an answer");
        answer.text().await.expect("a text")
    };
    let requests = "baseten_inference_requests_total";
    let text = eventually("the requests are counted", || async {
        let text = metrics(&server).await;
        (value(&text, requests, "status_code=\"500\"").is_some() && value(&text, requests, "200") == Some(2.0))
            .then_some(text)
    })
    .await;
    assert_eq!(
        value(&text, "baseten_replicas_active", "environment=\"production\",rollout_phase=\"stable\""),
        Some(1.0)
    );
    assert_eq!(value(&text, "greenroom_replica_start_seconds_count", "phase=\"load\""), Some(1.0));
    assert_eq!(value(&text, "greenroom_build_seconds_count", "outcome=\"succeeded\""), Some(1.0));
    assert_eq!(value(&text, "baseten_time_to_first_byte_seconds_count", "status_code=\"200\""), Some(2.0));
    assert!(value(&text, "baseten_container_cpu_memory_working_set_bytes", "replica=").expect("memory") > 64e6);
    assert!(value(&text, "baseten_container_cpu_usage_seconds_total", "replica=").expect("cpu") > 0.0);

    let path = format!("/v1/models/{model}/deployments/{deployment}/metrics?mode=SUMMARY");
    let (_, summary) = server.get(&path).await;
    let of_requests = &summary["metric_values"][0]["values"][1];
    assert_eq!(
        (of_requests, &summary["metric_descriptors"][1]["label_sets"][0]["status"]),
        (&json!([2.0, 1.0]), &json!("2xx"))
    );
    let shown = server.greenroom(&["top"]).stdout;
    let row = shown.lines().nth(1).unwrap_or_default();
    assert!(shown.starts_with("MODEL") && row.contains("production") && row.contains("1/1"), "{shown}");
    let (_, usage) = server.get("/v1/billing/usage_summary?start_date=2026-01-01&end_date=2026-01-02").await;
    assert_eq!(usage["dedicated_usage"]["minutes"], 0, "not on that day");

    server.kill();
    server.restart();
    assert_eq!(value(&metrics(&server).await, requests, "status_code=\"200\""), Some(2.0));
    assert_eq!(server.post(&endpoint, &json!("c")).await.0, 200);
    eventually("it goes on counting", || async {
        (value(&metrics(&server).await, requests, "status_code=\"200\"") == Some(3.0)).then_some(())
    })
    .await;
}
