//! Routes of teams.

use api::v1::{
    models::ByName,
    teams::{Team, Teams},
};
use axum::{Json, extract::State};
use store::domain;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    convert,
    error::Error,
    extract::{InPath, InQuery},
    paths::OfTeam,
};
use crate::{ControlPlane, ops};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(list_teams)).routes(routes!(get_team))
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

fn wire(team: domain::Team) -> Team {
    Team {
        id: team.id.to_string(),
        name: team.name,
        default: team.is_default,
        created_at: convert::time(team.created_at),
    }
}
