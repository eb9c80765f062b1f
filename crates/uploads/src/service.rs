//! The endpoint as an HTTP service: signatures are s3s's to verify, who may do what is decided here.

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode, Version,
    header::{CONNECTION, EXPECT},
};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use planner::time::Clock;
use s3s::{
    Body, S3Result,
    access::{S3Access, S3AccessContext},
    auth::{S3Auth, SecretKey},
    host::{S3Host, VirtualHost},
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};
use store::{Blobs, BoxError};

use crate::{
    BUCKET, Limits,
    credentials::{Issuer, Refusal, Scope},
    objects::Objects,
    unread::Shared,
};

/// The body of an answer.
pub type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// The S3-compatible endpoint. A cheap handle. Serve it under the path `/greenroom-uploads/` and the hosts `greenroom-uploads.*`,
/// with paths untouched: clients sign them.
#[derive(Clone)]
pub struct Service(S3Service);

impl Service {
    /// An endpoint that stores into `blobs`, for holders of credentials by `issuer`.
    pub fn new(blobs: Blobs, issuer: Issuer, limits: Limits, clock: Clock) -> Self {
        let mut builder = S3ServiceBuilder::new(Objects::new(blobs, issuer.clone(), limits));
        builder.set_auth(Secrets(issuer.clone()));
        builder.set_access(Grants { issuer, clock });
        builder.set_host(Hosts);
        Self(builder.build())
    }

    /// Whether a request for this host and path is for this endpoint.
    pub fn serves(host: &str, path: &str) -> bool {
        is_bucket_host(host)
            || path
                .strip_prefix('/')
                .and_then(|path| path.strip_prefix(BUCKET))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Answers one request.
    pub async fn call<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let version = request.version();
        let waits_for_go_ahead = request.headers().contains_key(EXPECT);
        let (parts, body) = request.into_parts();
        let body = Shared::new(body);
        let unread = body.another();
        let answer = self.0.call(Request::from_parts(parts, Body::http_body_unsync(body))).await;
        let mut response = answer.map(|response| response.map(|body| body.boxed_unsync())).unwrap_or_else(|_| {
            // The cause is in the log: s3s has written it there.
            let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        });
        let speaks_http1 = version < Version::HTTP_2;
        if !response.status().is_success() && !unread.discard(waits_for_go_ahead).await && speaks_http1 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The secret half for a public half, to verify signatures with.
struct Secrets(Issuer);

#[async_trait::async_trait]
impl S3Auth for Secrets {
    async fn get_secret_key(&self, access_key_id: &str) -> S3Result<SecretKey> {
        Ok(self.0.secret_access_key(access_key_id).into())
    }
}

/// What the signed request may do, by its session token.
struct Grants {
    issuer: Issuer,
    clock: Clock,
}

#[async_trait::async_trait]
impl S3Access for Grants {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let scope = match context.s3_op().name() {
            "PutObject"
            | "CreateMultipartUpload"
            | "UploadPart"
            | "CompleteMultipartUpload"
            | "AbortMultipartUpload" => Scope::Write,
            "GetObject" | "HeadObject" => Scope::Read,
            other => return Err(s3_error!(AccessDenied, "{} is not for uploads.", other)),
        };
        let credentials = context.credentials().ok_or_else(|| s3_error!(AccessDenied, "The request is not signed."))?;
        let token = session_token(context).ok_or_else(|| s3_error!(InvalidToken, "The session token is missing."))?;
        let key = match context.s3_path().as_object() {
            Some((BUCKET, key)) => key,
            _ => return Err(s3_error!(NoSuchBucket, "The only bucket is {}.", BUCKET)),
        };
        self.issuer.check((self.clock)(), &credentials.access_key, &token, scope, key).map_err(
            |refusal| match refusal {
                Refusal::Invalid => s3_error!(InvalidToken, "The session token is not for these credentials."),
                Refusal::Expired => s3_error!(ExpiredToken, "The credentials have expired: prepare the upload again."),
                Refusal::Elsewhere => s3_error!(AccessDenied, "The credentials are for another object or operation."),
            },
        )
    }
}

/// From the header, or from the query of a signed link.
fn session_token(context: &S3AccessContext<'_>) -> Option<String> {
    if let Some(token) = context.headers().get("x-amz-security-token") {
        return token.to_str().ok().map(str::to_owned);
    }
    let pairs = context.uri().query()?.split('&');
    // Our tokens have no characters that a query would escape.
    pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == "X-Amz-Security-Token")
        .map(|(_, token)| token.into())
}

/// The bucket as a host name's first label, whatever follows; any other host means the bucket is in the path.
struct Hosts;

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let parsed = VirtualHost::new(host);
        Ok(if is_bucket_host(host) { parsed.with_bucket(BUCKET) } else { parsed })
    }
}

fn is_bucket_host(host: &str) -> bool {
    host.split_once('.').is_some_and(|(first, _)| first == BUCKET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_for_the_bucket_are_known_by_host_or_path() {
        for (host, path, expected) in [
            ("127.0.0.1:8000", "/greenroom-uploads/uploads/x", true),
            ("127.0.0.1:8000", "/greenroom-uploads", true),
            ("greenroom-uploads.localhost:8000", "/uploads/x", true),
            ("127.0.0.1:8000", "/greenroom-uploads-of-others/x", false),
            ("127.0.0.1:8000", "/v1/models", false),
            ("model-abc.localhost", "/production/predict", false),
        ] {
            assert_eq!(Service::serves(host, path), expected, "{host} {path}");
        }
    }
}
