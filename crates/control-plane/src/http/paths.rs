//! What stands in the paths.

use api::id::{ModelId, TeamId, UserId};
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

/// Somebody in a team.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfMember {
    /// The team.
    #[param(value_type = String)]
    pub team_id: TeamId,
    /// The member.
    #[param(value_type = String)]
    pub user_id: UserId,
}

/// A person.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfUser {
    /// The person.
    #[param(value_type = String)]
    pub user_id: UserId,
}

/// A service account.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfServiceAccount {
    /// The service account.
    #[param(value_type = String)]
    pub service_account_id: UserId,
}

/// A policy.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OfPolicy {
    /// The policy's name.
    pub policy_name: String,
}
