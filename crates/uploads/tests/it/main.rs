//! The endpoint as its users meet it: plain boto3 against a server on loopback.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod boto3;
mod server;

use server::{Server, TEAM_KEY, now};
use store::Error;
use uploads::Limits;

const MEBIBYTE: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_was_put_can_be_claimed_and_is_then_out_of_reach() {
    let server = Server::start(Limits::default()).await;
    let credentials = server.credentials();
    assert!(matches!(uploads::claim(&server.blobs, TEAM_KEY).await, Err(Error::NotFound { kind: "upload", .. })));
    let output =
        server.boto3(&credentials, "print(s3.put_object(Bucket=bucket, Key=key, Body=b'an archive')['ETag'])").await;
    assert_eq!(output, format!("\"{}\"", md5("an archive")));
    let archive = uploads::claim(&server.blobs, TEAM_KEY).await.unwrap();
    assert_eq!(archive.bytes, 10);
    assert_eq!(server.content(&archive.key).await, b"an archive");
    let refused = server
        .boto3(
            &credentials,
            "print(refusal(lambda: s3.put_object(Bucket=bucket, Key=key, Body=b'another')),
                   refusal(lambda: s3.create_multipart_upload(Bucket=bucket, Key=key)))",
        )
        .await;
    assert_eq!(refused, "AccessDenied AccessDenied");
    assert_eq!(uploads::claim(&server.blobs, TEAM_KEY).await.unwrap(), archive);
    assert_eq!(server.content(&archive.key).await, b"an archive");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_store_is_told_as_one_that_passes() {
    let server = Server::start(Limits::default()).await;
    server.lose_blobs();
    let script = "print(refusal(lambda: s3.put_object(Bucket=bucket, Key=key, Body=b'an archive')))";
    assert_eq!(server.boto3(&server.credentials(), script).await, "ServiceUnavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_comes_in_parts_side_by_side() {
    let server = Server::start(Limits::default()).await;
    server
        .boto3(
            &server.credentials(),
            "import io; s3.upload_fileobj(io.BytesIO(bytes(range(256)) * (20 * 1024 * 4 + 1)), bucket, key)",
        )
        .await;
    let archive = uploads::claim(&server.blobs, TEAM_KEY).await.unwrap();
    assert_eq!(archive.bytes as usize, 20 * MEBIBYTE + 256);
    let content = server.content(&archive.key).await;
    assert!(content.iter().enumerate().all(|(at, byte)| *byte == at as u8));
    assert!(server.blobs.list("parts").await.unwrap().is_empty(), "no part is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_in_any_order_and_repeatedly_make_the_object_that_the_completion_names() {
    let server = Server::start(Limits::default()).await;
    let output = server
        .boto3(
            &server.credentials(),
            "id = s3.create_multipart_upload(Bucket=bucket, Key=key)['UploadId']
def part(number, content):
    return s3.upload_part(Bucket=bucket, Key=key, UploadId=id, PartNumber=number, Body=content)['ETag']
def complete(*parts):
    parts = [{'PartNumber': number, 'ETag': etag} for number, etag in parts]
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=id, MultipartUpload={'Parts': parts})['ETag']
three = part(3, b'three')
stale = part(1, b'stale')
one = part(1, b'one ')
print(refusal(lambda: complete((1, stale), (3, three))), refusal(lambda: complete((1, one), (2, one))))
print(refusal(lambda: complete((3, three), (1, one))), refusal(lambda: part(0, b'')), refusal(lambda: part(10001, b'')))
assert complete((1, one), (3, three)) == complete((1, one), (3, three)), 'asking again answers the same'
id = id[:-1] + ('0' if id[-1] != '0' else '1')
print(refusal(lambda: part(1, b'')))",
        )
        .await;
    assert_eq!(output, "InvalidPart InvalidPart\nInvalidPartOrder InvalidArgument InvalidArgument\nNoSuchUpload");
    let archive = uploads::claim(&server.blobs, TEAM_KEY).await.unwrap();
    assert_eq!(server.content(&archive.key).await, b"one three");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_upload_leaves_nothing() {
    let server = Server::start(Limits::default()).await;
    server
        .boto3(
            &server.credentials(),
            "id = s3.create_multipart_upload(Bucket=bucket, Key=key)['UploadId']
s3.upload_part(Bucket=bucket, Key=key, UploadId=id, PartNumber=1, Body=b'x')
s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=id)",
        )
        .await;
    assert!(server.blobs.list("parts").await.unwrap().is_empty());
    assert!(uploads::claim(&server.blobs, TEAM_KEY).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_wrong_expired_or_for_something_else_are_refused() {
    let server = Server::start(Limits::default()).await;
    let good = server.credentials();
    let put = "print(refusal(lambda: s3.put_object(Bucket=bucket, Key=key, Body=b'x')))";

    let mut wrong_secret = good.clone();
    wrong_secret.secret_access_key = wrong_secret.secret_access_key.replace(|c: char| c.is_ascii_digit(), "x");
    assert_eq!(server.boto3(&wrong_secret, put).await, "SignatureDoesNotMatch");

    let expired = server.issuer.issue(planner::Timestamp(now().0 - 10_000), TEAM_KEY, 5_000);
    assert_eq!(server.boto3(&expired, put).await, "ExpiredToken");

    let mut no_token = good.clone();
    no_token.session_token = String::new();
    assert_eq!(server.boto3(&no_token, put).await, "InvalidToken");

    let others = server.issuer.issue(now(), "uploads/other/00/model.tgz", 60_000);
    let mut mixed = good.clone();
    mixed.session_token = others.session_token;
    assert_eq!(server.boto3(&mixed, put).await, "InvalidToken");

    let elsewhere = "import botocore
unsigned = boto3.client('s3', endpoint_url=endpoint, config=botocore.client.Config(signature_version=botocore.UNSIGNED))
print(refusal(lambda: s3.put_object(Bucket=bucket, Key='uploads/other/00/model.tgz', Body=b'x')),
      refusal(lambda: s3.put_object(Bucket='another-bucket', Key=key, Body=b'x')),
      refusal(lambda: s3.get_object(Bucket=bucket, Key=key)),
      refusal(lambda: s3.delete_object(Bucket=bucket, Key=key)),
      refusal(lambda: s3.list_objects_v2(Bucket=bucket)),
      refusal(lambda: s3.list_buckets()),
      refusal(lambda: unsigned.put_object(Bucket=bucket, Key=key, Body=b'x')))";
    assert_eq!(
        server.boto3(&good, elsewhere).await,
        "AccessDenied NoSuchBucket AccessDenied AccessDenied AccessDenied AccessDenied AccessDenied"
    );
    assert!(server.blobs.list("uploads").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_arrives_changed_or_too_large_is_refused_and_not_kept() {
    let server = Server::start(Limits { max_object_bytes: 6, max_parts: 2 }).await;
    let output = server
        .boto3(
            &server.credentials(),
            "print(refusal(lambda: s3.put_object(Bucket=bucket, Key=key, Body=b'x', ChecksumCRC32='AAAAAA==')),
      refusal(lambda: s3.put_object(Bucket=bucket, Key=key, Body=b'x', ContentMD5='1B2M2Y8AsgTpgAmY7PhCfg==')),
      refusal(lambda: s3.put_object(Bucket=bucket, Key=key, Body=b'1234567')))
id = s3.create_multipart_upload(Bucket=bucket, Key=key)['UploadId']
def part(number, content):
    s3.upload_part(Bucket=bucket, Key=key, UploadId=id, PartNumber=number, Body=content)
part(1, b'123')
part(1, b'1234')
print(refusal(lambda: part(2, b'567')), refusal(lambda: part(3, b'')))",
        )
        .await;
    assert_eq!(output, "BadDigest BadDigest EntityTooLarge\nEntityTooLarge InvalidArgument");
    assert!(server.blobs.list("uploads").await.unwrap().is_empty());
    assert_eq!(server.blobs.list("parts").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_in_chunks_with_a_trailing_checksum_is_unwrapped_and_checked() {
    let server = Server::start(Limits::default()).await;
    let script = "import http.client, botocore.auth, botocore.awsrequest
class Unsigned(botocore.auth.S3SigV4Auth):
    def payload(self, request):
        return 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'
def put(checksum):
    body = b'3\\r\\none\\r\\n4\\r\\n two\\r\\n0\\r\\nx-amz-checksum-crc32:' + checksum + b'\\r\\n\\r\\n'
    headers = {'X-Amz-Decoded-Content-Length': '7', 'X-Amz-Trailer': 'x-amz-checksum-crc32', 'Content-Encoding': 'aws-chunked'}
    request = botocore.awsrequest.AWSRequest('PUT', f'{endpoint}/{bucket}/{key}', headers, body)
    Unsigned(session.get_credentials(), 's3', 'us-east-1').add_auth(request)
    connection = http.client.HTTPConnection(endpoint.removeprefix('http://'))
    connection.request('PUT', f'/{bucket}/{key}', body, dict(request.headers))
    return connection.getresponse().status
import base64, zlib
print(put(b'AAAAAA=='), put(base64.b64encode(zlib.crc32(b'one two').to_bytes(4, 'big'))))";
    assert_eq!(server.boto3(&server.credentials(), script).await, "400 200");
    let archive = uploads::claim(&server.blobs, TEAM_KEY).await.unwrap();
    assert_eq!(server.content(&archive.key).await, b"one two");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_may_stand_in_the_host_name() {
    let server = Server::start(Limits::default()).await;
    let script = "from botocore.client import Config
config = Config(s3={'addressing_style': 'virtual'}, proxies={'http': endpoint})
s3 = session.client('s3', endpoint_url='http://greenroom.test', config=config)
s3.put_object(Bucket=bucket, Key=key, Body=b'by host')";
    server.boto3(&server.credentials(), script).await;
    let archive = uploads::claim(&server.blobs, TEAM_KEY).await.unwrap();
    assert_eq!(server.content(&archive.key).await, b"by host");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_link_downloads_one_object_for_a_while() {
    let server = Server::start(Limits::default()).await;
    server.write("archives/a/b/model.tgz", b"0123456789").await;
    server.write("archives/a/c/model.tgz", b"another").await;
    let link = server.issuer.presign_get(&server.url(), "archives/a/b/model.tgz", 60_000, now());
    let answer = reqwest::get(&link).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-disposition"], "attachment; filename=\"model.tgz\"");
    assert_eq!(answer.headers()["content-length"], "10");
    assert_eq!(answer.text().await.unwrap(), "0123456789");
    let client = reqwest::Client::new();
    let part = client.get(&link).header("range", "bytes=2-4").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.text().await.unwrap()), (206, "234".into()));
    assert_eq!(client.put(&link).body("x").send().await.unwrap().status(), 403);
    let other = link.replace("/a/b/", "/a/c/");
    assert_eq!(reqwest::get(&other).await.unwrap().status(), 403);
    let later = link.replace("X-Amz-Expires=60&", "X-Amz-Expires=600&");
    assert_ne!(later, link);
    assert_eq!(reqwest::get(&later).await.unwrap().status(), 403);
    let long_ago = planner::Timestamp(now().0 - 3_600_000);
    let expired = server.issuer.presign_get(&server.url(), "archives/a/b/model.tgz", 60_000, long_ago);
    assert_eq!(reqwest::get(&expired).await.unwrap().status(), 403);
    let gone = server.issuer.presign_get(&server.url(), "archives/a/d/model.tgz", 60_000, now());
    assert_eq!(reqwest::get(&gone).await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_boto3_signed_takes_an_upload() {
    let server = Server::start(Limits::default()).await;
    let script = "from botocore.client import Config
s3 = session.client('s3', endpoint_url=endpoint, config=Config(signature_version='s3v4'))
print(s3.generate_presigned_url('put_object', Params={'Bucket': bucket, 'Key': key}, ExpiresIn=60))";
    let link = server.boto3(&server.credentials(), script).await;
    let answer = reqwest::Client::new().put(link).body("by link").send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    let archive = uploads::claim(&server.blobs, TEAM_KEY).await.unwrap();
    assert_eq!(server.content(&archive.key).await, b"by link");
}

#[tokio::test]
async fn what_nobody_claims_is_swept_when_it_is_old() {
    let server = Server::start(Limits::default()).await;
    for key in ["uploads/a/b/model.tgz", "parts/x/00001-y", "archives/a/b/model.tgz"] {
        server.write(key, b"x").await;
    }
    assert_eq!(uploads::sweep(&server.blobs, now(), 60_000).await.unwrap(), 0);
    let later = now().plus(120_000);
    assert_eq!(uploads::sweep(&server.blobs, later, 60_000).await.unwrap(), 2);
    let left = server.blobs.list(uploads::ARCHIVES).await.unwrap();
    assert_eq!(left.len(), 1);
}

fn md5(text: &str) -> String {
    use s3s::crypto::{Checksum, Md5};
    hex::encode(Md5::checksum(text.as_bytes()))
}
