//! Routes of teams.

use api::v1::{
    models::ByName,
    teams::{SetTeamMemberRequest, Team, TeamMember, TeamMembers, TeamName, TeamTombstone, Teams},
    users::UserTombstone,
};
use axum::{Json, extract::State};
use store::domain::{self, Role, User, UserKind};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    convert,
    error::Error,
    extract::{InPath, InQuery, JsonBody, MaybeJsonBody},
    paths::{OfMember, OfTeam},
};
use crate::{ControlPlane, ops};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(list_teams, create_team))
        .routes(routes!(get_team, rename_team, delete_team))
        .routes(routes!(list_team_members))
        .routes(routes!(set_team_member, remove_team_member))
}

/// Lists the teams.
#[utoipa::path(get, path = "/v1/teams", tag = "Teams", params(ByName), responses((status = 200, body = Teams)))]
async fn list_teams(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InQuery(query): InQuery<ByName>,
) -> Result<Json<Teams>, Error> {
    let teams = ops::teams::list(&control_plane, &caller, query.name.as_deref()).await?;
    Ok(Json(Teams { teams: teams.into_iter().map(wire).collect() }))
}

/// Shows a team.
#[utoipa::path(get, path = "/v1/teams/{team_id}", tag = "Teams", params(OfTeam), responses((status = 200, body = Team)))]
async fn get_team(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfTeam>,
) -> Result<Json<Team>, Error> {
    Ok(Json(wire(ops::teams::get(&control_plane, &caller, &path.team_id).await?)))
}

/// Makes a team.
#[utoipa::path(post, path = "/v1/teams", tag = "Teams", request_body = TeamName, responses((status = 200, body = Team)))]
async fn create_team(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    JsonBody(request): JsonBody<TeamName>,
) -> Result<Json<Team>, Error> {
    Ok(Json(wire(ops::teams::create(&control_plane, &caller, &request.name).await?)))
}

/// Gives a team another name.
#[utoipa::path(patch, path = "/v1/teams/{team_id}", tag = "Teams", params(OfTeam), request_body = TeamName, responses((status = 200, body = Team)))]
async fn rename_team(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfTeam>,
    JsonBody(request): JsonBody<TeamName>,
) -> Result<Json<Team>, Error> {
    Ok(Json(wire(ops::teams::rename(&control_plane, &caller, &path.team_id, &request.name).await?)))
}

/// Deletes a team that nothing belongs to any more.
#[utoipa::path(delete, path = "/v1/teams/{team_id}", tag = "Teams", params(OfTeam), responses((status = 200, body = TeamTombstone)))]
async fn delete_team(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfTeam>,
) -> Result<Json<TeamTombstone>, Error> {
    let team = ops::teams::delete(&control_plane, &caller, &path.team_id).await?;
    Ok(Json(TeamTombstone { id: team.id.to_string(), deleted: true }))
}

/// Lists who is in a team.
#[utoipa::path(get, path = "/v1/teams/{team_id}/members", tag = "Teams", params(OfTeam), responses((status = 200, body = TeamMembers)))]
async fn list_team_members(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfTeam>,
) -> Result<Json<TeamMembers>, Error> {
    let members = ops::teams::members(&control_plane, &caller, &path.team_id).await?;
    Ok(Json(TeamMembers { members: members.into_iter().map(|(user, role)| member(user, role)).collect() }))
}

/// Takes somebody into a team, or gives them another role in it.
#[utoipa::path(put, path = "/v1/teams/{team_id}/members/{user_id}", tag = "Teams", params(OfMember), request_body = SetTeamMemberRequest, responses((status = 200, body = TeamMember)))]
async fn set_team_member(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfMember>,
    MaybeJsonBody(request): MaybeJsonBody<SetTeamMemberRequest>,
) -> Result<Json<TeamMember>, Error> {
    let role = convert::role_in_team(request.role);
    let user = ops::teams::set_member(&control_plane, &caller, &path.team_id, &path.user_id, role).await?;
    Ok(Json(member(user, role)))
}

/// Takes somebody out of a team.
#[utoipa::path(delete, path = "/v1/teams/{team_id}/members/{user_id}", tag = "Teams", params(OfMember), responses((status = 200, body = UserTombstone)))]
async fn remove_team_member(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfMember>,
) -> Result<Json<UserTombstone>, Error> {
    let user = ops::teams::remove_member(&control_plane, &caller, &path.team_id, &path.user_id).await?;
    Ok(Json(UserTombstone { user_id: user.id.to_string(), deleted: true }))
}

fn member(user: User, role: Role) -> TeamMember {
    TeamMember {
        user_id: user.id.to_string(),
        email: user.email,
        name: user.name,
        role: convert::wire_role(role),
        is_service_account: user.kind == UserKind::Service,
    }
}

fn wire(team: domain::Team) -> Team {
    Team {
        id: team.id.to_string(),
        name: team.name,
        default: team.is_default,
        created_at: convert::time(team.created_at),
    }
}
