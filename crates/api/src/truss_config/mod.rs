//! The Truss packaging format's `config.yaml`. The type is the expanded config: every key the reference server shows a model is a
//! field with the reference's default, and whatever else a user wrote is kept beside them in `extra`, because the format allows
//! unknown keys everywhere.

mod check;
mod own;
mod parse;
mod quantity;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::internal::replica::Protocol;

pub use self::{
    check::{Problem, is_reserved_variable},
    parse::{Error, from_value, parse_yaml},
    quantity::{Accelerator, Cpu, Memory, PythonVersion},
};

/// Keys that this version gives no meaning to, kept as they were written.
pub type Extra = Map<String, Value>;

/// A parsed config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrussConfig {
    /// The model's name, unless the push names another.
    pub model_name: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Free metadata; `example_model_input` is the suggested first request.
    #[serde(deserialize_with = "or_default")]
    pub model_metadata: Extra,
    /// Where examples are kept; unused, shown to the model.
    pub examples_filename: String,
    /// The interpreter to build with.
    pub python_version: PythonVersion,
    /// The folder of the model's code, relative to the archive.
    pub model_module_dir: String,
    /// The file in [`TrussConfig::model_module_dir`] that has the class.
    pub model_class_filename: String,
    /// The class.
    pub model_class_name: String,
    /// The folder whose content is importable by the model.
    pub bundled_packages_dir: String,
    /// The folder the model gets as `data_dir`.
    pub data_dir: String,
    /// Files to download into [`TrussConfig::data_dir`] when building.
    pub external_data: Option<Vec<ExternalDataItem>>,
    /// Folders that the client copies into the bundled packages before it packs; empty in what it sends.
    #[serde(deserialize_with = "or_default")]
    pub external_package_dirs: Vec<String>,
    /// Python requirements, one each. Exclusive with [`TrussConfig::requirements_file`].
    #[serde(deserialize_with = "or_default")]
    pub requirements: Vec<String>,
    /// A pip file, `pyproject.toml` or `uv.lock` in the archive.
    pub requirements_file: Option<String>,
    /// Packages of the operating system.
    #[serde(deserialize_with = "or_default")]
    pub system_packages: Vec<String>,
    /// Shell commands, run in order at the end of the build.
    #[serde(deserialize_with = "or_default")]
    pub build_commands: Vec<String>,
    /// The container image to build on.
    pub base_image: Option<BaseImage>,
    /// Variables of the model's process. Booleans and whole numbers become text: `true`, `3`.
    #[serde(deserialize_with = "parse::variables")]
    pub environment_variables: BTreeMap<String, String>,
    /// Names of the secrets the model may read. A value here is a stand-in for local use, never the secret.
    #[serde(deserialize_with = "or_default")]
    pub secrets: BTreeMap<String, Option<String>>,
    /// What one replica needs.
    #[serde(deserialize_with = "or_default")]
    pub resources: Resources,
    /// How the model is served.
    #[serde(deserialize_with = "or_default")]
    pub runtime: Runtime,
    /// How it is built.
    #[serde(deserialize_with = "or_default")]
    pub build: Build,
    /// A server of the user's own instead of a model class.
    pub docker_server: Option<DockerServer>,
    /// Model repositories to fetch ahead, in the older way. Exclusive with [`TrussConfig::weights`].
    #[serde(deserialize_with = "or_default")]
    pub model_cache: Vec<Value>,
    /// Weights to fetch ahead and mount.
    #[serde(deserialize_with = "or_default")]
    pub weights: Vec<WeightsSource>,
    /// Settings of the reference platform's data network; unused, shown to the model.
    pub bdn: Value,
    /// An engine configuration of the reference platform; unused, shown to the model.
    pub trt_llm: Option<Value>,
    /// Checkpoints of training jobs; unused, shown to the model.
    pub training_checkpoints: Option<Value>,
    /// An engine configuration of the reference platform; unused, shown to the model.
    pub bis_llm: Option<Value>,
    /// Unused, shown to the model.
    pub input_type: String,
    /// Unused, shown to the model.
    pub model_framework: String,
    /// Unused, shown to the model.
    pub model_type: String,
    /// Unused, shown to the model.
    pub use_local_src: bool,
    /// Unused, shown to the model.
    #[serde(deserialize_with = "or_default")]
    pub cache_internal: Vec<Value>,
    /// Set by the platform for development deployments.
    pub live_reload: bool,
    /// Unused, shown to the model.
    pub apply_library_patches: bool,
    /// The version of this format.
    pub spec_version: String,
    /// All other keys.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Default for TrussConfig {
    fn default() -> Self {
        Self {
            model_name: None,
            description: None,
            model_metadata: Extra::new(),
            examples_filename: "examples.yaml".into(),
            python_version: PythonVersion::default(),
            model_module_dir: "model".into(),
            model_class_filename: "model.py".into(),
            model_class_name: "Model".into(),
            bundled_packages_dir: "packages".into(),
            data_dir: "data".into(),
            external_data: None,
            external_package_dirs: Vec::new(),
            requirements: Vec::new(),
            requirements_file: None,
            system_packages: Vec::new(),
            build_commands: Vec::new(),
            base_image: None,
            environment_variables: BTreeMap::new(),
            secrets: BTreeMap::new(),
            resources: Resources::default(),
            runtime: Runtime::default(),
            build: Build::default(),
            docker_server: None,
            model_cache: Vec::new(),
            weights: Vec::new(),
            bdn: serde_json::json!({"mounts": [], "access": [], "hotload": {"enabled": false}}),
            trt_llm: None,
            training_checkpoints: None,
            bis_llm: None,
            input_type: "Any".into(),
            model_framework: "custom".into(),
            model_type: "Model".into(),
            use_local_src: false,
            cache_internal: Vec::new(),
            live_reload: false,
            apply_library_patches: true,
            spec_version: "2.0".into(),
            extra: Extra::new(),
        }
    }
}

