//! The management API over HTTP. A handler parses, calls one operation, and converts: nothing is decided here. Around all of
//! them stand, from the outside in: request id, panic net, body limit, authentication, rate limit.

mod api_keys;
mod audit;
mod auth;
mod convert;
mod deployments;
mod environments;
mod error;
mod extract;
mod health;
mod instance_types;
mod logs;
mod models;
mod organizations;
mod paths;
mod rate_limit;
mod regions;
mod request_id;
mod secrets;
mod spec;
mod teams;
mod uploads;
mod users;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, from_fn_with_state},
    routing::get,
};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::ControlPlane;

/// Everything that is served on the management side: the API, `/v1/spec`, `/healthz`, `/readyz`.
pub fn router(control_plane: ControlPlane) -> Router {
    let settings = control_plane.settings();
    let limiters = rate_limit::RateLimiters::new(settings.rate_limits);
    let max_body_bytes = settings.max_body_bytes;
    let managed = Router::from(routes())
        .fallback(error::unknown_route)
        .method_not_allowed_fallback(error::unknown_method)
        .layer(from_fn_with_state(limiters, rate_limit::limit))
        .layer(from_fn_with_state(control_plane.clone(), auth::authenticate))
        .with_state(control_plane.clone());
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .method_not_allowed_fallback(error::unknown_method)
        .with_state(control_plane)
        .fallback_service(managed)
        .layer(DefaultBodyLimit::max(max_body_bytes))
        .layer(CatchPanicLayer::custom(request_id::answer_panic))
        .layer(from_fn(request_id::assign))
}

/// The description of the API.
pub fn openapi() -> OpenApi {
    spec::complete(routes().into_openapi())
}

fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::with_openapi(spec::skeleton())
        .merge(models::routes())
        .merge(deployments::routes())
        .merge(logs::routes())
        .merge(environments::routes())
        .merge(uploads::routes())
        .merge(secrets::routes())
        .merge(api_keys::routes())
        .merge(teams::routes())
        .merge(users::routes())
        .merge(organizations::routes())
        .merge(instance_types::routes())
        .merge(regions::routes())
        .merge(audit::routes())
        .merge(spec::routes())
}
