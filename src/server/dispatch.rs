//! What is not for a model: uploads go to the S3-compatible endpoint, pages come from the dashboard, everything else goes to the
//! management API.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, Uri, header::HOST};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tower::{Service, ServiceExt as _};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;
type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// The service behind the gateway. Cheap to clone.
#[derive(Clone)]
pub struct Dispatch<M> {
    /// The management API.
    pub management: M,
    /// The upload endpoint.
    pub uploads: uploads::Service,
    /// The dashboard.
    pub pages: dashboard::Pages,
}

impl<M, B> Service<Request<Incoming>> for Dispatch<M>
where
    M: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    M::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Both wait for their turn inside the call.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Answer {
        if uploads::Service::serves(host(&request), request.uri().path()) {
            let uploads = self.uploads.clone();
            return Box::pin(async move { Ok(uploads.call(request).await) });
        }
        if dashboard::serves(request.method(), request.uri().path()) {
            let pages = self.pages.clone();
            return Box::pin(async move {
                let response = pages.oneshot(request).await?;
                Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
            });
        }
        if let Some(uri) = without_double_slashes(request.uri()) {
            *request.uri_mut() = uri;
        }
        let management = self.management.clone();
        Box::pin(async move {
            let response = management.oneshot(request).await?;
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

/// The host a request is for, from its target (HTTP/2) or its header.
fn host<B>(request: &Request<B>) -> &str {
    let from_header = || request.headers().get(HOST).and_then(|host| host.to_str().ok());
    request.uri().authority().map(|authority| authority.as_str()).or_else(from_header).unwrap_or_default()
}

/// Clients that join a base URL and a path carelessly ask for `//v1/models`; it means `/v1/models`. None when there is nothing to do.
fn without_double_slashes(uri: &Uri) -> Option<Uri> {
    if !uri.path().contains("//") {
        return None;
    }
    let mut path = String::with_capacity(uri.path().len());
    for character in uri.path().chars() {
        if character != '/' || !path.ends_with('/') {
            path.push(character);
        }
    }
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, expected: Option<&str>) {
        let normal = without_double_slashes(&uri.parse().expect("a URI"));
        assert_eq!(normal.map(|uri| uri.to_string()).as_deref(), expected, "{uri}");
    }

    #[test]
    fn double_slashes_in_a_path_mean_one_and_a_query_stays_as_it_is() {
        check("/v1/models", None);
        check("//v1///models?name=a//b", Some("/v1/models?name=a//b"));
        check("/v1/models//", Some("/v1/models/"));
    }
}
