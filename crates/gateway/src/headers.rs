//! What changes in a message's headers on the way through. All else passes as it came, trace headers (W3C) among it.

use api::internal::{frame::put_meta, link, trace};
use http::{
    HeaderMap, HeaderName, HeaderValue, Uri, Version,
    header::{self, Entry},
    request, response,
    uri::{PathAndQuery, Scheme},
};

use crate::{auth::OWN_AUTHORIZATION, errors::ERROR_SOURCE, grpc};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-baseten-request-id");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-baseten-model-prediction-attempts");
/// Between us and replicas only.
pub(crate) const TIMING: HeaderName = HeaderName::from_static(trace::TIMING);
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Room for an ordinary head.
const META_BYTES: usize = 512;

/// Headers that speak of one connection only, besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 6] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Makes a client's request one for a replica. The client's key stays here: user code never sees it. With a key in a header of our own,
/// `Authorization` is the model's.
pub(crate) fn to_replica(head: &mut request::Parts, target: PathAndQuery, id: &HeaderValue, client: &HeaderValue) {
    let host = head.headers.remove(header::HOST).or_else(|| authority(&head.uri));
    let upgrade = head.headers.get(header::UPGRADE).filter(|_| wants_websocket(head)).cloned();
    let takes_trailers = head.headers.get(header::TE).is_some_and(|value| has_token(value, "trailers"));
    let headers = &mut head.headers;
    strip_hop_by_hop(headers);
    let own = [OWN_AUTHORIZATION, grpc::AUTHORIZATION].map(|name| headers.remove(name));
    if own.iter().all(Option::is_none) {
        headers.remove(header::AUTHORIZATION);
    }
    for name in [header::EXPECT, header::TE, TIMING] {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(upgrade) = upgrade {
        headers.insert(header::UPGRADE, upgrade);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    if head.version == Version::HTTP_2 {
        join_cookies(headers);
    }
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    headers.insert(REQUEST_ID, id.clone());
    append(headers, FORWARDED_FOR, client);
    // A proxy before this one knows better what the client asked for.
    if let (Entry::Vacant(entry), Some(host)) = (headers.entry(FORWARDED_HOST), host) {
        entry.insert(host);
    }
    if let Entry::Vacant(entry) = headers.entry(FORWARDED_PROTO) {
        let is_secure = head.uri.scheme() == Some(&Scheme::HTTPS);
        entry.insert(HeaderValue::from_static(if is_secure { "https" } else { "http" }));
    }
    head.uri = Uri::from(target);
    head.version = Version::HTTP_11;
    head.extensions.clear();
}

/// A request's head as a frame's meta.
pub(crate) fn to_meta<B>(request: &http::Request<B>) -> Vec<u8> {
    let mut meta = Vec::with_capacity(META_BYTES);
    let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    put_meta(&mut meta, b":method", request.method().as_str().as_bytes());
    put_meta(&mut meta, b":path", target.as_bytes());
    for (name, value) in request.headers() {
        put_meta(&mut meta, name.as_str().as_bytes(), value.as_bytes());
    }
    meta
}

/// Whether a replica's answer says that many requests may share one connection.
pub(crate) fn offers_link<B>(response: &http::Response<B>) -> bool {
    response.headers().get(header::UPGRADE).is_some_and(|offered| offered == link::PROTOCOL)
}

/// Whether a replica says that it has not looked at the request.
pub(crate) fn is_not_taken<B>(response: &http::Response<B>) -> bool {
    response.headers().contains_key(link::NOT_TAKEN)
}

/// Makes a replica's answer one for a client.
pub(crate) fn to_client(head: &mut response::Parts, attempts: u32, timing: Option<HeaderValue>) {
    if head.status.is_informational() {
        // The answer to an upgrade: these two headers are its meaning.
        let upgrade = head.headers.remove(header::UPGRADE);
        strip_hop_by_hop(&mut head.headers);
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        upgrade.and_then(|upgrade| head.headers.insert(header::UPGRADE, upgrade));
    } else {
        strip_hop_by_hop(&mut head.headers);
    }
    head.headers.remove(link::NOT_TAKEN);
    head.headers.remove(TIMING);
    let attempts = if attempts == 1 { HeaderValue::from_static("1") } else { attempts.into() };
    head.headers.insert(ATTEMPTS, attempts);
    if let Some(timing) = timing {
        head.headers.append(SERVER_TIMING, timing);
    }
    let is_error = head.status.is_client_error() || head.status.is_server_error();
    if is_error && let Entry::Vacant(entry) = head.headers.entry(ERROR_SOURCE) {
        entry.insert(HeaderValue::from_static("model"));
    }
    head.version = Version::HTTP_11;
    head.extensions.clear();
}

/// Whether this is the first message of a websocket.
pub(crate) fn wants_websocket(head: &request::Parts) -> bool {
    let named = |name| head.headers.get_all(name).iter();
    head.version == Version::HTTP_11
        && named(header::CONNECTION).any(|value| has_token(value, "upgrade"))
        && named(header::UPGRADE).any(|value| has_token(value, "websocket"))
}

/// The host that a request was sent to: from its target where that has one, else from its `Host`.
pub(crate) fn host<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Option<&'r str> {
    uri.host().or_else(|| headers.get(header::HOST)?.to_str().ok())
}

/// A path for logs and traces, which have no room for the longest that there are.
pub(crate) fn shortened(path: &str) -> String {
    const LONGEST: usize = 1000;
    match path.char_indices().nth(LONGEST) {
        None => path.to_owned(),
        Some((end, _)) => format!("{}…", &path[..end]),
    }
}

fn authority(uri: &Uri) -> Option<HeaderValue> {
    HeaderValue::from_str(uri.authority()?.as_str()).ok()
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named = headers.get_all(header::CONNECTION).iter().flat_map(tokens);
        let named: Vec<_> = named.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect();
        named.iter().chain([&header::CONNECTION]).for_each(|name| drop(headers.remove(name)));
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(entry) => {
            entry.insert(value.clone());
        }
        Entry::Occupied(mut entry) => {
            let all = entry.iter().chain([value]).map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
            entry.insert(HeaderValue::from_bytes(&all).expect("valid values joined by commas stay valid"));
        }
    }
}

