//! Routes of signing in: by the identity provider, in a browser, and on a device that waits for somebody to agree in one.

use api::v1::oauth::{AnswerDeviceRequest, AnsweredDevice, DeviceAuthorization, SignInOptions};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::{self, Manager},
    base_url::BaseUrl,
    error::Error,
    extract::{InQuery, JsonBody},
};
use crate::{
    ControlPlane,
    ops::{self, sign_ins},
};

/// Where the provider sends people back to. It stands in the provider's configuration, so it never changes.
const CALLBACK: &str = "/v1/oauth/callback";
/// Where the dashboard takes a sign-in up.
const TAKEN_UP: &str = "/ui/signed-in";
/// Where a person answers a device.
const DEVICE_PAGE: &str = "/ui/device";

/// Those for everybody.
pub fn open_routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(sign_in_options))
        .routes(routes!(sign_in))
        .routes(routes!(callback))
        .routes(routes!(authorize_device))
}

/// Those for people who are signed in.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(answer_device))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SignInQuery {
    /// The hash of what the token will be asked for with (RFC 7636, S256).
    code_challenge: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CallbackQuery {
    /// Which sign-in this is.
    #[serde(default)]
    state: String,
    /// What the provider gives for it.
    code: Option<String>,
    /// Why it gives nothing.
    error: Option<String>,
    /// The same for people.
    error_description: Option<String>,
}

/// Says how people sign in here who bring no key.
#[utoipa::path(get, path = "/v1/oauth/options", tag = "OAuth", security(), responses((status = 200, body = SignInOptions)))]
async fn sign_in_options(State(control_plane): State<ControlPlane>) -> Json<SignInOptions> {
    let provider = control_plane.settings().sign_in.provider.as_ref().map(|(_, name)| name.clone());
    Json(SignInOptions { provider })
}

/// Sends a browser to the identity provider.
#[utoipa::path(get, path = "/v1/oauth/sign_in", tag = "OAuth", security(), params(SignInQuery), responses((status = 303, description = "To the identity provider")))]
async fn sign_in(
    State(control_plane): State<ControlPlane>,
    BaseUrl(base_url): BaseUrl,
    InQuery(query): InQuery<SignInQuery>,
) -> Result<Response, Error> {
    let to = sign_ins::begin(&control_plane, format!("{base_url}{CALLBACK}"), query.code_challenge).await?;
    Ok(see_other(&to))
}

/// Takes a browser back from the identity provider, and sends it to the dashboard.
#[utoipa::path(get, path = "/v1/oauth/callback", tag = "OAuth", security(), params(CallbackQuery), responses((status = 303, description = "To the dashboard, with a code or with an error")))]
async fn callback(
    State(control_plane): State<ControlPlane>,
    headers: HeaderMap,
    InQuery(query): InQuery<CallbackQuery>,
) -> Response {
    let arrived = match query.code {
        Some(code) => sign_ins::arrive(&control_plane, &query.state, code, auth::client_of(&headers)).await,
        None => {
            let why = query.error_description.or(query.error).unwrap_or_else(|| "it gives no reason".into());
            Err(ops::Error::Forbidden(format!("the identity provider has not signed you in: {why}")))
        }
    };
    // After the #, so that no server sees it, no log and no Referer.
    let told = |name: &str, value: &str| {
        see_other(&format!("{TAKEN_UP}#{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
    };
    match arrived {
        Ok(code) => told("code", &code),
        Err(error) => told("error", &Error::from(error).into_parts().1),
    }
}

/// Lets a device wait for a person (RFC 8628).
#[utoipa::path(post, path = "/v1/oauth/device_authorization", tag = "OAuth", security(), responses((status = 200, body = DeviceAuthorization)))]
async fn authorize_device(
    State(control_plane): State<ControlPlane>,
    BaseUrl(base_url): BaseUrl,
) -> Result<Response, Error> {
    let waiting = sign_ins::begin_on_device(&control_plane).await?;
    let verification_uri = format!("{base_url}{DEVICE_PAGE}");
    let body = DeviceAuthorization {
        verification_uri_complete: format!("{verification_uri}?code={}", waiting.user_code),
        verification_uri,
        device_code: waiting.device_code,
        user_code: waiting.user_code,
        expires_in: waiting.seconds,
        interval: waiting.interval_s,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// Agrees to a device that waits, which is then signed in as the caller, or does not.
#[utoipa::path(post, path = "/v1/oauth/device", tag = "OAuth", request_body = AnswerDeviceRequest, responses((status = 200, body = AnsweredDevice)))]
async fn answer_device(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    JsonBody(request): JsonBody<AnswerDeviceRequest>,
) -> Result<Json<AnsweredDevice>, Error> {
    sign_ins::answer_device(&control_plane, &caller, &request.user_code, request.allow).await?;
    Ok(Json(AnsweredDevice { allowed: request.allow }))
}

fn see_other(to: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, to), (header::CACHE_CONTROL, "no-store")]).into_response()
}
