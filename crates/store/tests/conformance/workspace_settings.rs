//! What holds for the whole workspace.

use store::{Error, domain::WorkspaceSettings};

use crate::{fixtures::*, support::Database};

pub async fn they_are_there_from_the_start_and_the_first_of_two_changes_counts(database: Database) {
    let store = database.open().await;
    let first = store.workspace_settings().await.unwrap();
    assert_eq!(first, WorkspaceSettings { generation: 1, ..Default::default() });
    let mut settings = WorkspaceSettings {
        default_environment: Some("staging".into()),
        initial_environments: vec!["staging".into(), "development".into()],
        ..first.clone()
    };
    store.save_workspace_settings(&mut settings, Some(&event("WORKSPACE_SETTINGS_UPDATED"))).await.unwrap();
    assert_eq!(store.workspace_settings().await.unwrap(), settings);
    assert_eq!(settings.generation, 2);
    let late = store.save_workspace_settings(&mut first.clone(), Some(&event("LATE"))).await;
    assert!(matches!(late, Err(Error::Conflict { .. })), "{late:?}");
    let audit = store.audit_log(&store::AuditQuery { limit: 10, ..Default::default() }).await.unwrap();
    let types: Vec<_> = audit.iter().map(|entry| entry.event.event_type.as_str()).collect();
    assert_eq!(types, ["WORKSPACE_SETTINGS_UPDATED"]);
}
