//! What was acknowledged is there after the process was killed, and nothing is there by half.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/mod.rs"]
mod support;

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use api::id::{ModelId, SecretId};
use secrecy::ExposeSecret;
use serde_json::json;
use store::{
    LogQuery, ModelFilter, Options, SecretKey, Store,
    domain::{PRODUCTION, Secret},
    sqlite_url,
};
use support::fixtures::{NOW, environment, installation, model, push, team};

/// Tells the child where to write.
const FILE: &str = "GREENROOM_TEST_WRITE_TO";
/// After how many acknowledgements each round kills: at once, early, and in the middle of a checkpoint's worth of writes.
const ROUNDS: [usize; 5] = [1, 3, 10, 40, 120];

async fn open(file: &Path) -> Store {
    Store::open(&Options { url: sqlite_url(file), secret_key: SecretKey::new([1; 32]) }).await.unwrap()
}

#[tokio::test]
async fn acknowledged_models_survive_a_kill_and_none_exists_by_half() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("greenroom.db");
    let mut acknowledged: Vec<ModelId> = Vec::new();
    for kill_after in ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_writer_that_is_killed", "--nocapture"])
            .env(FILE, &file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledgements =
            lines.map_while(Result::ok).filter_map(|line| Some(line.strip_prefix("ack ")?.parse().unwrap()));
        acknowledged.extend(acknowledgements.by_ref().take(kill_after));
        child.kill().unwrap();
        acknowledged.extend(acknowledgements);
        child.wait().unwrap();

        let store = open(&file).await;
        let models = store.models(&ModelFilter::default()).await.unwrap();
        for id in &acknowledged {
            assert!(models.iter().any(|model| model.id == *id), "{id} was acknowledged and is gone");
        }
        for model in models {
            let deployments = store.deployments(&model.id, None).await.unwrap();
            assert_eq!(deployments.len(), 1);
            assert_eq!(store.environments(Some(&model.id)).await.unwrap().len(), 1);
            let query = LogQuery {
                deployments: vec![deployments[0].id.clone()],
                end_ms: u64::MAX,
                limit: 9,
                ..Default::default()
            };
            assert_eq!(store.logs(&query).await.unwrap().len(), 1);
        }
    }
    assert!(acknowledged.len() >= ROUNDS.iter().sum());
}

/// The child of the test above: creates models and says so, until it is killed. Does nothing when it is run by itself.
#[tokio::test]
async fn the_writer_that_is_killed() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let store = open(Path::new(&file)).await;
    store.ensure_installed(&installation()).await.unwrap();
    let made = store.models(&ModelFilter::default()).await.unwrap().len() as u128;
    for number in made + 1.. {
        let model = model(number, &format!("model-{number}"));
        let mut push = push(&model, number);
        push.config = json!({"description": "x".repeat(2000)});
        store.create_model(&model, &environment(&model, PRODUCTION), &push, None).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nack {}", model.id).unwrap();
        out.flush().unwrap();
    }
}

/// Tells the child which secret is the newest; the one before is the previous.
const NEWEST: &str = "GREENROOM_TEST_NEWEST_SECRET";
/// As many secrets as take several steps to seal anew.
const SECRETS: usize = 600;

async fn open_with(file: &Path, newest: u8, previous: &[u8]) -> Store {
    let secret_key = SecretKey::new([newest; 32]).after(previous.iter().map(|byte| [*byte; 32]));
    Store::open(&Options { url: sqlite_url(file), secret_key }).await.unwrap()
}

async fn assert_all_open(store: &Store, when: &str) {
    let values = store.secret_values(&team()).await.unwrap();
    assert_eq!(values.len(), SECRETS, "{when}");
    assert!(values.iter().all(|(name, value)| value.expose_secret() == format!("value of {name}")), "{when}");
}

#[tokio::test]
async fn a_change_of_the_servers_secret_survives_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("greenroom.db");
    let store = open(&file).await;
    store.ensure_installed(&installation()).await.unwrap();
    for number in 0..SECRETS {
        let name = format!("s{number}");
        let value = format!("value of {name}").into();
        let id = SecretId::from_entropy(number as u128);
        store.set_secret(&Secret { id, team_id: team(), name, created_at: NOW }, &value, None).await.unwrap();
    }
    drop(store);
    for newest in 2..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_sealer_that_is_killed", "--nocapture"])
            .env(FILE, &file)
            .env(NEWEST, newest.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines.by_ref().map_while(Result::ok).find(|line| line == "begins").expect("it begins");
        child.kill().unwrap();
        child.wait().unwrap();

        let store = open_with(&file, newest, &[newest - 1]).await;
        assert_all_open(&store, "after the kill").await;
        assert_eq!(store.reseal_secrets().await.unwrap().unreadable, []);
        drop(store);
        assert_all_open(&open_with(&file, newest, &[]).await, "with the newest alone").await;
    }
}

/// The child of the test above. Does nothing when it is run by itself.
#[tokio::test]
async fn the_sealer_that_is_killed() {
    let (Some(file), Some(newest)) = (std::env::var_os(FILE), std::env::var_os(NEWEST)) else { return };
    let newest: u8 = newest.to_str().unwrap().parse().unwrap();
    let store = open_with(Path::new(&file), newest, &[newest - 1]).await;
    println!("\nbegins");
    store.reseal_secrets().await.unwrap();
}
