//! A secret that is planted in a model's reach is searched for wherever else it could be: nowhere is it found.

use std::{fs, path::Path};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::{Server, answer, eventually, model},
    stage::Stage,
};

/// A model that reads its secrets by both spellings and from a file, and tells them backwards: forwards they stand in no answer.
const MODEL: &str = r#"
import os, uuid
class Model:
    def __init__(self, secrets):
        self.secrets = secrets
        self.id = str(uuid.uuid4())
    def load(self):
        print("loaded with", len(self.secrets["api_token"]), "characters")
    def predict(self, name):
        if name == "file":
            path = "/secrets/api_token"
            return open(path).read()[::-1] if os.path.exists(path) else self.secrets["api_token"][::-1]
        if name == "id":
            return self.id
        return self.secrets[name][::-1]
"#;
/// Routes whose answers do not end.
const ENDLESS: [&str; 2] = ["/v1/events", "/v1/models/{model_id}/deployments/{deployment_id}/logs/stream"];

fn random(prefix: &str) -> String {
    format!("{prefix}{:032x}", rand::random::<u128>())
}

fn backwards(text: &str) -> String {
    text.chars().rev().collect()
}

#[tokio::test]
async fn a_secret_is_found_nowhere_but_in_the_model_that_declares_it() {
    let mut server = Server::start();
    let (first, second, plain) = (random("planted"), random("planted"), random("plain"));
    let mut events = server.request(Method::GET, "/v1/events").send().await.expect("an answer");

    let set = |server: &Server, name: &str, value: &str| {
        let ran = server.greenroom_with_input(&["secrets", "set", name, "--json"], value.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(!ran.shown().contains(value), "{}", ran.shown());
    };
    set(&server, "api-token", &first);
    let config = format!(
        "model_name: m\nsecrets: {{api_token: null, api.token: null}}\nenvironment_variables: {{PLAIN: {plain}}}\n"
    );
    let pushed = server.push(model(&config, MODEL).path());
    let endpoint = Stage::new(&pushed, "production").endpoint();
    let told = async |server: &Server, name: &str| -> Value {
        answer(server.request(Method::POST, &endpoint).json(&json!(name))).await.1
    };
    let id = told(&server, "id").await;
    for name in ["api_token", "api.token", "file"] {
        assert_eq!(told(&server, name).await, json!(backwards(&first)), "{name}");
    }

    // What runs sees another value by itself, in each of these ways.
    set(&server, "api_token", &second);
    for name in ["api_token", "api.token", "file"] {
        eventually(name, async || (told(&server, name).await == json!(backwards(&second))).then_some(())).await;
    }
    assert_eq!(told(&server, "id").await, id, "the same process");

    let planted = [first.as_str(), second.as_str()];
    let check = |place: &str, text: &[u8]| {
        for secret in planted {
            assert!(!contains(text, secret), "{place}: {}", String::from_utf8_lossy(text));
        }
    };
    let mut heard = Vec::new();
    while !contains(&heard, "secret") {
        heard.extend(events.chunk().await.expect("an event").expect("events do not end"));
    }
    check("events", &heard);
    search_processes(&plain, &check);
    search_answers(&server, &pushed, &check).await;
    search_outputs(&server, &check);
    search_files(&server, &plain, &check);

    // What a power cut leaves: the database with its log of writes.
    server.kill();
    search_files(&server, &plain, &check);
    server.restart();
    eventually("it has the value again", async || {
        (told(&server, "file").await == json!(backwards(&second))).then_some(())
    })
    .await;
}

fn contains(text: &[u8], part: &str) -> bool {
    String::from_utf8_lossy(text).contains(part)
}

/// Looks at the command line and the environment of every process there is; the model's own variable shows that it looks.
fn search_processes(plain: &str, check: &impl Fn(&str, &[u8])) {
    let mut has_seen_the_model = false;
    for entry in fs::read_dir("/proc").expect("Linux").flatten() {
        for name in ["cmdline", "environ"] {
            let path = entry.path().join(name);
            let text = fs::read(&path).unwrap_or_default();
            check(&path.display().to_string(), &text);
            has_seen_the_model |= name == "environ" && contains(&text, plain);
        }
    }
    assert!(has_seen_the_model, "the search does not reach the model's process");
}

/// Asks everything that can be asked.
async fn search_answers(server: &Server, pushed: &Value, check: &impl Fn(&str, &[u8])) {
    let (_, spec) = server.get("/v1/spec").await;
    let (_, me) = server.get("/v1/users/me").await;
    let (_, teams) = server.get("/v1/teams").await;
    let text = |value: &Value| value.as_str().expect("an id").to_owned();
    let parameters = [
        ("{model_id}", text(&pushed["model"]["id"])),
        ("{deployment_id}", text(&pushed["deployment"]["id"])),
        ("{team_id}", text(&teams["teams"][0]["id"])),
        ("{user_id}", text(&me["user_id"])),
        ("{env_name}", "production".to_owned()),
    ];
    let routes = spec["paths"].as_object().expect("routes").iter().filter(|(_, route)| route.get("get").is_some());
    let mut answered = 0;
    for (route, _) in routes.filter(|(route, _)| !ENDLESS.contains(&route.as_str())) {
        let path = parameters.iter().fold(route.clone(), |path, (name, value)| path.replace(name, value));
        let answer = server.request(Method::GET, &path).send().await.expect("an answer");
        answered += u32::from(answer.status().is_success());
        check(&path, &answer.bytes().await.expect("a whole answer"));
    }
    assert!(answered > 30, "only {answered} routes have an answer");
    let metrics = server.request(Method::GET, "/metrics").send().await.expect("an answer");
    check("/metrics", &metrics.bytes().await.expect("a whole answer"));
}

/// Runs the commands that show something.
fn search_outputs(server: &Server, check: &impl Fn(&str, &[u8])) {
    let commands: [&[&str]; 12] = [
        &["models"],
        &["deployments", "m"],
        &["environments", "list", "m"],
        &["status", "m"],
        &["logs", "m"],
        &["startups", "m"],
        &["secrets", "list"],
        &["keys", "list"],
        &["audit"],
        &["usage"],
        &["policies", "list"],
        &["config", "show"],
    ];
    for command in commands {
        let ran = server.greenroom(&[command, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{command:?}: {}", ran.stderr);
        check(&format!("{command:?}"), ran.shown().as_bytes());
    }
}

/// Reads every file that the server has written, its own log among them; the model's own variable shows that it looks.
fn search_files(server: &Server, plain: &str, check: &impl Fn(&str, &[u8])) {
    let mut has_seen_the_config = false;
    let mut folders = vec![server.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let content = fs::read(entry.path()).unwrap_or_default();
                check(&entry.path().display().to_string(), &content);
                has_seen_the_config |= is_database(&entry.path()) && contains(&content, plain);
            }
        }
    }
    assert!(has_seen_the_config, "the search does not reach the database");
}

fn is_database(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("greenroom.db"))
}
