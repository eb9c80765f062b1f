//! A real Prometheus reads a real server: what it scrapes, the alerts and the dashboard in `deploy/`.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Server, eventually, model};

const CLASS: &str = "class Model:\n    def predict(self, x):\n        return x\n";

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

/// A Prometheus that scrapes one server, and ends with it.
struct Prometheus {
    child: Child,
    url: String,
    _folder: TempDir,
}

impl Prometheus {
    fn start(server: &Server) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = server.json(&["keys", "create", "--type", "metrics", "--name", "prometheus"])["api_key"].clone();
        let config = json!({
            "global": { "scrape_interval": "500ms", "evaluation_interval": "500ms" },
            "rule_files": [deploy("prometheus/alerts.yml")],
            "scrape_configs": [{
                "job_name": "greenroom",
                "authorization": { "type": "Bearer", "credentials": key },
                "static_configs": [{ "targets": [server.url.trim_start_matches("http://")] }],
            }],
        });
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config.to_string()).expect("written");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Prometheus is installed by scripts/install-tools.sh");
        Self { child, url: format!("http://127.0.0.1:{port}"), _folder: folder }
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/{path}", self.url), query).expect("a URL");
        reqwest::get(url).await.ok()?.json().await.ok()
    }

    /// The result of an expression, which Prometheus has understood.
    async fn query(&self, expression: &str) -> Vec<Value> {
        let answer = self.get("query", &[("query", expression)]).await.expect("it answers");
        assert_eq!(answer["status"], "success", "{expression}: {answer:#}");
        answer["data"]["result"].as_array().expect("a list").clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn what_it_reads_is_what_the_alerts_and_the_dashboard_are_about() {
    let server = Server::start_with("[metrics]\ninterval = \"200ms\"\n");
    let pushed = server.push(model("model_name: m", CLASS).path());
    let endpoint = format!("/models/{}/production/predict", pushed["model"]["id"].as_str().expect("an id"));
    let prometheus = Prometheus::start(&server);
    assert_eq!(server.post(&endpoint, &json!(1)).await.0, 200);
    eventually("Prometheus has read the requests", || async {
        let asked =
            prometheus.get("query", &[("query", "baseten_inference_requests_total{environment=\"production\"}")]);
        let found = asked.await?;
        (found["data"]["result"][0]["value"][1] == "1").then_some(())
    })
    .await;
    assert_eq!(server.post(&endpoint, &json!(2)).await.0, 200);

    let rules = eventually("the alerts have been looked at", || async {
        let rules = prometheus.get("rules", &[]).await?["data"]["groups"][0]["rules"].as_array()?.clone();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    })
    .await;
    assert!(rules.len() > 3);
    for rule in rules {
        assert_eq!((&rule["health"], &rule["state"]), (&json!("ok"), &json!("inactive")), "{rule:#}");
    }

    let dashboard = fs::read_to_string(deploy("grafana/greenroom.json")).expect("it is there");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let known = prometheus.get("label/__name__/values", &[]).await.expect("it answers")["data"].clone();
    let known: Vec<&str> = known.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    // Only while somebody is promoted, or something goes wrong, or a while after.
    let absent = ["greenroom_rollout_traffic_percent"];
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("an expression");
            let filled =
                expression.replace("$__rate_interval", "5s").replace("$model", "m").replace("$environment", ".*");
            prometheus.query(&filled).await;
            let words = filled.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            for name in words.filter(|word| word.starts_with("baseten_") || word.starts_with("greenroom_")) {
                assert!(
                    known.contains(&name) || absent.contains(&name),
                    "{name} in {expression} is no metric: {known:?}"
                );
            }
        }
    }
    let replicas = prometheus.query("sum(baseten_replicas_active{model_name=~\"m\", environment=~\".*\"})").await;
    assert_eq!(replicas[0]["value"][1], "1");
}

#[test]
fn alerts_come_when_they_should_and_not_before() {
    for (command, file) in [("check", "prometheus/alerts.yml"), ("test", "prometheus/alerts_test.yml")] {
        let ran =
            Command::new("promtool").args([command, "rules"]).arg(deploy(file)).output().expect("promtool is there");
        assert!(
            ran.status.success(),
            "{}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        );
    }
}
