//! Routes of environment groups.

use api::{
    id::TeamId,
    v1::{
        dry_run::DryRunQuery,
        environment_groups::{
            EnvironmentGroup, EnvironmentGroupManageAccess, EnvironmentGroupUser, EnvironmentGroups,
            UpdateEnvironmentGroupRequest,
        },
        pagination::PaginationResponse,
    },
};
use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    convert,
    error::Error,
    extract::{InPath, InQuery, JsonBody},
    paths::OfTeam,
};
use crate::{
    ControlPlane,
    ops::{
        self, Caller,
        environment_groups::{Update, View},
    },
};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(list_environment_groups))
        .routes(routes!(get_environment_group, update_environment_group))
        .routes(routes!(list_team_environment_groups))
        .routes(routes!(get_team_environment_group, update_team_environment_group))
}

/// A group of the caller's team.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OfGroup {
    /// The environments' name.
    env_name: String,
}

/// A group of a team.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OfTeamGroup {
    /// The team.
    #[param(value_type = String)]
    team_id: TeamId,
    /// The environments' name.
    env_name: String,
}

/// Lists the environment groups of the default team.
#[utoipa::path(get, path = "/v1/environment_groups", tag = "Environment groups", responses((status = 200, body = EnvironmentGroups)))]
async fn list_environment_groups(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
) -> Result<Json<EnvironmentGroups>, Error> {
    list(&control_plane, &caller, None).await
}

/// Shows an environment group of the default team.
#[utoipa::path(get, path = "/v1/environment_groups/{env_name}", tag = "Environment groups", params(OfGroup), responses((status = 200, body = EnvironmentGroup)))]
async fn get_environment_group(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfGroup>,
) -> Result<Json<EnvironmentGroup>, Error> {
    Ok(Json(wire(ops::environment_groups::get(&control_plane, &caller, None, &path.env_name).await?)))
}

/// Says who may change the environments of a group of the default team.
#[utoipa::path(
    patch, path = "/v1/environment_groups/{env_name}", tag = "Environment groups", params(OfGroup, DryRunQuery),
    request_body = UpdateEnvironmentGroupRequest, responses((status = 200, body = EnvironmentGroup))
)]
async fn update_environment_group(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfGroup>,
    InQuery(query): InQuery<DryRunQuery>,
    JsonBody(request): JsonBody<UpdateEnvironmentGroupRequest>,
) -> Result<Json<EnvironmentGroup>, Error> {
    update(&control_plane, &caller, None, &path.env_name, query, request).await
}

/// Lists the environment groups of a team.
#[utoipa::path(get, path = "/v1/teams/{team_id}/environment_groups", tag = "Environment groups", params(OfTeam), responses((status = 200, body = EnvironmentGroups)))]
async fn list_team_environment_groups(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfTeam>,
) -> Result<Json<EnvironmentGroups>, Error> {
    list(&control_plane, &caller, Some(&path.team_id)).await
}

/// Shows an environment group of a team.
#[utoipa::path(get, path = "/v1/teams/{team_id}/environment_groups/{env_name}", tag = "Environment groups", params(OfTeamGroup), responses((status = 200, body = EnvironmentGroup)))]
async fn get_team_environment_group(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfTeamGroup>,
) -> Result<Json<EnvironmentGroup>, Error> {
    let view = ops::environment_groups::get(&control_plane, &caller, Some(&path.team_id), &path.env_name).await?;
    Ok(Json(wire(view)))
}

/// Says who may change the environments of a group of a team.
#[utoipa::path(
    patch, path = "/v1/teams/{team_id}/environment_groups/{env_name}", tag = "Environment groups",
    params(OfTeamGroup, DryRunQuery), request_body = UpdateEnvironmentGroupRequest, responses((status = 200, body = EnvironmentGroup))
)]
async fn update_team_environment_group(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfTeamGroup>,
    InQuery(query): InQuery<DryRunQuery>,
    JsonBody(request): JsonBody<UpdateEnvironmentGroupRequest>,
) -> Result<Json<EnvironmentGroup>, Error> {
    update(&control_plane, &caller, Some(&path.team_id), &path.env_name, query, request).await
}

async fn list(
    control_plane: &ControlPlane,
    caller: &Caller,
    team: Option<&TeamId>,
) -> Result<Json<EnvironmentGroups>, Error> {
    let groups = ops::environment_groups::list(control_plane, caller, team).await?;
    let items = groups.into_iter().map(wire).collect();
    Ok(Json(EnvironmentGroups { items, pagination: PaginationResponse::default() }))
}

async fn update(
    control_plane: &ControlPlane,
    caller: &Caller,
    team: Option<&TeamId>,
    name: &str,
    query: DryRunQuery,
    request: UpdateEnvironmentGroupRequest,
) -> Result<Json<EnvironmentGroup>, Error> {
    let change =
        request.manage_access.map(|access| Update { is_restricted: access.is_restricted, user_ids: access.user_ids });
    let effect = convert::effect(query);
    Ok(Json(wire(ops::environment_groups::update(control_plane, caller, team, name, change, effect).await?)))
}

fn wire(view: View) -> EnvironmentGroup {
    let users = view.users.into_iter().map(|user| EnvironmentGroupUser {
        user_id: user.id.to_string(),
        email: Some(user.email),
        name: user.name,
    });
    EnvironmentGroup {
        name: view.group.name,
        team_id: view.team.id.to_string(),
        team_name: view.team.name,
        manage_access: EnvironmentGroupManageAccess {
            is_restricted: view.group.is_restricted,
            users: Some(users.collect()),
        },
    }
}
