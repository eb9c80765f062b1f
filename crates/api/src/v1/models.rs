//! Models, and the push that makes one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::deployments::{Deployment, DeploymentArchivePayload, SourceKind};

/// A model: a name with deployments and environments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Model {
    /// Unique identifier; part of the model's host name.
    pub id: String,
    /// When it was created, RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Unique within its team, never changes.
    pub name: String,
    /// How many deployments it has.
    pub deployments_count: u64,
    /// The deployment that production serves.
    pub production_deployment_id: Option<String>,
    /// The development deployment.
    pub development_deployment_id: Option<String>,
    /// The instance type of the production deployment.
    pub instance_type_name: String,
    /// The team it belongs to.
    pub team_name: String,
}

/// A list of models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Models {
    /// The models, newest first.
    pub models: Vec<Model>,
}

/// A change of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateModelRequest {
    /// Another name, unique within the team. Identifiers and endpoints stay; a push by the old name makes another model.
    #[serde(default)]
    pub name: Option<String>,
}

/// What remains of a deleted model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelTombstone {
    /// Its identifier.
    pub id: String,
    /// Always true.
    pub deleted: bool,
}

/// A request to create a model with its first deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreateModelRequest {
    /// Where the model comes from.
    pub source: ModelArchiveSource,
}

/// A new model from an uploaded archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelArchiveSource {
    /// The kind of source; may be absent.
    #[serde(default)]
    pub kind: SourceKind,
    /// Name of the new model.
    pub name: String,
    /// The model's first deployment.
    pub deployment: DeploymentArchivePayload,
    /// Key of the uploaded archive, as `POST /v1/prepare_model_upload` gave it.
    #[serde(default)]
    pub s3_key: Option<String>,
    /// Whether the archive can never be downloaded. Fixed when the model is created.
    #[serde(default)]
    pub disable_archive_download: bool,
}

/// A model and the deployment that a push has just created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreatedModelDeployment {
    /// The model.
    pub model: Model,
    /// The new deployment.
    pub deployment: Deployment,
}

/// Query of a list of models or deployments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ByName {
    /// Only the one with exactly this name.
    #[serde(default)]
    pub name: Option<String>,
}
