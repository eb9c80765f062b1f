//! A server whose archives are in a bucket of an S3-compatible service.

use tempfile::TempDir;

use crate::harness::{API_KEY, Server, example, greenroom, run};

#[path = "../../crates/store/tests/support/s3.rs"]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod s3;

const BUCKET: &str = "model-archives";

/// A configuration file's text for this bucket.
fn config(endpoint: &str, bucket: &str, secret: &str) -> String {
    format!(
        "[blobs]\nstore = \"s3\"\ns3_bucket = {bucket:?}\ns3_endpoint = {endpoint:?}\n\
         s3_access_key_id = {:?}\ns3_secret_access_key = {secret:?}\n",
        s3::ID
    )
}

// The service runs in the test's own runtime, while the test waits for the server.
#[tokio::test(flavor = "multi_thread")]
async fn archives_in_a_bucket_serve_like_those_in_a_folder_and_outlast_the_server() {
    let folder = TempDir::new().expect("a folder");
    let endpoint = s3::serve(folder.path(), BUCKET).await;
    let mut server = Server::start_with(&config(&endpoint, BUCKET, s3::SECRET));
    let hello = example("hello");
    let pushed = server.push(&hello);
    let greeting = server.json(&["predict", "hello", "--data", r#"{"name": "you"}"#]);
    assert_eq!(greeting["greeting"], "Hello, you!");
    assert!(!server.data_dir().join("blobs").exists(), "nothing is kept in the data folder");

    server.terminate();
    assert_eq!(server.wait().await, Some(0));
    server.restart();
    let again = server.push(&hello);
    assert_eq!(again["model"]["id"], pushed["model"]["id"]);
    let id = |pushed: &serde_json::Value, of: &str| pushed[of]["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/models/{}/deployments/{}/download", id(&pushed, "model"), id(&pushed, "deployment"));
    let (status, answer) = server.get(&path).await;
    assert_eq!(status, 200, "{answer}");
    let url = answer["download_url"].as_str().expect("a URL");
    let archive = reqwest::get(url).await.expect("answers").bytes().await.expect("is whole");
    let names: Vec<_> = tar::Archive::new(archive.as_ref())
        .entries()
        .expect("a tar")
        .map(|entry| entry.expect("an entry").path().expect("a path").into_owned())
        .collect();
    assert!(names.iter().any(|name| name.ends_with("model/model.py")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_used_ends_the_start_with_the_reason() {
    let folder = TempDir::new().expect("a folder");
    let endpoint = s3::serve(folder.path(), BUCKET).await;
    let start = |bucket: &str, secret: &str| {
        let home = TempDir::new().expect("a folder");
        let file = home.path().join("server.toml");
        std::fs::write(&file, config(&endpoint, bucket, secret)).expect("written");
        let mut command = greenroom(home.path());
        command.env("GREENROOM_API_KEY", API_KEY).args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(file);
        run(command, b"")
    };
    for (bucket, secret, reason) in
        [("elsewhere", s3::SECRET, "NoSuchBucket"), (BUCKET, "wr0ng", "SignatureDoesNotMatch")]
    {
        let ran = start(bucket, secret);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
        assert!(ran.stderr.contains(reason) && ran.stderr.contains("hint: look at `blobs`"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("wr0ng"), "{}", ran.stderr);
    }
}
