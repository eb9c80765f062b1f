//! Every answer that the gateway gives in the place of a model: one sentence, its status, its code, and whose fault it is.
//! A model's own error never comes here; it passes through unchanged.

use std::num::NonZeroU32;

use api::{
    error::{InferenceCode, InferenceError},
    v1::time::rfc3339,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::{admission::Fullness, meter::Reached, request_id::RequestId};

/// Says who made an error: `gateway` (this request cannot be), `platform` (no replica could take it), `model` (it answered so).
pub(crate) const ERROR_SOURCE: HeaderName = HeaderName::from_static("x-greenroom-error-source");

/// Why a request is not answered by a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("please check the api-key you provided")]
    WrongKey,
    #[error("please check the api-key you provided")]
    MissingKey,
    #[error("this api-key may not call this model")]
    ForbiddenModel,
    #[error("this api-key may not call this model in this environment")]
    ForbiddenEnvironment,
    #[error("this api-key may call {limit} times a minute, and has")]
    KeyLimit { limit: NonZeroU32, seconds: u64 },
    #[error("no such path: expected /TARGET/predict, /TARGET/wake, /TARGET/sync/PATH or /TARGET/websocket")]
    UnknownPath,
    #[error("the path is malformed: it may not contain . or .. as a segment")]
    EscapingPath,
    #[error("the path is malformed: its percent-encoding is not UTF-8")]
    MalformedPath,
    #[error("this server is a proxy for its own names only, and {0:?} is none of them")]
    ForeignName(String),
    #[error("this server takes no CONNECT requests: set `proxy.tls` in its configuration where clients need that")]
    NoTunnels,
    #[error("{0} is not allowed here")]
    WrongMethod(Method, Allowed),
    #[error("async requests are not available on this server: call predict instead")]
    AsyncUnavailable,
    #[error("a websocket needs an HTTP/1.1 request with `connection: upgrade` and `upgrade: websocket`")]
    NotAnUpgrade,
    #[error("a gRPC call names its model in its metadata: baseten-model-id: model-ID")]
    NoModelNamed,
    #[error("a call is for an environment or for a deployment, not for both")]
    TwoTargets,
    #[error("deployment {0} does not speak gRPC: its config has no `runtime.transport.kind: grpc`")]
    NoGrpc(String),
    #[error("deployment {0} speaks gRPC only")]
    OnlyGrpc(String),
    #[error("no such model: {0}")]
    UnknownModel(String),
    #[error("model {model} has no environment {environment}")]
    UnknownEnvironment { model: String, environment: String },
    #[error("model {model} has no deployment in environment {environment}")]
    EmptyEnvironment { model: String, environment: String },
    #[error("model {0} has no development deployment")]
    NoDevelopment(String),
    #[error("model {model} has no deployment {deployment}")]
    UnknownDeployment { model: String, deployment: String },
    #[error("Model is not ready, it is still being built or loaded")]
    NotReady,
    #[error("Model is inactive: deployment {0} was deactivated; activate it to call it")]
    Inactive(String),
    #[error("Model is unhealthy, it is not ready to make predictions")]
    Unhealthy,
    #[error("payload size of {size} bytes exceeds maximum size of {limit} bytes")]
    TooLarge { size: u64, limit: u64 },
    #[error("the request body stopped arriving: nothing came for {0} ms")]
    SlowBody(u128),
    #[error("the request body ended before it was complete")]
    BrokenBody,
    #[error("too many requests are waiting for this deployment")]
    QueueFull { fullness: Fullness, in_flight: u32 },
    #[error("every replica of this deployment is busy, and its settings say that requests do not wait for one")]
    Busy { in_flight: u32, slots: u32 },
    #[error("{}: {}", .0.of, .0.limit)]
    TokensSpent(Box<Reached>),
    #[error("no replica became free within {0} ms")]
    Parked(u64),
    #[error("no replica became free within {0} ms")]
    ParkedUpgrade(u64),
    #[error("no replica could be reached in {0} attempts")]
    Unreachable(u32),
    #[error("the model did not begin to answer within {0} ms")]
    NoAnswer(u64),
    #[error("Error making prediction")]
    Crashed,
    #[error("this server has no routes yet: it is starting")]
    NoRoutes,
}

/// The methods that a path takes, as an `Allow` header has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowed(pub(crate) &'static str);

/// Whose decision an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Gateway,
    Platform,
}

