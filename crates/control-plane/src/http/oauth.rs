//! Where tokens are given out. Nobody has a key yet who comes here: what they bring instead is checked by the operations.

use api::v1::oauth::{TokenError, TokenRequest, TokenResponse};
use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{auth, error::Error};
use crate::{
    ControlPlane,
    ops::{
        sign_ins,
        tokens::{self, Refusal, Token},
    },
};

/// The grant of RFC 8628.
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The routes, for everybody.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(issue_token))
}

/// Gives out a token (OAuth 2.0, RFC 6749): to service accounts, to people who have signed in, to devices that a person has agreed to.
#[utoipa::path(post, path = "/v1/oauth/token", tag = "OAuth", security(), request_body(content((TokenRequest = "application/x-www-form-urlencoded"), (TokenRequest = "application/json"))), responses((status = 200, body = TokenResponse), (status = 400, body = TokenError), (status = 401, body = TokenError)))]
async fn issue_token(
    State(control_plane): State<ControlPlane>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let request = read(&headers, &body)?;
    let client = auth::client_of(&headers);
    let token = match request.grant_type.as_str() {
        "client_credentials" => {
            let (id, secret) = client_credentials(&headers, request)?;
            tokens::for_client(&control_plane, &id, &secret, client).await?
        }
        "authorization_code" => {
            let code = required(request.code, "code")?;
            let verifier = required(request.code_verifier, "code_verifier")?;
            sign_ins::for_code(&control_plane, &code, &verifier, client).await?
        }
        DEVICE_CODE => {
            let device_code = required(request.device_code, "device_code")?;
            sign_ins::for_device(&control_plane, &device_code, client).await?
        }
        other => {
            let known = format!("choose client_credentials, authorization_code or {DEVICE_CODE}");
            return Err(Refused::new("unsupported_grant_type", format!("grant_type {other:?} is unknown: {known}")));
        }
    };
    Ok(answer(token))
}

/// Nobody between keeps what the answer has (RFC 6749, section 5.1).
fn answer(token: Token) -> Response {
    let body = TokenResponse { access_token: token.text, token_type: "Bearer".into(), expires_in: token.seconds };
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(body)).into_response()
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<TokenRequest, Refused> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let malformed = |why: String| Refused::new("invalid_request", format!("the body cannot be read: {why}"));
    match kind.starts_with("application/json") {
        true => serde_json::from_slice(body).map_err(|error| malformed(error.to_string())),
        false => serde_html_form::from_bytes(body).map_err(|error| malformed(error.to_string())),
    }
}

fn required(field: Option<String>, name: &str) -> Result<String, Refused> {
    field.ok_or_else(|| Refused::new("invalid_request", format!("{name} is missing: this grant_type needs it")))
}

/// Client id and secret, from `Authorization: Basic` or from the body.
fn client_credentials(headers: &HeaderMap, request: TokenRequest) -> Result<(String, String), Refused> {
    let basic = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(basic);
    let in_body = request.client_id.zip(request.client_secret);
    basic.or(in_body).ok_or_else(|| {
        let remedy = "send client_id and client_secret, in the body or as Authorization: Basic";
        Refused::new("invalid_client", format!("there are no client credentials: {remedy}"))
    })
}

fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.trim().split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| BASE64_STANDARD.decode(encoded.trim()).ok())??;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()))
}

/// Why there is no token: in the words of OAuth, or, where that is ours to mend, as everywhere else.
enum Refused {
    OAuth { error: &'static str, description: String },
    Ours(Error),
}

impl Refused {
    fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self::OAuth { error, description: description.into() }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::InvalidClient => Self::new("invalid_client", refusal.to_string()),
            Refusal::InvalidGrant(_) => Self::new("invalid_grant", refusal.to_string()),
            Refusal::Pending => Self::new("authorization_pending", refusal.to_string()),
            Refusal::Denied => Self::new("access_denied", refusal.to_string()),
            Refusal::Expired => Self::new("expired_token", refusal.to_string()),
            Refusal::Other(error) => Self::Ours(error.into()),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (error, error_description) = match self {
            Self::OAuth { error, description } => (error, description),
            Self::Ours(error) => return error.into_response(),
        };
        let is_client = error == "invalid_client";
        let status = if is_client { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        let mut response = (status, Json(TokenError { error: error.into(), error_description })).into_response();
        if is_client {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        }
        response
    }
}
