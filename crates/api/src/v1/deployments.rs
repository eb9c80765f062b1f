//! Deployments: one push of a model each.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    autoscaling::{AutoscalingSettings, UpdateAutoscalingSettings},
    backpressure::{RequestBackpressureSettings, UpdateRequestBackpressureSettings},
    regions::Region,
    yes,
};

/// One push of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Deployment {
    /// Unique identifier.
    pub id: String,
    /// When it was pushed, RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Unique within the model.
    pub name: String,
    /// Its model.
    pub model_id: String,
    /// Whether production serves it.
    pub is_production: bool,
    /// Whether it is the model's development deployment.
    pub is_development: bool,
    /// Where it stands.
    pub status: DeploymentStatus,
    /// Replicas that are ready.
    pub active_replica_count: u32,
    /// How it scales. Null until it has been active once.
    pub autoscaling_settings: Option<AutoscalingSettings>,
    /// The instance type of its replicas.
    pub instance_type_name: Option<String>,
    /// The environment it is in, by name.
    pub environment: Option<String>,
    /// Labels that the push gave it.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub labels: Option<Map<String, Value>>,
    /// The region it is restricted to.
    #[serde(default)]
    pub region: Option<Region>,
    /// What happens to requests when every replica is busy.
    #[serde(default)]
    pub request_backpressure_settings: RequestBackpressureSettings,
    /// Greenroom's own: one sentence on why it is in this status, and what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// Greenroom's own: why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<FailureReason>,
}

/// Why a build or a start failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureReason {
    /// One sentence that names the thing and the cause.
    pub message: String,
    /// What to do about it.
    #[serde(default)]
    pub hint: Option<String>,
    /// A traceback, or the last lines of output.
    #[serde(default)]
    pub detail: Option<String>,
}

/// Where a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeploymentStatus {
    /// The build runs or waits.
    Building,
    /// Built; the first replicas are being started.
    Deploying,
    /// It was never ready within its deploy timeout, or failed while starting.
    DeployFailed,
    /// A replica runs `load()`.
    LoadingModel,
    /// At least one replica is ready.
    Active,
    /// It was active; no replica is ready now although some should be.
    Unhealthy,
    /// The build failed.
    BuildFailed,
    /// The build was stopped by a person.
    BuildStopped,
    /// It is being deactivated; replicas still finish their requests.
    Deactivating,
    /// It rests until it is activated.
    Inactive,
    /// It ended for a reason of the platform's.
    Failed,
    /// The platform moves it.
    Updating,
    /// No replica runs, for want of traffic.
    ScaledToZero,
    /// The first replica after zero is being started.
    WakingUp,
}

/// A list of deployments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Deployments {
    /// The deployments, newest first.
    pub deployments: Vec<Deployment>,
}

/// What remains of a deleted deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentTombstone {
    /// Its identifier.
    pub id: String,
    /// Always true.
    pub deleted: bool,
    /// The model it belonged to.
    pub model_id: String,
}

/// The kind of a source. Only archives can be pushed here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// An uploaded archive.
    #[default]
    ModelArchive,
}

/// A request to add a deployment to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreateModelDeploymentRequest {
    /// Where the deployment comes from.
    pub source: DeploymentArchiveSource,
}

/// A new deployment from an uploaded archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentArchiveSource {
    /// The kind of source; may be absent.
    #[serde(default)]
    pub kind: SourceKind,
    /// The deployment.
    pub deployment: DeploymentArchivePayload,
    /// Key of the uploaded archive, as `POST /v1/prepare_model_upload` gave it.
    #[serde(default)]
    pub s3_key: Option<String>,
}

/// What a push says of the deployment it makes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentArchivePayload {
    /// The parsed `config.yaml`.
    #[schema(value_type = Object)]
    pub config: Map<String, Value>,
    /// `config.yaml` verbatim, up to 100 KiB. One that does not parse, or is longer, is dropped.
    #[serde(default)]
    pub raw_config: Option<String>,
    /// What the client says of itself.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub user_env: Option<Map<String, Value>>,
    /// The environment to go to when it is ready.
    #[serde(default)]
    pub environment_name: Option<String>,
    /// Create the environment if the model does not have it. Absent means no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_environment_if_missing: Option<bool>,
    /// Keep the environment's instance type instead of the one in the config.
    #[serde(default = "yes")]
    pub preserve_env_instance_type: bool,
    /// How long a start may take, in minutes.
    #[serde(default)]
    #[schema(minimum = 10, maximum = 1440)]
    pub deploy_timeout_minutes: Option<u32>,
    /// A name for people.
    #[serde(default)]
    pub deployment_name: Option<String>,
    /// Labels to keep with it.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub labels: Option<Map<String, Value>>,
    /// Whether to overwrite the model's development deployment instead of adding a published one.
    #[serde(default)]
    pub is_development: bool,
    /// How it scales; absent fields take the environment's values, or the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling_settings: Option<UpdateAutoscalingSettings>,
    /// What happens to requests when every replica is busy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_backpressure_settings: Option<UpdateRequestBackpressureSettings>,
    /// The instance type, instead of the one that fits the config's resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_type_id: Option<String>,
}

/// A request to change a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateDeploymentRequest {
    /// A new name: letters, digits, `-`, `_` and `.`.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 255)]
    pub name: Option<String>,
}

/// The answer to an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActivateResponse {
    /// Whether it was accepted.
    #[serde(default = "yes")]
    pub success: bool,
}

/// The answer to a deactivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeactivateResponse {
    /// Whether it was accepted.
    #[serde(default = "yes")]
    pub success: bool,
}

/// The answer to the termination of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TerminateReplicaResponse {
    /// Whether it was accepted.
    #[serde(default = "yes")]
    pub success: bool,
}

/// The answer to a retry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RetryDeploymentResponse {
    /// Whether the failed part runs again.
    pub retried: bool,
    /// Why not, if it does not.
    #[serde(default)]
    pub reason: Option<String>,
    /// The deployment as it is now.
    pub deployment: Deployment,
}

/// Which forms of a config to answer with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentConfigOutputFormat {
    /// The text.
    Raw,
    /// The parsed object.
    Parsed,
    /// Both.
    #[default]
    Both,
}

/// Query of a deployment's config.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeploymentConfigQuery {
    /// Which forms to answer with.
    #[serde(default)]
    pub output_format: DeploymentConfigOutputFormat,
}

/// A deployment's config.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentConfigResponse {
    /// The parsed object.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub config: Option<Map<String, Value>>,
    /// `config.yaml` verbatim, where it was kept.
    #[serde(default)]
    pub raw_config: Option<String>,
}

/// Where a deployment's archive can be downloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DownloadDeploymentResponse {
    /// An address that works without a key, for a while.
    pub download_url: String,
}
