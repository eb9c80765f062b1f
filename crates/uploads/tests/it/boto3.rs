//! Runs Python scripts with the real boto3, from a virtual environment that is made once and kept in `.cache`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use uploads::Credentials;

const BOTO3: &str = "boto3==1.44.5";

/// What every script finds.
const PRELUDE: &str = "
import sys, boto3, botocore.exceptions
endpoint, key_id, secret, token, bucket, key, region = sys.argv[1:]
session = boto3.session.Session(key_id, secret, token or None, region)
s3 = session.client('s3', endpoint_url=endpoint)
def refusal(call):
    try:
        call()
    except botocore.exceptions.ClientError as error:
        return error.response['Error']['Code']
    return 'done'
";

pub async fn run(endpoint: &str, credentials: &Credentials, script: &str) -> String {
    let python = tokio::task::spawn_blocking(python).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new(python)
        .args(["-c", &format!("{PRELUDE}{script}"), endpoint])
        .args([&credentials.access_key_id, &credentials.secret_access_key, &credentials.session_token])
        .args([&credentials.bucket, &credentials.key, &credentials.region])
        // Nothing of the machine's own configuration.
        .env_clear()
        .env("HOME", folder.path())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_MAX_ATTEMPTS", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The interpreter of an environment with boto3. One process makes it, others wait for the lock.
fn python() -> PathBuf {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache");
    fs::create_dir_all(&cache).unwrap();
    let lock = fs::File::create(cache.join("boto3-venv.lock")).unwrap();
    lock.lock().unwrap();
    let environment = cache.join("boto3-venv");
    let (python, finished) = (environment.join("bin/python"), environment.join(BOTO3));
    if !finished.exists() {
        fs::remove_dir_all(&environment).ok();
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&environment));
        succeed(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", BOTO3]));
        fs::File::create(finished).unwrap();
    }
    python
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
