//! The web dashboard, as `npm run build` has left it in `dashboard/dist`, inside the program. Pages are files like any other: what they
//! show they ask of the public API, with the key of whoever looks.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use rust_embed::{EmbeddedFile, RustEmbed};
use tower::Service;
use tower_http::compression::Compression;

#[derive(RustEmbed)]
#[folder = "../../dashboard/dist"]
#[allow_missing = true]
struct Files;

/// The page that all paths of the application load; it shows what the path says.
const INDEX: &str = "index.html";
/// Files under here are named after their content.
const ASSETS: &str = "assets/";
const NOT_BUILT: &str = "This greenroom was built without its dashboard. `make build` builds both (it needs Node.js); \
     `greenroom --help` lists what the command line does, and /v1/spec describes the API.\n";
/// Nothing but our own files runs or is shown, nothing is sent elsewhere, and nobody puts our pages into theirs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// Whether a request is for the dashboard: its pages lie under `/ui/`, and `/` leads there.
pub fn serves(method: &Method, path: &str) -> bool {
    let is_read = method == Method::GET || method == Method::HEAD;
    is_read && (path == "/" || path == "/ui" || path.starts_with("/ui/"))
}

/// What answers them.
pub type Pages = Compression<Answers>;

/// The pages, compressed for whoever takes that.
pub fn pages() -> Pages {
    Compression::new(Answers).gzip(true)
}

/// What answers them, as they are.
#[derive(Debug, Clone, Copy)]
pub struct Answers;

impl<B> Service<Request<B>> for Answers {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let found = match request.uri().path().strip_prefix("/ui/") {
            Some(path) => file_or_page(path),
            None => redirect(),
        };
        ready(Ok(found))
    }
}

fn redirect() -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::TEMPORARY_REDIRECT, "");
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/ui/"));
    response
}

fn file_or_page(path: &str) -> Response<Full<Bytes>> {
    match Files::get(path) {
        Some(file) => answer(path, file),
        // A page of an older build asks for files that are gone: an answer of HTML would only puzzle it.
        None if path.starts_with(ASSETS) => {
            text(StatusCode::NOT_FOUND, "there is no such file in this version: reload the page\n")
        }
        None => page(),
    }
}

fn page() -> Response<Full<Bytes>> {
    match Files::get(INDEX) {
        Some(index) => answer(INDEX, index),
        None => text(StatusCode::NOT_FOUND, NOT_BUILT),
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn answer(path: &str, file: EmbeddedFile) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(file.data.into_owned()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    let keep = if path.starts_with(ASSETS) { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

/// The kinds of files that a build makes.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(path: &str) -> (http::response::Parts, String) {
        let request = Request::get(path).body(()).unwrap();
        let (parts, body) = Answers.oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts, String::from_utf8_lossy(&body).into_owned())
    }

    #[test]
    fn paths_of_the_api_and_of_models_are_not_its_own() {
        for path in ["/v1/models", "/models/abc/production/predict", "/uistuff", "/metrics", "/greenroom-uploads/x"] {
            assert!(!serves(&Method::GET, path), "{path}");
        }
        assert!(serves(&Method::GET, "/ui/models/abc"));
        assert!(!serves(&Method::POST, "/"), "a client that posts to it is told so by the API");
    }

    #[tokio::test]
    async fn every_path_of_the_application_loads_it_under_a_strict_policy() {
        let (_, expected) = ask("/ui/").await;
        for path in ["/ui/models/abc/deployments/def?tab=logs", "/ui/../../etc/passwd", "/ui/no-such-page"] {
            let (response, body) = ask(path).await;
            assert_eq!(body, expected, "{path}");
            assert_eq!(response.status, StatusCode::OK, "`make dashboard` builds the pages");
            assert_eq!(response.headers[header::CONTENT_SECURITY_POLICY], POLICY);
            assert_eq!(response.headers[header::CACHE_CONTROL], "no-cache");
        }
    }

    #[tokio::test]
    async fn a_file_of_an_older_build_is_missing_rather_than_a_page() {
        let (response, body) = ask("/ui/assets/index-0000.js").await;
        assert_eq!(response.status, StatusCode::NOT_FOUND);
        assert!(body.contains("reload"), "{body}");
    }
}
