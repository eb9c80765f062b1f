//! Blobs in a folder: whole or not at all.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use planner::Timestamp;
use store::{Blobs, Error, Location};
use tempfile::TempDir;

fn blobs() -> (TempDir, Blobs) {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(&Location::Folder(folder.path().join("blobs"))).unwrap();
    (folder, blobs)
}

fn chunks(chunks: &[&'static str]) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Unpin + use<> {
    let chunks: Vec<_> = chunks
        .iter()
        .map(|chunk| Ok(Bytes::from_static(chunk.as_bytes())))
        .collect();
    stream::iter(chunks)
}

async fn content(blobs: &Blobs, key: &str) -> String {
    let chunks: Vec<Bytes> = blobs.get(key, None).await.unwrap().chunks.try_collect().await.unwrap();
    String::from_utf8(chunks.concat()).unwrap()
}

fn files(folder: &TempDir) -> usize {
    let mut folders = vec![folder.path().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files += 1 }
        }
    }
    files
}

#[tokio::test]
async fn a_blob_reads_back_as_it_was_written() {
    let (folder, blobs) = blobs();
    assert_eq!(blobs.put("a/b", chunks(&["one ", "two"]), 7).await.unwrap(), 7);
    assert_eq!(content(&blobs, "a/b").await, "one two");
    assert_eq!(blobs.head("a/b").await.unwrap().bytes, 7);
    let part = blobs.get("a/b", Some(4..6)).await.unwrap();
    assert_eq!((part.info.bytes, part.range.clone()), (7, 4..6));
    assert_eq!(part.chunks.try_collect::<Vec<_>>().await.unwrap().concat(), b"tw");
    blobs.put("a/b", chunks(&["three"]), 7).await.unwrap();
    assert_eq!(content(&blobs, "a/b").await, "three");
    let file = folder.path().join("copy");
    blobs.copy_to_file("a/b", &file).await.unwrap();
    assert_eq!(std::fs::read(file).unwrap(), b"three");
}

#[tokio::test]
async fn a_large_blob_reads_back_as_it_was_written() {
    let (_folder, blobs) = blobs();
    let megabyte = |number: u8| Ok::<_, std::io::Error>(Bytes::from(vec![number; 1 << 20]));
    blobs
        .put("large", stream::iter((0..23).map(megabyte)), u64::MAX)
        .await
        .unwrap();
    let read: Vec<Bytes> = blobs
        .get("large", None)
        .await
        .unwrap()
        .chunks
        .try_collect()
        .await
        .unwrap();
    let read = read.concat();
    assert_eq!(read.len(), 23 << 20);
    assert!(read.iter().enumerate().all(|(at, byte)| *byte == (at >> 20) as u8));
}

#[tokio::test]
async fn what_is_too_large_or_breaks_off_is_not_there() {
    let (folder, blobs) = blobs();
    blobs.put("kept", chunks(&["old"]), 10).await.unwrap();
    let too_large = blobs.put("kept", chunks(&["12345", "678901"]), 10).await;
    assert!(
        matches!(too_large, Err(Error::TooLarge { limit_bytes: 10 })),
        "{too_large:?}"
    );
    let breaks = chunks(&["12345"]).chain(stream::once(std::future::ready(Err(std::io::Error::other("gone")))));
    assert!(blobs.put("kept", breaks, 10).await.is_err());
    let large = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![0; 1 << 20]))).take(30);
    let too_large = blobs.put("kept", large, 25 << 20).await;
    assert!(matches!(too_large, Err(Error::TooLarge { .. })), "{too_large:?}");
    assert_eq!(content(&blobs, "kept").await, "old");
    assert_eq!(files(&folder), 1, "no leftovers");
}

#[tokio::test]
async fn a_deleted_or_renamed_blob_is_gone() {
    let (_folder, blobs) = blobs();
    blobs.put("a/b", chunks(&["x"]), 1).await.unwrap();
    blobs.rename("a/b", "c/d").await.unwrap();
    assert!(matches!(blobs.head("a/b").await, Err(Error::NotFound { .. })));
    assert!(matches!(blobs.rename("a/b", "c/e").await, Err(Error::NotFound { .. })));
    assert_eq!(content(&blobs, "c/d").await, "x");
    blobs.delete("c/d").await.unwrap();
    blobs.delete("c/d").await.unwrap();
    assert!(blobs.list("c").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_never_leaves_the_folder() {
    let (folder, blobs) = blobs();
    for key in ["../escaped", "a/../../escaped", "/etc/escaped", "a//b", ""] {
        assert!(blobs.put(key, chunks(&["x"]), 1).await.is_err(), "{key}");
        assert!(blobs.get(key, None).await.is_err(), "{key}");
    }
    assert_eq!(files(&folder), 0);
}

#[tokio::test]
async fn a_sweep_takes_old_blobs_that_nobody_keeps() {
    let (folder, blobs) = blobs();
    blobs.put("a/kept", chunks(&["x"]), 1).await.unwrap();
    blobs.put("a/swept", chunks(&["x"]), 1).await.unwrap();
    blobs.put("b/elsewhere", chunks(&["x"]), 1).await.unwrap();
    let interrupted = folder.path().join("blobs/a/half#1");
    std::fs::write(&interrupted, "x").unwrap();
    let written = blobs.head("a/kept").await.unwrap().modified_at;
    assert_eq!(blobs.sweep("a", written, |_| false).await.unwrap(), 0);
    assert_eq!(blobs.sweep_interrupted(written).await.unwrap(), 0);
    let later = written.plus(60_000);
    assert_eq!(blobs.sweep("a", later, |key| key == "a/kept").await.unwrap(), 1);
    assert_eq!(blobs.sweep_interrupted(later).await.unwrap(), 1);
    let left: Vec<String> = blobs
        .list("a")
        .await
        .unwrap()
        .into_iter()
        .map(|blob| blob.key)
        .collect();
    assert_eq!(left, ["a/kept"]);
    assert!(!interrupted.exists());
    assert_eq!(blobs.list("b").await.unwrap().len(), 1);
    assert_eq!(blobs.sweep("a", Timestamp(0), |_| false).await.unwrap(), 0);
}
