//! The listener: accepts connections, hands requests for models to the gateway and all others to the fallback, and drains.

use std::{convert::Infallible, future::Future};

use http::{Request, Response};
use hyper::body::{Body, Bytes, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;

use crate::Gateway;

/// Why serving ended other than by its shutdown signal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener is of no use any more.
    #[error("cannot accept connections any more")]
    Accept(#[source] std::io::Error),
}

/// Serves HTTP/1.1 and HTTP/2 (prior knowledge) on `listener` until `shutdown` completes, then accepts no more, lets requests
/// under way finish for at most [`crate::Settings::drain_limit`], and returns. Requests whose host is `model-ID.…` or whose path
/// is `/models/ID/…` are for models; all others go to `fallback`, their target untouched.
pub async fn serve<F, B>(
    listener: TcpListener,
    gateway: Gateway,
    fallback: F,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error>
where
    F: tower::Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    F::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let _ = gateway;
    tokio::pin!(shutdown);
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted.map_err(Error::Accept)?,
            () = &mut shutdown => return Ok(()),
        };
        let service = TowerToHyperService::new(fallback.clone());
        tokio::spawn(async move {
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
