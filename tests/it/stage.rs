//! One environment of one model, and what can be asked of it: promotions, their control, and how far one is.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Server, answer, eventually};

/// One environment of one model.
pub struct Stage {
    model: String,
    environment: String,
}

impl Stage {
    /// An environment of the model that was pushed.
    pub fn new(pushed: &Value, environment: &str) -> Self {
        let model = pushed["model"]["id"].as_str().expect("an id").to_owned();
        Self { model, environment: environment.to_owned() }
    }

    /// Where the environment is called.
    pub fn endpoint(&self) -> String {
        format!("/models/{}/environments/{}/predict", self.model, self.environment)
    }

    /// Where the environment is managed.
    fn path(&self, rest: &str) -> String {
        format!("/v1/models/{}/environments/{}{rest}", self.model, self.environment)
    }

    /// Changes the environment's settings.
    pub async fn set(&self, server: &Server, settings: Value) {
        let (status, body) = answer(server.request(Method::PATCH, &self.path("")).json(&settings)).await;
        assert_eq!(status, 200, "{body}");
    }

    /// Begins a promotion, and says what is promoted: the deployment itself, or a copy of it.
    pub async fn promote(&self, server: &Server, deployment: &str) -> String {
        let (status, body) = server.post(&self.path("/promote"), &json!({"deployment_id": deployment})).await;
        assert_eq!(status, 200, "{body}");
        body["id"].as_str().expect("an id").to_owned()
    }

    /// Asks something of the promotion that is under way: `pause`, `resume`, `cancel`, `force_cancel`, `force_roll_forward`.
    pub async fn ask(&self, server: &Server, action: &str) {
        let (status, body) = server.post(&self.path(&format!("/{action}_promotion")), &json!({})).await;
        assert_eq!(status, 200, "{action}: {body}");
    }

    /// The environment as the API shows it.
    pub async fn seen(&self, server: &Server) -> Value {
        let (status, body) = server.get(&self.path("")).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Waits until the promotion is in one of these states, and says how much traffic the candidate has. Another end fails the test
    /// with what the API says.
    pub async fn until(&self, server: &Server, statuses: &[&str]) -> u64 {
        self.until_share(server, statuses, 0).await
    }

    /// The same, and that the candidate has at least so much of the traffic, in percent.
    pub async fn until_share(&self, server: &Server, statuses: &[&str], percent: u64) -> u64 {
        eventually(&format!("{statuses:?} with {percent} %"), || async {
            let seen = self.seen(server).await;
            let promotion = &seen["in_progress_promotion"];
            let status = promotion["status"].as_str().expect("a promotion is shown until a while after its end");
            let share = promotion["percent_traffic_to_new_version"].as_u64().expect("a share");
            if statuses.contains(&status) && share >= percent {
                return Some(share);
            }
            let has_ended = ["SUCCEEDED", "FAILED", "CANCELED"].contains(&status);
            assert!(!has_ended, "it ended before {statuses:?} with {percent} % was seen: {promotion:#}");
            None
        })
        .await
    }

    /// The id of what the environment serves.
    pub async fn current(&self, server: &Server) -> String {
        self.seen(server).await["current_deployment"]["id"].as_str().expect("it serves something").to_owned()
    }
}
