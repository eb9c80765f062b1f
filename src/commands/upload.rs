//! Brings a packed archive to where the server wants it: an S3 location with credentials for this one object.

use std::{fs::File, io::Read as _, path::Path, time::Duration};

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
/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one part may take over a slow line, and the last request, for which a store puts all parts together.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3600);

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
        .with_token(creds.aws_session_token)
        .with_client_options(http_options(creds.endpoint_url.as_deref()));
    if let Some(endpoint) = creds.endpoint_url {
        builder = builder.with_endpoint(endpoint);
    }
    builder.build()
}

fn http_options(endpoint: Option<&str>) -> ClientOptions {
    let is_plain = endpoint.is_some_and(|url| url.starts_with("http://"));
    let options = ClientOptions::new().with_timeout(REQUEST_TIMEOUT).with_connect_timeout(CONNECT_TIMEOUT);
    options.with_allow_http(is_plain)
}

fn next_part(file: &mut File) -> Result<Vec<u8>> {
    let mut part = Vec::new();
    let mut limited = file.take(PART_BYTES as u64);
    limited.read_to_end(&mut part).map_err(while_doing("cannot read the packed archive"))?;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use object_store::ClientConfigKey;

    use super::*;

    #[test]
    fn a_part_may_take_its_time_and_a_connection_may_not() {
        for endpoint in [None, Some("http://127.0.0.1:8000")] {
            let options = http_options(endpoint);
            assert_eq!(options.get_config_value(&ClientConfigKey::Timeout).as_deref(), Some("1h"));
            assert_eq!(options.get_config_value(&ClientConfigKey::ConnectTimeout).as_deref(), Some("10s"));
        }
    }
}
