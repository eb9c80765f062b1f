//! The audit log.

use store::{AuditQuery, Error, domain::KeyOwner};

use crate::{fixtures::*, support::Database};

pub async fn entries_come_in_pages(database: Database) {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    for number in 1..=5 {
        let mut event = event(&format!("EVENT_{number}"));
        event.model_id = (number != 3).then(|| model(1, "m").id);
        let key = key(&format!("key{number}"), None, KeyOwner::Team(team()));
        store.add_key(&key, Some(&event)).await.unwrap();
    }
    let page = async |query: AuditQuery| {
        let entries = store.audit_log(&query).await.unwrap();
        let types: Vec<String> = entries.iter().map(|entry| entry.event.event_type.replace("EVENT_", "")).collect();
        (types.join(" "), entries.last().map(|entry| entry.id))
    };
    let (types, last) = page(AuditQuery { limit: 2, ..Default::default() }).await;
    assert_eq!(types, "5 4");
    let (types, last) = page(AuditQuery { limit: 2, after: last, ..Default::default() }).await;
    assert_eq!(types, "3 2");
    assert_eq!(page(AuditQuery { limit: 2, after: last, ..Default::default() }).await.0, "1");
    let oldest = AuditQuery { limit: 9, oldest_first: true, model_id: Some(model(1, "m").id), ..Default::default() };
    assert_eq!(page(oldest).await.0, "1 2 4 5");
}

pub async fn an_entry_is_written_with_the_change_or_not_at_all(database: Database) {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    let key = key("other", Some("ci"), KeyOwner::Team(team()));
    store.add_key(&key, Some(&event("API_KEY_CREATED"))).await.unwrap();
    let again = store.add_key(&key, Some(&event("API_KEY_CREATED"))).await;
    assert!(matches!(again, Err(Error::NameTaken { .. })), "{again:?}");
    let entries = store.audit_log(&AuditQuery { limit: 10, ..Default::default() }).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].event, event("API_KEY_CREATED"));
}
