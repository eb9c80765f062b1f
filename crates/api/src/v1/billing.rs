//! Usage in money: what deployments have used, by day. There is no training and there are no shared models to pay for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What there is to pay for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ResourceKind {
    /// A deployment.
    ModelDeployment,
}

/// A deployment in an environment. It may be gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BillableResource {
    /// The deployment.
    pub id: String,
    /// Always a deployment.
    pub kind: ResourceKind,
    /// The deployment's name.
    pub name: Option<String>,
    /// Its model.
    pub model_id: Option<String>,
    /// The model's name.
    pub model_name: Option<String>,
    /// Whether the deployment is gone.
    pub is_deleted: bool,
    /// What its replicas ran on.
    pub instance_type: Option<String>,
    /// The environment that it was in; null when it was in none.
    pub environment_name: Option<String>,
    /// Whose it is.
    pub team_id: Option<String>,
}

/// What one resource has used on one day, in UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DailyDedicatedUsage {
    /// The day, as `YYYY-MM-DD`.
    pub date: String,
    /// Its cost, in US dollars.
    pub subtotal: f64,
    /// The part of it that replicas cost: all.
    pub compute_cost: f64,
    /// The part of it that is a surcharge: none.
    pub surcharge_cost: f64,
    /// Replica-minutes; a part of a minute counts as one.
    pub minutes: u64,
    /// Requests that were answered.
    pub inference_requests: u64,
    /// Greenroom's own: tokens of input that these took, as far as their answers tell.
    #[serde(default)]
    pub input_tokens: u64,
    /// Greenroom's own: tokens of output.
    #[serde(default)]
    pub output_tokens: u64,
}

/// What one resource has used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DedicatedItem {
    /// Which.
    pub billable_resource: BillableResource,
    /// Its cost, in US dollars.
    pub subtotal: f64,
    /// The part of it that replicas cost: all.
    pub compute_cost: f64,
    /// The part of it that is a surcharge: none.
    pub surcharge_cost: f64,
    /// Replica-minutes.
    pub minutes: u64,
    /// Requests that were answered.
    pub inference_requests: u64,
    /// Greenroom's own: tokens of input that these took, as far as their answers tell.
    #[serde(default)]
    pub input_tokens: u64,
    /// Greenroom's own: tokens of output.
    #[serde(default)]
    pub output_tokens: u64,
    /// Day by day; days without use are left out.
    pub daily: Vec<DailyDedicatedUsage>,
}

/// What deployments have used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DedicatedUsage {
    /// The cost, in US dollars.
    pub subtotal: f64,
    /// Credits: none.
    pub credits_used: f64,
    /// The cost, in US dollars.
    pub total: f64,
    /// Replica-minutes.
    pub minutes: u64,
    /// By deployment and environment.
    pub breakdown: Vec<DedicatedItem>,
}

/// What was used and what it costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageSummary {
    /// Of deployments.
    pub dedicated_usage: Option<DedicatedUsage>,
    /// Of training; always null.
    #[schema(value_type = Option<Object>)]
    pub training_usage: Option<serde_json::Value>,
    /// Of shared models; always null.
    #[schema(value_type = Option<Object>)]
    pub model_apis_usage: Option<serde_json::Value>,
}

/// Which days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsageSummaryQuery {
    /// The first one: ISO 8601, in UTC where it has no time zone. Days count whole.
    pub start_date: String,
    /// Days that begin before this count. At most 31 days after the start.
    pub end_date: String,
    /// Greenroom's own: how the answer is written; JSON if absent.
    #[serde(default)]
    pub format: UsageFormat,
}

/// How usage is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageFormat {
    /// As the contract has it.
    #[default]
    Json,
    /// Comma-separated values, a line for every day of every deployment.
    Csv,
}