impl Refusal {
    fn shape(&self) -> (StatusCode, Option<InferenceCode>, Source) {
        use InferenceCode as Code;
        use Source::{Gateway, Platform};
        match self {
            Self::WrongKey | Self::MissingKey => (StatusCode::UNAUTHORIZED, None, Gateway),
            Self::ForeignName(_) | Self::NoTunnels => (StatusCode::FORBIDDEN, Some(Code::ClientError), Gateway),
            Self::ForbiddenModel | Self::ForbiddenEnvironment => {
                (StatusCode::FORBIDDEN, Some(Code::Unauthorized), Gateway)
            }
            Self::UnknownPath => (StatusCode::NOT_FOUND, Some(Code::ClientError), Gateway),
            Self::EscapingPath
            | Self::MalformedPath
            | Self::AsyncUnavailable
            | Self::NotAnUpgrade
            | Self::NoModelNamed
            | Self::TwoTargets
            | Self::OnlyGrpc(_)
            | Self::BrokenBody => (StatusCode::BAD_REQUEST, Some(Code::ClientError), Gateway),
            Self::NoGrpc(_) => (StatusCode::NOT_IMPLEMENTED, Some(Code::ClientError), Gateway),
            Self::WrongMethod(..) => (StatusCode::METHOD_NOT_ALLOWED, Some(Code::ClientError), Gateway),
            Self::UnknownModel(_)
            | Self::UnknownEnvironment { .. }
            | Self::EmptyEnvironment { .. }
            | Self::NoDevelopment(_)
            | Self::UnknownDeployment { .. } => (StatusCode::NOT_FOUND, Some(Code::ModelDoesNotExist), Gateway),
            Self::NotReady => (StatusCode::BAD_REQUEST, Some(Code::ModelNotReady), Platform),
            Self::Inactive(_) => (StatusCode::NOT_FOUND, Some(Code::ModelUnavailable), Platform),
            Self::Unhealthy | Self::Parked(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, Some(Code::ModelUnavailable), Platform)
            }
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Some(Code::PayloadTooLarge), Gateway),
            Self::SlowBody(_) => (StatusCode::REQUEST_TIMEOUT, Some(Code::ClientError), Gateway),
            Self::KeyLimit { .. } | Self::TokensSpent(_) => {
                (StatusCode::TOO_MANY_REQUESTS, Some(Code::RateLimited), Gateway)
            }
            Self::QueueFull { .. } | Self::Busy { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, Some(Code::RateLimited), Platform)
            }
            Self::ParkedUpgrade(_) => (StatusCode::GATEWAY_TIMEOUT, Some(Code::ModelUnavailable), Platform),
            Self::NoAnswer(_) => (StatusCode::GATEWAY_TIMEOUT, Some(Code::Timeout), Platform),
            Self::Crashed => (StatusCode::BAD_GATEWAY, Some(Code::ModelUnavailable), Platform),
            Self::Unreachable(_) | Self::NoRoutes => {
                (StatusCode::SERVICE_UNAVAILABLE, Some(Code::ModelUnavailable), Platform)
            }
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.shape().0
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::MissingKey => Some("send it as `Authorization: Api-Key KEY` or `Authorization: Bearer KEY`".into()),
            Self::QueueFull { fullness: Fullness::Requests { waiting, limit }, in_flight } => {
                Some(format!("{waiting} of at most {limit} requests wait, {in_flight} are being answered"))
            }
            Self::QueueFull { fullness: Fullness::Bytes { waiting, limit }, in_flight } => Some(format!(
                "bodies of {waiting} of at most {limit} bytes wait, {in_flight} requests are being answered"
            )),
            Self::Busy { in_flight, slots } => Some(format!("{in_flight} requests are being answered, in {slots} slots")),
            Self::KeyLimit { seconds, .. } => {
                Some(format!("wait {seconds} seconds, or ask whoever made the key for one that may call more often"))
            }
            Self::TokensSpent(reached) => Some(format!(
                "requests are served again from {} on; an administrator can change the policy: greenroom policies set {}",
                rfc3339(reached.limit.until.0),
                reached.limit.policy,
            )),
            Self::NoDevelopment(_) => Some(
                "call /production/predict, or with the truss client `truss predict --published`; `truss push --watch` makes one"
                    .into(),
            ),
            Self::NotReady => Some("look at the deployment's status and logs".into()),
            Self::Unhealthy => {
                Some("no replica passes its health checks, or the deployment failed: see its logs".into())
            }
            Self::Crashed => Some("the replica went away with the request; it was not repeated".into()),
            _ => None,
        }
    }

    /// After how many seconds the same request may succeed without anybody doing anything; none where it never will.
    fn passes_after_s(&self) -> Option<u64> {
        match self {
            Self::QueueFull { .. } | Self::Busy { .. } | Self::Unreachable(_) | Self::NoRoutes => Some(1),
            Self::KeyLimit { seconds, .. } => Some(*seconds),
            Self::TokensSpent(reached) => Some(reached.limit.retry_after_s),
            _ => None,
        }
    }

    /// The answer as the inference contract shapes it.
    pub(crate) fn into_response(self, id: RequestId) -> Response<Bytes> {
        let (status, error_code, source) = self.shape();
        let (error, detail) = (self.to_string(), self.detail());
        let body = InferenceError { error, error_code, detail, request_id: Some(id.to_string()) };
        let body = serde_json::to_vec(&body).expect("three texts always serialise");
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let source = match source {
            Source::Gateway => "gateway",
            Source::Platform => "platform",
        };
        headers.insert(ERROR_SOURCE, HeaderValue::from_static(source));
        if let Some(seconds) = self.passes_after_s() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        match self {
            Self::WrongMethod(_, Allowed(methods)) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(methods));
            }
            Self::WrongKey | Self::MissingKey => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_id::RequestIds;

    #[test]
    fn a_wrong_key_is_answered_with_the_contracts_own_words() {
        let response = Refusal::WrongKey.into_response(RequestIds::new(7).next());
        assert_eq!(response.status(), 401);
        let expected =
            br#"{"error":"please check the api-key you provided","request_id":"00000000000000000000000000000007"}"#;
        assert_eq!(&response.body()[..], expected);
    }

    #[test]
    fn a_full_queue_says_when_to_come_back_and_how_full_it_is() {
        let response = Refusal::QueueFull { fullness: Fullness::Requests { waiting: 7, limit: 7 }, in_flight: 2 }
            .into_response(RequestIds::new(7).next());
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "1");
        let body: InferenceError = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body.error_code, Some(InferenceCode::RateLimited));
        assert_eq!(body.detail.as_deref(), Some("7 of at most 7 requests wait, 2 are being answered"));
    }
}
