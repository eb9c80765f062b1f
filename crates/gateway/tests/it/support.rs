//! A stage for stories: a gateway on a port, replicas on Unix sockets that do what a test says, and a client.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use api::{
    id::{DeploymentId, ModelId, ReplicaId},
    internal::routes::{
        Address, Availability, DeploymentRoute, Endpoint, KeyGrant, Load, ModelRoutes, RequestLimits, Split, Table,
    },
};
use bytes::Bytes;
use futures::{SinkExt, channel::mpsc, future::BoxFuture};
use gateway::{Front, Gateway, Settings};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use planner::Timestamp;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tls::Names;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

pub const KEY: &str = "Api-Key test.secret";
/// A key for another model only.
pub const FOREIGN_KEY: &str = "Api-Key other.secret";
/// Nothing here takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub type Body = UnsyncBoxBody<Bytes, Infallible>;

pub fn model() -> ModelId {
    ModelId::from_entropy(1)
}

pub fn deployment() -> DeploymentId {
    DeploymentId::from_entropy(1)
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// A body that is sent piece by piece, and the end to send it from. Dropping that ends the body.
pub fn piecewise() -> (mpsc::Sender<Frame<Bytes>>, Body) {
    let (sender, receiver) = mpsc::channel(0);
    let frames = futures::StreamExt::map(receiver, Ok::<_, Infallible>);
    (sender, BodyExt::boxed_unsync(StreamBody::new(frames)))
}

pub async fn send(sender: &mut mpsc::Sender<Frame<Bytes>>, text: &'static str) {
    soon(sender.send(Frame::data(Bytes::from_static(text.as_bytes())))).await.unwrap();
}

/// What the future gives, which it does soon.
pub async fn soon<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("this never takes so long")
}

/// Waits until a condition holds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let until_it_holds = async {
        while !condition() {
            // Here every test polls for a condition.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(PATIENCE, until_it_holds).await.is_ok(), "{what}");
}

/// A replica that answers as a test says.
pub struct Replica {
    pub endpoint: Endpoint,
    /// How many connections it has accepted.
    pub connections: Arc<AtomicUsize>,
    server: JoinHandle<()>,
    _folder: TempDir,
}

