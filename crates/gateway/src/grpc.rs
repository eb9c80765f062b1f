//! gRPC calls: how they name what they are for, what differs on their way, and how they are refused. They are HTTP/2 on both sides
//! and pass unread; protocol: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{self, CONTENT_TYPE},
    request,
    uri::{Authority, PathAndQuery, Scheme},
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{
    errors::Refusal,
    route::{self, Target},
};

/// A client's key, so that `authorization` may be the model's own.
pub(crate) const AUTHORIZATION: HeaderName = HeaderName::from_static("baseten-authorization");
const MODEL: HeaderName = HeaderName::from_static("baseten-model-id");
const ENVIRONMENT: HeaderName = HeaderName::from_static("x-baseten-environment");
const DEPLOYMENT: HeaderName = HeaderName::from_static("x-baseten-deployment");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const MIME: &str = "application/grpc";
/// What a message escapes besides whatever is not ASCII.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// Whether a request is a gRPC call.
pub(crate) fn is_call<B>(request: &Request<B>) -> bool {
    let is_grpc =
        |mime: &str| mime.strip_prefix(MIME).is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']));
    request.version() == Version::HTTP_2
        && request.headers().get(CONTENT_TYPE).and_then(|mime| mime.to_str().ok()).is_some_and(is_grpc)
}

/// The model that a call names: in its metadata (`baseten-model-id: model-ID`), else by its host (`model-ID.…`).
pub(crate) fn model<'r>(host: Option<&'r str>, headers: &'r HeaderMap) -> Result<Cow<'r, str>, Refusal> {
    let named = headers.get(MODEL).and_then(|name| name.to_str().ok());
    let named = named.map(|name| Cow::Borrowed(name.strip_prefix("model-").unwrap_or(name)));
    named.or_else(|| host.and_then(route::model_of_host)).ok_or(Refusal::NoModelNamed)
}

/// The deployment that a call names in its metadata: production's where it names none.
pub(crate) fn target(headers: &HeaderMap) -> Result<Target<'_>, Refusal> {
    let text = |name| headers.get(name).map(|value| value.to_str().map_err(|_| Refusal::MalformedPath)).transpose();
    match (text(ENVIRONMENT)?, text(DEPLOYMENT)?) {
        (Some(_), Some(_)) => Err(Refusal::TwoTargets),
        (_, Some(deployment)) => Ok(Target::Deployment(deployment)),
        (Some("development"), None) => Ok(Target::Development),
        (environment, None) => Ok(Target::Environment(environment.unwrap_or("production").into())),
    }
}

/// Makes the head of a request for a replica one for a replica that speaks gRPC.
pub(crate) fn to_replica(head: &mut request::Parts) {
    for name in [&AUTHORIZATION, &MODEL, &ENVIRONMENT, &DEPLOYMENT, &header::HOST] {
        head.headers.remove(name);
    }
    head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    let mut target = head.uri.clone().into_parts();
    target.scheme = Some(Scheme::HTTP);
    target.authority = Some(Authority::from_static("localhost"));
    target.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    head.uri = Uri::from_parts(target).expect("a target with all its parts");
    head.version = Version::HTTP_2;
}

/// A refusal as clients of gRPC understand it: an answer that is nothing but its trailers.
pub(crate) fn refused<B: Default>(refusal: &Refusal) -> Response<B> {
    let code = code(refusal.status());
    let text = refusal.to_string();
    let message = utf8_percent_encode(&text, ESCAPED).to_string();
    let mut response = Response::new(B::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MIME));
    headers.insert(STATUS, code.into());
    headers.insert(MESSAGE, HeaderValue::try_from(message).expect("escaped text is printable"));
    response
}

/// The code of gRPC that says what a status of HTTP does
/// (<https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>).
fn code(status: StatusCode) -> u16 {
    match status {
        StatusCode::BAD_REQUEST => 3,                                       // INVALID_ARGUMENT
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => 4,     // DEADLINE_EXCEEDED
        StatusCode::NOT_FOUND => 5,                                         // NOT_FOUND
        StatusCode::FORBIDDEN => 7,                                         // PERMISSION_DENIED
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => 8, // RESOURCE_EXHAUSTED
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => 12, // UNIMPLEMENTED
        StatusCode::UNAUTHORIZED => 16,                                     // UNAUTHENTICATED
        _ => 14,                                                            // UNAVAILABLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        headers.iter().map(header).collect()
    }

    #[test]
    fn a_call_is_known_by_its_version_and_type() {
        let is_call = |version, mime| {
            super::is_call(&Request::post("/").version(version).header(CONTENT_TYPE, mime).body(()).unwrap())
        };
        for mime in ["application/grpc", "application/grpc+proto", "application/grpc;x=1"] {
            assert!(is_call(Version::HTTP_2, mime) && !is_call(Version::HTTP_11, mime), "{mime}");
        }
        assert!(!is_call(Version::HTTP_2, "application/grpc-web") && !is_call(Version::HTTP_2, "application/json"));
    }

    #[test]
    fn metadata_comes_before_the_host() {
        let named = call(&[("baseten-model-id", "model-abc")]);
        assert_eq!(model(Some("model-xyz.grpc.example.com"), &named).unwrap(), "abc");
        assert_eq!(model(Some("model-xyz.grpc.example.com"), &call(&[])).unwrap(), "xyz");
        assert_eq!(model(Some("localhost:8000"), &call(&[])), Err(Refusal::NoModelNamed));
    }

    #[test]
    fn a_call_is_for_one_deployment() {
        assert_eq!(target(&call(&[])), Ok(Target::Environment("production".into())));
        assert_eq!(target(&call(&[("x-baseten-environment", "staging")])), Ok(Target::Environment("staging".into())));
        assert_eq!(target(&call(&[("x-baseten-environment", "development")])), Ok(Target::Development));
        assert_eq!(target(&call(&[("x-baseten-deployment", "d1")])), Ok(Target::Deployment("d1")));
        let both = [("x-baseten-deployment", "d1"), ("x-baseten-environment", "staging")];
        assert_eq!(target(&call(&both)), Err(Refusal::TwoTargets));
    }
}
