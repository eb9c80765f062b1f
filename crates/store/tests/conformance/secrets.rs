//! Secrets.

use api::id::{SecretId, TeamId};
use secrecy::ExposeSecret;
use store::{Error, SecretKey, Store, domain::Secret};

use crate::{fixtures::*, support::Database};

fn secret(number: u128, name: &str) -> Secret {
    Secret {
        id: SecretId::from_entropy(number),
        team_id: team(),
        name: name.into(),
        created_at: NOW.plus(number as u64),
    }
}

async fn values(store: &Store, team: &TeamId) -> Vec<(String, String)> {
    let values = store.secret_values(team).await.unwrap();
    values.into_iter().map(|(name, value)| (name, value.expose_secret().to_owned())).collect()
}

pub async fn values_open_again_by_folded_name(database: Database) {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    store.set_secret(&secret(1, "hf-access.token"), &"söme value".into(), None).await.unwrap();
    store.set_secret(&secret(2, "other"), &"".into(), None).await.unwrap();
    let expected = [("hf_access_token".into(), "söme value".into()), ("other".into(), String::new())];
    assert_eq!(values(&store, &team()).await, expected);
    assert_eq!(values(&store, &TeamId::from_entropy(7)).await, []);
    assert_eq!(store.secrets(Some(&team())).await.unwrap(), [secret(1, "hf-access.token"), secret(2, "other")]);
    assert_eq!(store.secrets(None).await.unwrap().len(), 2);
    assert_eq!(store.delete_secret(&team(), "hf_access_token", None).await.unwrap(), secret(1, "hf-access.token"));
    assert!(matches!(store.delete_secret(&team(), "hf_access_token", None).await, Err(Error::NotFound { .. })));
    assert_eq!(store.secrets(None).await.unwrap(), [secret(2, "other")]);
}

pub async fn a_new_value_keeps_the_id(database: Database) {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    store.set_secret(&secret(1, "hf_token"), &"old".into(), None).await.unwrap();
    let updated = store.set_secret(&secret(2, "hf-token"), &"new".into(), None).await.unwrap();
    assert_eq!(updated, Secret { name: "hf-token".into(), ..secret(1, "") });
    assert_eq!(values(&store, &team()).await, [("hf_token".into(), "new".into())]);
}

/// The same database, opened with another secret that was these before.
async fn opened_with(database: &Database, newest: u8, previous: &[u8]) -> Store {
    let mut options = database.options();
    options.secret_key = SecretKey::new([newest; 32]).after(previous.iter().map(|byte| [*byte; 32]));
    Store::open(&options).await.unwrap()
}

pub async fn values_do_not_open_under_another_server_secret(database: Database) {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    store.set_secret(&secret(1, "token"), &"value".into(), None).await.unwrap();
    drop(store);
    let store = opened_with(&database, 43, &[]).await;
    assert!(matches!(store.secret_values(&team()).await, Err(Error::Damaged { .. })));
}

pub async fn values_are_sealed_anew_when_the_server_has_another_secret(database: Database) {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    // More than are sealed anew in one step.
    let expected: Vec<_> = (0..250).map(|number| (format!("s{number:03}"), format!("value {number}"))).collect();
    for (number, (name, value)) in (0..).zip(&expected) {
        store.set_secret(&secret(number, name), &value.as_str().into(), None).await.unwrap();
    }
    drop(store);
    let store = opened_with(&database, 43, &[41, 42]).await;
    assert_eq!(values(&store, &team()).await, expected, "all are readable before they are sealed anew");
    let resealed = store.reseal_secrets().await.unwrap();
    assert_eq!((resealed.count, resealed.unreadable), (250, vec![]));
    assert_eq!(store.reseal_secrets().await.unwrap().count, 0, "once is enough");
    drop(store);
    let store = opened_with(&database, 43, &[]).await;
    assert_eq!(values(&store, &team()).await, expected, "the one before is not needed any more");
}

pub async fn what_was_sealed_anew_in_part_is_gone_on_with(database: Database) {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    store.set_secret(&secret(1, "old"), &"one".into(), None).await.unwrap();
    store.set_secret(&secret(2, "kept"), &"two".into(), None).await.unwrap();
    drop(store);
    let store = opened_with(&database, 43, &[42]).await;
    // Sealed with the newest, as if the rest had not been come to.
    store.set_secret(&secret(3, "kept"), &"two".into(), None).await.unwrap();
    drop(store);
    let store = opened_with(&database, 43, &[42]).await;
    assert_eq!(store.reseal_secrets().await.unwrap().count, 1);
    drop(store);
    let store = opened_with(&database, 43, &[]).await;
    assert_eq!(values(&store, &team()).await, [("kept".into(), "two".into()), ("old".into(), "one".into())]);
}

pub async fn what_no_secret_opens_stays_as_it_is(database: Database) {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    store.set_secret(&secret(1, "token"), &"value".into(), None).await.unwrap();
    drop(store);
    let store = opened_with(&database, 43, &[41]).await;
    store.set_secret(&secret(2, "new"), &"other".into(), None).await.unwrap();
    let resealed = store.reseal_secrets().await.unwrap();
    assert_eq!((resealed.count, resealed.unreadable), (0, vec![secret(1, "token")]));
    drop(store);
    let store = opened_with(&database, 43, &[42]).await;
    assert_eq!(store.reseal_secrets().await.unwrap().count, 1, "nothing was lost");
    assert_eq!(values(&store, &team()).await, [("new".into(), "other".into()), ("token".into(), "value".into())]);
}
