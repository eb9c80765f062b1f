//! Models.

use store::{
    AuditQuery, Error, LogQuery, ModelFilter,
    domain::{Component, Model, PRODUCTION},
};

use crate::{fixtures::*, support::Database};

pub async fn a_model_comes_with_environment_deployment_log_line_and_audit_entry(database: Database) {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    let model = model(1, "first");
    let production = environment(&model, PRODUCTION);
    let mut audit = event("MODEL_DEPLOYED");
    audit.model_id = Some(model.id.clone());
    let first = store.create_model(&model, &production, &push(&model, 1), Some(&audit)).await.unwrap();
    assert_eq!(store.model(&model.id).await.unwrap(), model);
    assert_eq!(store.environments(Some(&model.id)).await.unwrap(), [production]);
    assert_eq!(first.name, "deployment-1");
    assert_eq!(store.deployments(&model.id, None).await.unwrap(), std::slice::from_ref(&first));
    let query = LogQuery { deployments: vec![first.id], end_ms: u64::MAX, limit: 10, ..Default::default() };
    let lines = store.logs(&query).await.unwrap();
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].component, lines[0].line.message.as_str()), (Component::Deploy, "waiting for a build"));
    let entries =
        store.audit_log(&AuditQuery { model_id: Some(model.id), limit: 10, ..Default::default() }).await.unwrap();
    assert_eq!(entries.len(), 1);
}

pub async fn names_are_unique_within_a_team(database: Database) {
    let store = database.open().await;
    let (first, _) = with_model(&store).await;
    let same_name = model(2, "first");
    let taken = store.create_model(&same_name, &environment(&same_name, PRODUCTION), &push(&same_name, 2), None).await;
    assert_eq!(taken.unwrap_err().to_string(), "the model name \"first\" is taken");
    let second = model(2, "second");
    store.create_model(&second, &environment(&second, PRODUCTION), &push(&second, 2), None).await.unwrap();
    assert_eq!(store.models(&ModelFilter::default()).await.unwrap(), [second.clone(), first.clone()]);
    let by_name = ModelFilter { name: Some("second".into()), ..Default::default() };
    assert_eq!(store.models(&by_name).await.unwrap(), std::slice::from_ref(&second));
    assert_eq!(store.model_by_name(&team(), "second").await.unwrap(), Some(second));
    assert_eq!(store.model_by_name(&team(), "Second").await.unwrap(), None);
    assert_eq!(store.model_by_name(&api::id::TeamId::from_entropy(9), "first").await.unwrap(), None);
}

pub async fn a_renamed_model_is_found_by_its_new_name_only(database: Database) {
    let store = database.open().await;
    let (model, _) = with_model(&store).await;
    let other = crate::fixtures::model(2, "other");
    store.create_model(&other, &environment(&other, PRODUCTION), &push(&other, 2), None).await.unwrap();
    let taken = store.rename_model(&model.id, "other", None).await;
    assert!(matches!(taken, Err(Error::NameTaken { .. })), "{taken:?}");
    let renamed = store.rename_model(&model.id, "another", None).await.unwrap();
    assert_eq!(renamed, Model { name: "another".into(), ..model.clone() });
    assert_eq!(store.model_by_name(&model.team_id, "another").await.unwrap(), Some(renamed));
    assert_eq!(store.model_by_name(&model.team_id, &model.name).await.unwrap(), None);
}

pub async fn a_deleted_model_leaves_only_replicas_to_stop(database: Database) {
    let store = database.open().await;
    let (model, deployment) = with_model(&store).await;
    serve(&store, &model, PRODUCTION, &deployment.id).await;
    let replica = replica(1, &deployment);
    store.add_replica(&replica).await.unwrap();
    store.delete_model(&model.id, Some(&event("MODEL_DELETED"))).await.unwrap();
    assert!(matches!(store.model(&model.id).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.delete_model(&model.id, None).await, Err(Error::NotFound { .. })));
    assert_eq!(store.all_deployments().await.unwrap(), []);
    assert_eq!(store.environments(None).await.unwrap(), []);
    assert!(store.archive_keys().await.unwrap().is_empty());
    assert_eq!(store.replicas(None).await.unwrap(), std::slice::from_ref(&replica));
    store.delete_replica(&replica.id).await.unwrap();
    assert_eq!(store.replicas(None).await.unwrap(), []);
    with_model(&store).await;
}
