//! What a server that speaks gRPC needs besides passing its calls on: the question whether it serves.
//! Protocol: <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

const CHECK: &str = "/grpc.health.v1.Health/Check";
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const UNIMPLEMENTED: HeaderValue = HeaderValue::from_static("12");
/// A message without a field: about the server as a whole.
const ABOUT_ALL: &[u8] = &[0, 0, 0, 0, 0];
/// A message whose `status` is `SERVING`.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
/// More than an answer ever has.
const ANSWER_LIMIT: usize = 1024;

/// Asks a server at `host` whether it serves.
pub fn check(host: &str) -> Request<Bytes> {
    let mut request = Request::new(Bytes::from_static(ABOUT_ALL));
    *request.method_mut() = http::Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = format!("http://{host}{CHECK}").parse().expect("a host and a path");
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    request
}

/// Whether the answer says that it does. A server without that service does if it answers.
pub async fn says_yes(answer: Response<Incoming>) -> bool {
    let (head, body) = answer.into_parts();
    let Ok(body) = Limited::new(body, ANSWER_LIMIT).collect().await else { return false };
    let is_unknown = |headers: &HeaderMap| headers.get(STATUS) == Some(&UNIMPLEMENTED);
    let is_unknown = is_unknown(&head.headers) || body.trailers().is_some_and(is_unknown);
    head.status == StatusCode::OK && (is_unknown || body.to_bytes() == SERVING)
}
