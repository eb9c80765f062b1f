//! Renaming a deployment, and deleting one that nothing needs.

use api::id::ModelId;
use planner::lifecycle::Wanted;
use serde_json::json;
use store::domain::{Deployment, DeploymentKind, Environment, Promotion};

use super::{Target, View, autoscaling_event, event, find_to_change, look};
use crate::ops::{Caller, ControlPlane, Error, names, promotions};

/// Deletes a deployment that nothing needs.
pub async fn delete(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<Deployment, Error> {
    let (model, deployment) = find_to_change(control_plane, caller, model, target).await?;
    let store = control_plane.store();
    let siblings = store.deployments(&model.id, None).await?;
    let environments = store.environments(Some(&model.id)).await?;
    let promotions = promotions::in_progress(control_plane, &model.id).await?;
    if let Some(reason) = reason_to_keep(&deployment, &siblings, &environments, &promotions) {
        return Err(Error::Invalid(format!("deployment {} cannot be deleted: {reason}", deployment.id)));
    }
    let mut before = autoscaling_event(&deployment.autoscaling);
    before["instance_type"] = deployment.instance_type.as_str().into();
    let before = json!({ "previous_settings": before });
    let event = event(caller, control_plane, "MODEL_DEPLOYMENT_DELETED", (&model, &deployment), before);
    store.delete_deployment(&deployment.id, Some(&event)).await?;
    Ok(deployment)
}

/// Why a deployment must not be deleted, and what to do about it.
fn reason_to_keep(
    deployment: &Deployment,
    siblings: &[Deployment],
    environments: &[Environment],
    promotions: &[Promotion],
) -> Option<String> {
    if let Some(environment) = environments.iter().find(|one| one.current.as_ref() == Some(&deployment.id)) {
        return Some(format!("environment {} serves it: put another deployment there first", environment.name));
    }
    if let Some(promotion) = promotions.iter().find(|one| one.candidate == deployment.id) {
        return Some(format!("it is being promoted to environment {}: cancel that first", promotion.environment));
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
        Some(environment) if is_on_its_way => {
            Some(format!("it is on its way to environment {environment}: deactivate it first"))
        }
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
    let (model, deployment) = find_to_change(control_plane, caller, model, target).await?;
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
    let renamed = Deployment { name: name.to_owned(), ..deployment.clone() };
    let more = json!({ "previous_settings": { "deployment_name": deployment.name } });
    let event = event(caller, control_plane, "MODEL_DEPLOYMENT_RENAMED", (&model, &renamed), more);
    let (deployment, ()) = control_plane
        .store()
        .change_deployment(&deployment.id, Some(&event), |deployment| {
            name.clone_into(&mut deployment.name);
            Ok::<_, Error>(())
        })
        .await?;
    look(control_plane, deployment).await
}
