//! Routes of regions: the locations of this server.

use api::v1::regions::{Coordinates, LocationFlavor, LocationInfo, Region, Regions};
use axum::{Json, extract::State};
use planner::{
    heartbeat::Health,
    policy::{Location, Stock},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{auth::Manager, convert, error::Error, extract::InPath, paths::OfTeam};
use crate::{ControlPlane, ops};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(list_regions)).routes(routes!(list_team_regions))
}

/// Lists the locations that policies choose among.
#[utoipa::path(get, path = "/v1/regions", tag = "Regions", responses((status = 200, body = Regions)))]
async fn list_regions(State(control_plane): State<ControlPlane>, _: Manager) -> Result<Json<Regions>, Error> {
    Ok(Json(regions(&control_plane).await?))
}

/// Lists the same for a team.
#[utoipa::path(get, path = "/v1/teams/{team_id}/regions", tag = "Regions", params(OfTeam), responses((status = 200, body = Regions)))]
async fn list_team_regions(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfTeam>,
) -> Result<Json<Regions>, Error> {
    ops::teams::get(&control_plane, &caller, &path.team_id).await?;
    Ok(Json(regions(&control_plane).await?))
}

async fn regions(control_plane: &ControlPlane) -> Result<Regions, Error> {
    let locations = ops::locations::list(control_plane).await?;
    Ok(Regions { regions: locations.into_iter().map(|(location, health)| region(&location, health)).collect() })
}

fn region(location: &Location, health: Health) -> LocationInfo {
    let flavors: Vec<String> = location.flavors.iter().map(in_words).collect();
    let country = location.country.map(|code| code.to_string());
    let continent = location.continent.map(|code| code.to_string());
    let place: Vec<&str> = country.as_deref().into_iter().chain(continent.as_deref()).collect();
    let place = if place.is_empty() { String::new() } else { format!(" ({})", place.join(", ")) };
    let is_healthy = health.is_healthy();
    let (since, reason) = match health {
        Health::Healthy { .. } => (None, None),
        Health::Unhealthy { since, reason } => (Some(convert::time(since)), Some(reason)),
    };
    let display_name = format!("{}{place}: {}", location.name, flavors.join(", "));
    LocationInfo {
        region: Region { slug: location.name.to_string(), display_name },
        country,
        continent,
        coordinates: location
            .coordinates
            .map(|point| Coordinates { latitude: point.latitude(), longitude: point.longitude() }),
        flavors: location.flavors.iter().map(flavor).collect(),
        is_healthy,
        unhealthy_reason: reason,
        unhealthy_since: since,
    }
}

fn flavor(stock: &Stock) -> LocationFlavor {
    let Stock { flavor, count, memory_mib } = stock.clone();
    LocationFlavor { kind: flavor.kind.as_str().into(), name: flavor.name.to_string(), count, memory_mib }
}

fn in_words(stock: &Stock) -> String {
    let memory = stock.memory_mib.map(|mib| format!(" ({} GiB)", mib.div_ceil(1_024))).unwrap_or_default();
    format!("{} x {}{memory}", stock.count, stock.flavor)
}
