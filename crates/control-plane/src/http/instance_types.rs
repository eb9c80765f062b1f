//! Routes of instance types and their prices.

use api::v1::instance_types::{InstanceTypePrices, InstanceTypeWithPrice, InstanceTypes};
use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{auth::Manager, convert};
use crate::ControlPlane;

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(list_instance_types)).routes(routes!(list_instance_type_prices))
}

/// Lists the instance types that deployments may have.
#[utoipa::path(get, path = "/v1/instance_types", tag = "Instance types", responses((status = 200, body = InstanceTypes)))]
async fn list_instance_types(State(control_plane): State<ControlPlane>, _: Manager) -> Json<InstanceTypes> {
    let types = control_plane.settings().instance_types.types();
    Json(InstanceTypes { instance_types: types.iter().map(convert::instance_type).collect() })
}

/// Lists what they cost.
#[utoipa::path(get, path = "/v1/instance_type_prices", tag = "Instance types", responses((status = 200, body = InstanceTypePrices)))]
async fn list_instance_type_prices(State(control_plane): State<ControlPlane>, _: Manager) -> Json<InstanceTypePrices> {
    let settings = control_plane.settings();
    let priced = settings.instance_types.types().iter().map(|kind| InstanceTypeWithPrice {
        instance_type: convert::instance_type(kind),
        price: settings.prices.get(&kind.id).copied().unwrap_or(0.0),
    });
    Json(InstanceTypePrices { instance_types: priced.collect() })
}
