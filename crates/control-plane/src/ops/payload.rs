//! What a push may say of a deployment, checked the same way when an upload is prepared and when the deployment is made.

use api::{
    truss_config::{self, TransportKind, TrussConfig},
    v1::backpressure::RequestBackpressurePolicy,
};
use serde_json::{Map, Value};
use store::domain::DeploymentKind;

use super::{Error, autoscaling, names};

/// How long a start may take when the push does not say: longer than the longest startup threshold.
const DEFAULT_DEPLOY_TIMEOUT_MINUTES: u32 = 60;
const DEPLOY_TIMEOUT_MINUTES: std::ops::RangeInclusive<u32> = 10..=1440;
const MILLIS_PER_MINUTE: u64 = 60_000;
/// A longer `config.yaml` is not kept beside its parsed form.
const LONGEST_RAW_CONFIG: usize = 100 * 1024;

/// A push as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// The parsed config.
    pub config: Map<String, Value>,
    /// `config.yaml` as its author wrote it.
    pub raw_config: Option<String>,
    /// What the client says of itself.
    pub user_env: Option<Map<String, Value>>,
    /// The environment to go to.
    pub environment_name: Option<String>,
    /// Whether to make that environment where the model does not have it.
    pub create_environment_if_missing: bool,
    /// Whether that environment's instance type wins over the config's resources.
    pub preserve_env_instance_type: bool,
    /// Whether what the environment serves goes on running when this deployment has taken its place.
    pub keep_previous: bool,
    /// How long a start may take.
    pub deploy_timeout_minutes: Option<u32>,
    /// A name other than the next `deployment-N`.
    pub deployment_name: Option<String>,
    /// Any key-value pairs.
    pub labels: Option<Map<String, Value>>,
    /// Whether it overwrites the model's development deployment.
    pub is_development: bool,
    /// How it scales, where that differs from its environment or the defaults.
    pub autoscaling: autoscaling::Update,
    /// What happens to requests when every replica is busy, where that differs from its environment.
    pub backpressure: Option<Option<RequestBackpressurePolicy>>,
    /// An instance type in place of the one that fits the config's resources.
    pub instance_type_id: Option<String>,
}

impl Payload {
    /// A push that says nothing but its config.
    pub fn new(config: Map<String, Value>) -> Self {
        Self {
            config,
            raw_config: None,
            user_env: None,
            environment_name: None,
            create_environment_if_missing: false,
            preserve_env_instance_type: true,
            keep_previous: false,
            deploy_timeout_minutes: None,
            deployment_name: None,
            labels: None,
            is_development: false,
            autoscaling: autoscaling::Update::default(),
            backpressure: None,
            instance_type_id: None,
        }
    }
}

/// A push whose every part is in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// As it was sent.
    pub payload: Payload,
    /// The config, read.
    pub config: TrussConfig,
    /// The config's text, where it is worth keeping.
    pub raw_config: Option<String>,
    /// How long a start may take.
    pub deploy_timeout_ms: u64,
    /// Published or development.
    pub kind: DeploymentKind,
}

/// Checks all that can be checked without looking at anything else. `path` is where the payload stands in the request.
pub fn check(payload: Payload, path: &str) -> Result<Checked, Error> {
    let refuse = |field: &str, message: String| Err(Error::Invalid(format!("{path}.{field}: {message}")));
    let at = |field: &'static str| move |error: Error| Error::Invalid(format!("{path}.{field}: {error}"));

    let config = truss_config::from_value(Value::Object(payload.config.clone())).map_err(|error| match error {
        truss_config::Error::Shape(problem) if !problem.path.is_empty() => {
            Error::Invalid(format!("{path}.config.{}: {}", problem.path, problem.message))
        }
        other => Error::Invalid(format!("{path}.config: {other}")),
    })?;
    let problems = config.validate();
    if !problems.is_empty() {
        let lines: Vec<String> = problems.iter().map(|problem| format!("{path}.config.{problem}")).collect();
        return Err(Error::Invalid(lines.join("; ")));
    }
    let timeout = payload.deploy_timeout_minutes.unwrap_or(DEFAULT_DEPLOY_TIMEOUT_MINUTES);
    if !DEPLOY_TIMEOUT_MINUTES.contains(&timeout) {
        return refuse("deploy_timeout_minutes", format!("{timeout} is out of range: it needs to be from 10 to 1440"));
    }
    if let Some(name) = &payload.deployment_name {
        names::deployment(name).map_err(at("deployment_name"))?;
    }
    let kind = if payload.is_development { DeploymentKind::Development } else { DeploymentKind::Published };
    if kind == DeploymentKind::Development {
        check_development(&payload, &config, path)?;
    }
    let raw_config = payload.raw_config.clone().filter(|text| is_worth_keeping(text));
    let deploy_timeout_ms = u64::from(timeout) * MILLIS_PER_MINUTE;
    Ok(Checked { payload, config, raw_config, deploy_timeout_ms, kind })
}

