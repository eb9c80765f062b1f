//! From the command line and by HTTP: who may call what, and how soon that is over.

use reqwest::{Method, header::RETRY_AFTER};
use serde_json::{Value, json};

use crate::harness::{Server, eventually, example, greenroom, run};

/// What a call with a key is answered: its status, and when to come back.
async fn call(server: &Server, key: &str, path: &str) -> (u16, Option<String>) {
    let request = reqwest::Client::new().post(format!("{}{path}", server.url)).bearer_auth(key).body("{}");
    let answer = request.send().await.expect("the server answers");
    let wait = answer.headers().get(RETRY_AFTER).map(|value| value.to_str().expect("text").to_owned());
    (answer.status().as_u16(), wait)
}

async fn until_status(server: &Server, key: &str, path: &str, expected: u16) {
    eventually("the gateway has heard of it", || async { (call(server, key, path).await.0 == expected).then_some(()) })
        .await;
}

#[tokio::test]
async fn keys_open_what_they_are_for_and_nothing_once_they_are_gone() {
    let server = Server::start();
    let pushed = server.push(&example("hello"));
    let (model, deployment) = (&pushed["model"]["id"], &pushed["deployment"]["id"]);
    let [model, deployment] = [model, deployment].map(|id| id.as_str().expect("an id").to_owned());
    let at = |way: &str| format!("/models/{model}/{way}/predict");
    let own = at(&format!("deployment/{deployment}"));
    let make = |args: &[&str]| {
        let made = server.greenroom(&[&["keys", "create", "--type", "invoke"], args].concat());
        made.stdout.trim().to_owned()
    };

    let staging = make(&["--environments", "staging"]);
    until_status(&server, &staging, &at("environments/staging"), 404).await;
    assert_eq!(call(&server, &staging, &at("production")).await.0, 403);
    assert_eq!(call(&server, &staging, &own).await.0, 403, "what serves in production is behind its own door too");
    let production = make(&["--environments", "production"]);
    until_status(&server, &production, &at("production"), 200).await;
    assert_eq!(call(&server, &production, &own).await.0, 200);

    let slow = make(&["--requests-per-minute", "2"]);
    until_status(&server, &slow, &at("production"), 200).await;
    assert_eq!(call(&server, &slow, &at("production")).await.0, 200);
    let (status, wait) = call(&server, &slow, &at("production")).await;
    assert_eq!(status, 429);
    let wait: u64 = wait.expect("it says when to come back").parse().expect("a number");
    assert!((1..=30).contains(&wait), "{wait}");

    let prefix = production.split_once('.').expect("a key").0;
    assert_eq!(server.greenroom(&["keys", "revoke", prefix]).code, 0);
    until_status(&server, &production, &at("production"), 401).await;
}

/// Every way to a model, and what a caller who may call it is answered there: `hello` has no development deployment, no gRPC and no
/// websocket.
const WAYS: [(&str, &str, u16); 9] = [
    ("POST", "environments/production/predict", 200),
    ("POST", "production/predict", 200),
    ("POST", "deployment/ID/predict", 200),
    ("POST", "development/predict", 404),
    ("POST", "environments/nonesuch/predict", 404),
    ("POST", "production/wake", 202),
    ("GET", "production/sync/health", 404),
    ("GET", "production/websocket", 400),
    ("POST", "deployment/nonesuch/predict", 404),
];

