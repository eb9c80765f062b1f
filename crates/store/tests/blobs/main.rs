//! What every blob store does: each case runs on a folder and on a bucket.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod place;

use std::path::Path;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use place::{Place, bucket_at, s3};
use planner::Timestamp;
use store::{Blobs, Bucket, Error, Location};

macro_rules! on_every_place {
    ($($case:ident),+ $(,)?) => {
        mod folder {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::Place::folder().await).await;
            })+
        }
        mod bucket {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::Place::bucket().await).await;
            })+
        }
    };
}

on_every_place! {
    a_blob_reads_back_as_it_was_written,
    a_large_blob_reads_back_as_it_was_written,
    what_is_too_large_or_breaks_off_is_not_there,
    a_deleted_or_renamed_blob_is_gone,
    a_key_has_one_spelling_and_never_leaves_the_place,
    a_sweep_takes_old_blobs_that_nobody_keeps,
}

fn chunks(chunks: &[&'static str]) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Unpin + use<> {
    let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
    stream::iter(chunks)
}

async fn content(blobs: &Blobs, key: &str) -> String {
    let chunks: Vec<Bytes> = blobs.get(key, None).await.unwrap().chunks.try_collect().await.unwrap();
    String::from_utf8(chunks.concat()).unwrap()
}

fn files(folder: &Path) -> usize {
    let mut folders = vec![folder.to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files += 1 }
        }
    }
    files
}

async fn a_blob_reads_back_as_it_was_written(place: Place) {
    let blobs = &place.blobs;
    assert_eq!(blobs.put("a/b", chunks(&["one ", "two"]), 7).await.unwrap(), 7);
    assert_eq!(content(blobs, "a/b").await, "one two");
    assert_eq!(blobs.head("a/b").await.unwrap().bytes, 7);
    let part = blobs.get("a/b", Some(4..6)).await.unwrap();
    assert_eq!((part.info.bytes, part.range.clone()), (7, 4..6));
    assert_eq!(part.chunks.try_collect::<Vec<_>>().await.unwrap().concat(), b"tw");
    blobs.put("a/b", chunks(&["three"]), 7).await.unwrap();
    assert_eq!(content(blobs, "a/b").await, "three");
    let file = place.path().join("copy");
    blobs.copy_to_file("a/b", &file).await.unwrap();
    assert_eq!(std::fs::read(file).unwrap(), b"three");
}

async fn a_large_blob_reads_back_as_it_was_written(place: Place) {
    let blobs = &place.blobs;
    let megabyte = |number: u8| Ok::<_, std::io::Error>(Bytes::from(vec![number; 1 << 20]));
    blobs.put("large", stream::iter((0..23).map(megabyte)), u64::MAX).await.unwrap();
    let read: Vec<Bytes> = blobs.get("large", None).await.unwrap().chunks.try_collect().await.unwrap();
    let read = read.concat();
    assert_eq!(read.len(), 23 << 20);
    assert!(read.iter().enumerate().all(|(at, byte)| *byte == (at >> 20) as u8));
}

async fn what_is_too_large_or_breaks_off_is_not_there(place: Place) {
    let blobs = &place.blobs;
    blobs.put("kept", chunks(&["old"]), 10).await.unwrap();
    let too_large = blobs.put("kept", chunks(&["12345", "678901"]), 10).await;
    assert!(matches!(too_large, Err(Error::TooLarge { limit_bytes: 10 })), "{too_large:?}");
    let breaks = chunks(&["12345"]).chain(stream::once(std::future::ready(Err(std::io::Error::other("gone")))));
    assert!(blobs.put("kept", breaks, 10).await.is_err());
    let large = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![0; 1 << 20]))).take(30);
    let too_large = blobs.put("kept", large, 25 << 20).await;
    assert!(matches!(too_large, Err(Error::TooLarge { .. })), "{too_large:?}");
    assert_eq!(content(blobs, "kept").await, "old");
}

