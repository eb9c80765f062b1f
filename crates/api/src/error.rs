//! The two error bodies of the public contract (behaviour 2.6 and 5.3). Nothing else ever leaves a server as an error.

use serde::{Deserialize, Serialize};

/// An error of the management API: `{"code", "message"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ManagementError {
    /// A constant a program can match.
    pub code: Code,
    /// One sentence that names the thing, the cause and the remedy.
    pub message: String,
    /// Greenroom's own: the request's id, under which the server's log knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// Codes of management errors; each has a page in `docs/errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// 400: a bad field, a bad range, or a state that refuses.
    ValidationError,
    /// 401: no key, or not a valid one.
    Unauthenticated,
    /// 403: a valid key without the permission.
    PermissionDenied,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 409: only for a stale base of a patch.
    Conflict,
    /// 413.
    PayloadTooLarge,
    /// 422: well said, and about something that is not there.
    Unprocessable,
    /// 429.
    RateLimited,
    /// 500: ours; the log has the cause under the request id.
    InternalError,
    /// 503: not now; try again.
    Unavailable,
}

impl Code {
    /// The HTTP status that goes with the code.
    pub fn status(self) -> u16 {
        match self {
            Code::ValidationError => 400,
            Code::Unauthenticated => 401,
            Code::PermissionDenied => 403,
            Code::NotFound => 404,
            Code::MethodNotAllowed => 405,
            Code::Conflict => 409,
            Code::PayloadTooLarge => 413,
            Code::Unprocessable => 422,
            Code::RateLimited => 429,
            Code::InternalError => 500,
            Code::Unavailable => 503,
        }
    }
}

/// An error of the inference API: `{"error", "error_code"?, "detail"?}`. A model's own error passes through unchanged instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferenceError {
    /// One sentence.
    pub error: String,
    /// A constant a program can match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<InferenceCode>,
    /// More about this occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Greenroom's own: the request's id, under which logs and traces know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// Codes of inference errors, as the inference contract lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InferenceCode {
    /// A deadline passed.
    Timeout,
    /// The request is wrong.
    ClientError,
    /// The model cannot serve now.
    ModelUnavailable,
    /// The model has never been ready.
    ModelNotReady,
    /// No such model, deployment or environment.
    ModelDoesNotExist,
    /// Too much at once.
    RateLimited,
    /// The body is over the limit.
    PayloadTooLarge,
    /// The key is missing, unknown or not allowed here.
    Unauthorized,
    /// The model failed.
    ApplicationError,
    /// The platform failed.
    InternalBasetenError,
}
