//! Routes of what holds for the whole workspace.

use api::v1::{
    dry_run::DryRunQuery,
    workspace_settings::{UpdateWorkspaceSettingsRequest, WorkspaceSettings},
};
use axum::{Json, extract::State};
use store::domain;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    convert,
    error::Error,
    extract::{InQuery, JsonBody},
};
use crate::{
    ControlPlane,
    ops::{self, workspace_settings::Update},
};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(get_workspace_settings, update_workspace_settings))
}

/// Shows the workspace's settings.
#[utoipa::path(get, path = "/v1/workspace_settings", tag = "Workspace", responses((status = 200, body = WorkspaceSettings)))]
async fn get_workspace_settings(
    State(control_plane): State<ControlPlane>,
    _: Manager,
) -> Result<Json<WorkspaceSettings>, Error> {
    Ok(Json(wire(ops::workspace_settings::get(&control_plane).await?)))
}

/// Changes the workspace's settings. They count from the next push on.
#[utoipa::path(
    patch, path = "/v1/workspace_settings", tag = "Workspace", params(DryRunQuery), request_body = UpdateWorkspaceSettingsRequest,
    responses((status = 200, body = WorkspaceSettings))
)]
async fn update_workspace_settings(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InQuery(query): InQuery<DryRunQuery>,
    JsonBody(request): JsonBody<UpdateWorkspaceSettingsRequest>,
) -> Result<Json<WorkspaceSettings>, Error> {
    let update =
        Update { default_environment: request.default_environment, initial_environments: request.initial_environments };
    Ok(Json(wire(ops::workspace_settings::update(&control_plane, &caller, update, convert::effect(query)).await?)))
}

fn wire(settings: domain::WorkspaceSettings) -> WorkspaceSettings {
    WorkspaceSettings {
        default_environment: settings.default_environment,
        initial_environments: settings.initial_environments,
    }
}
