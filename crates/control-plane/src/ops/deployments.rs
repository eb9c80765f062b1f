//! Deployments: shown, and their owners' intent changed.

use std::collections::HashMap;

use api::id::{DeploymentId, ModelId, ReplicaId};
use planner::{
    autoscale,
    lifecycle::{Refusal, Status, Wanted},
};
use serde::Deserialize;
use serde_json::{Value, json};
use store::domain::{Deployment, DeploymentKind, Environment, Model, PRODUCTION, Replica};

use super::{Caller, ControlPlane, Error, audit, autoscaling, models, names, observed};

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

/// What became of a change of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingsChange {
    /// In force, or about to be.
    Accepted,
    /// In force once the deployment has started.
    Queued,
    /// Nothing differs.
    Unchanged,
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

/// Deletes a deployment that nothing needs.
pub async fn delete(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<Deployment, Error> {
    let (model, deployment) = find(control_plane, caller, model, target).await?;
    let store = control_plane.store();
    let siblings = store.deployments(&model.id, None).await?;
    let environments = store.environments(Some(&model.id)).await?;
    if let Some(reason) = reason_to_keep(&deployment, &siblings, &environments) {
        return Err(Error::Invalid(format!(
            "deployment {} cannot be deleted: {reason}",
            deployment.id
        )));
    }
    let event = event(
        caller,
        control_plane,
        "MODEL_DEPLOYMENT_DELETED",
        (&model, &deployment),
        json!({}),
    );
    store.delete_deployment(&deployment.id, Some(&event)).await?;
    Ok(deployment)
}

/// Why a deployment must not be deleted, and what to do about it.
fn reason_to_keep(deployment: &Deployment, siblings: &[Deployment], environments: &[Environment]) -> Option<String> {
    if let Some(environment) = environments
        .iter()
        .find(|one| one.current.as_ref() == Some(&deployment.id))
    {
        return Some(format!(
            "environment {} serves it: put another deployment there first",
            environment.name
        ));
    }
    if deployment.kind == DeploymentKind::Development {
        return Some(
            "it is the development deployment of its model: push another one over it, or deactivate it".into(),
        );
    }
    if siblings.len() <= 1 {
        return Some("it is the only deployment of its model: delete the model".into());
    }
    let is_on_its_way = deployment.lifecycle.wanted == Wanted::Running && deployment.lifecycle.failure().is_none();
    match &deployment.target_environment {
        Some(environment) if is_on_its_way => Some(format!(
            "it is on its way to environment {environment}: deactivate it first"
        )),
        _ => None,
    }
}

/// Gives a published deployment another name.
pub async fn rename(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
    name: Option<&str>,
) -> Result<View, Error> {
    let (_, deployment) = find(control_plane, caller, model, target).await?;
    let Some(name) = name else {
        return look(control_plane, deployment).await;
    };
    if deployment.kind == DeploymentKind::Development {
        return Err(Error::Invalid(format!(
            "deployment {} is a development deployment: it cannot be renamed",
            deployment.id
        )));
    }
    names::deployment(name)?;
    let (deployment, ()) = control_plane
        .store()
        .change_deployment(&deployment.id, None, |deployment| {
            name.clone_into(&mut deployment.name);
            Ok::<_, Error>(())
        })
        .await?;
    look(control_plane, deployment).await
}

/// Wants a deployment to run.
pub async fn activate(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<(), Error> {
    let found = find(control_plane, caller, model, target).await?;
    let now = control_plane.now();
    let event = event(
        caller,
        control_plane,
        "MODEL_DEPLOYMENT_ACTIVATED",
        (&found.0, &found.1),
        json!({}),
    );
    control_plane
        .store()
        .change_deployment(&found.1.id, Some(&event), |deployment| {
            deployment.lifecycle = deployment.lifecycle.clone().activate(now).map_err(|refusal| {
                Error::Invalid(format!("deployment {} cannot be activated: {refusal}", deployment.id))
            })?;
            Ok::<_, Error>(())
        })
        .await?;
    Ok(())
}

/// Wants a deployment to rest. It keeps its configuration and its environment.
pub async fn deactivate(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<(), Error> {
    let found = find(control_plane, caller, model, target).await?;
    let event = event(
        caller,
        control_plane,
        "MODEL_DEPLOYMENT_DEACTIVATED",
        (&found.0, &found.1),
        json!({}),
    );
    control_plane
        .store()
        .change_deployment(&found.1.id, Some(&event), |deployment| {
            deployment.lifecycle = deployment.lifecycle.clone().deactivate();
            Ok::<_, Error>(())
        })
        .await?;
    Ok(())
}

/// Runs the failed part of a deployment again. The answer says why not, where there is none.
pub async fn retry(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<(View, Result<(), Refusal>), Error> {
    let found = find(control_plane, caller, model, target).await?;
    let now = control_plane.now();
    let more = json!({ "retried": true });
    let event = event(
        caller,
        control_plane,
        "MODEL_DEPLOYMENT_RETRIED",
        (&found.0, &found.1),
        more,
    );
    let (deployment, outcome) = control_plane
        .store()
        .change_deployment(&found.1.id, Some(&event), |deployment| {
            Ok::<_, Error>(
                deployment
                    .lifecycle
                    .clone()
                    .retry(now)
                    .map(|next| deployment.lifecycle = next),
            )
        })
        .await?;
    Ok((look(control_plane, deployment).await?, outcome))
}

/// Changes how a deployment scales. What an environment serves scales as the environment does, so that changes with it.
pub async fn update_autoscaling(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
    update: &autoscaling::Update,
) -> Result<SettingsChange, Error> {
    let (model, before) = find(control_plane, caller, model, target).await?;
    let store = control_plane.store();
    let change =
        |current: &autoscale::Settings| autoscaling::apply(current, update, control_plane.settings().replica_cap);
    let next = change(&before.autoscaling)?;
    let mut more = autoscaling_event(&next);
    more["schedules"] = Value::Null;
    more["deployment_type"] = kind_name(before.kind).into();
    more["previous_settings"] = autoscaling_event(&before.autoscaling);
    let event = event(
        caller,
        control_plane,
        "MODEL_DEPLOYMENT_AUTOSCALING_SETTINGS_CHANGED",
        (&model, &before),
        more,
    );
    let (after, ()) = store
        .change_deployment(&before.id, Some(&event), |deployment| {
            let next = change(&deployment.autoscaling)?;
            autoscaling::check_kind(deployment.kind, &next)?;
            deployment.autoscaling = next;
            Ok::<_, Error>(())
        })
        .await?;
    for mut environment in store.environments(Some(&model.id)).await? {
        // What is on its way to an empty environment will have that one's settings.
        let is_first_there =
            environment.current.is_none() && after.target_environment.as_ref() == Some(&environment.name);
        let is_there = environment.current.as_ref() == Some(&after.id);
        if (is_there || is_first_there) && environment.autoscaling != after.autoscaling {
            environment.autoscaling = after.autoscaling.clone();
            store.save_environment(&mut environment, None).await?;
        }
    }
    Ok(if after.autoscaling == before.autoscaling {
        SettingsChange::Unchanged
    } else if after.lifecycle.first_ready.is_some() {
        SettingsChange::Accepted
    } else {
        SettingsChange::Queued
    })
}

/// Wants one replica gone. Another takes its place as long as one is needed.
pub async fn terminate_replica(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
    replica: &str,
) -> Result<(), Error> {
    let (model, deployment) = find(control_plane, caller, model, target).await?;
    let store = control_plane.store();
    let known = store.replicas(Some(&deployment.id)).await?;
    let id: ReplicaId = known
        .into_iter()
        .find(|one| one.id.as_str() == replica && !observed::has_ended(one))
        .ok_or_else(|| Error::not_found("replica", replica))?
        .id;
    store.mark_replica_stopping(&id, control_plane.now()).await?;
    let more = json!({ "replica_id": id });
    Ok(store
        .add_audit_event(&event(
            caller,
            control_plane,
            "REPLICA_TERMINATED",
            (&model, &deployment),
            more,
        ))
        .await?)
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
            let development = deployments
                .into_iter()
                .find(|one| one.kind == DeploymentKind::Development);
            development.ok_or_else(|| Error::not_found("development deployment of model", &model.id))?
        }
        Target::Impossible(text) => return Err(Error::not_found("deployment", text)),
    };
    Ok((model, deployment))
}

/// A deployment with what is known around it.
pub(super) async fn look(control_plane: &ControlPlane, deployment: Deployment) -> Result<View, Error> {
    let store = control_plane.store();
    let environments = store.environments(Some(&deployment.model_id)).await?;
    let replicas = store.replicas(Some(&deployment.id)).await?;
    Ok(view(deployment, &environments, &replicas))
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

fn event(
    caller: &Caller,
    control_plane: &ControlPlane,
    event_type: &str,
    about: (&Model, &Deployment),
    more: Value,
) -> store::domain::AuditEvent {
    audit::of_deployment(caller, control_plane.now(), event_type, about, more)
}

/// Settings as the audit log writes them.
pub(super) fn autoscaling_event(settings: &autoscale::Settings) -> Value {
    json!({
        "min_replica": settings.min_replica,
        "max_replica": settings.max_replica,
        "concurrency_target": settings.concurrency_target,
        "autoscaling_window": settings.autoscaling_window_s,
        "scale_down_delay": settings.scale_down_delay_s,
        "target_utilization_percentage": settings.target_utilization_percent,
        "target_in_flight_tokens": null,
        "max_scale_down_rate": settings.max_scale_down_rate_percent,
    })
}

fn kind_name(kind: DeploymentKind) -> &'static str {
    match kind {
        DeploymentKind::Published => "published",
        DeploymentKind::Development => "development",
    }
}
