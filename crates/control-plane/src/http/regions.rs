//! Routes of regions: the locations that this server is configured with.

use api::v1::regions::{Region, Regions};
use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{auth::Manager, error::Error, extract::InPath, paths::OfTeam};
use crate::{ControlPlane, ops};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(list_regions)).routes(routes!(list_team_regions))
}

/// Lists the locations that policies choose among.
#[utoipa::path(get, path = "/v1/regions", tag = "Regions", responses((status = 200, body = Regions)))]
async fn list_regions(State(control_plane): State<ControlPlane>, _: Manager) -> Json<Regions> {
    Json(regions(&control_plane))
}

/// Lists the same for a team.
#[utoipa::path(get, path = "/v1/teams/{team_id}/regions", tag = "Regions", params(OfTeam), responses((status = 200, body = Regions)))]
async fn list_team_regions(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfTeam>,
) -> Result<Json<Regions>, Error> {
    ops::teams::get(&control_plane, &caller, &path.team_id).await?;
    Ok(Json(regions(&control_plane)))
}

fn regions(control_plane: &ControlPlane) -> Regions {
    let locations = control_plane.settings().inventory.locations().iter();
    let region = |location: &planner::policy::Location| {
        let flavors: Vec<String> =
            location.flavors.iter().map(|stock| format!("{} x {}", stock.count, stock.flavor)).collect();
        let (name, country, continent) = (&location.name, location.country, location.continent);
        Region {
            slug: name.to_string(),
            display_name: format!("{name} ({country}, {continent}): {}", flavors.join(", ")),
        }
    };
    Regions { regions: locations.map(region).collect() }
}
