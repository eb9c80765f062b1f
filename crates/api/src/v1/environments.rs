//! Environments: stable endpoints with settings.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    autoscaling::{AutoscalingSettings, UpdateAutoscalingSettings, UpdateAutoscalingSettingsStatus},
    backpressure::{RequestBackpressureSettings, UpdateRequestBackpressureSettings},
    deployments::Deployment,
    instance_types::InstanceType,
    promotion::{InProgressPromotion, PromotionSettings, UpdatePromotionSettings},
};

/// A stable endpoint of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Environment {
    /// Unique within the model.
    pub name: String,
    /// When it was created, RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Its model.
    pub model_id: String,
    /// What it serves.
    pub current_deployment: Option<Deployment>,
    /// What is being promoted into it.
    #[serde(default)]
    pub candidate_deployment: Option<Deployment>,
    /// How far that promotion is.
    #[serde(default)]
    pub in_progress_promotion: Option<InProgressPromotion>,
    /// How what it serves scales.
    pub autoscaling_settings: AutoscalingSettings,
    /// How promotions into it go.
    pub promotion_settings: PromotionSettings,
    /// The instance type of what it serves.
    pub instance_type: InstanceType,
    /// What happens to requests when every replica is busy.
    #[serde(default)]
    pub request_backpressure_settings: RequestBackpressureSettings,
}

/// A list of environments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Environments {
    /// The environments, `production` first.
    pub environments: Vec<Environment>,
}

/// What remains of a deleted environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentTombstone {
    /// Its name.
    pub name: String,
    /// Its model.
    pub model_id: String,
    /// Always true.
    pub deleted: bool,
}

/// A request to create an environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreateEnvironmentRequest {
    /// Its name.
    pub name: String,
    /// How what it serves scales; absent fields take their defaults.
    #[serde(default)]
    pub autoscaling_settings: Option<UpdateAutoscalingSettings>,
    /// How promotions into it go; absent fields take their defaults.
    #[serde(default)]
    pub promotion_settings: Option<UpdatePromotionSettings>,
    /// What happens to requests when every replica is busy.
    #[serde(default)]
    pub request_backpressure_settings: Option<UpdateRequestBackpressureSettings>,
}

/// A change of an environment's settings. Absent and null parts stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateEnvironmentRequest {
    /// How what it serves scales.
    pub autoscaling_settings: Option<UpdateAutoscalingSettings>,
    /// How promotions into it go.
    pub promotion_settings: Option<UpdatePromotionSettings>,
    /// What happens to requests when every replica is busy.
    pub request_backpressure_settings: Option<UpdateRequestBackpressureSettings>,
    /// Other settings at certain times, which this server does not offer: only null is taken.
    pub autoscaling_schedule_settings: Option<serde_json::Value>,
}

/// The answer to a change of an environment's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UpdateEnvironmentResponse {
    /// The environment after the change.
    pub environment: Environment,
    /// What became of the change.
    pub status: UpdateAutoscalingSettingsStatus,
    /// The same in a sentence.
    pub message: String,
}
