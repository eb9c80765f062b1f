//! The model-server contract: every recorded case is answered as the reference server answered it.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::json;

use crate::support::{Draft, Replica, request};

#[derive(Deserialize)]
struct Case {
    name: String,
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    body_hex: Option<String>,
    status: u16,
    /// Headers of the answer; null where there must be none.
    #[serde(default)]
    answer_headers: BTreeMap<String, Option<String>>,
    answer: Option<String>,
    answer_hex: Option<String>,
    /// The connection breaks after this much of the body.
    breaks_after: Option<String>,
}

const CONFIG_KEYS: &str = "apply_library_patches base_image bdn bis_llm build build_commands bundled_packages_dir \
    cache_internal data_dir description docker_server environment_variables examples_filename external_data \
    external_package_dirs input_type live_reload model_cache model_class_filename model_class_name model_framework \
    model_metadata model_module_dir model_name model_type python_version requirements requirements_file resources runtime \
    secrets spec_version system_packages training_checkpoints trt_llm use_local_src weights";

#[tokio::test]
async fn every_recorded_case_is_answered_as_recorded() {
    let mut draft = Draft::model(include_str!("models/contract.py"));
    let config = draft.config();
    for key in CONFIG_KEYS.split_whitespace() {
        if config.get(key).is_none() {
            config[key] = json!(null);
        }
    }
    config["secrets"] = json!({"my_secret": null, "other": "default-val"});
    draft.secrets.insert("my_secret".into(), "s3cret".into());
    draft.spec.environment = Some(json!({"name": "staging"}));
    draft.spec.streaming_read_timeout_ms = 500;
    let replica = draft.ready().await;

    let cases: Vec<Case> = serde_json::from_str(include_str!("contract.json")).unwrap();
    assert_eq!(cases.len(), 40);
    let mut differences = Vec::new();
    for case in cases {
        match case.name.as_str() {
            "after environment file changed" => set_environment(&replica, json!({"name": "production"})).await,
            "after environment file = null" => set_environment(&replica, json!(null)).await,
            _ => {}
        }
        if let Err(difference) = check(&replica, &case).await {
            differences.push(format!("{}: {difference}", case.name));
        }
    }
    assert!(differences.is_empty(), "{differences:#?}\n{:#?}", replica.log());
}

async fn set_environment(replica: &Replica, environment: serde_json::Value) {
    let before = replica.log().len();
    let (status, _) = replica.exchange(request("PUT", "/_greenroom/environment", environment.to_string())).await;
    assert_eq!(status, 200);
    let is_told = |line: &&api::internal::replica::LogLine| line.message.contains("Executing model.setup_environment");
    replica.until("setup_environment", || replica.log()[before..].iter().find(is_told).cloned()).await;
}

async fn check(replica: &Replica, case: &Case) -> Result<(), String> {
    let body = match (&case.body, &case.body_hex) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(digits)) => hex::decode(digits).unwrap(),
        (None, None) => Vec::new(),
    };
    let mut request = request(&case.method, &case.path, body);
    for (name, value) in &case.headers {
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    }
    let answer = replica.send(request).await;
    same("status", &answer.status().as_u16(), &case.status)?;
    for (name, expected) in &case.answer_headers {
        // How a body is framed is for the connection to choose where the reference compressed or chunked it.
        if name == "content-length" && expected.is_none() {
            continue;
        }
        let found = answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        same(name, &found, expected)?;
    }
    let mut received = Vec::new();
    let mut body = answer.into_body();
    let broke = loop {
        match body.frame().await {
            None => break false,
            Some(Err(_)) => break true,
            Some(Ok(frame)) => received.extend_from_slice(&frame.into_data().unwrap_or_default()),
        }
    };
    same("broke", &broke, &case.breaks_after.is_some())?;
    if let Some(digits) = &case.answer_hex {
        return same("body", &hex::encode(&received), digits);
    }
    let expected = case.answer.as_ref().or(case.breaks_after.as_ref()).unwrap();
    same("body", &String::from_utf8(received).unwrap().as_str(), &expected.as_str())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found:?} instead of {expected:?}")) }
}
