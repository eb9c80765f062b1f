//! Every error that leaves the management API: one shape, one code for each cause, nothing of our insides.

use api::error::{Code, ManagementError};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::request_id;
use crate::ops;

/// An error on its way out.
#[derive(Debug)]
pub struct Error {
    code: Code,
    message: String,
}

impl Error {
    /// An error with this code and sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// 400: the request is at fault.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::ValidationError, message)
    }

    /// 500: we are at fault; the log has the cause.
    pub fn internal() -> Self {
        Self::new(
            Code::InternalError,
            "an internal error: the server's log has the cause under this answer's request id",
        )
    }
}

impl Error {
    /// Its code and its sentence.
    pub fn into_parts(self) -> (Code, String) {
        (self.code, self.message)
    }
}

impl From<ops::Error> for Error {
    fn from(error: ops::Error) -> Self {
        let code = match &error {
            ops::Error::Invalid(_) | ops::Error::InUse { .. } => Code::ValidationError,
            ops::Error::NotFound { .. } => Code::NotFound,
            ops::Error::Unauthenticated => Code::Unauthenticated,
            ops::Error::Forbidden(_) => Code::PermissionDenied,
            ops::Error::Stale(_) | ops::Error::NoPlace(_) => Code::Conflict,
            ops::Error::Unprocessable(_) => Code::Unprocessable,
            ops::Error::Busy | ops::Error::Crowded | ops::Error::NotYet(_) => Code::Unavailable,
            ops::Error::Internal { .. } => {
                tracing::error!(error = &error as &dyn std::error::Error, "a request failed");
                return Self::internal();
            }
        };
        Self::new(code, error.to_string())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = ManagementError { code: self.code, message: self.message, request_id: request_id::current() };
        let mut response = (status, Json(body)).into_response();
        if self.code == Code::Unauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// 429, whose body the contract gives another shape.
pub fn rate_limited(retry_after_s: u64) -> Response {
    let body = json!({ "error": "Rate limit exceeded. Please try again later.", "retry_after": retry_after_s });
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, retry_after_s.to_string())], Json(body)).into_response()
}

/// The answer of every path that is none of ours.
pub async fn unknown_route(method: axum::http::Method, uri: axum::http::Uri) -> Error {
    Error::new(Code::NotFound, format!("there is no {method} {}: GET /v1/spec lists what there is", uri.path()))
}

/// The answer of a path of ours to a method that it does not take.
pub async fn unknown_method(method: axum::http::Method, uri: axum::http::Uri) -> Error {
    Error::new(
        Code::MethodNotAllowed,
        format!("{} does not take {method}: GET /v1/spec lists what it takes", uri.path()),
    )
}