/// What a development deployment cannot have.
fn check_development(payload: &Payload, config: &TrussConfig, path: &str) -> Result<(), Error> {
    let never_builds = config.docker_server.as_ref().is_some_and(|server| server.no_build == Some(true));
    let offences = [
        ("environment_name", payload.environment_name.is_some()),
        ("preserve_env_instance_type", !payload.preserve_env_instance_type),
        ("deployment_name", payload.deployment_name.is_some()),
        ("config.runtime.transport.kind", config.runtime.transport.kind == TransportKind::Grpc),
        ("config.docker_server.no_build", never_builds),
    ];
    match offences.iter().find(|(_, offends)| *offends) {
        None => Ok(()),
        Some((field, _)) => Err(Error::Invalid(format!(
            "{path}.{field}: a development deployment cannot have it: leave it out, or push with is_development false"
        ))),
    }
}

/// The text is a convenience for people: a broken or very long one is no reason to refuse a push.
fn is_worth_keeping(text: &str) -> bool {
    text.len() <= LONGEST_RAW_CONFIG && truss_config::parse_yaml(text).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn payload(config: Value) -> Payload {
        let Value::Object(config) = config else { panic!("a config is an object") };
        Payload::new(config)
    }

    fn refusal(payload: Payload) -> String {
        check(payload, "deployment").expect_err("should be refused").to_string()
    }

    #[test]
    fn a_config_error_names_the_path_from_the_request_on() {
        let message = refusal(payload(json!({"resources": {"cpu": "lots"}})));
        assert!(message.starts_with("deployment.config.resources.cpu: "), "{message}");
        let message = refusal(payload(json!({"runtime": {"predict_concurrency": 0}})));
        assert!(message.starts_with("deployment.config.runtime.predict_concurrency: "), "{message}");
    }

    #[test]
    fn a_timeout_has_a_range_and_a_default() {
        let of = |minutes| Payload { deploy_timeout_minutes: minutes, ..payload(json!({})) };
        assert_eq!(check(of(None), "d").unwrap().deploy_timeout_ms, 3_600_000);
        assert_eq!(check(of(Some(10)), "d").unwrap().deploy_timeout_ms, 600_000);
        for wrong in [0, 9, 1441, u32::MAX] {
            assert!(refusal(of(Some(wrong))).starts_with("deployment.deploy_timeout_minutes: "));
        }
    }

    #[test]
    fn a_development_push_leaves_what_it_cannot_have_at_its_default() {
        let development = Payload { is_development: true, ..payload(json!({})) };
        assert_eq!(check(development.clone(), "d").unwrap().kind, DeploymentKind::Development);
        for wrong in [
            Payload { environment_name: Some("staging".into()), ..development.clone() },
            Payload { preserve_env_instance_type: false, ..development.clone() },
            Payload { deployment_name: Some("mine".into()), ..development.clone() },
        ] {
            assert!(refusal(wrong).contains("a development deployment cannot have it"));
        }
    }

    #[test]
    fn a_broken_or_long_raw_config_is_dropped_without_a_refusal() {
        let keeps = |text: &str| {
            let sent = Payload { raw_config: Some(text.into()), ..payload(json!({})) };
            check(sent, "d").unwrap().raw_config.is_some()
        };
        assert!(keeps("model_name: iris # mine\n"));
        assert!(!keeps("model_name: [unclosed"));
        assert!(!keeps(&format!("# {}\n", "x".repeat(100 * 1024))));
    }
}
