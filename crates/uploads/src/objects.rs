//! What S3's operations do to blobs. An unfinished upload's parts are blobs `parts/UPLOAD/NUMBER-ETAG`, so that parts may come in
//! any order, side by side and repeatedly.

use std::collections::BTreeMap;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body_util::StreamBody;
use s3s::{
    Body, S3, S3Error, S3Request, S3Response, S3Result,
    crypto::{Checksum as _, Md5},
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
        CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag,
        GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, PutObjectInput, PutObjectOutput,
        StreamingBlob, UploadPartInput, UploadPartOutput,
    },
    s3_error,
};
use store::Blobs;

use crate::{BUCKET, Issuer, Limits, PARTS, archive_key, digests::Digesting};

pub(crate) struct Objects {
    blobs: Blobs,
    issuer: Issuer,
    limits: Limits,
}

/// A part that has been sent.
struct Part {
    blob_key: String,
    number: u32,
    etag: String,
    bytes: u64,
}

impl Objects {
    pub fn new(blobs: Blobs, issuer: Issuer, limits: Limits) -> Self {
        Self { blobs, issuer, limits }
    }

    /// Stores a request's body as a blob when its checksums are right. Its MD5.
    async fn receive<T>(
        &self,
        request: &S3Request<T>,
        body: Option<StreamingBlob>,
        blob_key: &str,
        limit_bytes: u64,
    ) -> S3Result<String> {
        if announced_bytes(&request.headers).is_some_and(|bytes| bytes > limit_bytes) {
            // Before the client has sent it all.
            return Err(refused(store::Error::TooLarge { limit_bytes }));
        }
        let body = body.unwrap_or_else(|| Body::empty().into());
        let (content, digests) = Digesting::new(body, &request.headers);
        // What does not match its checksum must never be visible, and it is only known to match when it has come whole.
        let staged = format!("{PARTS}/incoming/{:032x}", rand::random::<u128>());
        self.blobs.put(&staged, content, limit_bytes).await.map_err(refused)?;
        match digests.verify(&request.headers, request.trailing_headers.as_ref()) {
            Ok(md5) => {
                self.blobs.rename(&staged, &blob_key.replace("{md5}", &md5)).await.map_err(refused)?;
                Ok(md5)
            }
            Err(error) => {
                self.blobs.delete(&staged).await.map_err(refused)?;
                Err(error)
            }
        }
    }

    /// Refuses to write what a deployment has claimed: its archive is what was reviewed and built.
    async fn refuse_claimed(&self, key: &str) -> S3Result<()> {
        let archive =
            archive_key(key).ok_or_else(|| s3_error!(AccessDenied, "Objects are written under uploads/ only."))?;
        match self.blobs.head(&archive).await {
            Ok(_) => Err(s3_error!(AccessDenied, "The object is in use by a deployment: prepare a new upload.")),
            Err(store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }

    fn parts_folder(&self, key: &str, upload_id: &str) -> S3Result<String> {
        if self.issuer.made_upload_id(key, upload_id) {
            Ok(format!("{PARTS}/{upload_id}"))
        } else {
            Err(s3_error!(NoSuchUpload))
        }
    }

    async fn parts(&self, folder: &str) -> S3Result<Vec<Part>> {
        let blobs = self.blobs.list(folder).await.map_err(refused)?;
        let part = |blob: store::BlobInfo| {
            let (number, etag) = blob.key.rsplit_once('/')?.1.split_once('-')?;
            Some(Part { number: number.parse().ok()?, etag: etag.into(), bytes: blob.bytes, blob_key: blob.key })
        };
        Ok(blobs.into_iter().filter_map(part).collect())
    }

    async fn delete_parts(&self, parts: &[Part]) -> S3Result<()> {
        for part in parts {
            self.blobs.delete(&part.blob_key).await.map_err(refused)?;
        }
        Ok(())
    }

    /// The parts one after the other.
    fn joined(&self, parts: &[&Part]) -> impl Stream<Item = Result<bytes::Bytes, store::Error>> + Send + Unpin + use<> {
        let keys: Vec<String> = parts.iter().map(|part| part.blob_key.clone()).collect();
        let blobs = self.blobs.clone();
        let open = move |key: String| {
            let blobs = blobs.clone();
            async move { Ok::<_, store::Error>(blobs.get(&key, None).await?.chunks) }
        };
        stream::iter(keys).then(open).try_flatten().boxed()
    }
}

#[async_trait::async_trait]
impl S3 for Objects {
    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let body = request.input.body.take();
        let key = &request.input.key;
        self.refuse_claimed(key).await?;
        let md5 = self.receive(&request, body, key, self.limits.max_object_bytes).await?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(ETag::Strong(md5)), ..Default::default() }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let key = request.input.key;
        self.refuse_claimed(&key).await?;
        let upload_id = self.issuer.upload_id(&key, rand::random());
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(BUCKET.into()),
            key: Some(key),
            upload_id: Some(upload_id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, mut request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let body = request.input.body.take();
        let folder = self.parts_folder(&request.input.key, &request.input.upload_id)?;
        let number =
            u32::try_from(request.input.part_number).ok().filter(|number| (1..=self.limits.max_parts).contains(number));
        let number =
            number.ok_or_else(|| s3_error!(InvalidArgument, "Part numbers go from 1 to {}.", self.limits.max_parts))?;
        let earlier = self.parts(&folder).await?;
        let others: u64 = earlier.iter().filter(|part| part.number != number).map(|part| part.bytes).sum();
        let left = self.limits.max_object_bytes.saturating_sub(others);
        let md5 = self.receive(&request, body, &format!("{folder}/{number:05}-{{md5}}"), left).await?;
        // Only the latest part of a number counts.
        let replaced: Vec<Part> =
            earlier.into_iter().filter(|part| part.number == number && part.etag != md5).collect();
        self.delete_parts(&replaced).await?;
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(ETag::Strong(md5)), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let folder = self.parts_folder(&input.key, &input.upload_id)?;
        self.refuse_claimed(&input.key).await?;
        let named = named_parts(input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default())?;
        let etag = joined_etag(&named)?;
        let sent = self.parts(&folder).await?;
        if sent.is_empty() && self.blobs.head(&input.key).await.is_ok() {
            // The answer to an earlier completion was lost on its way, and the client asks again.
            return Ok(completed(input.key, etag));
        }
        let find = |(number, etag): (&u32, &String)| {
            let part = sent.iter().find(|part| part.number == *number && part.etag == *etag);
            part.ok_or_else(|| s3_error!(InvalidPart, "Part {} was not sent, or has another ETag.", number))
        };
        let parts = named.iter().map(find).collect::<S3Result<Vec<&Part>>>()?;
        self.blobs.put(&input.key, self.joined(&parts), self.limits.max_object_bytes).await.map_err(refused)?;
        self.delete_parts(&sent).await?;
        Ok(completed(input.key, etag))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let folder = self.parts_folder(&request.input.key, &request.input.upload_id)?;
        self.delete_parts(&self.parts(&folder).await?).await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let found = self.blobs.head(&request.input.key).await.map_err(refused)?;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: i64::try_from(found.bytes).ok(),
            ..Default::default()
        }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let key = &request.input.key;
        let bytes = self.blobs.head(key).await.map_err(refused)?.bytes;
        let range = request.input.range.map(|range| range.check(bytes)).transpose()?;
        let reader = self.blobs.get(key, range.clone()).await.map_err(refused)?;
        let frames = reader.chunks.map_ok(http_body::Frame::data);
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: i64::try_from(reader.range.end - reader.range.start).ok(),
            content_range: range.map(|range| format!("bytes {}-{}/{bytes}", range.start, range.end - 1)),
            content_disposition: key.rsplit('/').next().map(|name| format!("attachment; filename=\"{name}\"")),
            content_type: Some("application/x-tar".parse().expect("it is a media type")),
            body: Some(Body::http_body_unsync(StreamBody::new(frames)).into()),
            ..Default::default()
        }))
    }
}

