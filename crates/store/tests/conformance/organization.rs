//! The first start.

use crate::{fixtures::*, support::Database};

pub async fn the_first_start_makes_it_and_later_ones_do_not(database: Database) {
    let store = database.open().await;
    assert_eq!(store.organization().await.unwrap(), None);
    assert!(store.ensure_installed(&installation()).await.unwrap());
    let mut other = installation();
    other.organization.name = "Another".into();
    assert!(!store.ensure_installed(&other).await.unwrap());
    assert_eq!(store.organization().await.unwrap().unwrap().name, "Ours");
    assert_eq!(store.teams().await.unwrap(), [installation().team]);
    assert_eq!(store.team(&team()).await.unwrap(), installation().team);
    assert_eq!(store.users().await.unwrap(), [installation().admin]);
    assert_eq!(store.user(&user()).await.unwrap(), installation().admin);
    assert_eq!(store.keys().await.unwrap(), [installation().admin_key]);
}
