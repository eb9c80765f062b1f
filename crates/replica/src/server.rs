//! A server of the user's own behind our proxy: the routes of the model-server contract lead to its endpoints, all other paths
//! pass unchanged, streams and upgrades included.

use std::{
    cell::{Cell, RefCell},
    io,
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use api::{
    error::InferenceCode,
    internal::replica::{Program, Protocol, Spec},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri, header, uri::PathAndQuery};
use http_body::Body as _;
use http_body_util::{Either, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{
    body::Body,
    calls::CallError,
    grpc,
    http::{Local, inference_error},
    status::Board,
    truss::call_error,
};

/// Connections that are kept for the next request.
const IDLE_CONNECTIONS: usize = 64;

/// How long one readiness check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

type Outbound = Either<Limited<Incoming>, Full<Bytes>>;

/// A connection to the server. One of HTTP/2 carries one call at a time as well, so that calls end apart from each other.
enum Connection {
    Http1(http1::SendRequest<Outbound>),
    Http2(http2::SendRequest<Outbound>),
}

impl Connection {
    async fn send(
        &mut self,
        request: Request<Outbound>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outbound>>> {
        match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    fn is_ready(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_ready(),
            Self::Http2(sender) => sender.is_ready(),
        }
    }
}

/// The proxy.
pub struct Server {
    port: u16,
    protocol: Protocol,
    predict: String,
    readiness: String,
    liveness: String,
    max_body_bytes: u64,
    request_timeout: Duration,
    environment_file: PathBuf,
    idle: RefCell<Vec<Connection>>,
    has_started: Cell<bool>,
}

impl Server {
    /// A proxy to the server that will listen on `port`.
    pub fn new(spec: &Spec, port: u16, environment: PathBuf) -> Rc<Self> {
        let Program::Server { predict_endpoint, readiness_endpoint, liveness_endpoint, protocol, .. } = &spec.program
        else {
            unreachable!("only a server is proxied")
        };
        Rc::new(Self {
            port,
            protocol: *protocol,
            predict: predict_endpoint.clone(),
            readiness: readiness_endpoint.clone(),
            liveness: liveness_endpoint.clone(),
            max_body_bytes: spec.max_body_bytes,
            request_timeout: Duration::from_millis(spec.request_timeout_ms),
            environment_file: environment,
            idle: RefCell::default(),
            has_started: Cell::new(false),
        })
    }

    /// What it speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Rewrites the environment file; the server watches it if it likes.
    pub fn set_environment(&self, environment: serde_json::Value) -> io::Result<()> {
        std::fs::write(&self.environment_file, environment.to_string())
    }

    /// Whether the readiness endpoint answers 200, or the health service that it serves.
    pub async fn is_ready(&self) -> bool {
        let is_ready = self.check(&self.readiness).await;
        self.has_started.set(self.has_started.get() || is_ready);
        is_ready
    }

    /// Whether the liveness endpoint answers 200, or the health service that it serves.
    pub async fn is_alive(&self) -> bool {
        self.check(&self.liveness).await
    }

    async fn check(&self, path: &str) -> bool {
        let ask = async {
            match self.protocol {
                Protocol::Http => {
                    let request = Request::get(path).header(header::HOST, self.host()).body(Bytes::new()).ok()?;
                    let answer = self.exchange(request.map(|body| Either::Right(Full::new(body)))).await.ok()?;
                    Some(answer.status() == StatusCode::OK)
                }
                Protocol::Grpc => {
                    let request = grpc::check(&self.host()).map(|body| Either::Right(Full::new(body)));
                    Some(grpc::says_yes(self.exchange(request).await.ok()?).await)
                }
            }
        };
        matches!(tokio::time::timeout(CHECK_TIMEOUT, ask).await, Ok(Some(true)))
    }

    /// Passes a request on.
    pub async fn answer(&self, board: &Rc<Board>, mut request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        let target = match path {
            "/" => Some(&self.liveness),
            "/v1/models/model" => Some(&self.readiness),
            "/v1/models/model:predict" | "/v1/websocket" => Some(&self.predict),
            _ => None,
        };
        if let Some(target) = target {
            match redirected(request.uri(), target) {
                Some(uri) => *request.uri_mut() = uri,
                None => return broken_endpoint(target),
            }
        }
        let size = request.body().size_hint().lower();
        if size > self.max_body_bytes {
            let text = format!("payload size of {size} bytes exceeds maximum size of {} bytes", self.max_body_bytes);
            return inference_error(StatusCode::PAYLOAD_TOO_LARGE, &text, InferenceCode::PayloadTooLarge);
        }
        let in_flight = board.begin();
        let upgrade = request.headers().get(header::UPGRADE).cloned();
        let client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        strip_hop_headers(request.headers_mut());
        if let Some(upgrade) = upgrade {
            request.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
            request.headers_mut().insert(header::UPGRADE, upgrade);
        }
        if self.protocol == Protocol::Grpc
            && let Some(uri) = self.whole(request.uri())
        {
            *request.uri_mut() = uri;
            request.headers_mut().insert(header::TE, header::HeaderValue::from_static("trailers"));
        }
        let limit = usize::try_from(self.max_body_bytes).unwrap_or(usize::MAX);
        let request = request.map(|body| Either::Left(Limited::new(body, limit)));
        let mut answer = match tokio::time::timeout(self.request_timeout, self.exchange(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) if !self.has_started.get() => {
                let text = "the server does not answer yet";
                return inference_error(StatusCode::SERVICE_UNAVAILABLE, text, InferenceCode::ModelUnavailable);
            }
            Ok(Err(Failure::Http(_))) => return call_error(CallError::Gone),
            Ok(Err(Failure::Connect(_) | Failure::NotSent)) => return call_error(CallError::NotTaken),
            Err(_) => return call_error(CallError::TimedOut),
        };
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            if let Some(client) = client {
                let server = hyper::upgrade::on(&mut answer);
                tokio::task::spawn_local(async move {
                    let _in_flight = in_flight;
                    let (Ok(client), Ok(server)) = tokio::join!(client, server) else {
                        return;
                    };
                    let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
            return answer.map(|_| Body::whole(Bytes::new()));
        }
        strip_hop_headers(answer.headers_mut());
        answer.map(|body| Body::proxied(body).counted(in_flight))
    }

    /// Sends a request over a kept connection, or a new one.
    async fn exchange(&self, mut request: Request<Outbound>) -> Result<Response<Incoming>, Failure> {
        loop {
            let (mut connection, is_kept) = match self.kept() {
                Some(connection) => (connection, true),
                None => (self.connect().await?, false),
            };
            match connection.send(request).await {
                Ok(answer) => {
                    self.keep(connection);
                    return Ok(answer);
                }
                Err(mut error) => match error.take_message() {
                    // The server has seen nothing of it: the connection closed just then.
                    Some(unsent) if is_kept => request = unsent,
                    Some(_) => return Err(Failure::NotSent),
                    None => return Err(Failure::Http(error.into_error())),
                },
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.map_err(Failure::Connect)?;
        let _ = stream.set_nodelay(true);
        let stream = TokioIo::new(stream);
        match self.protocol {
            Protocol::Http => {
                let (sender, connection) = http1::handshake(stream).await.map_err(Failure::Http)?;
                tokio::task::spawn_local(async move { drop(connection.with_upgrades().await) });
                Ok(Connection::Http1(sender))
            }
            Protocol::Grpc => {
                let (sender, connection) = http2::handshake(Local, stream).await.map_err(Failure::Http)?;
                tokio::task::spawn_local(async move { drop(connection.await) });
                Ok(Connection::Http2(sender))
            }
        }
    }

    /// A connection that is free now; those that closed are forgotten.
    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|connection| !connection.is_closed());
        let free = idle.iter().rposition(Connection::is_ready)?;
        Some(idle.swap_remove(free))
    }

    /// Keeps a connection; its answer may still be on the way.
    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_CONNECTIONS && !connection.is_closed() {
            idle.push(connection);
        }
    }

    /// The same target with the host, as HTTP/2 wants it.
    fn whole(&self, uri: &Uri) -> Option<Uri> {
        format!("http://{}{}", self.host(), uri.path_and_query()?).parse().ok()
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Why the server did not answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot connect to the server")]
    Connect(#[source] io::Error),
    #[error("the server closed a new connection")]
    NotSent,
    #[error("the exchange with the server broke")]
    Http(#[source] hyper::Error),
}

/// The same request at another path; the query goes along.
fn redirected(uri: &Uri, path: &str) -> Option<Uri> {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(target.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

fn broken_endpoint(endpoint: &str) -> Response<Body> {
    let text = format!("the configured endpoint {endpoint:?} is not a path");
    inference_error(StatusCode::INTERNAL_SERVER_ERROR, &text, InferenceCode::ApplicationError)
}

/// Headers that are about one connection, not about the message.
fn strip_hop_headers(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"] {
        headers.remove(name);
    }
}
