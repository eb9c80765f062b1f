//! What the client sees of models and their versions, which are deployments under an older name.

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use planner::lifecycle::Status;
use store::domain::DeploymentKind;

use super::{patches, refused, scene};
use crate::ops::{self, deployments, deployments::Target, models};

/// The installation.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct Organization {
    pub id: ID,
    pub workspace_name: Option<String>,
}

/// A person.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct User {
    pub id: ID,
    pub email: String,
}

/// A team.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct Team {
    pub id: ID,
    pub name: String,
    pub default: bool,
}

impl From<store::domain::Team> for Team {
    fn from(team: store::domain::Team) -> Self {
        Self { id: ID(team.id.to_string()), name: team.name, default: team.is_default }
    }
}

/// The team of a model: without what nobody asks of it there.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct TeamOfModel {
    pub id: ID,
    pub name: String,
}

/// A model.
pub struct Model(pub models::View);

#[Object(rename_fields = "snake_case")]
impl Model {
    async fn id(&self) -> ID {
        ID(self.0.model.id.to_string())
    }

    async fn name(&self) -> &str {
        &self.0.model.name
    }

    /// Where its endpoints are.
    async fn hostname(&self, context: &Context<'_>) -> String {
        hostname(context, &self.0.model.id)
    }

    async fn team(&self) -> TeamOfModel {
        TeamOfModel { id: ID(self.0.model.team_id.to_string()), name: self.0.team_name.clone() }
    }

    /// Its deployments, newest first.
    async fn versions(&self, context: &Context<'_>) -> Result<Vec<Version>> {
        let scene = scene(context);
        let model = &self.0.model;
        let views = deployments::list(&scene.control_plane, &scene.caller, &model.id, None).await.map_err(refused)?;
        Ok(views.into_iter().map(|view| Version { model: model.clone(), view }).collect())
    }

    /// What production serves.
    async fn primary_version(&self, context: &Context<'_>) -> Result<Option<Version>> {
        let scene = scene(context);
        let model = &self.0.model;
        let Some(id) = self.0.production.clone() else { return Ok(None) };
        let view = deployments::get(&scene.control_plane, &scene.caller, &model.id, &Target::Id(id)).await;
        Ok(Some(Version { model: model.clone(), view: view.map_err(refused)? }))
    }
}

/// A deployment.
pub struct Version {
    pub model: store::domain::Model,
    pub view: deployments::View,
}

#[Object(rename_fields = "snake_case")]
impl Version {
    async fn id(&self) -> ID {
        ID(self.view.deployment.id.to_string())
    }

    async fn name(&self) -> &str {
        &self.view.deployment.name
    }

    /// Each push is a minor version: `0.N.0` is the Nth of those that are there.
    async fn semver(&self, context: &Context<'_>) -> Result<String> {
        let scene = scene(context);
        let siblings = deployments::list(&scene.control_plane, &scene.caller, &self.model.id, None).await;
        let own = &self.view.deployment;
        let is_older = |sibling: &&deployments::View| sibling.deployment.created_at <= own.created_at;
        let number = siblings.map_err(refused)?.iter().filter(is_older).count();
        Ok(format!("0.{number}.0"))
    }

    async fn is_draft(&self) -> bool {
        self.view.deployment.kind == DeploymentKind::Development
    }

    async fn is_primary(&self) -> bool {
        self.view.is_production()
    }

    /// One hash of everything that was pushed.
    async fn truss_hash(&self, context: &Context<'_>) -> Result<String> {
        let hashes = ops::uploads::content_hashes(&scene(context).control_plane, &self.view.deployment).await;
        Ok(archive::hash_of_all(&hashes.map_err(refused)?))
    }

    /// What was pushed, for the client to find out what has changed since.
    async fn truss_signature(&self, context: &Context<'_>) -> Result<String> {
        let point = ops::patches::pushed(&scene(context).control_plane, &self.view.deployment).await;
        Ok(patches::signature(&point.map_err(refused)?))
    }

    async fn current_model_deployment_status(&self) -> DeploymentStatus {
        DeploymentStatus { status: raw(self.view.status) }
    }

    async fn oracle(&self) -> Oracle<'_> {
        Oracle(&self.model)
    }

    async fn instance_type(&self) -> InstanceType<'_> {
        InstanceType { name: &self.view.deployment.instance_type }
    }
}

/// A model, as a version knows it.
pub struct Oracle<'v>(&'v store::domain::Model);

#[Object(rename_fields = "snake_case")]
impl Oracle<'_> {
    async fn id(&self) -> ID {
        ID(self.0.id.to_string())
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn hostname(&self, context: &Context<'_>) -> String {
        hostname(context, &self.0.id)
    }
}

/// An instance type.
#[derive(SimpleObject)]
pub struct InstanceType<'v> {
    name: &'v str,
}

/// Where a deployment stands.
#[derive(SimpleObject)]
pub struct DeploymentStatus {
    status: &'static str,
}

/// The client appends paths such as `/development/predict`.
fn hostname(context: &Context<'_>, model: &api::id::ModelId) -> String {
    format!("{}/models/{model}", scene(context).base_url)
}

/// The status under its older name, which is what the client expects here.
fn raw(status: Status) -> &'static str {
    match status {
        Status::Building => "BUILDING_MODEL",
        Status::Deploying => "DEPLOYING_MODEL",
        Status::LoadingModel => "MODEL_LOADING",
        Status::Active => "MODEL_READY",
        Status::Updating => "UPDATING",
        Status::Unhealthy => "MODEL_UNHEALTHY",
        Status::ScaledToZero => "SCALED_TO_ZERO",
        Status::WakingUp => "SCALING_FROM_ZERO",
        Status::Deactivating => "DEACTIVATING_MODEL",
        Status::Inactive => "DEACTIVATED_MODEL",
        Status::BuildFailed => "BUILDING_MODEL_FAILED",
        Status::BuildStopped => "BUILDING_MODEL_STOPPED",
        Status::DeployFailed => "MODEL_DEPLOY_FAILED",
        Status::Failed => "MODEL_DNE_ERROR",
    }
}
