//! What a well-formed config can still get wrong: rules between fields, and values that could never run. All problems are told at
//! once. Warnings are for what runs, and probably not as its author means.

use std::fmt;

use super::{DockerServer, HealthChecks, TransportKind, TrussConfig};

/// Something wrong, or doubtful, at one place of a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `resources.cpu`. Empty means the whole config.
    pub path: String,
    /// What is wrong, and what is expected instead.
    pub message: String,
}

impl Problem {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

impl std::error::Error for Problem {}

/// The port that the platform itself answers on inside a container.
const PLATFORM_PORT: u16 = 8080;
/// The uids that a server of the user's own may not have: root, and the platform's own.
const RESERVED_USERS: [u32; 2] = [0, 60_000];
/// The range of each health threshold, in seconds.
const THRESHOLD_S: std::ops::RangeInclusive<u32> = 10..=3_000;
/// The longest time that a delayed check and its threshold may take together, in seconds.
const LONGEST_CHECK_S: u32 = 3_000;

impl TrussConfig {
    /// All reasons why this config can never be deployed; empty when there is none.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut refuse = |path: &str, message: &str| problems.push(Problem::new(path, message));

        if !self.requirements.is_empty() && self.requirements_file.is_some() {
            refuse("requirements", "give either `requirements` or `requirements_file`, not both");
        }
        if !self.weights.is_empty() && !self.model_cache.is_empty() {
            refuse("weights", "give either `weights` or `model_cache`, not both");
        }
        for (path, place) in [
            ("model_module_dir", Some(&self.model_module_dir)),
            ("model_class_filename", Some(&self.model_class_filename)),
            ("data_dir", Some(&self.data_dir)),
            ("bundled_packages_dir", Some(&self.bundled_packages_dir)),
            ("requirements_file", self.requirements_file.as_ref()),
        ] {
            if place.is_some_and(|place| !stays_inside(place)) {
                refuse(path, "expected a path inside the model's folder, relative and without `..`");
            }
        }
        for (index, item) in self.external_data.iter().flatten().enumerate() {
            if !stays_inside(&item.local_data_path) {
                refuse(
                    &format!("external_data[{index}].local_data_path"),
                    "expected a path inside the data folder, relative and without `..`",
                );
            }
            if !(item.url.starts_with("https://") || item.url.starts_with("http://")) {
                refuse(
                    &format!("external_data[{index}].url"),
                    "expected an address that starts with https:// or http://",
                );
            }
        }
        for (index, weights) in self.weights.iter().enumerate() {
            if !weights.mount_location.starts_with('/') || !stays_inside(&weights.mount_location[1..]) {
                refuse(&format!("weights[{index}].mount_location"), "expected an absolute path without `..`");
            }
        }
        if !is_identifier(&self.model_class_name) {
            refuse("model_class_name", "expected the name of a Python class");
        }
        for name in self.environment_variables.keys() {
            if name.is_empty() || name.contains(['=', '\0']) {
                refuse(&format!("environment_variables.{name}"), "not a name for a variable");
            }
        }
        for (name, value) in &self.environment_variables {
            if value.contains('\0') {
                refuse(&format!("environment_variables.{name}"), "a value cannot contain a NUL character");
            }
        }
        for name in self.secrets.keys() {
            let is_file_name =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if !is_file_name || name.starts_with('.') {
                refuse(&format!("secrets.{name}"), "expected a name of letters, digits, `-`, `_` and `.`");
            }
        }
        if self.resources.node_count == Some(0) {
            refuse("resources.node_count", "expected at least 1");
        }
        if self.runtime.predict_concurrency == 0 {
            refuse("runtime.predict_concurrency", "expected at least 1");
        }
        if self.runtime.streaming_read_timeout == 0 {
            refuse("runtime.streaming_read_timeout", "expected at least 1 second");
        }
        if self.runtime.transport.kind == TransportKind::Grpc && self.docker_server.is_none() {
            refuse("runtime.transport.kind", "grpc needs a `docker_server`");
        }
        for (path, seconds) in [
            ("ping_interval_seconds", self.runtime.transport.ping_interval_seconds),
            ("ping_timeout_seconds", self.runtime.transport.ping_timeout_seconds),
        ] {
            if seconds.is_some_and(|seconds| seconds <= 0.0) {
                refuse(&format!("runtime.transport.{path}"), "expected more than 0 seconds");
            }
        }
        check_health(&self.runtime.health_checks, &mut refuse);
        if let Some(server) = &self.docker_server {
            check_server(server, self.base_image.is_some(), &mut refuse);
        }
        problems.extend(self.own().err());
        problems
    }

