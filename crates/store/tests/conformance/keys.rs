//! API keys.

use store::{Error, domain::KeyOwner};

use crate::{fixtures::*, support::Database};

pub async fn a_key_reads_back_until_it_is_revoked(database: Database) {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    let key = key("abcd", Some("ci"), KeyOwner::Team(team()));
    store.add_key(&key, None).await.unwrap();
    assert_eq!(store.key("abcd").await.unwrap(), key);
    store.revoke_key("abcd", None).await.unwrap();
    assert!(matches!(store.key("abcd").await, Err(Error::NotFound { .. })));
    assert!(matches!(store.revoke_key("abcd", None).await, Err(Error::NotFound { .. })));
    assert_eq!(store.keys().await.unwrap(), [installation().admin_key]);
}

pub async fn names_are_unique_within_their_owner(database: Database) {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    store.add_key(&key("a", Some("ci"), KeyOwner::Team(team())), None).await.unwrap();
    store.add_key(&key("b", Some("ci"), KeyOwner::User(user())), None).await.unwrap();
    store.add_key(&key("c", None, KeyOwner::Team(team())), None).await.unwrap();
    store.add_key(&key("d", None, KeyOwner::Team(team())), None).await.unwrap();
    let taken = store.add_key(&key("e", Some("ci"), KeyOwner::Team(team())), None).await.unwrap_err();
    assert_eq!(taken.to_string(), "the API key name \"ci\" is taken");
    store.revoke_key("a", None).await.unwrap();
    store.add_key(&key("e", Some("ci"), KeyOwner::Team(team())), None).await.unwrap();
}
