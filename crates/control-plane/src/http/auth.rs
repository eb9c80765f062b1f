//! Who is calling. Every route, unknown ones included, is behind [`authenticate`]; what the caller may do is said by the type
//! a handler asks for: [`Manager`] for most, [`KeyManager`] for the routes about keys, [`MetricsReader`] for what Prometheus reads.

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::error::Error;
use crate::{
    ControlPlane,
    ops::{self, Caller, Permission},
};

/// Refuses a request without a valid key; hands the others on with their [`Caller`].
pub async fn authenticate(State(control_plane): State<ControlPlane>, mut request: Request, next: Next) -> Response {
    let Some(key) = presented_key(request.headers()) else {
        return Error::from(ops::Error::Unauthenticated).into_response();
    };
    match ops::api_keys::authenticate(&control_plane, key).await {
        Ok(caller) => {
            tracing::debug!(api_key.prefix = %caller.prefix(), "authenticated");
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => Error::from(error).into_response(),
    }
}

/// The key after `Api-Key` or `Bearer`, whose case does not matter.
fn presented_key(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let is_ours = scheme.eq_ignore_ascii_case("api-key") || scheme.eq_ignore_ascii_case("bearer");
    is_ours.then(|| key.trim())
}

/// A caller who may deploy and manage.
pub struct Manager(pub Caller);

/// A caller who may manage keys.
pub struct KeyManager(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for Manager {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        caller_with(parts, Permission::Manage).map(Self)
    }
}

/// A caller who may read metrics.
pub struct MetricsReader(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for MetricsReader {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        caller_with(parts, Permission::ReadMetrics).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for KeyManager {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        caller_with(parts, Permission::ManageKeys).map(Self)
    }
}

fn caller_with(parts: &Parts, permission: Permission) -> Result<Caller, Error> {
    let caller = parts.extensions.get::<Caller>().ok_or(ops::Error::Unauthenticated)?;
    caller.require(permission)?;
    Ok(caller.clone())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(value: &str, expected: Option<&str>) {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
        assert_eq!(presented_key(&headers), expected, "{value:?}");
    }

    #[test]
    fn both_schemes_carry_a_key_and_others_do_not() {
        check("Api-Key abc.def", Some("abc.def"));
        check("Bearer abc.def", Some("abc.def"));
        check("bearer  abc.def ", Some("abc.def"));
        check("Basic abc.def", None);
        check("abc.def", None);
        check("", None);
    }
}
