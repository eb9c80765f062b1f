//! An S3 service on loopback, until the test ends.

use std::path::Path;

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

/// The public half of the credentials.
pub const ID: &str = "id";
/// The other half.
pub const SECRET: &str = "secret";

/// Serves a bucket of this name from `folder`. The service's address.
pub async fn serve(folder: &Path, bucket: &str) -> String {
    std::fs::create_dir(folder.join(bucket)).unwrap();
    let mut service = S3ServiceBuilder::new(FileSystem::new(folder).unwrap());
    service.set_auth(SimpleAuth::from_single(ID, SECRET));
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
    endpoint
}
