//! The management API over HTTP. A handler parses, calls one operation, and converts: nothing is decided here. Around all of
//! them stand, from the outside in: request id, panic net, body limit, authentication, rate limit.

mod api_keys;
mod audit;
mod auth;
mod base_url;
mod billing;
mod convert;
mod deployments;
mod environment_groups;
mod environments;
mod error;
mod events;
mod extract;
mod graphql;
mod health;
mod instance_types;
mod logs;
mod metrics;
mod models;
mod oauth;
mod organizations;
mod patches;
mod paths;
mod policies;
mod promotion_difference;
mod promotions;
mod rate_limit;
mod regions;
mod replicas;
mod request_id;
mod secrets;
mod service_accounts;
mod sign_ins;
mod spec;
mod startups;
mod teams;
mod uploads;
mod users;
mod workspace_settings;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
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
        .route("/metrics", get(metrics::export))
        .route("/graphql", post(graphql::answer).layer(DefaultBodyLimit::max(patches::MOST_BYTES)))
        .route("/graphql/", post(graphql::answer).layer(DefaultBodyLimit::max(patches::MOST_BYTES)))
        .fallback(error::unknown_route)
        .method_not_allowed_fallback(error::unknown_method)
        .layer(from_fn_with_state(limiters.clone(), rate_limit::limit))
        .layer(from_fn_with_state(control_plane.clone(), auth::authenticate))
        .with_state(control_plane.clone());
    let open = Router::from(open_routes()).layer(from_fn_with_state(limiters, rate_limit::limit));
    let all = open
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .method_not_allowed_fallback(error::unknown_method)
        .with_state(control_plane)
        .fallback_service(managed);
    guarded(all, max_body_bytes)
}

/// What surrounds every route, whoever calls it.
fn guarded(router: Router, max_body_bytes: usize) -> Router {
    router
        .layer(DefaultBodyLimit::max(max_body_bytes))
        .layer(CatchPanicLayer::custom(request_id::answer_panic))
        .layer(from_fn(request_id::assign))
}

/// The description of the API.
pub fn openapi() -> OpenApi {
    spec::complete(routes().merge(open_routes()).into_openapi())
}

/// What answers without a key: it checks what callers bring in place of one.
fn open_routes() -> OpenApiRouter<ControlPlane> {
    oauth::routes().merge(sign_ins::open_routes())
}

fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::with_openapi(spec::skeleton())
        .merge(models::routes())
        .merge(deployments::routes())
        .merge(patches::routes())
        .merge(replicas::routes())
        .merge(logs::routes())
        .merge(events::routes())
        .merge(environments::routes())
        .merge(promotions::routes())
        .merge(policies::routes())
        .merge(environment_groups::routes())
        .merge(uploads::routes())
        .merge(secrets::routes())
        .merge(api_keys::routes())
        .merge(teams::routes())
        .merge(users::routes())
        .merge(service_accounts::routes())
        .merge(sign_ins::routes())
        .merge(organizations::routes())
        .merge(workspace_settings::routes())
        .merge(instance_types::routes())
        .merge(regions::routes())
        .merge(audit::routes())
        .merge(startups::routes())
        .merge(metrics::routes())
        .merge(billing::routes())
        .merge(spec::routes())
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::{Request, StatusCode},
    };
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_like_any_other_and_says_nothing_of_our_insides() {
        async fn fails() {
            panic!("the secret is hunter2");
        }
        let router = guarded(Router::new().route("/", get(fails)), 1);
        let answer = router.oneshot(Request::new(Body::empty())).await.expect("routers do not fail");
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(answer.headers().contains_key(request_id::HEADER));
        let body = to_bytes(answer.into_body(), 1000).await.expect("the body is short");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("errors are JSON");
        assert_eq!(body["code"], "INTERNAL_ERROR");
        assert!(!body.to_string().contains("hunter2"));
    }
}
