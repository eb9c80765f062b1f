//! The address of this server as its client knows it: where uploads go and downloads come from.

use axum::{
    extract::FromRequestParts,
    http::{
        header,
        request::Parts,
        uri::{Authority, Scheme},
    },
};

use super::error::Error;
use crate::ControlPlane;

/// `scheme://host:port`: as configured, or else what the request was sent to, which answered at least once.
pub struct BaseUrl(pub String);

impl FromRequestParts<ControlPlane> for BaseUrl {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, control_plane: &ControlPlane) -> Result<Self, Error> {
        if let Some(url) = &control_plane.settings().public_url {
            return Ok(Self(url.clone()));
        }
        let authority = authority(parts).ok_or_else(|| {
            Error::invalid(
                "Host: it names no host and port, and this server has no public_url: send one, or configure it",
            )
        })?;
        let scheme = parts.uri.scheme().unwrap_or(&Scheme::HTTP);
        Ok(Self(format!("{scheme}://{authority}")))
    }
}

/// The host and port that the request is for, from its target (HTTP/2) or its header.
fn authority(parts: &Parts) -> Option<Authority> {
    let from_header = || parts.headers.get(header::HOST)?.to_str().ok()?.parse().ok();
    // What stands before an @ is a name and a password, which no request carries here.
    parts.uri.authority().cloned().or_else(from_header).filter(|authority| !authority.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn found(uri: &str, host: Option<&str>) -> Option<String> {
        let mut request = Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        authority(&request.body(()).unwrap().into_parts().0).map(|authority| authority.to_string())
    }

    #[test]
    fn only_an_authority_is_one() {
        assert_eq!(found("/v1/models", Some("gpu-box:8000")).as_deref(), Some("gpu-box:8000"));
        assert_eq!(found("/v1/models", Some("[::1]:8000")).as_deref(), Some("[::1]:8000"));
        assert_eq!(found("http://there:1/v1/models", Some("here:2")).as_deref(), Some("there:1"));
        for wrong in ["", "a/b", "a b", "me:pw@there", "a?b", "a#b"] {
            assert_eq!(found("/v1/models", Some(wrong)), None, "{wrong:?}");
        }
        assert_eq!(found("/v1/models", None), None);
    }
}
