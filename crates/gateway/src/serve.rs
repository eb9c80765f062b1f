//! The listener: accepts connections, hands requests for models to the gateway and all others to the fallback, and drains.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use api::internal::client::ClientAddress;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use crate::{
    Front, Gateway, Settings,
    download::{BoxError, Payload},
    errors::{Allowed, Refusal},
    front::secured,
    linger::Lingering,
    measure::{End, Measure},
    proxy,
    seldom::Seldom,
};

/// How long to wait when the machine has no more sockets to give.
const OUT_OF_SOCKETS_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection that was told to go may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a closed connection is listened to, so that a client that still sends can read its answer.
const LINGER: Duration = Duration::from_secs(10);
/// How long a client may say nothing before the kernel asks whether it still exists.
const KEEP_ALIVE_SECONDS: u32 = 30;
/// A timer needs some period.
const SHORTEST_SWEEP: Duration = Duration::from_millis(1);
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Serves HTTP/1.1 and HTTP/2 (prior knowledge) on `listener` until `shutdown` completes, then accepts no more, lets requests
/// under way finish for at most [`Settings::drain_limit`], and returns. Requests whose host is `model-ID.…` or whose path is
/// `/models/ID/…` are for models; all others go to `fallback`, their target untouched. `front` says what clients may ask for that
/// take this server for their proxy.
pub async fn serve<F, B>(
    listener: TcpListener,
    gateway: Gateway,
    front: Front,
    fallback: F,
    shutdown: impl Future<Output = ()> + Send,
) where
    F: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    F::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let tasks = Tasks::default();
    let server = Arc::new(Server { http: http(gateway.settings()), gateway, front, fallback, tasks: tasks.clone() });
    let mut sweep = interval(server.gateway.settings().replica_idle_timeout.max(SHORTEST_SWEEP));
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => drop(tasks.tracker.spawn(server.clone().accept(stream, address))),
                Err(error) => recover(&error).await,
            },
            _ = sweep.tick() => server.gateway.close_idle_connections(),
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    tasks.drain.cancel();
    tasks.tracker.close();
    let limit = server.gateway.settings().drain_limit;
    if timeout(limit, tasks.tracker.wait()).await.is_err() {
        tracing::warn!(
            cut = tasks.tracker.len(),
            limit_ms = limit.as_millis(),
            "connections outlasted the drain and are cut"
        );
        tasks.cut.cancel();
        tasks.tracker.wait().await;
    }
}

/// One bad connection, or a machine that is out of sockets, is no reason to stop listening.
async fn recover(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!(%error, "cannot accept a connection");
        sleep(OUT_OF_SOCKETS_PAUSE).await;
    }
}

fn http(settings: &Settings) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // No timer of the library's for request heads: it would cost each request one, and ours covers every state of a connection.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(settings.max_header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_streams)
        .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder
}

/// All that outlives a single request: connections, and what they became.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    /// Finish what you have, take nothing new.
    drain: CancellationToken,
    /// End now.
    cut: CancellationToken,
}

impl Tasks {
    /// Runs something that a drain waits for.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        self.tracker.spawn(async move { cut.run_until_cancelled(task).await });
    }

    /// The next order to a connection; a look comes after `pause`.
    async fn next_order(&self, is_leaving: bool, pause: Duration) -> Order {
        tokio::select! {
            biased;
            () = self.cut.cancelled() => Order::Cut,
            () = self.drain.cancelled(), if !is_leaving => Order::Leave,
            () = sleep(pause) => Order::Look,
        }
    }
}

/// What a connection is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// End now.
    Cut,
    /// Finish what you have.
    Leave,
    /// Look whether anybody still uses you.
    Look,
}

/// Who is at the other end of a connection.
#[derive(Clone)]
struct Peer {
    address: SocketAddr,
    /// Its address as a model gets it.
    written: HeaderValue,
    /// The host that its tunnel leads to.
    tunnel: Option<Arc<str>>,
}

struct Server<F> {
    gateway: Gateway,
    front: Front,
    fallback: F,
    http: auto::Builder<TokioExecutor>,
    tasks: Tasks,
}

