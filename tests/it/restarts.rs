//! A server that was killed loses nothing it acknowledged, takes back what survived, and replaces the rest.

use serde_json::{Value, json};

use crate::harness::{Server, answer, eventually, example, model};

fn endpoint(pushed: &Value) -> String {
    format!("/models/{}/production/predict", pushed["model"]["id"].as_str().expect("an id"))
}

fn replicas(server: &Server) -> Vec<String> {
    let folder = server.data_dir().join("local/replicas");
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    names.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

async fn serves_again(server: &Server, endpoint: &str) {
    eventually("it serves again", || async { (server.post(endpoint, &json!({})).await.0 == 200).then_some(()) }).await;
}

#[tokio::test]
async fn after_a_kill_everything_is_there_and_a_surviving_replica_is_taken_back() {
    let mut server = Server::start();
    let class = "import os\nclass Model:\n    def load(self):\n        print('loaded')\n        self.token = os.urandom(8).hex()\n    def predict(self, x):\n        return self.token\n";
    let pushed = server.push(model("model_name: m", class).path());
    server.json(&["environments", "create", "m", "staging"]);
    let endpoint = endpoint(&pushed);
    let before = (server.post(&endpoint, &json!({})).await, replicas(&server));
    eventually("the load is in the log", || async {
        server.greenroom(&["logs", "m"]).stdout.contains("loaded").then_some(())
    })
    .await;

    server.kill();
    server.restart();
    serves_again(&server, &endpoint).await;
    let after = (server.post(&endpoint, &json!({})).await, replicas(&server));
    assert_eq!(before, after, "the same replica, the same process");

    assert!(server.greenroom(&["logs", "m"]).stdout.contains("loaded"));
    let status = server.json(&["status", "m"]);
    assert_eq!(status["environments"].as_array().map(Vec::len), Some(2));
    let (model, deployment) = (&pushed["model"]["id"], &pushed["deployment"]["id"]);
    let path =
        format!("/v1/models/{}/deployments/{}/download", model.as_str().expect("id"), deployment.as_str().expect("id"));
    let (_, download) = server.get(&path).await;
    let url = download["download_url"].as_str().expect("a URL");
    let archive = reqwest::get(url).await.expect("answered").bytes().await.expect("whole");
    assert!(archive.windows(8).any(|part| part == b"model.py"), "the archive is the one that was pushed");
}

#[tokio::test]
async fn after_a_kill_of_everything_the_replica_is_replaced() {
    let mut server = Server::start();
    let pushed = server.push(&example("hello"));
    let before = replicas(&server);
    server.kill();
    server.kill_offspring();
    server.restart();
    serves_again(&server, &endpoint(&pushed)).await;
    assert_ne!(before, replicas(&server), "another replica");
}

#[tokio::test]
async fn a_push_survives_kills_on_its_way() {
    let mut server = Server::start();
    let folder = example("hello");
    let pushed = server.json(&["push", folder.to_str().expect("UTF-8"), "--no-wait"]);
    let (model, deployment) = (pushed["model"]["id"].as_str(), pushed["deployment"]["id"].as_str());
    let path = format!("/v1/models/{}/deployments/{}", model.expect("an id"), deployment.expect("an id"));
    for moment in ["BUILDING", "DEPLOYING", "LOADING_MODEL"] {
        // Each moment may be over before it is seen; a kill at the next one is as good.
        eventually(moment, || async {
            let (_, now) = server.get(&path).await;
            (now["status"] == moment || now["status"] == "ACTIVE").then_some(())
        })
        .await;
        server.kill();
        server.restart();
    }
    eventually("it serves", || async { (server.get(&path).await.1["status"] == "ACTIVE").then_some(()) }).await;
    assert_eq!(server.post(&endpoint(&pushed), &json!({})).await.0, 200);
}

#[tokio::test]
async fn a_replica_whose_deployment_is_gone_is_ended() {
    let mut server = Server::start();
    server.push(&example("hello"));
    assert!(!server.offspring().is_empty());
    assert_eq!(server.greenroom(&["delete", "hello", "--yes"]).code, 0);
    server.kill();
    server.restart();
    eventually("no process is left", || async { server.offspring().is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn only_what_it_had_accepted_fails_with_a_replica() {
    let server = Server::start();
    let class = "import os\nclass Model:\n    def predict(self, x):\n        if x == 'die':\n            os._exit(1)\n        return x\n";
    let pushed = server.push(model("model_name: m", class).path());
    let died = server.post(&endpoint(&pushed), &json!("die")).await;
    assert!(died.0 >= 500, "{died:?}");
    let waits_for_the_next = server.post(&endpoint(&pushed), &json!("live")).await;
    assert_eq!(waits_for_the_next, (200, json!("live")));

    let replica = server.json(&["startups", "m"])["items"][0]["replica_id"].clone();
    let (model, deployment) = (pushed["model"]["id"].as_str(), pushed["deployment"]["id"].as_str());
    let path = format!("/v1/models/{}/deployments/{}", model.expect("an id"), deployment.expect("an id"));
    let replica = format!("{path}/replicas/{}", replica.as_str().expect("an id"));
    assert_eq!(answer(server.request(reqwest::Method::DELETE, &replica)).await.0, 200);
    for _ in 0..20 {
        assert_eq!(server.post(&endpoint(&pushed), &json!("live")).await, (200, json!("live")));
    }
}

#[tokio::test]
async fn a_second_signal_ends_a_draining_server_at_once_and_the_next_one_takes_its_replica_back() {
    let mut server = Server::start();
    let class = "import asyncio\nclass Model:\n    async def predict(self, x):\n        if x == 'hang':\n            print('hanging')\n            await asyncio.Event().wait()\n        return x\n";
    let pushed = server.push(model("model_name: m", class).path());
    let before = replicas(&server);
    let hanging = server.request(reqwest::Method::POST, &endpoint(&pushed)).json(&"hang").send();
    let hanging = tokio::spawn(hanging);
    eventually("the model hangs", || async {
        server.greenroom(&["logs", "m"]).stdout.contains("hanging").then_some(())
    })
    .await;

    server.terminate();
    eventually("nobody new is let in", || async {
        let answered = reqwest::Client::new().get(format!("{}/healthz", server.url)).send().await;
        answered.is_err().then_some(())
    })
    .await;
    assert!(!hanging.is_finished(), "it waits for the request under way");
    server.terminate();
    assert_eq!(server.wait().await, Some(130));
    assert!(hanging.await.expect("asked").is_err(), "no answer is made up");

    server.restart();
    serves_again(&server, &endpoint(&pushed)).await;
    assert_eq!(before, replicas(&server), "the same replica");
}
