//! Routes of regions. There are none: every replica runs where the server's backends are.

use api::v1::regions::Regions;
use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{auth::Manager, error::Error, extract::InPath, paths::OfTeam};
use crate::{ControlPlane, ops};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(list_regions)).routes(routes!(list_team_regions))
}

/// Lists the regions that deployments can be restricted to.
#[utoipa::path(get, path = "/v1/regions", tag = "Regions", responses((status = 200, body = Regions)))]
async fn list_regions(_: Manager) -> Json<Regions> {
    Json(Regions { regions: Vec::new() })
}

/// Lists the regions that deployments of a team can be restricted to.
#[utoipa::path(get, path = "/v1/teams/{team_id}/regions", tag = "Regions", params(OfTeam), responses((status = 200, body = Regions)))]
async fn list_team_regions(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfTeam>,
) -> Result<Json<Regions>, Error> {
    ops::teams::get(&control_plane, &caller, &path.team_id).await?;
    Ok(Json(Regions { regions: Vec::new() }))
}
