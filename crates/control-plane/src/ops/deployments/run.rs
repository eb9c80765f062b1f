//! Whether a deployment should run. Only the wish is recorded: replicas come and go by tasks.

use api::{
    id::{ModelId, ReplicaId},
    internal::replica::Level,
};
use planner::lifecycle::Refusal;
use serde_json::json;
use store::domain::{AuditEvent, Deployment, Model, Promotion, Replica};

use super::{Target, View, event, find, find_to_change, look};
use crate::ops::{Caller, ControlPlane, Error, logs, promotions};

/// Wants a deployment to run.
pub async fn activate(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<(), Error> {
    let found = find_to_change(control_plane, caller, model, target).await?;
    let now = control_plane.now();
    let event = activation(control_plane, caller, &found.0, &found.1);
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

/// The event of an activation.
pub fn activation(control_plane: &ControlPlane, caller: &Caller, model: &Model, deployment: &Deployment) -> AuditEvent {
    event(caller, control_plane, "MODEL_DEPLOYMENT_ACTIVATED", (model, deployment), json!({}))
}

/// Wants a deployment to rest. It keeps its configuration and the environment that it serves; one that it was on its way to is
/// left to others. A promotion needs both of its sides.
pub async fn deactivate(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<(), Error> {
    let found = find_to_change(control_plane, caller, model, target).await?;
    let promotions = promotions::in_progress(control_plane, &found.0.id).await?;
    let needs = |one: &&Promotion| one.candidate == found.1.id || one.previous.as_ref() == Some(&found.1.id);
    if let Some(promotion) = promotions.iter().find(needs) {
        return Err(Error::Invalid(format!(
            "deployment {} cannot be deactivated: it takes part in the promotion to environment {}: cancel that first",
            found.1.id, promotion.environment
        )));
    }
    let event = event(caller, control_plane, "MODEL_DEPLOYMENT_DEACTIVATED", (&found.0, &found.1), json!({}));
    let (deployment, bound_for) = control_plane
        .store()
        .change_deployment(&found.1.id, Some(&event), |deployment| {
            deployment.lifecycle = deployment.lifecycle.clone().deactivate();
            Ok::<_, Error>(deployment.target_environment.take())
        })
        .await?;
    if let Some(name) = bound_for {
        let line = format!("deactivated: it goes to environment {name} no more, unless it is promoted");
        logs::tell(control_plane, &deployment.id, Level::Info, [line]).await;
    }
    Ok(())
}

/// Runs the failed part of a deployment again. The answer says why not, where there is none. The promotion it was part of is not
/// carried out again, unless its environment has been waiting for a deployment ever since.
pub async fn retry(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<(View, Result<(), Refusal>), Error> {
    let found = find_to_change(control_plane, caller, model, target).await?;
    let now = control_plane.now();
    let more = json!({ "retried": true });
    let event = event(caller, control_plane, "MODEL_DEPLOYMENT_RETRIED", (&found.0, &found.1), more);
    let meant_for = promotions::meant_for(control_plane, &found.1).await?;
    let (deployment, outcome) = control_plane
        .store()
        .change_deployment(&found.1.id, Some(&event), |deployment| {
            Ok::<_, Error>(deployment.lifecycle.clone().retry(now).map(|next| {
                deployment.lifecycle = next;
                deployment.target_environment = meant_for.waiting.clone();
            }))
        })
        .await?;
    if outcome.is_ok() {
        let line = match (&meant_for.waiting, &meant_for.taken) {
            (None, None) => "retried".to_owned(),
            (Some(name), _) => format!("retried; goes to environment {name} when it is active"),
            (None, Some(name)) => format!(
                "retried; environment {name} serves another deployment by now and keeps it: promote this one to replace it"
            ),
        };
        logs::tell(control_plane, &deployment.id, Level::Info, [line]).await;
    }
    Ok((look(control_plane, deployment).await?, outcome))
}

/// All replicas of a deployment that are known, oldest first.
pub async fn replicas(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<Vec<Replica>, Error> {
    let (_, deployment) = find(control_plane, caller, model, target).await?;
    let mut replicas = control_plane.store().replicas(Some(&deployment.id)).await?;
    replicas.sort_by_key(|replica| replica.created_at);
    Ok(replicas)
}

/// Wants one replica gone. Another takes its place as long as one is needed.
pub async fn terminate_replica(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
    replica: &str,
) -> Result<(), Error> {
    let (model, deployment) = find_to_change(control_plane, caller, model, target).await?;
    let store = control_plane.store();
    let known = store.replicas(Some(&deployment.id)).await?;
    let id: ReplicaId = known
        .into_iter()
        .find(|one| one.id.as_str() == replica && !one.has_ended())
        .ok_or_else(|| Error::not_found("replica", replica))?
        .id;
    let more = json!({ "replica_id": id });
    let event = event(caller, control_plane, "REPLICA_TERMINATED", (&model, &deployment), more);
    Ok(store.mark_replica_stopping(&id, control_plane.now(), Some(&event)).await?)
}
