//! The route of the installation as a whole.

use api::v1::organizations::OrganizationInfo;
use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{auth::Manager, convert, error::Error};
use crate::{ControlPlane, ops};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(get_organization))
}

/// Shows the organization that the caller belongs to.
#[utoipa::path(get, path = "/v1/organizations/me", tag = "Users", responses((status = 200, body = OrganizationInfo)))]
async fn get_organization(
    State(control_plane): State<ControlPlane>,
    caller: Manager,
) -> Result<Json<OrganizationInfo>, Error> {
    let (organization, since) = ops::users::organization(&control_plane, &caller.0).await?;
    Ok(Json(OrganizationInfo {
        org_id: organization.id,
        name: Some(organization.name),
        created_at: convert::time(since),
    }))
}
