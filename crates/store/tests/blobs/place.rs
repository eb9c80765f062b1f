//! Places for blobs: a folder, or a bucket of an S3 server on loopback.

use std::path::Path;

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use store::{Blobs, Location};
use tempfile::TempDir;
use tokio::net::TcpListener;

const BUCKET: &str = "archives";

/// An empty blob store, gone when it is dropped.
pub struct Place {
    pub blobs: Blobs,
    folder: TempDir,
}

impl Place {
    pub async fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&Location::Folder(folder.path().join("blobs"))).unwrap();
        Self { blobs, folder }
    }

    pub async fn bucket() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut service = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        service.set_auth(SimpleAuth::from_single("id", "secret"));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(connection), service).await.ok();
                });
            }
        });
        let location = Location::S3 {
            endpoint: Some(endpoint),
            region: "us-east-1".into(),
            bucket: BUCKET.into(),
            access_key_id: "id".into(),
            secret_access_key: "secret".into(),
        };
        Self { blobs: Blobs::open(&location).unwrap(), folder }
    }

    /// Where it lies on disk.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}
