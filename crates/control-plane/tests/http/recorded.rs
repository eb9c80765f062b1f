//! What real clients were recorded to send to another server, sent to ours: statuses and shapes are those that satisfied them then.
//! How the recording is made up is in `tests/contract/README.md`. (The clients themselves are run by `tests/clients`.)

use std::collections::BTreeMap;

use axum::http::Method;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Pushed, TestApp, model_archive, pushed};

/// What one run of a client said and heard.
#[derive(Deserialize)]
struct Flow {
    flow: String,
    /// Whether the server had the model before.
    has_model: bool,
    exchanges: Vec<Exchange>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Exchange {
    /// To the object store, under this key.
    Upload { upload: String },
    Request {
        method: String,
        target: String,
        #[serde(default)]
        body: Value,
        status: u16,
        #[serde(default)]
        answer: Value,
    },
}

/// The ids that stand in all recordings for what was there before.
const MODEL: &str = "qf6fc420";
const TEAM: &str = "teamaaa";

/// Recorded ids, and what they are here.
struct Ids(BTreeMap<String, String>);

impl Ids {
    fn in_text(&self, text: &str) -> String {
        // Once through the text: what has been put in may contain what another was recorded as.
        let (mut done, mut rest) = (String::new(), text);
        while let Some(first) = rest.chars().next() {
            let known =
                self.0.iter().filter(|(recorded, _)| !recorded.is_empty() && rest.starts_with(recorded.as_str()));
            match known.max_by_key(|(recorded, _)| recorded.len()) {
                Some((recorded, own)) => {
                    done.push_str(own);
                    rest = &rest[recorded.len()..];
                }
                None => {
                    done.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        done
    }

    /// Learns from two answers to the same question.
    fn learn(&mut self, recorded: &Value, own: &Value) {
        match (recorded, own) {
            (Value::Object(recorded), Value::Object(own)) => {
                for (name, value) in recorded {
                    if let Some(own) = own.get(name) {
                        let is_id = name == "id" || name.ends_with("_id") || name == "s3_key";
                        if let (true, Value::String(recorded), Value::String(own)) = (is_id, value, own) {
                            self.0.insert(recorded.clone(), own.clone());
                        }
                        self.learn(value, own);
                    }
                }
            }
            (Value::Array(recorded), Value::Array(own)) => {
                recorded.iter().zip(own).for_each(|(recorded, own)| self.learn(recorded, own));
            }
            _ => {}
        }
    }
}

/// Checks that whoever understood `recorded` understands `own`. GraphQL answers what was asked for, the recording more than that.
#[track_caller]
fn fits(recorded: &Value, own: &Value, is_graphql: bool, at: &str) {
    match (recorded, own) {
        (Value::Object(recorded), Value::Object(own)) => {
            for (name, value) in recorded {
                match own.get(name) {
                    Some(own) => fits(value, own, is_graphql, &format!("{at}/{name}")),
                    None => assert!(is_graphql, "{at}: no {name} in {own:#?}"),
                }
            }
        }
        (Value::Array(recorded), Value::Array(own)) => {
            for (number, (recorded, own)) in recorded.iter().zip(own).enumerate() {
                fits(recorded, own, is_graphql, &format!("{at}/{number}"));
            }
        }
        (Value::Null, _) => {}
        // Where a route may answer null is checked against the contract's schemas elsewhere.
        (_, Value::Null) if !is_graphql => {}
        _ => assert_eq!(std::mem::discriminant(recorded), std::mem::discriminant(own), "{at}: {recorded} and {own}"),
    }
}

/// The model that was there before.
async fn push(app: &TestApp) -> Pushed {
    let s3_key = app.upload(model_archive()).await;
    let deployment = json!({
        "config": { "model_name": "tiny", "python_version": "py311" }, "raw_config": "model_name: tiny\npython_version: py311\n"
    });
    let source = json!({ "kind": "model_archive", "name": "tiny", "deployment": deployment, "s3_key": s3_key });
    pushed(app.post("/v1/models", json!({ "source": source })).await.ok())
}

/// What an answer says was pushed.
fn pushed_by(answer: &Value) -> Option<Pushed> {
    let mutations = answer["data"].as_object()?;
    let version = mutations.values().find_map(|made| made.get("model_version"))?;
    let id = |value: &Value| value.as_str().map(str::to_owned);
    Some(Pushed { model: id(&version["oracle"]["id"])?, deployment: id(&version["id"])? })
}

async fn replay(flow: Flow) {
    let app = TestApp::start().await;
    let mut ids = Ids(BTreeMap::from([(TEAM.to_owned(), app.team().await.to_string())]));
    if flow.has_model {
        let pushed = push(&app).await;
        app.make_active(&pushed).await;
        ids.0.insert(MODEL.into(), pushed.model);
        for version in ["q1bf41ef", "q711d7b0"] {
            ids.0.insert(version.into(), pushed.deployment.clone());
        }
        app.post(&format!("/v1/models/{}/environments", ids.0[MODEL]), json!({ "name": "staging" })).await.ok();
    }
    let config = BASE64_STANDARD.encode(r#"{"model_name":"tiny","python_version":"py311"}"#);
    for (number, exchange) in flow.exchanges.into_iter().enumerate() {
        let at = format!("{} {number}", flow.flow);
        match exchange {
            Exchange::Upload { upload } => app.upload_as(&ids.in_text(&upload), model_archive()).await,
            Exchange::Request { method, target, body, status, answer } => {
                let text = ids.in_text(&body.to_string()).replace("CONFIG", &config);
                let body: Value = serde_json::from_str(&text).unwrap();
                let method: Method = method.parse().unwrap();
                let key = (status != 401).then_some(app.key.as_str());
                let found = app.call_as(key, method, &ids.in_text(&target), (!body.is_null()).then_some(body)).await;
                assert_eq!(found.status.as_u16(), status, "{at}: {:#}", found.body);
                if status == 200 {
                    let is_graphql = target.contains("/graphql/");
                    // With an error nobody looks at the rest.
                    let part = |answer: &Value| answer.get("errors").unwrap_or(answer).clone();
                    fits(&part(&answer), &part(&found.body), is_graphql, &at);
                    ids.learn(&answer, &found.body);
                    if let Some(pushed) = pushed_by(&found.body) {
                        app.make_active(&pushed).await;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn what_real_clients_were_recorded_to_send_is_answered_as_they_understood_it() {
    let flows: Vec<Flow> = serde_json::from_str(include_str!("../../../../tests/contract/recorded.json")).unwrap();
    assert!(flows.len() > 10);
    for flow in flows {
        replay(flow).await;
    }
}
