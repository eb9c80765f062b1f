//! The route of the replicas that there are.

use api::{
    internal::replica::Phase,
    v1::replicas::{Replica, ReplicaState, Replicas},
};
use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{auth::Manager, convert, error::Error, extract::InPath, paths::OfDeployment};
use crate::{ControlPlane, ops};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(list_replicas))
}

/// Lists the replicas of a deployment that have not ended.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/deployments/{deployment_id}/replicas", tag = "Deployments",
    params(OfDeployment), responses((status = 200, body = Replicas))
)]
async fn list_replicas(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
) -> Result<Json<Replicas>, Error> {
    let replicas = ops::deployments::replicas(&control_plane, &caller, &path.model_id, &path.deployment_id).await?;
    Ok(Json(Replicas { replicas: replicas.into_iter().filter_map(wire).collect() }))
}

/// None for one that has ended.
fn wire(replica: store::domain::Replica) -> Option<Replica> {
    let state = match replica.status.as_ref().map(|status| &status.phase) {
        Some(Phase::Exited(_)) => return None,
        _ if replica.stopping_since.is_some() => ReplicaState::Stopping,
        None | Some(Phase::Starting) => ReplicaState::Starting,
        Some(Phase::Loading) => ReplicaState::Loading,
        Some(Phase::Ready) => ReplicaState::Ready,
        Some(Phase::Unhealthy) => ReplicaState::Unhealthy,
        Some(Phase::Draining) => ReplicaState::Stopping,
    };
    Some(Replica {
        id: replica.id.to_string(),
        state,
        created_at: convert::time(replica.created_at),
        waits_for: replica.waits_for,
        instance_type: replica.instance_type,
        tries_patch: replica.tries_patch,
        location: replica.location,
    })
}
