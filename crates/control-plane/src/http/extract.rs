//! How a request becomes typed values. A refusal names the place in the request that is wrong.

use api::error::Code;
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
    response::IntoResponse,
};
use serde::de::DeserializeOwned;

use super::error::Error;

/// A JSON body, whatever the client calls its type.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Error::new(Code::PayloadTooLarge, "the body is larger than this server takes: files go to the upload endpoint")
            } else {
                Error::invalid("the body ended before it was complete")
            }
        })?;
        let mut deserializer = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let path = error.path().to_string();
            let cause = error.into_inner();
            if cause.is_data() { at("body", &path, &cause) } else { Error::invalid(format!("the body is not JSON: {cause}")) }
        })?;
        deserializer.end().map_err(|cause| Error::invalid(format!("the body is not JSON: {cause}")))?;
        Ok(Self(value))
    }
}

/// The query string. A repeated key makes a list.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let text = parts.uri.query().unwrap_or_default();
        let pairs = serde_html_form::Deserializer::from_bytes(text.as_bytes());
        serde_path_to_error::deserialize(pairs).map(Self).map_err(|error| {
            let path = error.path().to_string();
            at("query", &path, &error.into_inner())
        })
    }
}

/// The named parts of the path. A text that cannot be an id names nothing, hence 404.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) if rejection.status() == StatusCode::BAD_REQUEST => {
                Err(Error::new(Code::NotFound, format!("nothing is at {}: {}", parts.uri.path(), rejection.body_text())))
            }
            Err(rejection) => {
                tracing::error!(error = %rejection, "a route and its handler disagree on the path");
                Err(Error::internal())
            }
        }
    }
}

fn at(part: &str, path: &str, cause: &dyn std::fmt::Display) -> Error {
    match path {
        "" | "." | "?" => Error::invalid(format!("{part}: {cause}")),
        path => Error::invalid(format!("{part}.{path}: {cause}")),
    }
}

/// Only for `IntoResponse` bounds of middleware: an error is a response.
pub fn refuse(error: impl Into<Error>) -> axum::response::Response {
    error.into().into_response()
}
