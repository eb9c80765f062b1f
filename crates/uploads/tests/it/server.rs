//! An upload endpoint on an ephemeral port, over a folder of its own.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::UNIX_EPOCH};

use bytes::Bytes;
use futures::{TryStreamExt, stream};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use planner::Timestamp;
use store::{Blobs, Location, SecretKey};
use tempfile::TempDir;
use tokio::net::TcpListener;
use uploads::{Credentials, Issuer, Limits, Service};

use crate::boto3;

/// What the tests' credentials are for.
pub const TEAM_KEY: &str = "uploads/team000001/00ff/model.tgz";

pub struct Server {
    pub blobs: Blobs,
    pub issuer: Issuer,
    address: SocketAddr,
    folder: TempDir,
}

/// Signatures are checked against the machine's clock, so tests cannot bring a time of their own.
#[expect(clippy::disallowed_methods, reason = "a test is its own composition root")]
pub fn now() -> Timestamp {
    Timestamp(std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

impl Server {
    pub async fn start(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&Location::Folder(folder.path().join("blobs"))).unwrap();
        let issuer = Issuer::new(&SecretKey::new([5; 32]));
        let service = Service::new(blobs.clone(), issuer.clone(), limits, Arc::new(now));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let service = service.clone();
                let answer = service_fn(move |request| {
                    let service = service.clone();
                    async move { Ok::<_, Infallible>(service.call(request).await) }
                });
                tokio::spawn(async move {
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(connection), answer).await.ok();
                });
            }
        });
        Self { blobs, issuer, address, folder }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn credentials(&self) -> Credentials {
        self.issuer.issue(now(), TEAM_KEY, 60_000)
    }

    /// Runs a script with `s3`, a boto3 client with these credentials, and answers with what it printed.
    pub async fn boto3(&self, credentials: &Credentials, script: &str) -> String {
        boto3::run(&self.url(), credentials, script).await
    }

    /// Takes the blobs' folder away, as an outage of their store would.
    pub fn lose_blobs(&self) {
        let blobs = self.folder.path().join("blobs");
        std::fs::remove_dir_all(&blobs).unwrap();
        std::fs::write(blobs, "not a folder").unwrap();
    }

    pub async fn write(&self, key: &str, content: &'static [u8]) {
        let content = stream::iter([Ok::<_, Infallible>(Bytes::from_static(content))]);
        self.blobs.put(key, content, u64::MAX).await.unwrap();
    }

    pub async fn content(&self, key: &str) -> Vec<u8> {
        let chunks: Vec<Bytes> = self.blobs.get(key, None).await.unwrap().chunks.try_collect().await.unwrap();
        chunks.concat()
    }
}
