//! Archives and uploads, by key: in a folder, or in a bucket of any S3-compatible service. A blob is visible whole or not at all.

use std::{ops::Range, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, buffered::BufWriter, local::LocalFileSystem, path::Path,
};
use planner::Timestamp;
use tokio::io::AsyncWriteExt;

use crate::{
    bucket::{self, Bucket},
    error::{BoxError, Error},
};

/// Where blobs are kept.
#[derive(Debug, Clone)]
pub enum Location {
    /// In a folder, made if absent. Every blob is on disk before it is acknowledged.
    Folder(PathBuf),
    /// In a bucket.
    S3(Bucket),
}

/// The blob store. A cheap handle.
#[derive(Clone)]
pub struct Blobs {
    objects: Arc<dyn ObjectStore>,
    folder: Option<PathBuf>,
}

/// A blob without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobInfo {
    /// Slash-separated.
    pub key: String,
    /// Size.
    pub bytes: u64,
    /// When it was written.
    pub modified_at: Timestamp,
}

/// A blob's content, or a part of it.
pub struct BlobReader {
    /// About the whole blob.
    pub info: BlobInfo,
    /// The part that `chunks` holds.
    pub range: Range<u64>,
    /// The bytes, in order.
    pub chunks: BoxStream<'static, Result<Bytes, Error>>,
}

impl Blobs {
    /// Opens a blob store.
    pub fn open(location: &Location) -> Result<Blobs, Error> {
        match location {
            Location::Folder(folder) => {
                let configuration = |error: &dyn ToString| Error::Configuration {
                    url: folder.display().to_string(),
                    reason: error.to_string(),
                };
                std::fs::create_dir_all(folder).map_err(|error| configuration(&error))?;
                let objects = LocalFileSystem::new_with_prefix(folder).map_err(|error| configuration(&error))?;
                let objects = Arc::new(objects.with_fsync(true).with_automatic_cleanup(true));
                Ok(Blobs { objects, folder: Some(folder.clone()) })
            }
            Location::S3(bucket) => Ok(Blobs { objects: Arc::new(bucket.client()?), folder: None }),
        }
    }

    /// Opens a blob store that has shown that it does all that will be asked of it. Takes seconds where a service does not answer.
    pub async fn open_checked(location: &Location) -> Result<Blobs, Error> {
        if let Location::S3(bucket) = location {
            bucket.check().await?;
        }
        Self::open(location)
    }

    /// Writes a blob from a stream, in place of any of the same key. Its size. When the stream fails, or is longer than
    /// `limit_bytes`, or the future is dropped, nothing is written.
    pub async fn put<E: Into<BoxError>>(
        &self,
        key: &str,
        mut content: impl Stream<Item = Result<Bytes, E>> + Unpin,
        limit_bytes: u64,
    ) -> Result<u64, Error> {
        let mut writer = BufWriter::new(self.objects.clone(), path(key)?);
        let mut written = 0;
        let finished = loop {
            match content.next().await {
                None => break writer.shutdown().await.map_err(unavailable),
                Some(Err(error)) => break Err(unavailable(error)),
                Some(Ok(chunk)) => {
                    written += chunk.len() as u64;
                    if written > limit_bytes {
                        break Err(Error::TooLarge { limit_bytes });
                    }
                    if let Err(error) = writer.put(chunk).await {
                        break Err(unavailable(error));
                    }
                }
            }
        };
        if let Err(error) = finished {
            // What was sent so far is invisible; taking it back only saves space, so a failure of that does not matter.
            writer.abort().await.ok();
            return Err(error);
        }
        Ok(written)
    }

