//! Asking a replica for something, on its socket.

use std::{io, pin::pin, time::Duration};

use api::{
    id::ReplicaId,
    internal::replica::{NotSwapped, Secrets, Swap, file},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::{Local, app};
use crate::{Artifact, BackendError, SwapError};

/// How long the import of new code may take, and a little more.
const SWAP_TIMEOUT: Duration = Duration::from_secs(35);

/// How long a replica may take to take note of its environment, or of its secrets.
const NOTE_TIMEOUT: Duration = Duration::from_secs(2);

impl Local {
    /// Sends a request to one of a replica's own routes; an answer that is no success is an error.
    pub(super) async fn tell_replica(
        &self,
        id: &ReplicaId,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> io::Result<()> {
        let (status, _) = self.ask_replica(id, method, path, body).await?;
        if status.is_success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
    }

    /// Sends a request to one of a replica's own routes, and waits for its answer.
    async fn ask_replica(
        &self,
        id: &ReplicaId,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> io::Result<(StatusCode, Bytes)> {
        let stream = UnixStream::connect(self.run_folder.join(id.as_str()).join(file::SOCKET)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "replica")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(io::Error::other)?;
        let mut answer = pin!(async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            Ok::<_, hyper::Error>((status, answer.into_body().collect().await?.to_bytes()))
        });
        let answer = tokio::select! {
            answer = &mut answer => answer,
            // One that ends with its answer has delivered it.
            _ = connection => answer.await,
        };
        answer.map_err(io::Error::other)
    }

    pub(super) async fn swap_replica_code(&self, id: &ReplicaId, artifact: &Artifact) -> Result<(), SwapError> {
        let app = self.artifact_place(&artifact.0).folder.join(app::APP);
        let swap = serde_json::to_vec(&Swap { app }).expect("a path of ours is text");
        let asked = self.ask_replica(id, Method::POST, "/_greenroom/swap", swap);
        let answer = tokio::time::timeout(SWAP_TIMEOUT, asked).await;
        let impossible = |error: io::Error| SwapError::Impossible(format!("replica {id} does not answer: {error}"));
        let (status, body) = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(impossible)?;
        if status.is_success() {
            return Ok(());
        }
        match serde_json::from_slice(&body) {
            Ok(NotSwapped { message, is_broken: true, detail }) => Err(SwapError::Broken { message, detail }),
            Ok(NotSwapped { message, .. }) => Err(SwapError::Impossible(message)),
            Err(_) => Err(SwapError::Impossible(format!("replica {id} answers {status}"))),
        }
    }

    pub(super) async fn tell_environment(
        &self,
        id: &ReplicaId,
        environment: Option<serde_json::Value>,
    ) -> Result<(), BackendError> {
        let document = environment.unwrap_or(serde_json::Value::Null).to_string().into_bytes();
        let told = self.tell_replica(id, Method::PUT, "/_greenroom/environment", document);
        let told = tokio::time::timeout(NOTE_TIMEOUT, told).await;
        told.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| BackendError { what: format!("cannot tell replica {id} its environment"), source })
    }

    pub(super) async fn tell_secrets(&self, id: &ReplicaId, secrets: &Secrets) -> Result<(), BackendError> {
        let document = serde_json::to_vec(secrets).expect("texts by name become JSON");
        let told = self.tell_replica(id, Method::PUT, "/_greenroom/secrets", document);
        let told = tokio::time::timeout(NOTE_TIMEOUT, told).await;
        told.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| BackendError { what: format!("cannot give replica {id} its secrets"), source })
    }
}