impl Replica {
    /// Speaks HTTP/1.1, and HTTP/2 to those who begin with it.
    pub fn start<H, F>(number: u128, handler: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("replica.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let server = tokio::spawn(accept(listener, handler, connections.clone()));
        Self { endpoint: endpoint(number, path), connections, server, _folder: folder }
    }

    /// Answers every request with its path, and keeps nothing waiting.
    pub fn quick(number: u128) -> Self {
        Self::start(number, |request: Request<Incoming>| async move {
            let path = request.uri().path_and_query().unwrap().to_string();
            request.into_body().collect().await.unwrap();
            Response::new(full(path))
        })
    }

    /// Dies with all its connections, as if killed.
    pub async fn die(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub fn endpoint(number: u128, path: PathBuf) -> Endpoint {
    Endpoint { replica_id: ReplicaId::from_entropy(number), address: Address::Unix(path), start: Default::default() }
}

async fn accept<H, F>(listener: UnixListener, handler: H, connections: Arc<AtomicUsize>)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    // Ends its connections when it is dropped.
    let mut tasks = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.fetch_add(1, Ordering::SeqCst);
        let handler = handler.clone();
        tasks.spawn(async move {
            let service = service_fn(move |request| {
                let answer = handler(request);
                async { Ok::<_, Infallible>(answer.await) }
            });
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
    }
}

/// A replica that shows each request to the test and answers with what the test hands back.
pub struct Scripted {
    pub replica: Replica,
    requests: mpsc::UnboundedReceiver<Call>,
}

/// A request that stands at a scripted replica.
pub struct Call {
    pub request: Request<Incoming>,
    answer: oneshot::Sender<Response<Body>>,
}

impl Call {
    pub fn answer(self, response: Response<Body>) {
        self.answer.send(response).expect("the gateway waits");
    }

    /// Keeps the request only, and the means to answer it.
    pub fn split(self) -> (Request<Incoming>, oneshot::Sender<Response<Body>>) {
        (self.request, self.answer)
    }
}

impl Scripted {
    pub fn start(number: u128) -> Self {
        let (sender, requests) = mpsc::unbounded();
        let replica = Replica::start(number, move |request| {
            let (answer, response) = oneshot::channel();
            sender.unbounded_send(Call { request, answer }).unwrap();
            async {
                match response.await {
                    Ok(response) => response,
                    // The test has dropped the call without an answer: it stays without one.
                    Err(_) => std::future::pending().await,
                }
            }
        });
        Self { replica, requests }
    }

    pub async fn next(&mut self) -> Call {
        soon(futures::StreamExt::next(&mut self.requests)).await.unwrap()
    }

    pub fn is_called(&mut self) -> bool {
        self.requests.try_recv().is_ok()
    }
}

pub fn limits() -> RequestLimits {
    let long = PATIENCE.as_millis() as u64 * 2;
    RequestLimits {
        queue_ms: long,
        first_byte_ms: long,
        idle_ms: long,
        max_body_bytes: 64 << 20,
        max_queued: 100,
        max_queued_bytes: u64::MAX,
        waits_when_full: true,
    }
}

pub fn route(replicas: &[&Replica]) -> DeploymentRoute {
    DeploymentRoute {
        protocol: Default::default(),
        id: deployment(),
        model_id: model(),
        availability: Availability::Serve,
        replicas: replicas.iter().map(|replica| replica.endpoint.clone()).collect(),
        slots_per_replica: 4,
        limits: limits(),
    }
}

/// One model with one deployment in production, and two keys.
pub fn table(version: u64, route: DeploymentRoute) -> Table {
    let key = |value: &str| <[u8; 32]>::from(Sha256::digest(value.strip_prefix("Api-Key ").unwrap()));
    let grant = |models: Option<Vec<ModelId>>| KeyGrant {
        prefix: "test".into(),
        models: models.map(Into::into),
        environments: None,
        requests_per_minute: None,
        expires_at_ms: None,
        may_invoke: true,
    };
    let production = Split { stable: route.id.clone(), candidate: None };
    Table {
        version,
        models: HashMap::from([(
            model(),
            ModelRoutes {
                development: None,
                environments: [("production".to_owned(), Some(production)), ("empty".to_owned(), None)].into(),
            },
        )]),
        deployments: HashMap::from([(route.id.clone(), Arc::new(route))]),
        keys: HashMap::from([(key(KEY), grant(None)), (key(FOREIGN_KEY), grant(Some(vec![ModelId::from_entropy(2)])))]),
        allowances: HashMap::new(),
    }
}

/// A running gateway.
pub struct Stage {
    pub gateway: Gateway,
    pub address: SocketAddr,
    /// What time it is, in milliseconds since the epoch.
    pub clock: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    pub server: JoinHandle<()>,
}

impl Stage {
    pub async fn with(settings: Settings) -> Self {
        Self::behind(Front { names: Names::new(["*.example.com"]), tunnel: None }, settings).await
    }

    pub async fn behind(front: Front, settings: Settings) -> Self {
        let clock = Arc::new(AtomicU64::new(0));
        let now = clock.clone();
        let gateway = Gateway::new(settings, Arc::new(move || Timestamp(now.load(Ordering::SeqCst))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let fallback = tower::service_fn(|request: Request<Incoming>| async move {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(format!("fallback {}", request.uri())))))
        });
        let shutdown = async { stopped.await.unwrap_or_default() };
        let server = tokio::spawn(gateway::serve(listener, gateway.clone(), front, fallback, shutdown));
        Self { gateway, address, clock, stop: Some(stop), server }
    }

    /// A gateway with the routes of [`table`].
    pub async fn new(route: DeploymentRoute) -> Self {
        let stage = Self::with(Settings::default()).await;
        stage.publish(route);
        stage
    }

    pub fn publish(&self, route: DeploymentRoute) {
        self.gateway.publish(table(self.gateway.version().unwrap_or(0) + 1, route));
    }

    pub fn shut_down(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub fn load(&self) -> Load {
        self.load_of(&deployment())
    }

    /// What a deployment has on its hands.
    pub fn load_of(&self, id: &DeploymentId) -> Load {
        self.gateway.loads().get(id).cloned().unwrap_or_default()
    }

    /// Waits until so many requests are at replicas and so many wait.
    pub async fn has(&self, in_flight: u32, queued: u32) {
        eventually(&format!("{in_flight} in flight and {queued} queued"), || {
            let load = self.load();
            (load.in_flight, load.queued) == (in_flight, queued)
        })
        .await;
    }

    pub async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub async fn call(&self, request: Request<Body>) -> Answer {
        let mut client = self.connect().await;
        Answer::read(client.send(request).await).await
    }

    /// A predict call that runs by itself.
    pub fn predict(&self) -> JoinHandle<Answer> {
        self.ask(predict(full("{}")))
    }

    /// A request that runs by itself.
    pub fn ask(&self, request: Request<Body>) -> JoinHandle<Answer> {
        let address = self.address;
        tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            Answer::read(client.send(request).await).await
        })
    }
}

/// One HTTP/1.1 connection. Dropping it closes it.
pub struct Client {
    sender: http1::SendRequest<Body>,
    connection: JoinHandle<()>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.with_upgrades().await) });
        Self { sender, connection }
    }

    pub async fn send(&mut self, request: Request<Body>) -> Response<Incoming> {
        self.try_send(request).await.expect("the gateway answers")
    }

    pub fn try_send(&mut self, request: Request<Body>) -> BoxFuture<'_, hyper::Result<Response<Incoming>>> {
        Box::pin(async {
            soon(self.sender.ready()).await?;
            soon(self.sender.send_request(request)).await
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

pub async fn connect_http2(address: SocketAddr) -> http2::SendRequest<Body> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether the body came to its proper end.
    pub is_whole: bool,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub async fn read(response: Response<Incoming>) -> Self {
        let (head, mut incoming) = response.into_parts();
        let (mut body, mut is_whole, mut trailers) = (Vec::new(), true, None);
        while let Some(frame) = soon(incoming.frame()).await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => body.extend_from_slice(&data),
                Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
                Err(_) => {
                    is_whole = false;
                    break;
                }
            }
        }
        Self { status: head.status, headers: head.headers, body: body.into(), is_whole, trailers }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }
}

/// A request to the model, by the path form, with a good key.
pub fn request(method: &str, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(format!("/models/{}{path}", model()))
        .header("host", "localhost")
        .header("authorization", KEY)
        .body(body)
        .unwrap()
}

pub fn predict(body: Body) -> Request<Body> {
    request("POST", "/production/predict", body)
}
