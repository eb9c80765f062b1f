//! Routes of live reload: the patches of a development deployment.

use api::v1::patches::{
    CreateDeploymentPatchRequest, CreateDeploymentPatchResponse, DeploymentPatchPoint, DeploymentPatchPointWithHash,
    GetDeploymentPatchesStateResponse, SyncDeploymentPatchesRequest, SyncDeploymentPatchesResponse,
};
use axum::{
    Json,
    extract::{DefaultBodyLimit, State},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    error::Error,
    extract::{InPath, JsonBody},
    paths::OfDeployment,
};
use crate::{
    ControlPlane,
    ops::patches::{self, Patch, Verdict},
};

/// The largest patch: it carries files, which other requests do not.
pub const MOST_BYTES: usize = 32 << 20;

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(get_deployment_patches_state))
        .routes(routes!(create_deployment_patch))
        .routes(routes!(sync_deployment_patches))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
}

/// Says what runs and what is staged.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/deployments/{deployment_id}/patches/state", tag = "Deployments",
    params(OfDeployment), responses((status = 200, body = GetDeploymentPatchesStateResponse))
)]
async fn get_deployment_patches_state(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
) -> Result<Json<GetDeploymentPatchesStateResponse>, Error> {
    let state = patches::state(&control_plane, &caller, &path.model_id, &path.deployment_id).await?;
    Ok(Json(GetDeploymentPatchesStateResponse {
        running_patch_point: with_hash(state.running),
        pending_patch_point: state.pending.map(with_hash),
    }))
}

/// Keeps a patch without applying it.
#[utoipa::path(
    post, path = "/v1/models/{model_id}/deployments/{deployment_id}/patches", tag = "Deployments", params(OfDeployment),
    request_body = CreateDeploymentPatchRequest,
    responses((status = 200, body = CreateDeploymentPatchResponse), (status = 409, description = "The source has changed meanwhile"))
)]
async fn create_deployment_patch(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    JsonBody(request): JsonBody<CreateDeploymentPatchRequest>,
) -> Result<Json<CreateDeploymentPatchResponse>, Error> {
    let CreateDeploymentPatchRequest { prev_patch_hash, next_patch_point, patch_ops } = request;
    let patch = Patch { prev_hash: prev_patch_hash, next: next_patch_point, operations: patch_ops };
    let staged = patches::stage(&control_plane, &caller, &path.model_id, &path.deployment_id, patch).await?;
    Ok(Json(CreateDeploymentPatchResponse { patch_point: with_hash(staged.point) }))
}

/// Lets what is staged run. A patch that cannot be built or loaded is an error with the reason: what ran before runs on.
#[utoipa::path(
    post, path = "/v1/models/{model_id}/deployments/{deployment_id}/patches/sync", tag = "Deployments", params(OfDeployment),
    request_body = SyncDeploymentPatchesRequest,
    responses((status = 200, body = SyncDeploymentPatchesResponse), (status = 503, description = "Not yet: ask again"))
)]
async fn sync_deployment_patches(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    JsonBody(SyncDeploymentPatchesRequest {}): JsonBody<SyncDeploymentPatchesRequest>,
) -> Result<Json<SyncDeploymentPatchesResponse>, Error> {
    let needs_full_deploy_reason =
        match patches::sync(&control_plane, &caller, &path.model_id, &path.deployment_id).await? {
            Verdict::InSync => None,
            Verdict::NeedsPush(reason) => Some(reason),
            Verdict::Failed(reason) => return Err(Error::invalid(patches::failure(&reason))),
        };
    Ok(Json(SyncDeploymentPatchesResponse { needs_full_deploy_reason }))
}

fn with_hash(point: DeploymentPatchPoint) -> DeploymentPatchPointWithHash {
    let hash = patches::hash(&point);
    let DeploymentPatchPoint { content_hashes, config, requirements } = point;
    DeploymentPatchPointWithHash { content_hashes, config, requirements, hash }
}