/// How long the content is going to be, without the framing that some clients wrap it in.
fn announced_bytes(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get("x-amz-decoded-content-length").or_else(|| headers.get(CONTENT_LENGTH))?;
    length.to_str().ok()?.parse().ok()
}

/// Part numbers and ETags as a completion names them.
fn named_parts(parts: Vec<CompletedPart>) -> S3Result<BTreeMap<u32, String>> {
    let mut named = BTreeMap::new();
    for part in parts {
        let number = part.part_number.and_then(|number| u32::try_from(number).ok());
        let (Some(number), Some(etag)) = (number, part.e_tag) else {
            return Err(s3_error!(MalformedXML, "Each part needs a number and an ETag."));
        };
        if named.last_key_value().is_some_and(|(last, _)| *last >= number) {
            return Err(s3_error!(InvalidPartOrder));
        }
        named.insert(number, etag.into_value());
    }
    if named.is_empty() {
        return Err(s3_error!(MalformedXML, "A completion names at least one part."));
    }
    Ok(named)
}

/// The ETag of an object made of parts, as S3 makes it: from the parts' ETags.
fn joined_etag(parts: &BTreeMap<u32, String>) -> S3Result<String> {
    let mut md5 = Md5::new();
    for (number, etag) in parts {
        let bytes = hex::decode(etag)
            .map_err(|_| s3_error!(InvalidPart, "Part {} was not sent, or has another ETag.", number))?;
        md5.update(&bytes);
    }
    Ok(format!("{}-{}", hex::encode(md5.finalize()), parts.len()))
}

fn completed(key: String, etag: String) -> S3Response<CompleteMultipartUploadOutput> {
    S3Response::new(CompleteMultipartUploadOutput {
        bucket: Some(BUCKET.into()),
        location: Some(format!("/{BUCKET}/{key}")),
        key: Some(key),
        e_tag: Some(ETag::Strong(etag)),
        ..Default::default()
    })
}

/// A store's failure as an S3 client understands it.
fn refused(error: store::Error) -> S3Error {
    match error {
        store::Error::NotFound { .. } => s3_error!(NoSuchKey),
        store::Error::TooLarge { limit_bytes } => {
            s3_error!(EntityTooLarge, "The object is larger than the {} bytes allowed.", limit_bytes)
        }
        store::Error::Unavailable { what, source } => {
            tracing::warn!(error = %source, "the {what} failed in the middle of an upload or download");
            s3_error!(ServiceUnavailable, "The server cannot reach its store of archives: try again later.")
        }
        other => {
            tracing::error!(error = %other, "an upload or download failed");
            S3Error::internal_error(other)
        }
    }
}