impl TrussConfig {
    /// The config as the model sees it: every key present, the user's values and unknown keys preserved.
    pub fn expanded(&self) -> Value {
        serde_json::to_value(self).expect("a config is made of JSON values and text")
    }

    /// What its replicas speak.
    pub fn protocol(&self) -> Protocol {
        match self.runtime.transport.kind {
            TransportKind::Grpc => Protocol::Grpc,
            TransportKind::Http | TransportKind::Websocket => Protocol::Http,
        }
    }

    /// The suggested first request, where the author gave one.
    pub fn example_input(&self) -> Option<&Value> {
        self.model_metadata.get("example_model_input")
    }
}

/// A file to download when building.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExternalDataItem {
    /// Where it is.
    pub url: String,
    /// Where it goes, relative to the data folder.
    pub local_data_path: String,
    /// How it is fetched.
    #[serde(default = "http_public")]
    pub backend: String,
    /// A name for people.
    #[serde(default)]
    pub name: Option<String>,
    /// All other keys.
    #[serde(flatten)]
    pub extra: Extra,
}

fn http_public() -> String {
    "http_public".into()
}

/// The container image to build on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BaseImage {
    /// Its reference.
    pub image: String,
    /// The interpreter inside it; empty means the image's default.
    pub python_executable_path: String,
    /// How to get at it.
    pub docker_auth: Option<Value>,
    /// All other keys.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What one replica needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Processor time.
    pub cpu: Cpu,
    /// Main memory.
    pub memory: Memory,
    /// Accelerators, none for a CPU model.
    #[serde(deserialize_with = "quantity::optional_accelerator")]
    pub accelerator: Option<Accelerator>,
    /// Set by clients from [`Resources::accelerator`]; unused.
    #[serde(deserialize_with = "or_default")]
    pub use_gpu: bool,
    /// An instance type by name; the fields above do not count then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// Machines for one replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_count: Option<u32>,
    /// All other keys.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How the model is served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Runtime {
    /// Requests inside `predict` at one time.
    pub predict_concurrency: u32,
    /// The longest gap between two chunks of a stream, in seconds.
    pub streaming_read_timeout: u32,
    /// Unused, shown to the model.
    pub enable_tracing_data: bool,
    /// Whether the model's log shows debug lines.
    pub enable_debug_logs: bool,
    /// What clients speak.
    #[serde(deserialize_with = "or_default")]
    pub transport: Transport,
    /// The older way to ask for the websocket transport; always agrees with [`Runtime::transport`] after parsing.
    #[serde(deserialize_with = "or_default")]
    pub is_websocket_endpoint: bool,
    /// When to stop traffic and when to restart.
    #[serde(deserialize_with = "or_default")]
    pub health_checks: HealthChecks,
    /// Unused, shown to the model.
    pub oidc: Value,
    /// Unused, shown to the model.
    pub remote_ssh: Value,
    /// Unused, shown to the model.
    pub egress_restrictions: Option<Value>,
    /// Unused, shown to the model.
    pub truss_server_version_override: Option<String>,
    /// All other keys.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            predict_concurrency: 1,
            streaming_read_timeout: 60,
            enable_tracing_data: false,
            enable_debug_logs: false,
            transport: Transport::default(),
            is_websocket_endpoint: false,
            health_checks: HealthChecks::default(),
            oidc: serde_json::json!({"enabled": null}),
            remote_ssh: serde_json::json!({"enabled": false}),
            egress_restrictions: None,
            truss_server_version_override: None,
            extra: Extra::new(),
        }
    }
}

