//! How a request becomes typed values. A refusal names the place in the request that is wrong.

use api::error::Code;
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request, path::ErrorKind, rejection::PathRejection},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use super::error::Error;
use crate::ControlPlane;

/// A JSON body, whatever the client calls its type.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<ControlPlane> for JsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, control_plane: &ControlPlane) -> Result<Self, Error> {
        parse(&read(request, control_plane).await?).map(Self)
    }
}

/// A JSON body that may be left out, which then means its defaults.
pub struct MaybeJsonBody<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<ControlPlane> for MaybeJsonBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, control_plane: &ControlPlane) -> Result<Self, Error> {
        let bytes = read(request, control_plane).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { parse(&bytes).map(Self) }
    }
}

/// The whole body, if it is there in time.
async fn read(request: Request, control_plane: &ControlPlane) -> Result<Bytes, Error> {
    let limit = control_plane.settings().body_timeout;
    let bytes = tokio::time::timeout(limit, Bytes::from_request(request, control_plane)).await;
    let bytes = bytes.map_err(|_| Error::invalid(format!("the body was not there after {} s", limit.as_secs_f32())))?;
    bytes.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Error::new(
                Code::PayloadTooLarge,
                "the body is larger than this server takes: files go to the upload endpoint",
            )
        } else {
            Error::invalid("the body ended before it was complete")
        }
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    // Read as a struct, an array would be its fields in their order.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Error::invalid("body: it is an array: it needs to be an object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        if cause.is_data() {
            at("body", &path, &cause)
        } else {
            Error::invalid(format!("the body is not JSON: {cause}"))
        }
    })?;
    deserializer.end().map_err(|cause| Error::invalid(format!("the body is not JSON: {cause}")))?;
    Ok(value)
}

/// The character NUL as it stands in a path or query.
const NUL: &str = "%00";

/// The query string. A repeated key makes a list.
pub struct InQuery<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for InQuery<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let text = parts.uri.query().unwrap_or_default();
        if let Some(pair) = text.split('&').find(|pair| pair.contains(NUL)) {
            let name = pair.split('=').next().unwrap_or_default();
            return Err(Error::invalid(format!("{name}: it has the character NUL, which nothing here has")));
        }
        let pairs = serde_html_form::Deserializer::from_bytes(text.as_bytes());
        serde_path_to_error::deserialize(pairs).map(Self).map_err(|error| {
            let path = error.path().to_string();
            at("query", &path, &error.into_inner())
        })
    }
}

/// The named parts of the path. A text that cannot be an id names nothing, hence 404.
pub struct InPath<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        if parts.uri.path().contains(NUL) {
            return Err(Error::new(Code::NotFound, format!("there is nothing at {}", parts.uri.path())));
        }
        let rejection = match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => return Ok(Self(value)),
            Err(rejection) => rejection,
        };
        if let PathRejection::FailedToDeserializePathParams(failure) = &rejection {
            match failure.kind() {
                ErrorKind::Message(why) | ErrorKind::DeserializeError { message: why, .. } => {
                    return Err(Error::new(Code::NotFound, format!("there is nothing at {}: {why}", parts.uri.path())));
                }
                ErrorKind::InvalidUtf8InPathParam { key } => {
                    return Err(Error::invalid(format!("path.{key}: it is not UTF-8")));
                }
                _ => {}
            }
        }
        tracing::error!(error = %rejection, "a route and its handler disagree on the path");
        Err(Error::internal())
    }
}

/// Names the place; the whole of it where the place is not known.
fn at(whole: &str, path: &str, cause: &dyn std::fmt::Display) -> Error {
    match path {
        "" | "." | "?" => Error::invalid(format!("{whole}: {cause}")),
        path => Error::invalid(format!("{path}: {cause}")),
    }
}
