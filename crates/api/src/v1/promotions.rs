//! Promoting a deployment into an environment: asking for it, steering it while it is under way, looking at it, undoing it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    deployments::{Deployment, DeploymentStatus},
    promotion::{InProgressPromotionStatus, PromotionCleanupStrategy, UpdatePromotionSettings},
    yes,
};

/// A request to promote a deployment to production.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromoteRequest {
    /// Whether the environment's cleanup strategy applies to the previous deployment; if not, it keeps running.
    #[serde(default = "yes")]
    pub scale_down_previous_production: bool,
    /// Whether the environment keeps its instance type; if not, it takes the deployment's.
    #[serde(default = "yes")]
    pub preserve_env_instance_type: bool,
    /// How this promotion goes, where that differs from the environment's promotion settings, which stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion_settings_override: Option<UpdatePromotionSettings>,
    /// Not offered here: change the environment's settings by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub environment_settings_update: Option<Map<String, Value>>,
}

impl Default for PromoteRequest {
    fn default() -> Self {
        Self {
            scale_down_previous_production: true,
            preserve_env_instance_type: true,
            promotion_settings_override: None,
            environment_settings_update: None,
        }
    }
}

/// A request to promote a deployment to an environment, or to say what that would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromoteToEnvironmentRequest {
    /// The deployment.
    pub deployment_id: String,
    /// Whether the environment's cleanup strategy applies to the previous deployment; if not, it keeps running.
    #[serde(default = "yes")]
    pub scale_down_previous_deployment: bool,
    /// Whether the environment keeps its instance type; if not, it takes the deployment's.
    #[serde(default = "yes")]
    pub preserve_env_instance_type: bool,
    /// How this promotion goes, where that differs from the environment's promotion settings, which stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion_settings_override: Option<UpdatePromotionSettings>,
    /// Not offered here: change the environment's settings by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub environment_settings_update: Option<Map<String, Value>>,
}

/// A request to promote what an environment served before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RollbackRequest {
    /// Whether traffic moves at once when the deployment is ready; if not, as the environment's promotion settings say.
    pub immediate: bool,
}

impl Default for RollbackRequest {
    fn default() -> Self {
        Self { immediate: true }
    }
}

/// The answer to a cancellation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelPromotionResponse {
    /// Whether it is over, or traffic still moves back.
    pub status: CancelPromotionStatus,
    /// The same in a sentence.
    pub message: String,
}

/// How far a cancellation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CancelPromotionStatus {
    /// All traffic is with the previous deployment, or about to be.
    Canceled,
    /// Traffic and replicas walk back step by step.
    RampingDown,
}

/// The answer to a signal to a promotion. It was sent; looking at the environment tells when it has taken effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignalPromotionResponse {
    /// Always true.
    pub success: bool,
}

/// A promotion, under way or over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Promotion {
    /// Unique identifier.
    pub id: String,
    /// The environment, by name.
    pub environment: String,
    /// Where it stands.
    pub status: InProgressPromotionStatus,
    /// How traffic moves.
    pub mode: PromotionMode,
    /// Whether the previous deployment ends before the candidate starts, because both do not fit beside each other.
    pub in_place: bool,
    /// What it comes from.
    pub origin: PromotionOrigin,
    /// The public part of the key that asked for it; absent when it follows from a push.
    #[serde(default)]
    pub requested_by: Option<String>,
    /// The candidate's share of the environment's traffic, in percent.
    pub percent_traffic_to_new_version: u8,
    /// The deployment being promoted.
    pub candidate: PromotionSide,
    /// What the environment served when it began.
    #[serde(default)]
    pub previous: Option<PromotionSide>,
    /// What becomes of the previous deployment when it succeeds.
    pub cleanup_strategy: PromotionCleanupStrategy,
    /// Why it stands where it does, in a sentence.
    pub why: String,
    /// What has been asked of it and not been taken up yet.
    #[serde(default)]
    pub pending_action: Option<PromotionAction>,
    /// Why it failed or was canceled, if it did.
    #[serde(default)]
    pub error_message: Option<String>,
    /// When it began, RFC 3339.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// When it ended, RFC 3339.
    #[serde(default)]
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
    /// When it fails unless it has ended before, RFC 3339. Time spent paused does not count.
    #[serde(default)]
    #[schema(format = DateTime)]
    pub deadline_at: Option<String>,
    /// What it changes, as it was when it was asked for; null when it follows from a push.
    #[serde(default)]
    pub difference: Option<PromotionDifference>,
}

/// What a promotion changes about what an environment serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromotionDifference {
    /// What will be served, or what the copy that will be served is made from.
    pub deployment_id: String,
    /// What it was compared with: what was served; null when that was nothing.
    #[serde(default)]
    pub compared_with_deployment_id: Option<String>,
    /// What changes.
    pub changes: Vec<PromotionChange>,
    /// How many changes more there are than these.
    pub left_out: u32,
}

