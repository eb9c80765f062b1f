//! Who is calling. Every route, unknown ones included, is behind [`authenticate`]; what the caller may do is said by the type
//! a handler asks for: [`Manager`] for most, [`KeyManager`] for the routes about keys, [`MetricsReader`] for what Prometheus reads.

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};

use store::domain::ClientProgram;

use super::error::Error;
use crate::{
    ControlPlane,
    ops::{self, Caller, Permission},
};

/// By which the dashboard says that it is one.
const CLIENT: &str = "x-greenroom-client";
const DASHBOARD: &str = "dashboard";
/// By which any client may group its calls.
const SESSION: &str = "x-greenroom-session";
const LONGEST_NAME: usize = 100;

/// Refuses a request without a valid key; hands the others on with their [`Caller`].
pub async fn authenticate(State(control_plane): State<ControlPlane>, mut request: Request, next: Next) -> Response {
    let Some(key) = presented_key(request.headers()) else {
        return Error::from(ops::Error::Unauthenticated).into_response();
    };
    match ops::api_keys::authenticate(&control_plane, key, client_of(request.headers())).await {
        Ok(caller) => {
            tracing::debug!(api_key.prefix = %caller.prefix(), "authenticated");
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => Error::from(error).into_response(),
    }
}

/// The key after `Api-Key` or `Bearer`, whose case does not matter; in a header of our own where there is one, as on endpoints of models.
fn presented_key(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("x-greenroom-authorization").or_else(|| headers.get(header::AUTHORIZATION))?;
    let (scheme, key) = value.to_str().ok()?.trim().split_once(' ')?;
    let is_ours = scheme.eq_ignore_ascii_case("api-key") || scheme.eq_ignore_ascii_case("bearer");
    is_ours.then(|| key.trim())
}

/// What a client says of itself: the first product in `User-Agent`, such as `truss-cli/0.18.35`, and our dashboard by a header of its own.
pub(super) fn client_of(headers: &HeaderMap) -> ClientProgram {
    let text = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?.trim();
        (!value.is_empty()).then(|| value.chars().take(LONGEST_NAME).collect::<String>())
    };
    let is_dashboard = text(CLIENT).is_some_and(|client| client == DASHBOARD);
    let session_id = text(SESSION);
    if is_dashboard {
        let (name, version) = (Some(DASHBOARD.to_owned()), Some(env!("CARGO_PKG_VERSION").to_owned()));
        return ClientProgram { name, version, session_id, is_dashboard };
    }
    let product = text(header::USER_AGENT.as_str());
    let product = product.as_deref().and_then(|agent| agent.split_whitespace().next());
    let (name, version) = match product.map(|product| product.split_once('/').unwrap_or((product, ""))) {
        Some((name, version)) => (Some(name.to_owned()), (!version.is_empty()).then(|| version.to_owned())),
        None => (None, None),
    };
    ClientProgram { name, version, session_id, is_dashboard }
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
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn check(value: &str, expected: Option<&str>) {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
        assert_eq!(presented_key(&headers), expected, "{value:?}");
    }

    #[test]
    fn clients_are_known_by_what_they_say_of_themselves() {
        let client = |name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            let ClientProgram { name, version, is_dashboard, .. } = client_of(&headers);
            (name.unwrap_or_default(), version.unwrap_or_default(), is_dashboard)
        };
        assert_eq!(
            client("user-agent", "truss-cli/0.18.35 (Python/3.11.7; Linux)"),
            ("truss-cli".into(), "0.18.35".into(), false)
        );
        assert_eq!(client("user-agent", "curl"), ("curl".into(), String::new(), false));
        assert_eq!(client("user-agent", " "), Default::default());
        assert_eq!(
            client("x-greenroom-client", "dashboard"),
            ("dashboard".into(), env!("CARGO_PKG_VERSION").into(), true)
        );
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
