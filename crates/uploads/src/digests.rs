//! Digests of a body on its way into the store: its MD5, which is its ETag, and whichever checksums the client has sent.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::Stream;
use http::HeaderMap;
use s3s::{
    S3Result, TrailingHeaders,
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256},
    s3_error,
};

/// A stream that computes digests of what passes.
pub(crate) struct Digesting<S> {
    content: S,
    hashers: Arc<Mutex<Hashers>>,
}

/// The digests of a [`Digesting`]; complete when it has ended.
pub(crate) struct Digests(Arc<Mutex<Hashers>>);

struct Hashers {
    md5: Md5,
    checksums: ChecksumHasher,
}

/// The headers of the checksums there are.
const CHECKSUMS: [&str; 5] = [
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
];
const TRAILER: &str = "x-amz-trailer";

impl<S> Digesting<S> {
    /// Prepares for the checksums that the request's headers announce.
    pub fn new(content: S, headers: &HeaderMap) -> (Self, Digests) {
        let trailers = headers.get(TRAILER).and_then(|names| names.to_str().ok()).unwrap_or_default();
        let announced =
            |name: &str| headers.contains_key(name) || trailers.split(',').any(|trailer| trailer.trim() == name);
        let [crc32, crc32c, crc64nvme, sha1, sha256] = CHECKSUMS.map(announced);
        let checksums = ChecksumHasher {
            crc32: crc32.then(Crc32::new),
            crc32c: crc32c.then(Crc32c::new),
            crc64nvme: crc64nvme.then(Crc64Nvme::new),
            sha1: sha1.then(Sha1::new),
            sha256: sha256.then(Sha256::new),
        };
        let hashers = Arc::new(Mutex::new(Hashers { md5: Md5::new(), checksums }));
        (Self { content, hashers: hashers.clone() }, Digests(hashers))
    }
}

impl<S: Stream<Item = Result<Bytes, E>> + Unpin, E> Stream for Digesting<S> {
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.content).poll_next(context);
        if let Poll::Ready(Some(Ok(chunk))) = &next {
            let mut hashers = self.hashers.lock().expect("no holder of this lock panics");
            hashers.md5.update(chunk);
            hashers.checksums.update(chunk);
        }
        next
    }
}

impl Digests {
    /// The MD5 in hexadecimal, when every checksum that the client sent is right.
    pub fn verify(self, headers: &HeaderMap, trailers: Option<&TrailingHeaders>) -> S3Result<String> {
        let mut hashers = self.0.lock().expect("no holder of this lock panics");
        let md5 = std::mem::take(&mut hashers.md5).finalize();
        let computed = std::mem::take(&mut hashers.checksums).finalize();
        let computed = [
            computed.checksum_crc32,
            computed.checksum_crc32c,
            computed.checksum_crc64nvme,
            computed.checksum_sha1,
            computed.checksum_sha256,
        ];
        let trailers = trailers.and_then(TrailingHeaders::take).unwrap_or_default();
        let sent = |name: &str| headers.get(name).or_else(|| trailers.get(name)).map(|value| value.as_bytes().to_vec());
        let content_md5 = ("content-md5", Some(BASE64_STANDARD.encode(md5)));
        for (name, computed) in CHECKSUMS.into_iter().zip(computed).chain([content_md5]) {
            let wrong = |sent: Vec<u8>| computed.is_some_and(|computed| sent != computed.as_bytes());
            if sent(name).is_some_and(wrong) {
                return Err(s3_error!(BadDigest, "The content does not match its {} header.", name));
            }
        }
        Ok(hex::encode(md5))
    }
}
