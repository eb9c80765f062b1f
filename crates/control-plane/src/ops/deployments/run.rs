//! Whether a deployment should run. Only the wish is recorded: replicas come and go by tasks.

use api::{
    id::{ModelId, ReplicaId},
    internal::replica::Level,
};
use planner::lifecycle::Refusal;
use serde_json::json;

use super::{Target, View, event, find, look};
use crate::ops::{Caller, ControlPlane, Error, logs, observed};

/// Wants a deployment to run.
pub async fn activate(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<(), Error> {
    let found = find(control_plane, caller, model, target).await?;
    let now = control_plane.now();
    let event = event(caller, control_plane, "MODEL_DEPLOYMENT_ACTIVATED", (&found.0, &found.1), json!({}));
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
    let event = event(caller, control_plane, "MODEL_DEPLOYMENT_DEACTIVATED", (&found.0, &found.1), json!({}));
    control_plane
        .store()
        .change_deployment(&found.1.id, Some(&event), |deployment| {
            deployment.lifecycle = deployment.lifecycle.clone().deactivate();
            Ok::<_, Error>(())
        })
        .await?;
    Ok(())
}

/// Runs the failed part of a deployment again. The answer says why not, where there is none. An environment that serves something
/// by now keeps it: the promotion is not carried out again.
pub async fn retry(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<(View, Result<(), Refusal>), Error> {
    let found = find(control_plane, caller, model, target).await?;
    let now = control_plane.now();
    let more = json!({ "retried": true });
    let event = event(caller, control_plane, "MODEL_DEPLOYMENT_RETRIED", (&found.0, &found.1), more);
    let store = control_plane.store();
    let mut taken = store.environments(Some(&found.0.id)).await?;
    taken.retain(|environment| environment.current.is_some());
    let (deployment, outcome) = store
        .change_deployment(&found.1.id, Some(&event), |deployment| {
            Ok::<_, Error>(deployment.lifecycle.clone().retry(now).map(|next| {
                deployment.lifecycle = next;
                deployment.target_environment.take_if(|name| taken.iter().any(|one| one.name == *name))
            }))
        })
        .await?;
    if let Ok(given_up) = &outcome {
        let line = match given_up {
            None => "retried".to_owned(),
            Some(name) => format!(
                "retried; environment {name} serves another deployment by now and keeps it: push to {name} again to replace it"
            ),
        };
        logs::tell(control_plane, &deployment.id, Level::Info, [line]).await;
    }
    Ok((look(control_plane, deployment).await?, outcome.map(|_| ())))
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
    Ok(store.add_audit_event(&event(caller, control_plane, "REPLICA_TERMINATED", (&model, &deployment), more)).await?)
}
