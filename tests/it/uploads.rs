//! Archives by the raw API and any S3 client, the hostile ones among them.

use object_store::{
    ClientOptions, ObjectStoreExt as _, WriteMultipart,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use serde_json::{Value, json};

use crate::harness::{Server, eventually, model};

const FINE: &str = "class Model:\n    def predict(self, x): return x\n";

/// What `prepare_model_upload` answers for a model of this name.
async fn prepare(server: &Server, name: &str) -> Value {
    let request = json!({"name": name, "deployment": {"config": {"model_name": name}}});
    let (status, target) = server.post("/v1/prepare_model_upload", &request).await;
    assert_eq!(status, 200, "{target}");
    target
}

fn connect(target: &Value) -> (AmazonS3, Path) {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let store = AmazonS3Builder::new()
        .with_bucket_name(text(&target["s3_bucket"]))
        .with_region(text(&target["s3_region"]))
        .with_endpoint(text(&target["creds"]["endpoint_url"]))
        .with_access_key_id(text(&target["creds"]["aws_access_key_id"]))
        .with_secret_access_key(text(&target["creds"]["aws_secret_access_key"]))
        .with_token(text(&target["creds"]["aws_session_token"]))
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .build()
        .expect("complete");
    (store, Path::parse(text(&target["s3_key"])).expect("a key"))
}

async fn create(server: &Server, name: &str, target: &Value) -> (u16, Value) {
    let deployment = json!({"config": {"model_name": name}});
    let source = json!({"kind": "model_archive", "name": name, "deployment": deployment, "s3_key": target["s3_key"]});
    server.post("/v1/models", &json!({ "source": source })).await
}

/// One entry, its name and link as they are: no library's good manners in between.
fn entry(kind: tar::EntryType, name: &str, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    let fields = header.as_ustar_mut().expect("ustar");
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entry(tar::EntryType::Regular, "config.yaml", "", b"model_name: m\n");
    bytes.extend(entry(tar::EntryType::Regular, "model/model.py", "", FINE.as_bytes()));
    bytes.extend(entries.concat());
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[tokio::test]
async fn an_archive_that_reaches_out_of_its_folder_is_refused_and_nothing_is_written() {
    let server = Server::start();
    let outside = server.data_dir().with_file_name("escaped");
    let absolute = outside.to_str().expect("UTF-8").to_owned();
    let regular = |name: &str| entry(tar::EntryType::Regular, name, "", b"gotcha");
    let symlink = |name: &str, to: &str| entry(tar::EntryType::Symlink, name, to, b"");
    let attacks = [
        ("dots", vec![regular("../../../../../../escaped")]),
        ("inner-dots", vec![regular("data/../../../../escaped")]),
        ("absolute", vec![regular(&absolute)]),
        ("link", vec![symlink("data/out", &absolute), regular("data/out/file")]),
        ("relative-link", vec![symlink("data/out", "../../../../.."), regular("data/out/escaped")]),
        ("hard-link", vec![entry(tar::EntryType::Link, "data/passwd", "/etc/passwd", b"")]),
        ("device", vec![entry(tar::EntryType::Char, "data/null", "", b"")]),
    ];
    for (name, entries) in attacks {
        let target = prepare(&server, name).await;
        let (store, key) = connect(&target);
        store.put(&key, archive(&entries).into()).await.expect("uploaded");
        let (status, body) = create(&server, name, &target).await;
        assert_eq!(status, 400, "{name}: {body}");
        assert_eq!(body["code"], "VALIDATION_ERROR", "{name}: {body}");
        assert!(!outside.exists(), "{name}");
    }
    assert_eq!(server.json(&["models"])["models"], json!([]), "none of them became a model");
}

#[tokio::test]
async fn an_archive_in_parts_by_any_s3_client_becomes_a_model() {
    let server = Server::start();
    let target = prepare(&server, "m").await;
    let (store, key) = connect(&target);
    let weights = entry(tar::EntryType::Regular, "data/weights.bin", "", &vec![7; 12 << 20]);
    let mut upload = WriteMultipart::new(store.put_multipart(&key).await.expect("begun"));
    upload.write(&archive(&[weights]));
    upload.finish().await.expect("completed");
    let (status, made) = create(&server, "m", &target).await;
    assert_eq!(status, 200, "{made}");
    let path = format!(
        "/v1/models/{}/deployments/{}",
        made["model"]["id"].as_str().expect("an id"),
        made["deployment"]["id"].as_str().expect("an id")
    );
    eventually("it serves", || async { (server.get(&path).await.1["status"] == "ACTIVE").then_some(()) }).await;
}

#[tokio::test]
async fn credentials_open_one_object_only_and_wrong_ones_none() {
    let server = Server::start();
    let target = prepare(&server, "m").await;
    let (store, key) = connect(&target);
    let other = Path::parse(format!("{key}x")).expect("a key");
    assert!(store.put(&other, "content".into()).await.is_err(), "another object");
    assert!(store.get(&key).await.is_err(), "reading");
    let mut forged = target.clone();
    forged["creds"]["aws_secret_access_key"] = json!("A".repeat(40));
    let (store, key) = connect(&forged);
    assert!(store.put(&key, "content".into()).await.is_err(), "a forged secret");
}

#[tokio::test]
async fn an_upload_over_the_limit_is_refused() {
    let server = Server::start_with("limits.archive = \"1 MB\"");
    let folder = model("model_name: m", FINE);
    std::fs::create_dir(folder.path().join("data")).expect("made");
    std::fs::write(folder.path().join("data/large.bin"), vec![1; 2 << 20]).expect("written");
    let ran = server.greenroom(&["push", folder.path().to_str().expect("UTF-8")]);
    assert_ne!(ran.code, 0);
    assert_eq!(server.json(&["models"])["models"], json!([]));
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused_and_the_model_unharmed() {
    let server = Server::start();
    let pushed = server.push(model("model_name: m", FINE).path());
    let request = json!({"name": "m", "deployment": {"config": {"model_name": "m"}}});
    let (status, body) = server.post("/v1/prepare_model_upload", &request).await;
    assert_eq!((status, &body["code"]), (400, &json!("VALIDATION_ERROR")), "{body}");
    let (_, model) = server.get(&format!("/v1/models/{}", pushed["model"]["id"].as_str().expect("an id"))).await;
    assert_eq!(model["deployments_count"], 1);
}
