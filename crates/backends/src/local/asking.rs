//! Asking a replica for something, on its socket.

use std::{io, pin::pin, time::Duration};

use api::{id::ReplicaId, internal::replica::file};
use http_body_util::Full;
use hyper::{Method, Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::Local;
use crate::BackendError;

/// How long a replica may take to take note of its environment.
const ENVIRONMENT_TIMEOUT: Duration = Duration::from_secs(2);

impl Local {
    /// Sends a request to one of a replica's own routes, and waits for its answer; an answer that is no success is an error.
    pub(super) async fn ask_replica(
        &self,
        id: &ReplicaId,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> io::Result<()> {
        let stream = UnixStream::connect(self.run_folder.join(id.as_str()).join(file::SOCKET)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "replica")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(io::Error::other)?;
        let mut answer = pin!(sender.send_request(request));
        let answer = tokio::select! {
            answer = &mut answer => answer,
            // One that ends with its answer has delivered it.
            _ = connection => answer.await,
        };
        let answer = answer.map_err(io::Error::other)?;
        if answer.status().is_success() { Ok(()) } else { Err(io::Error::other(answer.status().to_string())) }
    }

    pub(super) async fn tell_environment(
        &self,
        id: &ReplicaId,
        environment: Option<serde_json::Value>,
    ) -> Result<(), BackendError> {
        let document = environment.unwrap_or(serde_json::Value::Null).to_string().into_bytes();
        let asked = self.ask_replica(id, Method::PUT, "/_greenroom/environment", document);
        let told = tokio::time::timeout(ENVIRONMENT_TIMEOUT, asked).await;
        told.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| BackendError { what: format!("cannot tell replica {id} its environment"), source })
    }
}
