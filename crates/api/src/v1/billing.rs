//! Usage in money. Greenroom meters nothing: the route answers in the contract's shape that there is nothing to pay.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was used and what it costs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageSummary {
    /// Of deployments; always null.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub dedicated_usage: Option<serde_json::Value>,
    /// Of training; always null.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub training_usage: Option<serde_json::Value>,
    /// Of shared models; always null.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub model_apis_usage: Option<serde_json::Value>,
}
