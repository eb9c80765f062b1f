//! Places for blobs: a folder, or a bucket of an S3 server on loopback.

use std::path::Path;

use store::{Blobs, Bucket, Location};
use tempfile::TempDir;

#[path = "../support/s3.rs"]
pub mod s3;

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
        let location = Location::S3(bucket_at(s3::serve(folder.path(), BUCKET).await, BUCKET));
        Self { blobs: Blobs::open(&location).unwrap(), folder }
    }

    /// Where it lies on disk.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A bucket at this endpoint, with the credentials that open it.
pub fn bucket_at(endpoint: String, name: &str) -> Bucket {
    Bucket {
        endpoint: Some(endpoint),
        region: "us-east-1".into(),
        name: name.into(),
        access_key_id: s3::ID.into(),
        secret_access_key: s3::SECRET.into(),
    }
}