/// One thing that a promotion changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromotionChange {
    /// Of which part.
    pub part: PromotionChangePart,
    /// Which: a path with dots, or a name.
    pub field: String,
    /// What becomes of it.
    pub kind: PromotionChangeKind,
    /// What it was, in JSON, cut where it is long. Null where it was not there, and for values of environment variables and secrets.
    #[serde(default)]
    pub old: Option<String>,
    /// What it will be, likewise.
    #[serde(default)]
    pub new: Option<String>,
}

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PromotionChangePart {
    /// What was built: code and dependencies.
    Artifact,
    /// The config.
    Config,
    /// Names of environment variables and secrets.
    EnvironmentVariables,
    /// How it scales.
    Scaling,
    /// The instance type.
    InstanceType,
    /// Where it may run.
    Placement,
}

/// What becomes of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PromotionChangeKind {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// It is another.
    Changed,
}

/// A request to release what one environment serves to another, or to say what that would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// The environment that serves it, and goes on doing so.
    pub from: String,
    /// The environment that is to serve a copy of it.
    pub to: String,
    /// Whether the policies of the deployment are copied too, in the place of those of the deployment that it replaces.
    #[serde(default)]
    pub copy_policies: bool,
    /// Whether the environment's cleanup strategy applies to the previous deployment; if not, it keeps running.
    #[serde(default = "yes")]
    pub scale_down_previous_deployment: bool,
    /// Whether the environment keeps its instance type; if not, it takes the deployment's.
    #[serde(default = "yes")]
    pub preserve_env_instance_type: bool,
    /// How this promotion goes, where that differs from the environment's promotion settings, which stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion_settings_override: Option<UpdatePromotionSettings>,
}

/// The answer to a release that has begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseResponse {
    /// The copy that goes to the environment.
    pub deployment: Deployment,
    /// What it changes there.
    pub difference: PromotionDifference,
}

/// One side of a promotion, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromotionSide {
    /// The deployment.
    pub deployment_id: String,
    /// Its name; null when it has been deleted.
    #[serde(default)]
    pub deployment_name: Option<String>,
    /// Where it stands; null when it has been deleted.
    #[serde(default)]
    pub deployment_status: Option<DeploymentStatus>,
    /// Replicas that are ready.
    pub ready_replicas: u32,
    /// Replicas that should run.
    pub wanted_replicas: u32,
}

/// How the traffic of a promotion moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PromotionMode {
    /// All at once, when the candidate can carry it.
    Immediate,
    /// In ten even stages.
    Canary,
    /// Replica by replica.
    Rolling,
}

/// What a promotion comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PromotionOrigin {
    /// A push that named the environment, or the model's first.
    Push,
    /// A request to promote.
    Request,
    /// A request to roll back.
    Rollback,
}

/// What can be asked of a promotion that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PromotionAction {
    /// Hold the share where it is.
    Pause,
    /// Go on.
    Resume,
    /// Give the traffic back, step by step where it moved so.
    GracefulCancel,
    /// Give the traffic back at once.
    ForceCancel,
    /// Give the candidate all traffic.
    ForceRollForward,
}

/// The promotions of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Promotions {
    /// The promotions, newest first.
    pub promotions: Vec<Promotion>,
}

/// Query of an environment's promotions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PromotionsQuery {
    /// The longest list wanted; 20 if absent.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// What a promotion would do if it were asked for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromotionPlan {
    /// The environment, by name.
    pub environment: String,
    /// Why it would be refused; null when it would be accepted.
    #[serde(default)]
    pub refused: Option<String>,
    /// The deployment that was asked about.
    pub deployment_id: String,
    /// Its name.
    pub deployment_name: String,
    /// Why a copy of the deployment would be promoted and not the deployment itself; empty when it would be itself.
    pub copy_reasons: Vec<String>,
    /// The name that the copy would have.
    #[serde(default)]
    pub copy_name: Option<String>,
    /// What the environment serves now.
    #[serde(default)]
    pub previous_deployment_id: Option<String>,
    /// The instance type that the candidate would have.
    pub instance_type_name: String,
    /// How traffic would move.
    pub mode: PromotionMode,
    /// Why the previous deployment would end before the candidate starts; null when both fit beside each other.
    #[serde(default)]
    pub in_place_reason: Option<String>,
    /// What would become of the previous deployment.
    pub cleanup_strategy: PromotionCleanupStrategy,
    /// The steps, counted from when the candidate's first replica is ready, if every replica becomes ready at once.
    pub steps: Vec<PromotionPlanStep>,
    /// How long replicas may take to become ready without progress before it fails, in seconds.
    pub deploy_timeout_seconds: u64,
    /// What would change about what the environment serves.
    pub difference: PromotionDifference,
}

/// A step of a promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromotionPlanStep {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// The candidate's share of the traffic from then on, in percent.
    pub percent_traffic_to_new_version: u8,
    /// Replicas of the candidate.
    pub candidate_replicas: u32,
    /// Replicas of the previous deployment.
    pub previous_replicas: u32,
}
