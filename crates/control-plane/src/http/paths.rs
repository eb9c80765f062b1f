//! What stands in the paths.

use api::id::{ModelId, TeamId};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::ops::deployments::Target;

/// A model.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfModel {
    /// The model.
    #[param(value_type = String)]
    pub model_id: ModelId,
}

/// A deployment of a model.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfDeployment {
    /// The model.
    #[param(value_type = String)]
    pub model_id: ModelId,
    /// The deployment: its id, or `production` or `development`.
    #[param(value_type = String)]
    pub deployment_id: Target,
}

/// A replica of a deployment.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfReplica {
    /// The model.
    #[param(value_type = String)]
    pub model_id: ModelId,
    /// The deployment: its id, or `production` or `development`.
    #[param(value_type = String)]
    pub deployment_id: Target,
    /// The replica.
    pub replica_id: String,
}

/// An environment of a model.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfEnvironment {
    /// The model.
    #[param(value_type = String)]
    pub model_id: ModelId,
    /// The environment's name.
    pub env_name: String,
}

/// A team.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfTeam {
    /// The team.
    #[param(value_type = String)]
    pub team_id: TeamId,
}

/// A policy.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfPolicy {
    /// The policy's name.
    pub policy_name: String,
}