async fn a_deleted_or_renamed_blob_is_gone(place: Place) {
    let blobs = &place.blobs;
    blobs.put("a/b", chunks(&["x"]), 1).await.unwrap();
    blobs.rename("a/b", "c/d").await.unwrap();
    assert!(matches!(blobs.head("a/b").await, Err(Error::NotFound { .. })));
    assert!(matches!(blobs.rename("a/b", "c/e").await, Err(Error::NotFound { .. })));
    assert_eq!(content(blobs, "c/d").await, "x");
    blobs.delete("c/d").await.unwrap();
    blobs.delete("c/d").await.unwrap();
    assert!(blobs.list("c").await.unwrap().is_empty());
}

async fn a_key_has_one_spelling_and_never_leaves_the_place(place: Place) {
    let blobs = &place.blobs;
    for key in ["../escaped", "a/../../escaped", "/etc/escaped", "a//b", ""] {
        assert!(blobs.put(key, chunks(&["x"]), 1).await.is_err(), "{key}");
        assert!(blobs.get(key, None).await.is_err(), "{key}");
    }
    assert_eq!(files(place.path()), 0);
}

async fn a_sweep_takes_old_blobs_that_nobody_keeps(place: Place) {
    let blobs = &place.blobs;
    blobs.put("a/kept", chunks(&["x"]), 1).await.unwrap();
    blobs.put("a/swept", chunks(&["x"]), 1).await.unwrap();
    blobs.put("b/elsewhere", chunks(&["x"]), 1).await.unwrap();
    let written = blobs.head("a/kept").await.unwrap().modified_at;
    assert_eq!(blobs.sweep("a", written, |_| false).await.unwrap(), 0);
    let later = written.plus(60_000);
    assert_eq!(blobs.sweep("a", later, |key| key == "a/kept").await.unwrap(), 1);
    let left: Vec<String> = blobs.list("a").await.unwrap().into_iter().map(|blob| blob.key).collect();
    assert_eq!(left, ["a/kept"]);
    assert_eq!(blobs.list("b").await.unwrap().len(), 1);
    assert_eq!(blobs.sweep("a", Timestamp(0), |_| false).await.unwrap(), 0);
}

#[tokio::test]
async fn an_interrupted_write_to_a_folder_is_invisible_and_swept_when_it_is_old() {
    let place = Place::folder().await;
    let blobs = &place.blobs;
    blobs.put("a/whole", chunks(&["x"]), 1).await.unwrap();
    let interrupted = place.path().join("blobs/a/half#1");
    std::fs::write(&interrupted, "x").unwrap();
    assert_eq!(blobs.list("a").await.unwrap().len(), 1);
    let written = blobs.head("a/whole").await.unwrap().modified_at;
    assert_eq!(blobs.sweep_interrupted(written).await.unwrap(), 0);
    assert_eq!(blobs.sweep_interrupted(written.plus(60_000)).await.unwrap(), 1);
    assert_eq!(files(place.path()), 1);
}

#[tokio::test]
async fn a_refused_write_to_a_folder_leaves_no_file() {
    let place = Place::folder().await;
    let large = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![0; 1 << 20]))).take(30);
    assert!(place.blobs.put("large", large, 25 << 20).await.is_err());
    assert_eq!(files(place.path()), 0);
}

#[tokio::test]
async fn a_bucket_that_cannot_be_used_is_told_when_it_is_opened_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = s3::serve(folder.path(), "archives").await;
    let good = bucket_at(endpoint, "archives");
    Blobs::open_checked(&Location::S3(good.clone())).await.unwrap();
    assert_eq!(files(&folder.path().join("archives")), 0, "the check leaves nothing behind");

    let refusal =
        async |bucket: Bucket| Blobs::open_checked(&Location::S3(bucket)).await.err().expect("refused").to_string();
    let missing = refusal(Bucket { name: "elsewhere".into(), ..good.clone() }).await;
    assert!(missing.contains("s3://elsewhere of http://127.0.0.1") && missing.contains("NoSuchBucket"), "{missing}");
    let wrong = refusal(Bucket { secret_access_key: "wr0ng".into(), ..good.clone() }).await;
    assert!(wrong.contains("cannot list the bucket: SignatureDoesNotMatch"), "{wrong}");
    assert!(!wrong.contains("wr0ng"), "{wrong}");
    let nobody = refusal(Bucket { endpoint: Some("http://127.0.0.1:1".into()), ..good }).await;
    assert!(nobody.contains("Connection refused"), "{nobody}");
}
