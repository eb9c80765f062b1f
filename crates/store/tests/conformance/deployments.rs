//! Deployments: names, generations, overwriting.

use futures::future::join_all;
use planner::lifecycle::Wanted;
use serde_json::json;
use store::{
    Error, NewDeployment, Topic,
    domain::{Archive, DeploymentKind, PRODUCTION},
};

use crate::{fixtures::*, support::Database};

pub async fn names_count_up_and_are_never_reused(database: Database) {
    let store = database.open().await;
    let (model, first) = with_model(&store).await;
    assert_eq!(first.name, "deployment-1");
    let second = store.add_deployment(&push(&model, 2), None).await.unwrap();
    assert_eq!(second.name, "deployment-2");
    store.delete_deployment(&second.id, None).await.unwrap();
    let mut named = push(&model, 3);
    named.name = Some("deployment-3".into());
    store.add_deployment(&named, None).await.unwrap();
    assert_eq!(store.add_deployment(&push(&model, 4), None).await.unwrap().name, "deployment-4");
}

pub async fn side_by_side_pushes_get_names_of_their_own(database: Database) {
    let store = database.open().await;
    let (model, _) = with_model(&store).await;
    let pushes = (2..12).map(|number| {
        let (store, push) = (store.clone(), push(&model, number));
        async move { store.add_deployment(&push, None).await.unwrap().name }
    });
    let mut names = join_all(pushes).await;
    names.sort_by_key(|name| name.trim_start_matches("deployment-").parse::<u32>().unwrap());
    assert_eq!(names, (2..12).map(|number| format!("deployment-{number}")).collect::<Vec<_>>());
}

pub async fn a_taken_name_is_refused_and_changes_nothing(database: Database) {
    let store = database.open().await;
    let (model, mut first) = with_model(&store).await;
    let mut named = push(&model, 2);
    named.name = Some("deployment-1".into());
    let taken = store.add_deployment(&named, None).await.unwrap_err();
    assert_eq!(taken.to_string(), "the deployment name \"deployment-1\" is taken");
    assert_eq!(store.all_deployments().await.unwrap(), [first.clone()]);
    let second = store.add_deployment(&push(&model, 2), None).await.unwrap();
    first.name = second.name.clone();
    let taken = store.save_deployment(&mut first, None).await;
    assert!(matches!(taken, Err(Error::NameTaken { .. })), "{taken:?}");
    assert_eq!(store.deployments(&model.id, Some("deployment-2")).await.unwrap(), [second]);
    assert_eq!(store.deployments(&model.id, Some("deployment-")).await.unwrap(), []);
}

pub async fn a_push_for_an_unknown_environment_is_refused(database: Database) {
    let store = database.open().await;
    let (model, _) = with_model(&store).await;
    let mut push = push(&model, 2);
    push.target_environment = Some("staging".into());
    let refused = store.add_deployment(&push, None).await;
    assert!(matches!(refused, Err(Error::NotFound { kind: "environment", .. })), "{refused:?}");
    let nowhere = crate::fixtures::push(&crate::fixtures::model(9, "no"), 3);
    let refused = store.add_deployment(&nowhere, None).await;
    assert!(matches!(refused, Err(Error::NotFound { kind: "model", .. })), "{refused:?}");
}

pub async fn a_development_push_overwrites_in_place(database: Database) {
    let store = database.open().await;
    let (model, _) = with_model(&store).await;
    let mut push = push(&model, 2);
    push.kind = DeploymentKind::Development;
    let made = store.add_deployment(&push, None).await.unwrap();
    let touch = |deployment: &mut store::domain::Deployment| {
        deployment.lifecycle.wanted = Wanted::Inactive;
        deployment.target_replicas = 1;
        Ok::<(), Error>(())
    };
    store.change_deployment(&made.id, None, touch).await.unwrap();
    push.id = api::id::DeploymentId::from_entropy(3);
    push.config = json!({"model_name": "changed"});
    push.archive = Archive { key: "archives/new".into(), bytes: 11 };
    push.created_at = NOW.plus(100);
    let overwritten = store.add_deployment(&push, None).await.unwrap();
    assert_eq!((&overwritten.id, &overwritten.name), (&made.id, &made.name));
    assert_eq!(overwritten.config, push.config);
    assert_eq!(overwritten.lifecycle.wanted, Wanted::Running);
    assert!(overwritten.generation > made.generation + 1);
    assert_eq!(store.deployment(&made.id).await.unwrap(), overwritten);
    assert_eq!(store.deployments(&model.id, None).await.unwrap().len(), 2);
    assert!(store.archive_keys().await.unwrap().contains(&"archives/new".to_owned()));
}

