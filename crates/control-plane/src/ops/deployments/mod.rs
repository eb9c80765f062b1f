//! Deployments: found and shown. What their owners may do to them is in the files below: `change`, `run` and `settings`.

mod change;
mod run;
mod settings;

use std::collections::HashMap;

use api::id::{DeploymentId, ModelId};
use planner::lifecycle::Status;
use serde::Deserialize;
use serde_json::Value;
use store::domain::{AuditEvent, Deployment, DeploymentKind, Environment, Model, PRODUCTION, Replica, ScalingDecision};

pub use self::{
    change::{delete, rename},
    run::{activate, deactivate, replicas, retry, terminate_replica},
    settings::{SettingsChange, update_autoscaling, update_backpressure},
};
pub(super) use self::{run::activation, settings::autoscaling_event};
use super::{Caller, ControlPlane, Error, audit, environment_groups, models, observed};

/// Which deployment of a model: the part of a path where an id stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Target {
    /// The one with this id.
    Id(DeploymentId),
    /// The one that production serves.
    Production,
    /// The development deployment.
    Development,
    /// A text that cannot be an id, so there is no such deployment.
    Impossible(String),
}

impl From<String> for Target {
    fn from(text: String) -> Self {
        match text.as_str() {
            "production" => Self::Production,
            "development" => Self::Development,
            id => id.parse().map_or_else(|_| Self::Impossible(id.into()), Self::Id),
        }
    }
}

/// A deployment with what is known around it.
#[derive(Debug, Clone)]
pub struct View {
    /// The deployment.
    pub deployment: Deployment,
    /// Where it stands.
    pub status: Status,
    /// Replicas that are ready.
    pub ready_replicas: u32,
    /// The environment that serves it; production where it is several.
    pub environment: Option<String>,
    /// Whether it has been active, so that its settings have a meaning.
    pub has_been_active: bool,
    /// Why it stands there, in a sentence; none when it serves as it should.
    pub reason: Option<String>,
}

impl View {
    /// Whether production serves it.
    pub fn is_production(&self) -> bool {
        self.environment.as_deref() == Some(PRODUCTION)
    }
}

/// The deployments of a model, newest first, filtered by exact name.
pub async fn list(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    name: Option<&str>,
) -> Result<Vec<View>, Error> {
    let model = models::owned(control_plane, caller, model).await?;
    let store = control_plane.store();
    let deployments = store.deployments(&model.id, name).await?;
    let environments = store.environments(Some(&model.id)).await?;
    let mut replicas: HashMap<DeploymentId, Vec<Replica>> = HashMap::new();
    for replica in store.replicas(None).await? {
        replicas.entry(replica.deployment_id.clone()).or_default().push(replica);
    }
    let of = |deployment: &Deployment| replicas.get(&deployment.id).map_or(&[][..], Vec::as_slice);
    Ok(deployments
        .into_iter()
        .map(|one| {
            let replicas = of(&one);
            view(one, &environments, replicas)
        })
        .collect())
}

/// One deployment.
pub async fn get(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<View, Error> {
    let (_, deployment) = find(control_plane, caller, model, target).await?;
    look(control_plane, deployment).await
}

/// One deployment and its model, where only the deployment's id is known.
pub async fn by_id(control_plane: &ControlPlane, caller: &Caller, id: &DeploymentId) -> Result<(Model, View), Error> {
    let deployment = control_plane.store().deployment(id).await?;
    let model = models::owned(control_plane, caller, &deployment.model_id).await?;
    Ok((model, look(control_plane, deployment).await?))
}

/// The newest changes of a deployment's number of replicas, newest first.
pub async fn scaling_decisions(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
    limit: u32,
) -> Result<Vec<ScalingDecision>, Error> {
    let (_, deployment) = find(control_plane, caller, model, target).await?;
    Ok(control_plane.store().scaling_decisions(&deployment.id, limit).await?)
}

/// A deployment's config, as it was pushed.
pub async fn config(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<(Value, Option<String>), Error> {
    let (_, deployment) = find(control_plane, caller, model, target).await?;
    Ok((deployment.config, deployment.raw_config))
}

/// The deployment that a path means.
pub(super) async fn find(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<(Model, Deployment), Error> {
    let model = models::owned(control_plane, caller, model).await?;
    let store = control_plane.store();
    let deployment = match target {
        Target::Id(id) => {
            let deployment = store.deployment(id).await?;
            if deployment.model_id != model.id {
                return Err(Error::not_found("deployment", format!("{id} of model {}", model.id)));
            }
            deployment
        }
        Target::Production => {
            let current = store.environment(&model.id, PRODUCTION).await?.current;
            let current = current.ok_or_else(|| Error::not_found("production deployment of model", &model.id))?;
            store.deployment(&current).await?
        }
        Target::Development => {
            let deployments = store.deployments(&model.id, None).await?;
            let development = deployments.into_iter().find(|one| one.kind == DeploymentKind::Development);
            development.ok_or_else(|| Error::not_found("development deployment of model", &model.id))?
        }
        Target::Impossible(text) => return Err(Error::not_found("deployment", text)),
    };
    Ok((model, deployment))
}

/// The deployment that a path means, to change it; 403 where the caller may not change an environment that it concerns.
pub(super) async fn find_to_change(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<(Model, Deployment), Error> {
    let (model, deployment) = find(control_plane, caller, model, target).await?;
    environment_groups::require_for(control_plane, caller, &model, &deployment).await?;
    Ok((model, deployment))
}

/// A deployment with what is known around it.
pub(super) async fn look(control_plane: &ControlPlane, deployment: Deployment) -> Result<View, Error> {
    let store = control_plane.store();
    let environments = store.environments(Some(&deployment.model_id)).await?;
    let replicas = store.replicas(Some(&deployment.id)).await?;
    Ok(view(deployment, &environments, &replicas))
}

/// The same of one that may have been deleted.
pub(super) async fn look_if_there(control_plane: &ControlPlane, id: &DeploymentId) -> Result<Option<View>, Error> {
    match control_plane.store().deployment(id).await {
        Ok(deployment) => look(control_plane, deployment).await.map(Some),
        Err(store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn view(deployment: Deployment, environments: &[Environment], replicas: &[Replica]) -> View {
    let mut serving: Vec<&str> = environments
        .iter()
        .filter(|one| one.current.as_ref() == Some(&deployment.id))
        .map(|one| one.name.as_str())
        .collect();
    serving.sort_by_key(|name| *name != PRODUCTION);
    let environment = serving.first().map(|name| (*name).to_owned());
    View {
        status: observed::status(&deployment.lifecycle, replicas),
        ready_replicas: observed::ready(replicas),
        reason: observed::reason(&deployment, replicas),
        has_been_active: environment.is_some() || deployment.lifecycle.first_ready.is_some(),
        environment,
        deployment,
    }
}

/// An event about a deployment.
fn event(
    caller: &Caller,
    control_plane: &ControlPlane,
    event_type: &str,
    about: (&Model, &Deployment),
    more: Value,
) -> AuditEvent {
    audit::of_deployment(caller, control_plane.now(), event_type, about, more)
}