    /// What will run, and probably not as meant.
    pub fn warnings(&self) -> Vec<Problem> {
        let mut warnings = Vec::new();
        let mut warn = |path: String, message: String| warnings.push(Problem::new(path, message));
        for key in self.extra.keys() {
            let guess =
                closest(key, &self.keys()).map(|guess| format!("; did you mean `{guess}`?")).unwrap_or_default();
            warn(key.clone(), format!("unknown key, kept and given no meaning{guess}"));
        }
        for name in self.environment_variables.keys().filter(|name| is_reserved_variable(name)) {
            warn(format!("environment_variables.{name}"), "set by the platform, this value is dropped".into());
        }
        for name in self.secrets.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name) {
            warn(
                format!("secrets.{name}"),
                "this value is not used: set the secret itself, and leave the value empty here".into(),
            );
        }
        if !self.external_package_dirs.is_empty() {
            warn("external_package_dirs".into(), "only folders that the client packed are there".into());
        }
        if !self.model_cache.is_empty() {
            warn("model_cache".into(), "deprecated, use `weights`".into());
        }
        warnings
    }

    /// The user's variables without those that the platform sets itself.
    pub fn allowed_environment_variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment_variables
            .iter()
            .filter(|(name, _)| !is_reserved_variable(name))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn keys(&self) -> Vec<String> {
        let known = TrussConfig::default().expanded();
        known.as_object().into_iter().flat_map(|keys| keys.keys().cloned()).collect()
    }
}

fn check_health(checks: &HealthChecks, refuse: &mut impl FnMut(&str, &str)) {
    for (name, threshold) in [
        ("restart_threshold_seconds", checks.restart_threshold_seconds),
        ("stop_traffic_threshold_seconds", checks.stop_traffic_threshold_seconds),
        ("startup_threshold_seconds", checks.startup_threshold_seconds),
    ] {
        if threshold.is_some_and(|seconds| !THRESHOLD_S.contains(&seconds)) {
            refuse(&format!("runtime.health_checks.{name}"), "expected 10 to 3000 seconds");
        }
    }
    let delay = checks.restart_check_delay_seconds.unwrap_or(0);
    if delay.saturating_add(checks.restart_threshold_seconds.unwrap_or(0)) > LONGEST_CHECK_S {
        refuse(
            "runtime.health_checks.restart_check_delay_seconds",
            "expected at most 3000 seconds, together with restart_threshold_seconds",
        );
    }
}

fn check_server(server: &DockerServer, has_image: bool, refuse: &mut impl FnMut(&str, &str)) {
    match server.server_port {
        PLATFORM_PORT => refuse("docker_server.server_port", "8080 is taken by the platform, choose another port"),
        0 => refuse("docker_server.server_port", "expected a port from 1 to 65535"),
        _ => {}
    }
    for (name, endpoint) in [
        ("predict_endpoint", &server.predict_endpoint),
        ("readiness_endpoint", &server.readiness_endpoint),
        ("liveness_endpoint", &server.liveness_endpoint),
    ] {
        let is_path = endpoint.starts_with('/') && endpoint.bytes().all(|b| b.is_ascii_graphic());
        if !is_path {
            refuse(&format!("docker_server.{name}"), "expected a path that starts with `/`");
        }
    }
    if server.run_as_user_id.is_some_and(|user| RESERVED_USERS.contains(&user)) {
        refuse("docker_server.run_as_user_id", "0 and 60000 are taken, choose another user");
    }
    if server.no_build == Some(true) && !has_image {
        refuse("docker_server.no_build", "needs a `base_image`");
    }
    if server.start_command.as_deref().is_none_or(|command| command.trim().is_empty()) && server.no_build != Some(true)
    {
        refuse("docker_server.start_command", "is missing");
    }
}

/// Whether a relative path, as written, cannot leave the folder it is relative to.
fn stays_inside(path: &str) -> bool {
    let is_relative = !path.is_empty() && !path.starts_with('/') && !path.contains(['\0', '\\']);
    is_relative && path.split('/').all(|part| part != "..")
}

fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|c| c.is_alphanumeric() || c == '_')
}

/// Names that the platform, or an engine below it, gives to a model's process.
pub fn is_reserved_variable(name: &str) -> bool {
    matches!(name, "PORT" | "HOST" | "HOSTNAME" | "PATH" | "CUDA_VISIBLE_DEVICES" | "CUDA_DEVICE_ORDER")
        || name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.starts_with("KUBERNETES_")
        || name.starts_with("K_")
}

/// The known key that a mistyped one most likely means: at most two letters away.
fn closest<'k>(key: &str, known: &'k [String]) -> Option<&'k str> {
    let distances = known.iter().map(|candidate| (distance(key, candidate), candidate.as_str()));
    distances.filter(|(distance, _)| *distance <= 2).min().map(|(_, candidate)| candidate)
}

/// How many letters must be added, removed or replaced to turn one word into the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
