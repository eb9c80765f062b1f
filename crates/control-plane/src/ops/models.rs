//! Models: found, listed, renamed, deleted. Making one is a push.

use std::collections::{BTreeMap, HashMap};

use api::id::{DeploymentId, ModelId, TeamId};
use serde_json::json;
use store::{
    ModelFilter,
    domain::{Deployment, DeploymentKind, Environment, Model, PRODUCTION, Team},
};

use super::{Caller, ControlPlane, Error, audit, environment_groups, names, teams};

/// A model with what is known around it.
pub struct View {
    /// The model.
    pub model: Model,
    /// Its team.
    pub team_name: String,
    /// How many deployments it has.
    pub deployments_count: usize,
    /// What production serves.
    pub production: Option<DeploymentId>,
    /// Its development deployment.
    pub development: Option<DeploymentId>,
    /// The instance type of the production deployment; of the newest one, or the smallest there is, while there is none.
    pub instance_type: String,
}

/// The models of a team, newest first, filtered by exact name.
pub async fn list(
    control_plane: &ControlPlane,
    caller: &Caller,
    team: Option<&TeamId>,
    name: Option<String>,
) -> Result<Vec<View>, Error> {
    let team = teams::choose(control_plane, caller, team).await?;
    let store = control_plane.store();
    let models = store.models(&ModelFilter { team_id: Some(team.id.clone()), name }).await?;
    let mut deployments: HashMap<ModelId, Vec<Deployment>> = HashMap::new();
    let mut environments: HashMap<ModelId, Vec<Environment>> = HashMap::new();
    if let [only] = models.as_slice() {
        deployments.insert(only.id.clone(), store.deployments(&only.id, None).await?);
        environments.insert(only.id.clone(), store.environments(Some(&only.id)).await?);
    } else if !models.is_empty() {
        for deployment in store.all_deployments().await? {
            deployments.entry(deployment.model_id.clone()).or_default().push(deployment);
        }
        for environment in store.environments(None).await? {
            environments.entry(environment.model_id.clone()).or_default().push(environment);
        }
    }
    let view = |model: Model| {
        let of_model = (
            deployments.get(&model.id).map_or(&[][..], Vec::as_slice),
            environments.get(&model.id).map_or(&[][..], Vec::as_slice),
        );
        view(control_plane, model, &team, of_model.0, of_model.1)
    };
    Ok(models.into_iter().map(view).collect())
}

/// One model.
pub async fn get(control_plane: &ControlPlane, caller: &Caller, id: &ModelId) -> Result<View, Error> {
    let model = owned(control_plane, caller, id).await?;
    let store = control_plane.store();
    let team = store.team(&model.team_id).await?;
    let deployments = store.deployments(&model.id, None).await?;
    let environments = store.environments(Some(&model.id)).await?;
    Ok(view(control_plane, model, &team, &deployments, &environments))
}

/// Gives a model another name, if any is said.
pub async fn rename(
    control_plane: &ControlPlane,
    caller: &Caller,
    id: &ModelId,
    name: Option<&str>,
) -> Result<View, Error> {
    let before = owned(control_plane, caller, id).await?;
    if let Some(name) = name.filter(|name| *name != before.name) {
        names::model(name)?;
        let renamed = Model { name: name.to_owned(), ..before.clone() };
        let more = json!({ "previous_name": before.name });
        let event = audit::of_model(caller, control_plane.now(), "MODEL_RENAMED", &renamed, more);
        control_plane.store().rename_model(id, name, Some(&event)).await?;
    }
    get(control_plane, caller, id).await
}

/// Deletes a model with everything that belongs to it.
pub async fn delete(control_plane: &ControlPlane, caller: &Caller, id: &ModelId) -> Result<(), Error> {
    let model = owned(control_plane, caller, id).await?;
    let environments = control_plane.store().environments(Some(id)).await?;
    let names = environments.iter().map(|one| one.name.as_str());
    environment_groups::require(control_plane, caller, &model.team_id, names).await?;
    let served = environments.iter().map(|one| json!({ "name": one.name, "current_deployment_id": one.current }));
    let before = json!({ "previous_settings": { "environments": served.collect::<Vec<_>>() } });
    let event = audit::of_model(caller, control_plane.now(), "MODEL_DELETED", &model, before);
    Ok(control_plane.store().delete_model(id, Some(&event)).await?)
}

/// A model that the caller reaches.
pub(super) async fn owned(control_plane: &ControlPlane, caller: &Caller, id: &ModelId) -> Result<Model, Error> {
    let model = control_plane.store().model(id).await?;
    caller.require_team(&model.team_id)?;
    Ok(model)
}

fn view(
    control_plane: &ControlPlane,
    model: Model,
    team: &Team,
    deployments: &[Deployment],
    environments: &[Environment],
) -> View {
    let by_id: BTreeMap<&str, &Deployment> = deployments.iter().map(|one| (one.id.as_str(), one)).collect();
    let production = environments.iter().find(|one| one.name == PRODUCTION).and_then(|one| one.current.clone());
    let serving = production.as_ref().and_then(|id| by_id.get(id.as_str()).copied());
    let newest = deployments.iter().max_by_key(|one| one.created_at);
    let instance_type = match serving.or(newest) {
        Some(deployment) => deployment.instance_type.clone(),
        None => control_plane.default_instance_type().to_owned(),
    };
    let development = deployments.iter().find(|one| one.kind == DeploymentKind::Development).map(|one| one.id.clone());
    View {
        model,
        team_name: team.name.clone(),
        deployments_count: deployments.len(),
        production,
        development,
        instance_type,
    }
}
