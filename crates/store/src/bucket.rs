//! A bucket of an S3-compatible service: how it is reached, whether it does all that blobs need, and what it says when it does not.

use std::time::Duration;

use futures::TryStreamExt;
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use secrecy::{ExposeSecret, SecretString};

use crate::error::Error;

/// What is written and deleted to see whether that is possible. No blob has such a key.
const PROBE: &str = "greenroom-start-check";
/// Somebody waits for the start, and is told what is wrong with it rather than made to wait for what will not come.
const IMPATIENCE: Duration = Duration::from_secs(10);

/// Where a bucket is, and the credentials for it.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// The service's address; none means Amazon's own for the region.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// The bucket's name. It exists.
    pub name: String,
    /// The public half of the credentials.
    pub access_key_id: String,
    /// The other half.
    pub secret_access_key: SecretString,
}

impl Bucket {
    /// A client that outlasts short outages of the service.
    pub(crate) fn client(&self) -> Result<AmazonS3, Error> {
        self.connect(ClientOptions::new(), RetryConfig::default())
    }

    /// Whether everything that blobs need is possible: fails with the service's own word for what is not.
    pub(crate) async fn check(&self) -> Result<(), Error> {
        let retry = RetryConfig { max_retries: 1, retry_timeout: IMPATIENCE, ..RetryConfig::default() };
        let client = self.connect(ClientOptions::new().with_timeout(IMPATIENCE), retry)?;
        let probe = Path::from(PROBE);
        let failed =
            |deed: &str, error: &object_store::Error| self.unusable(format!("cannot {deed}: {}", words(error)));
        // First of all: some services make a bucket that is missing when something is written to it.
        client.list(Some(&probe)).try_next().await.map_err(|error| failed("list the bucket", &error))?;
        client.put(&probe, PROBE.into()).await.map_err(|error| failed("write to the bucket", &error))?;
        client.get(&probe).await.map_err(|error| failed("read from the bucket", &error))?;
        client.delete(&probe).await.map_err(|error| failed("delete from the bucket", &error))
    }

    fn connect(&self, options: ClientOptions, retry: RetryConfig) -> Result<AmazonS3, Error> {
        let mut builder = AmazonS3Builder::new()
            .with_client_options(options)
            .with_retry(retry)
            .with_region(&self.region)
            .with_bucket_name(&self.name)
            .with_access_key_id(&self.access_key_id)
            .with_secret_access_key(self.secret_access_key.expose_secret());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        builder.build().map_err(|error| self.unusable(words(&error)))
    }

    fn unusable(&self, reason: String) -> Error {
        let bucket = format!("s3://{}", self.name);
        let url = self.endpoint.as_ref().map_or(bucket.clone(), |endpoint| format!("{bucket} of {endpoint}"));
        Error::Configuration { url, reason }
    }
}

/// What went wrong, each thing said once: the service's code and sentence where it has answered, else the whole chain of causes.
pub(crate) fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    match (element(&text, "Code"), element(&text, "Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => text,
    }
}

/// The text of an XML element without attributes.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}