/// HTTP/2 lets a client send each cookie by itself; HTTP/1.1 wants one header.
fn join_cookies(headers: &mut HeaderMap) {
    if let Entry::Occupied(mut entry) = headers.entry(header::COOKIE)
        && entry.iter().count() > 1
    {
        let all = entry.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
        entry.insert(HeaderValue::from_bytes(&all).expect("valid values joined by semicolons stay valid"));
    }
}

fn has_token(value: &HeaderValue, token: &str) -> bool {
    tokens(value).any(|found| found.eq_ignore_ascii_case(token))
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    value.to_str().unwrap_or_default().split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};

    use super::*;

    fn forwarded(request: http::request::Builder) -> request::Parts {
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let (id, client) = (HeaderValue::from_static("id1"), HeaderValue::from_static("10.0.0.9"));
        to_replica(&mut head, PathAndQuery::from_static("/x?y=1"), &id, &client);
        head
    }

    #[test]
    fn a_key_and_what_concerns_one_connection_stay_here() {
        let head = forwarded(
            Request::get("http://model-abc.example.com/production/sync/x")
                .header("authorization", "Api-Key pre.secret")
                .header("connection", "close, x-private")
                .header("x-private", "1")
                .header("keep-alive", "5")
                .header("transfer-encoding", "chunked")
                .header("te", "trailers, deflate")
                .header("upgrade", "h2c")
                .header("x-baseten-request-id", "chosen by the client")
                .header("traceparent", "00-1-2-01"),
        );
        assert_eq!(head.uri, "/x?y=1");
        let headers = head.headers;
        for gone in ["authorization", "connection", "x-private", "keep-alive", "transfer-encoding", "upgrade"] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        assert_eq!(headers["host"], "localhost");
        assert_eq!(headers["te"], "trailers");
        assert_eq!(headers["x-forwarded-host"], "model-abc.example.com");
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-baseten-request-id"], "id1");
        assert_eq!(headers["traceparent"], "00-1-2-01");
    }

    #[test]
    fn a_model_has_the_authorization_of_a_caller_whose_key_comes_in_a_header_of_our_own() {
        for own in ["x-greenroom-authorization", "baseten-authorization"] {
            let request = Request::get("/").header(own, "Bearer pre.secret").header("x-greenroom-timing", "1");
            let headers = forwarded(request.header("authorization", "Bearer the model's")).headers;
            assert_eq!(headers["authorization"], "Bearer the model's");
            assert!(!headers.contains_key(own) && !headers.contains_key("x-greenroom-timing"));
        }
    }

    #[test]
    fn a_proxy_before_this_one_is_believed_and_added_to() {
        let head = forwarded(
            Request::get("/")
                .header("host", "inner")
                .header("x-forwarded-for", "1.2.3.4")
                .header("x-forwarded-host", "outer")
                .header("x-forwarded-proto", "https"),
        );
        assert_eq!(head.headers["x-forwarded-for"], "1.2.3.4, 10.0.0.9");
        assert_eq!(head.headers["x-forwarded-host"], "outer");
        assert_eq!(head.headers["x-forwarded-proto"], "https");
    }

    #[test]
    fn a_websocket_keeps_the_headers_that_make_it_one() {
        let request = || Request::get("/").header("connection", "keep-alive, Upgrade");
        let head = forwarded(request().header("upgrade", "WebSocket"));
        assert_eq!(
            (&head.headers["upgrade"], &head.headers["connection"]),
            (&"WebSocket".parse().unwrap(), &"upgrade".parse().unwrap())
        );
        assert!(!forwarded(request().header("upgrade", "h2c")).headers.contains_key("upgrade"));
    }

    #[test]
    fn cookies_of_http_2_become_one_header() {
        let head =
            forwarded(Request::get("/").version(Version::HTTP_2).header("cookie", "a=1").header("cookie", "b=2"));
        assert_eq!(head.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }

    #[test]
    fn an_error_says_that_the_model_made_it_unless_somebody_knows_better() {
        let answer = |builder: http::response::Builder| {
            let (mut head, ()) = builder.body(()).unwrap().into_parts();
            to_client(&mut head, 2, None);
            head.headers
        };
        let headers = answer(Response::builder().status(500).header("keep-alive", "1").header("connection", "close"));
        assert_eq!(headers["x-greenroom-error-source"], "model");
        assert_eq!(headers["x-baseten-model-prediction-attempts"], "2");
        assert!(!headers.contains_key("connection") && !headers.contains_key("keep-alive"));
        let headers = answer(Response::builder().status(503).header("x-greenroom-error-source", "platform"));
        assert_eq!(headers["x-greenroom-error-source"], "platform");
        assert!(!answer(Response::builder().status(200)).contains_key("x-greenroom-error-source"));
    }
}