pub async fn a_development_push_stops_the_replicas_of_the_one_before(database: Database) {
    let store = database.open().await;
    let (model, other) = with_model(&store).await;
    let mut push = push(&model, 2);
    push.kind = DeploymentKind::Development;
    let made = store.add_deployment(&push, None).await.unwrap();
    for replica in [replica(1, &made), replica(2, &made), replica(3, &other)] {
        store.add_replica(&replica).await.unwrap();
    }
    store.mark_replica_stopping(&replica(2, &made).id, NOW.plus(3), None).await.unwrap();
    let mut changes = store.changes(&[Topic::Replicas]);
    push.created_at = NOW.plus(100);
    store.add_deployment(&push, None).await.unwrap();
    changes.wait().await;
    let stopping: Vec<_> =
        store.replicas(None).await.unwrap().into_iter().map(|one| (one.id, one.stopping_since)).collect();
    let expected = [(1, Some(NOW.plus(100))), (2, Some(NOW.plus(3))), (3, None)];
    for (number, since) in expected {
        assert!(stopping.contains(&(replica(number, &made).id, since)), "{number}: {stopping:?}");
    }
}

pub async fn a_push_makes_the_environment_that_is_missing_and_no_other(database: Database) {
    let store = database.open().await;
    let (model, _) = with_model(&store).await;
    let mut aimed = push(&model, 2);
    aimed.target_environment = Some("staging".into());
    aimed.missing_environments = vec![(environment(&model, "staging"), event("ENVIRONMENT_CREATED"))];
    let made = |entries: Vec<store::domain::AuditEntry>| {
        entries.iter().filter(|entry| entry.event.event_type == "ENVIRONMENT_CREATED").count()
    };
    let audit = store::AuditQuery { limit: 100, ..Default::default() };
    let refused = NewDeployment { name: Some("deployment-1".into()), ..aimed.clone() };
    store.add_deployment(&refused, None).await.unwrap_err();
    assert!(store.environment(&model.id, "staging").await.is_err(), "a refused push leaves nothing behind");
    assert_eq!(made(store.audit_log(&audit).await.unwrap()), 0);
    store.add_deployment(&aimed, None).await.unwrap();
    let again = NewDeployment { id: api::id::DeploymentId::from_entropy(3), ..aimed };
    store.add_deployment(&again, None).await.unwrap();
    store.environment(&model.id, "staging").await.unwrap();
    assert_eq!(made(store.audit_log(&audit).await.unwrap()), 1);
}

pub async fn a_save_of_an_older_generation_is_refused(database: Database) {
    let store = database.open().await;
    let (_, mut one) = with_model(&store).await;
    let mut two = one.clone();
    one.target_replicas = 1;
    store.save_deployment(&mut one, None).await.unwrap();
    two.target_replicas = 2;
    let late = store.save_deployment(&mut two, Some(&event("NEVER"))).await;
    assert!(matches!(late, Err(Error::Conflict { .. })), "{late:?}");
    assert_eq!(store.deployment(&one.id).await.unwrap(), one);
    one.target_replicas = 3;
    store.save_deployment(&mut one, None).await.unwrap();
}

pub async fn changes_side_by_side_all_count(database: Database) {
    let store = database.open().await;
    let (_, deployment) = with_model(&store).await;
    let changes = (0..8).map(|_| {
        let (store, id) = (store.clone(), deployment.id.clone());
        tokio::spawn(async move {
            let add_one = |deployment: &mut store::domain::Deployment| {
                deployment.target_replicas += 1;
                Ok::<(), Error>(())
            };
            store.change_deployment(&id, None, add_one).await.unwrap();
        })
    });
    for change in join_all(changes).await {
        change.unwrap();
    }
    assert_eq!(store.deployment(&deployment.id).await.unwrap().target_replicas, 8);
}

pub async fn a_change_that_fails_saves_nothing(database: Database) {
    let store = database.open().await;
    let (_, deployment) = with_model(&store).await;
    let fail = |deployment: &mut store::domain::Deployment| {
        deployment.target_replicas = 9;
        Err::<(), Error>(Error::NotFound { kind: "reason", id: "none".into() })
    };
    assert!(store.change_deployment(&deployment.id, None, fail).await.is_err());
    let look = |deployment: &mut store::domain::Deployment| Ok::<u32, Error>(deployment.target_replicas);
    let (unchanged, seen) = store.change_deployment(&deployment.id, None, look).await.unwrap();
    assert_eq!((unchanged, seen), (deployment, 0));
}

pub async fn a_deployment_that_an_environment_serves_is_not_deleted(database: Database) {
    let store = database.open().await;
    let (model, first) = with_model(&store).await;
    serve(&store, &model, PRODUCTION, &first.id).await;
    let refused = store.delete_deployment(&first.id, None).await;
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    let second = store.add_deployment(&push(&model, 2), None).await.unwrap();
    serve(&store, &model, PRODUCTION, &second.id).await;
    store.delete_deployment(&first.id, None).await.unwrap();
    assert!(matches!(store.deployment(&first.id).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.delete_deployment(&first.id, None).await, Err(Error::NotFound { .. })));
}

pub async fn everything_reads_back_as_written(database: Database) {
    let store = database.open().await;
    let (model, _) = with_model(&store).await;
    let mut push = push(&model, 2);
    push.name = Some("Fancy.name_1".into());
    push.user_env = Some(json!({"python": "3.11"}));
    push.labels = None;
    push.raw_config = None;
    let made = store.add_deployment(&push, None).await.unwrap();
    assert_eq!(store.deployment(&made.id).await.unwrap(), made);
    assert_eq!(made.user_env, push.user_env);
    assert_eq!((made.name.as_str(), made.labels, made.raw_config), ("Fancy.name_1", None, None));
}