/// What clients speak with the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Transport {
    /// The protocol.
    pub kind: TransportKind,
    /// Seconds between two pings of a websocket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping_interval_seconds: Option<f64>,
    /// Seconds after which a missing pong ends a websocket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping_timeout_seconds: Option<f64>,
    /// All other keys.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransportKind {
    /// Requests and answers, streams included.
    #[default]
    Http,
    /// `Model.websocket`.
    Websocket,
    /// Only with a server of the user's own.
    Grpc,
}

/// When to stop traffic and when to restart, in seconds; none means the platform's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthChecks {
    /// Older: how long to wait before the first check.
    pub restart_check_delay_seconds: Option<u32>,
    /// Unhealthy for so long: restart.
    pub restart_threshold_seconds: Option<u32>,
    /// Unhealthy for so long: no more traffic.
    pub stop_traffic_threshold_seconds: Option<u32>,
    /// Not started for so long: give up.
    pub startup_threshold_seconds: Option<u32>,
    /// All other keys.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How a model is built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Build {
    /// The server that loads the model.
    pub model_server: String,
    /// Unused, shown to the model.
    #[serde(deserialize_with = "or_default")]
    pub arguments: Extra,
    /// Unused, shown to the model.
    #[serde(deserialize_with = "or_default")]
    pub secret_to_path_mapping: BTreeMap<String, String>,
    /// Build anew even if an equal build is there.
    pub no_cache: bool,
    /// All other keys.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            model_server: "TrussServer".into(),
            arguments: Extra::new(),
            secret_to_path_mapping: BTreeMap::new(),
            no_cache: false,
            extra: Extra::new(),
        }
    }
}

/// A server of the user's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DockerServer {
    /// The command that starts it; none means the image's own.
    #[serde(default)]
    pub start_command: Option<String>,
    /// Where it listens. 8080 is taken by the platform.
    pub server_port: u16,
    /// The path that `predict` goes to.
    pub predict_endpoint: String,
    /// The path that answers 200 when the server can take requests.
    pub readiness_endpoint: String,
    /// The path that answers 200 while the server is alive.
    pub liveness_endpoint: String,
    /// The user it runs as.
    #[serde(default)]
    pub run_as_user_id: Option<u32>,
    /// Run the image untouched.
    #[serde(default)]
    pub no_build: Option<bool>,
    /// All other keys.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Weights to fetch ahead and mount.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightsSource {
    /// Where they are: `hf://`, `s3://`, `https://`, ….
    pub source: String,
    /// The absolute path at which the model finds them.
    pub mount_location: String,
    /// Credentials.
    #[serde(default)]
    pub auth: Option<Value>,
    /// The name of a secret with credentials.
    #[serde(default)]
    pub auth_secret_name: Option<String>,
    /// Only files that match one of these.
    #[serde(default)]
    pub allow_patterns: Option<Vec<String>>,
    /// No files that match one of these.
    #[serde(default)]
    pub ignore_patterns: Option<Vec<String>>,
    /// All other keys.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A key that was written without a value means its default.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