    /// Reads a blob, or a part of it.
    pub async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<BlobReader, Error> {
        let found = self
            .objects
            .get_opts(&path(key)?, GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() })
            .await
            .map_err(failed(key))?;
        Ok(BlobReader {
            info: info(&found.meta),
            range: found.range.clone(),
            chunks: found.into_stream().map_err(unavailable).boxed(),
        })
    }

    /// About a blob.
    pub async fn head(&self, key: &str) -> Result<BlobInfo, Error> {
        self.objects.head(&path(key)?).await.map(|meta| info(&meta)).map_err(failed(key))
    }

    /// Writes a blob's content into a new local file. After a failure the file may hold a part of it.
    pub async fn copy_to_file(&self, key: &str, file: &std::path::Path) -> Result<(), Error> {
        let mut chunks = self.get(key, None).await?.chunks;
        let mut file = tokio::fs::File::create_new(file).await.map_err(unavailable)?;
        while let Some(chunk) = chunks.try_next().await? {
            file.write_all(&chunk).await.map_err(unavailable)?;
        }
        file.flush().await.map_err(unavailable)
    }

    /// Gives a blob another key.
    pub async fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        self.objects.rename(&path(from)?, &path(to)?).await.map_err(failed(from))
    }

    /// Deletes a blob, if there is one.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        match self.objects.delete(&path(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// The blobs whose key begins with `prefix`, which is whole path segments.
    pub async fn list(&self, prefix: &str) -> Result<Vec<BlobInfo>, Error> {
        self.objects.list(Some(&path(prefix)?)).map_ok(|meta| info(&meta)).map_err(unavailable).try_collect().await
    }

    /// Deletes the blobs under `prefix` that were written before `older_than` and that `keep` does not know. How many.
    pub async fn sweep(
        &self,
        prefix: &str,
        older_than: Timestamp,
        keep: impl Fn(&str) -> bool,
    ) -> Result<usize, Error> {
        let mut swept = 0;
        for blob in self.list(prefix).await? {
            if blob.modified_at < older_than && !keep(&blob.key) {
                self.delete(&blob.key).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Deletes what writes that a crash interrupted before `older_than` have left in the folder, invisible but taking space.
    pub async fn sweep_interrupted(&self, older_than: Timestamp) -> Result<usize, Error> {
        let Some(folder) = self.folder.clone() else {
            return Ok(0);
        };
        let swept = tokio::task::spawn_blocking(move || sweep_interrupted(&folder, older_than)).await;
        swept.map_err(unavailable)?.map_err(unavailable)
    }
}

fn sweep_interrupted(folder: &std::path::Path, older_than: Timestamp) -> std::io::Result<usize> {
    let mut swept = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // A file that its writer finishes or removes in the meantime is no concern of ours.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            swept += sweep_interrupted(&entry.path(), older_than)?;
        } else if is_interrupted(&entry.file_name().to_string_lossy()) && modified_at(&metadata) < older_than {
            swept += usize::from(std::fs::remove_file(entry.path()).is_ok());
        }
    }
    Ok(swept)
}

/// The object store writes `KEY#N` and renames it to `KEY` when it is whole. Keys of ours have no `#`.
fn is_interrupted(file_name: &str) -> bool {
    file_name
        .rsplit_once('#')
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn modified_at(metadata: &std::fs::Metadata) -> Timestamp {
    let since_epoch = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    Timestamp(since_epoch.map_or(0, |duration| duration.as_millis() as u64))
}

/// Keys mean themselves: no key is another's alias, and none leaves the store.
fn path(key: &str) -> Result<Path, Error> {
    let path = Path::parse(key).ok().filter(|path| !key.is_empty() && path.as_ref() == key);
    path.ok_or_else(|| Error::not_found("blob", key))
}

fn info(meta: &object_store::ObjectMeta) -> BlobInfo {
    let modified_ms = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0);
    BlobInfo { key: meta.location.to_string(), bytes: meta.size, modified_at: Timestamp(modified_ms) }
}

fn failed(key: &str) -> impl FnOnce(object_store::Error) -> Error + '_ {
    move |error| match error {
        object_store::Error::NotFound { .. } => Error::not_found("blob", key),
        other => unavailable(other),
    }
}

fn unavailable(source: impl Into<BoxError>) -> Error {
    Error::Unavailable { what: "blob store", source: bucket::words(source.into().as_ref()).into() }
}