impl<F, B> Server<F>
where
    F: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    F::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// One connection, until it ends, is quiet for too long, or is cut.
    async fn accept(self: Arc<Self>, stream: TcpStream, address: SocketAddr) {
        set_options(&stream, self.gateway.settings());
        let written = HeaderValue::try_from(address.ip().to_string()).expect("an address is printable");
        self.converse(Lingering::new(stream, LINGER), Peer { address, written, tunnel: None }).await;
    }

    async fn converse<S>(self: Arc<Self>, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let settings = self.gateway.settings();
        let address = peer.address;
        let requests = Arc::new(Requests::default());
        let service = service_fn(|request| {
            let open = Requests::open(&requests);
            let (server, peer) = (self.clone(), peer.clone());
            async move {
                // Nobody asks for the body of what has none.
                let is_head = request.method() == Method::HEAD;
                let (response, mut measure) = server.receive(request, peer).await;
                if let Some(measure) = &mut measure
                    && (is_head || response.body().is_end_stream())
                {
                    measure.ended(End::Whole);
                }
                Ok::<_, Infallible>(response.map(|body| Tracked { body, measure, open }))
            }
        });
        let mut connection = pin!(self.http.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let mut seen = 0;
        let mut is_leaving = false;
        let mut orders = Seldom::new(self.tasks.next_order(is_leaving, settings.header_timeout));
        loop {
            let order = tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, %address, "a client's connection broke");
                    }
                    return;
                }
                order = &mut orders => order,
            };
            let has_to_go = match order {
                Order::Cut => return,
                Order::Leave => true,
                Order::Look => requests.is_quiet_since(&mut seen),
            };
            if order == Order::Look && has_to_go && (is_leaving || seen == 0) {
                return;
            }
            if has_to_go {
                is_leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            let pause = if is_leaving { FAREWELL } else { settings.idle_timeout };
            orders.set(self.tasks.next_order(is_leaving, pause));
        }
    }

    /// A request as it came over a connection: by a tunnel, for one, or neither.
    async fn receive(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Answered<B> {
        let is_allowed = match (&peer.tunnel, self.front.tunnel(&request)) {
            (Some(host), None) => return self.respond(secured(request, host), &peer).await,
            (None, Some(Ok((tunnel, host)))) => {
                let tunnel = (tunnel.tls.clone(), Peer { tunnel: Some(host.into()), ..peer });
                self.clone().open_tunnel(request, tunnel);
                return (Response::new(Payload::Whole(None)), None);
            }
            (Some(_), Some(_)) => Err(Refusal::WrongMethod(Method::CONNECT, Allowed("GET, POST, PUT, PATCH, DELETE"))),
            (None, Some(Err(refusal))) => Err(refusal),
            (None, None) => self.front.check(&request),
        };
        match is_allowed {
            Ok(()) => self.respond(request, &peer).await,
            Err(refusal) => (proxy::refuse(&self.gateway, refusal), None),
        }
    }

    /// Ends the TLS that the client begins once its tunnel is open, and goes on with what is inside.
    fn open_tunnel(self: Arc<Self>, mut request: Request<Incoming>, (tls, peer): (TlsAcceptor, Peer)) {
        let upgrade = hyper::upgrade::on(&mut request);
        let tasks = self.tasks.clone();
        let limit = self.gateway.settings().header_timeout;
        let talk = async move {
            let Ok(inside) = upgrade.await else { return };
            match timeout(limit, tls.accept(TokioIo::new(inside))).await {
                Ok(Ok(stream)) => self.converse(stream, peer).await,
                Ok(Err(error)) => tracing::debug!(%error, address = %peer.address, "a client broke off in its tunnel"),
                Err(_elapsed) => tracing::debug!(address = %peer.address, "a client says nothing in its tunnel"),
            }
        };
        // Boxed, for what is inside is such a conversation again.
        let talk: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(talk);
        tasks.spawn(talk);
    }

    async fn respond(&self, mut request: Request<Incoming>, peer: &Peer) -> Answered<B> {
        if proxy::is_for_model(&request) {
            return proxy::answer(&self.gateway, &self.tasks, &peer.written, request).await;
        }
        request.extensions_mut().insert(ClientAddress(peer.address.ip()));
        match self.fallback.clone().oneshot(request).await {
            Ok(response) => (response.map(Payload::Fallback), None),
            Err(never) => match never {},
        }
    }
}

/// Best effort: a connection without these works, a little worse.
fn set_options(stream: &TcpStream, settings: &Settings) {
    let _ = stream.set_nodelay(true);
    // A client that stops reading its answer holds a slot: the kernel ends the connection when nothing could be sent for so long.
    let limit_ms = u32::try_from(settings.write_timeout.as_millis()).unwrap_or(u32::MAX);
    let _ = setsockopt(stream, sockopt::TcpUserTimeout, &limit_ms);
    // A client whose machine is gone holds one too, while the model thinks.
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &KEEP_ALIVE_SECONDS);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &KEEP_ALIVE_SECONDS);
}

/// The requests of one connection.
#[derive(Debug, Default)]
struct Requests {
    open: AtomicU32,
    begun: AtomicU64,
}

impl Requests {
    fn open(requests: &Arc<Self>) -> OpenRequest {
        requests.open.fetch_add(1, Ordering::Relaxed);
        requests.begun.fetch_add(1, Ordering::Relaxed);
        OpenRequest(requests.clone())
    }

    /// Whether none is open and none has begun since `seen`, which is brought up to date.
    fn is_quiet_since(&self, seen: &mut u64) -> bool {
        let begun = self.begun.load(Ordering::Relaxed);
        std::mem::replace(seen, begun) == begun && self.open.load(Ordering::Relaxed) == 0
    }
}

/// One of them, until its answer has gone out or is given up.
#[derive(Debug)]
struct OpenRequest(Arc<Requests>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer, and what measures its request where that is for a deployment.
type Answered<B> = (Response<Payload<B>>, Option<Measure>);

/// A body whose request counts as open while it exists.
struct Tracked<B> {
    body: Payload<B>,
    measure: Option<Measure>,
    #[expect(dead_code, reason = "held to be dropped")]
    open: OpenRequest,
}

impl<B> Body for Tracked<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let Tracked { body, measure, .. } = &mut *self;
        if let Some(measure) = measure {
            match &frame {
                Some(Ok(frame)) => {
                    measure.sent(frame.data_ref().map_or(&[], Bytes::as_ref));
                    if body.is_end_stream() {
                        measure.ended(End::Whole);
                    }
                }
                Some(Err(_)) => measure.ended(End::Broken),
                None => measure.ended(End::Whole),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
