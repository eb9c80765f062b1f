//! An id for every request: on the answer, on every log line, and in what a panic leaves behind.

use std::any::Any;

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Instrument;

use super::error::Error;

/// The header that carries it.
pub const HEADER: HeaderName = HeaderName::from_static("x-baseten-request-id");

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that is being answered; none outside of one.
pub fn current() -> Option<String> {
    CURRENT.try_with(String::clone).ok()
}

/// Gives the request an id, its log lines a span that shows it, and its errors a body that has it.
pub async fn assign(request: Request, next: Next) -> Response {
    let id = hex::encode(rand::random::<[u8; 16]>());
    let span =
        tracing::info_span!("request", request.id = %id, method = %request.method(), path = request.uri().path());
    let mut response = CURRENT.scope(id.clone(), next.run(request).instrument(span.clone())).await;
    span.in_scope(|| tracing::debug!(status = response.status().as_u16(), "answered"));
    let value = HeaderValue::from_str(&id).expect("hexadecimal digits are a header value");
    response.headers_mut().insert(HEADER, value);
    response
}

/// The answer when a handler panics: the message goes to the log, under the request's id.
pub fn answer_panic(panic: Box<dyn Any + Send>) -> Response {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(panic = message, "a request handler panicked");
    Error::internal().into_response()
}
