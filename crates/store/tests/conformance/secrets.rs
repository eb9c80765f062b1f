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

pub async fn values_do_not_open_under_another_server_secret(database: Database) {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    store.set_secret(&secret(1, "token"), &"value".into(), None).await.unwrap();
    drop(store);
    let mut options = database.options();
    options.secret_key = SecretKey::new([43; 32]);
    let store = Store::open(&options).await.unwrap();
    assert!(matches!(store.secret_values(&team()).await, Err(Error::Damaged { .. })));
}