#[tokio::test]
async fn every_way_to_a_model_is_closed_to_whoever_may_not_call_it() {
    let server = Server::start();
    let pushed = server.push(&example("hello"));
    let [model, deployment] =
        [&pushed["model"]["id"], &pushed["deployment"]["id"]].map(|id| id.as_str().expect("an id").to_owned());
    let ask = async |key: Option<&str>, method: &str, path: &str| {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = reqwest::Client::new().request(method, format!("{}{path}", server.url)).body("{}");
        let request = if let Some(key) = key { request.bearer_auth(key) } else { request };
        request.send().await.expect("the server answers").status().as_u16()
    };
    let make = async |path: &str, kind: &str| {
        let made = server.request(Method::POST, path).json(&json!({ "type": kind })).send().await.expect("an answer");
        let made: Value = made.json().await.expect("JSON");
        made["api_key"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    };
    assert_eq!(server.greenroom(&["teams", "create", "search"]).code, 0);
    let (_, teams) = server.get("/v1/teams").await;
    let is_search = |team: &&Value| team["name"] == "search";
    let search = teams["teams"].as_array().and_then(|teams| teams.iter().find(is_search)).expect("it was made");
    let of_search = format!("/v1/teams/{}/api_keys", search["id"].as_str().expect("an id"));
    let own = "/v1/api_keys";
    let stranger = server.greenroom(&["users", "add", "ann@example.com", "--with-key", "--team", "search"]);
    let revoked = make(own, "WORKSPACE_INVOKE").await;
    // What a way answers to whoever may call it, or in its place always this.
    let callers = [
        (None, Some(401)),
        (Some("nonesuch.key".to_owned()), Some(401)),
        (Some(revoked.clone()), Some(401)),
        (Some(make(own, "WORKSPACE_INVOKE").await), None),
        (Some(make(own, "WORKSPACE_MANAGE_ALL").await), None),
        (Some(make(own, "PERSONAL").await), None),
        (Some(make(own, "WORKSPACE_EXPORT_METRICS").await), Some(403)),
        (Some(make(own, "WORKSPACE_MANAGE_API_KEYS").await), Some(403)),
        (Some(make(&of_search, "WORKSPACE_INVOKE").await), Some(403)),
        (Some(make(&of_search, "WORKSPACE_MANAGE_ALL").await), Some(403)),
        (Some(stranger.stdout.trim().to_owned()), Some(403)),
    ];
    let predict = format!("/models/{model}/production/predict");
    until_status(&server, &revoked, &predict, 200).await;
    let revocation = server.greenroom(&["keys", "revoke", revoked.split_once('.').expect("a key").0]);
    assert_eq!(revocation.code, 0, "{}", revocation.shown());
    until_status(&server, &revoked, &predict, 401).await;
    for (key, always) in &callers {
        let expected = always.unwrap_or(200);
        if let Some(key) = key {
            until_status(&server, key, &predict, expected).await;
        }
        for (method, way, open) in WAYS {
            let path = format!("/models/{model}/{}", way.replace("ID", &deployment));
            let answered = ask(key.as_deref(), method, &path).await;
            assert_eq!(answered, always.unwrap_or(open), "{method} {way} with {key:?}");
        }
        let unknown = ask(key.as_deref(), "POST", "/models/nonesuch/production/predict").await;
        let expected = match always {
            None => [403, 404].contains(&unknown),
            Some(status) => unknown == *status,
        };
        assert!(expected, "{unknown} with {key:?}: what is not there is not told from what is another's");
    }
    let upload = ask(None, "PUT", "/greenroom-uploads/models/nonesuch").await;
    assert!([400, 403].contains(&upload), "an upload needs a signature: {upload}");
    assert_eq!(ask(None, "GET", "/ui/").await, 200, "pages hold nothing that needs a key");
}

#[tokio::test]
async fn people_and_programs_reach_the_models_of_their_teams() {
    let server = Server::start();
    let ran = |args: &[&str]| {
        let ran = server.greenroom(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran.stdout.trim().to_owned()
    };
    let hello = example("hello").to_str().expect("UTF-8").to_owned();
    ran(&["push", &hello]);
    ran(&["teams", "create", "search"]);
    ran(&["push", &hello, "--team", "search"]);
    assert!(ran(&["models", "--team", "search"]).contains("hello"));
    let of_search: Value = server.json(&["models", "--team", "search"]);
    let of_default: Value = server.json(&["models"]);
    let path =
        |models: &Value| format!("/models/{}/production/predict", models["models"][0]["id"].as_str().expect("an id"));
    let (search, default) = (path(&of_search), path(&of_default));
    assert_ne!(search, default, "one model of that name in each team");

    let ann = ran(&["users", "add", "ann@example.com", "--with-key", "--team", "search"]);
    until_status(&server, &ann, &search, 200).await;
    assert_eq!(call(&server, &ann, &default).await.0, 403);
    let changes = || {
        let mut command = greenroom(server.folder());
        command.env("GREENROOM_URL", &server.url).env("GREENROOM_API_KEY", &ann);
        command.args(["environments", "set", "hello", "production", "--max-replicas", "2", "--team", "search"]);
        run(command, b"")
    };
    let told = ran(&["environments", "restrict", "production", "--team", "search"]);
    assert!(told.contains("admin@localhost") && !told.contains("ann@example.com"), "{told}");
    let refused = changes();
    assert_eq!(refused.code, 3, "{}", refused.shown());
    assert!(refused.stderr.contains("environment production is restricted"), "{}", refused.stderr);
    ran(&["environments", "restrict", "production", "--user", "ann@example.com", "--team", "search"]);
    assert_eq!(changes().code, 0);
    ran(&["environments", "unrestrict", "production", "--team", "search"]);
    let deeds = ran(&["audit", "--kind", "user-management"]);
    assert!(deeds.contains("user invited") && deeds.contains("ann@example.com"), "{deeds}");
    ran(&["teams", "add", "Default", "ann@example.com"]);
    until_status(&server, &ann, &default, 200).await;
    ran(&["teams", "remove", "search", "ann@example.com"]);
    until_status(&server, &ann, &search, 403).await;
    assert!(ran(&["teams", "members", "Default"]).contains("ann@example.com"));
    ran(&["users", "remove", "ann@example.com"]);
    until_status(&server, &ann, &default, 401).await;

    let made: Value = server.json(&["service-accounts", "create", "ci", "--team", "search"]);
    let form = json!({
        "grant_type": "client_credentials",
        "client_id": made["service_account"]["client_id"],
        "client_secret": made["client_secret"],
    });
    let token = async || {
        let request = reqwest::Client::new().post(format!("{}/v1/oauth/token", server.url)).json(&form);
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        answer["access_token"].as_str().map(str::to_owned)
    };
    let bearer = token().await.expect("a token");
    until_status(&server, &bearer, &search, 200).await;
    assert_eq!(call(&server, &bearer, &default).await.0, 403);
    ran(&["service-accounts", "rotate", "ci"]);
    until_status(&server, &bearer, &search, 401).await;
    assert_eq!(token().await, None);
    assert!(ran(&["audit"]).contains("service account rotated"));
}
