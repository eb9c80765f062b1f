//! Brings a packed archive to where the server wants it: an S3 location with credentials for this one object.

use std::{fs::File, io::Read as _, path::Path};

use api::v1::uploads::{AWSCredentials, PrepareModelUploadResponse};
use object_store::{
    ClientOptions, ObjectStoreExt as _, WriteMultipart,
    aws::{AmazonS3, AmazonS3Builder},
};

use crate::{
    failure::{Failure, Kind, Result, while_doing},
    printer::Printer,
};

/// Archives up to this size go in one request, larger ones in parts of this size.
const PART_BYTES: usize = 8 << 20;
/// Parts under way at one time.
const PARTS_AT_ONCE: usize = 4;

/// Uploads `archive` and returns the key it now has.
pub async fn upload(target: PrepareModelUploadResponse, archive: &Path, printer: Printer) -> Result<String> {
    let PrepareModelUploadResponse { creds: Some(creds), s3_bucket: Some(bucket), s3_key: Some(key), s3_region } =
        target
    else {
        return Err(Failure::new(Kind::Server, "the server did not say where to upload to"));
    };
    let failed = |error: object_store::Error| Failure::new(Kind::Server, format!("the upload failed: {error}"));
    let store = connect(creds, bucket, s3_region).map_err(failed)?;
    let object = object_store::path::Path::parse(&key)
        .map_err(|error| Failure::new(Kind::Server, format!("the server named an impossible object: {error}")))?;

    let mut file = File::open(archive).map_err(while_doing("cannot read the packed archive"))?;
    let size = file.metadata().map_err(while_doing("cannot read the packed archive"))?.len();
    let progress = printer.bar("Uploading", size);
    let mut part = next_part(&mut file)?;
    if size <= PART_BYTES as u64 {
        store.put(&object, part.into()).await.map_err(failed)?;
        return Ok(key);
    }
    let mut parts =
        WriteMultipart::new_with_chunk_size(store.put_multipart(&object).await.map_err(failed)?, PART_BYTES);
    while !part.is_empty() {
        parts.wait_for_capacity(PARTS_AT_ONCE).await.map_err(failed)?;
        progress.advance(part.len() as u64);
        parts.put(part.into());
        part = next_part(&mut file)?;
    }
    parts.finish().await.map_err(failed)?;
    Ok(key)
}

fn connect(creds: AWSCredentials, bucket: String, region: Option<String>) -> object_store::Result<AmazonS3> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region.unwrap_or_else(|| "us-east-1".to_owned()))
        .with_access_key_id(creds.aws_access_key_id)
        .with_secret_access_key(creds.aws_secret_access_key)
        .with_token(creds.aws_session_token);
    if let Some(endpoint) = creds.endpoint_url {
        let is_plain = endpoint.starts_with("http://");
        builder = builder.with_endpoint(endpoint).with_client_options(ClientOptions::new().with_allow_http(is_plain));
    }
    builder.build()
}

fn next_part(file: &mut File) -> Result<Vec<u8>> {
    let mut part = Vec::new();
    let mut limited = file.take(PART_BYTES as u64);
    limited.read_to_end(&mut part).map_err(while_doing("cannot read the packed archive"))?;
    Ok(part)
}
