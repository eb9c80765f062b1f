//! For clients that use this server as their HTTP proxy: which names they may reach through it, and the end of TLS for those who
//! ask for a tunnel (RFC 9110, section 9.3.6). It is no proxy to anywhere else.

use std::net::IpAddr;

use http::{Method, Request, Uri, Version, uri::Scheme};
use tls::Names;
use tokio_rustls::TlsAcceptor;

use crate::errors::Refusal;

/// What clients may reach through this server when they take it for a proxy.
#[derive(Clone, Default)]
pub struct Front {
    /// This server's own names, besides its addresses and `localhost`.
    pub names: Names,
    /// Where clients may ask for a tunnel to names that this server stands in for.
    pub tunnel: Option<Tunnel>,
}

/// Tunnels that end here.
#[derive(Clone)]
pub struct Tunnel {
    /// Whom they may lead to.
    pub names: Names,
    /// What speaks TLS in their name.
    pub tls: TlsAcceptor,
}

impl Front {
    /// Refuses a request that a proxy is to pass on elsewhere.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        // HTTP/2 names the host there in every request.
        let named = request.uri().host().filter(|_| request.version() < Version::HTTP_2);
        match named {
            Some(host) if !self.is_ours(host) => Err(Refusal::ForeignName(host.to_owned())),
            _ => Ok(()),
        }
    }

    /// The tunnel that a request asks for. None where it asks for none.
    pub(crate) fn tunnel<B>(&self, request: &Request<B>) -> Option<Result<(&Tunnel, String), Refusal>> {
        if request.method() != Method::CONNECT {
            return None;
        }
        let host = request.uri().host().unwrap_or_default();
        Some(match &self.tunnel {
            None => Err(Refusal::NoTunnels),
            Some(tunnel) if tunnel.names.contains(host) => Ok((tunnel, host.to_owned())),
            Some(_) => Err(Refusal::ForeignName(host.to_owned())),
        })
    }

    fn is_ours(&self, host: &str) -> bool {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let is_local = host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost");
        let stands_in = |tunnel: &Tunnel| tunnel.names.contains(host);
        is_local
            || address.parse::<IpAddr>().is_ok()
            || self.names.contains(host)
            || self.tunnel.as_ref().is_some_and(stands_in)
    }
}

/// A request as it came out of a tunnel to `host`, with the address that its client has asked for.
pub(crate) fn secured<B>(mut request: Request<B>, host: &str) -> Request<B> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = parts.authority.or_else(|| host.parse().ok());
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(front: &Front, uri: &str, expected: bool) {
        let request = Request::builder().uri(uri).body(()).unwrap();
        assert_eq!(front.check(&request).is_ok(), expected, "{uri}");
    }

    #[test]
    fn a_proxy_for_its_own_names_only() {
        let front = Front { names: Names::new(["gpu-box", "*.gpu-box"]), tunnel: None };
        for ours in [
            "/v1/models",
            "http://localhost:8000/v1/models",
            "http://api.localhost:8000/v1/models",
            "http://127.0.0.1:8000/",
            "http://[::1]:8000/",
            "http://gpu-box/graphql/",
            "http://model-1.GPU-box/production/predict",
        ] {
            check(&front, ours, true);
        }
        for theirs in ["http://example.com/", "http://notlocalhost/", "http://gpu-box.example.com/"] {
            check(&front, theirs, false);
        }
    }

    #[test]
    fn no_tunnel_leads_anywhere_unless_it_is_asked_for_by_the_configuration() {
        let ask = |front: &Front, method: Method, uri: &str| {
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            front.tunnel(&request).map(|tunnel| tunnel.map(|_| ()))
        };
        let closed = Front::default();
        assert_eq!(ask(&closed, Method::GET, "/"), None);
        assert_eq!(ask(&closed, Method::CONNECT, "example.com:443"), Some(Err(Refusal::NoTunnels)));
    }

    #[test]
    fn what_comes_out_of_a_tunnel_has_the_address_that_was_asked_for() {
        let request = Request::builder().uri("/v1/models?name=a").body(()).unwrap();
        assert_eq!(secured(request, "api.example.com").uri(), "https://api.example.com/v1/models?name=a");
    }
}
