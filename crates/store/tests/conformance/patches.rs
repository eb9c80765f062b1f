//! Patches of development deployments.

use planner::{Timestamp, reload};
use serde_json::json;
use store::{
    Error, Store,
    domain::{Archive, Deployment, DeploymentKind, Patches, PendingPatch, Replica},
};

use crate::{fixtures::*, support::Database};

/// A development deployment with something staged.
async fn staged(store: &Store) -> Deployment {
    let (model, _) = with_model(store).await;
    let mut push = push(&model, 2);
    push.kind = DeploymentKind::Development;
    let made = store.add_deployment(&push, None).await.unwrap();
    let pending = PendingPatch {
        point: Default::default(),
        archive: Archive { key: "archives/patched".into(), bytes: 7 },
        config: json!({ "model_name": "patched" }),
        raw_config: Some("model_name: patched\n".into()),
        keeps_process: false,
        reload: reload::Reload::Staged,
    };
    let stage = |deployment: &mut Deployment| {
        deployment.patches = Some(Patches { running: None, pending: Some(pending.clone()) });
        Ok::<(), Error>(())
    };
    store.change_deployment(&made.id, None, stage).await.unwrap().0
}

fn taken_over(deployment: &Deployment) -> Deployment {
    let pending = deployment.patches.clone().and_then(|patches| patches.pending).expect("something is staged");
    let mut after = deployment.clone();
    (after.lifecycle, _) = reload::taken_over(after.lifecycle, NOW, "patched".into());
    after.take_over(&pending);
    after
}

pub async fn what_takes_over_runs_and_everything_else_stops(database: Database) {
    let store = database.open().await;
    let deployment = staged(&store).await;
    let kept = store.archive_keys().await.unwrap();
    assert!(kept.contains(&"archives/patched".to_owned()) && kept.contains(&deployment.archive.key));
    let candidate = Replica { tries_patch: true, ..replica(1, &deployment) };
    for replica in [&candidate, &replica(2, &deployment), &Replica { tries_patch: true, ..replica(3, &deployment) }] {
        store.add_replica(replica).await.unwrap();
    }
    let moment = store.everything().await.unwrap().moment;
    let mut after = taken_over(&deployment);
    store.take_over(&mut after, Some(&candidate.id), NOW.plus(5)).await.unwrap();
    assert_eq!(store.deployment(&deployment.id).await.unwrap(), after);
    assert_eq!((after.config, after.archive.bytes), (json!({ "model_name": "patched" }), 7));

    let left: Vec<(bool, Option<Timestamp>)> = store
        .replicas(Some(&deployment.id))
        .await
        .unwrap()
        .into_iter()
        .map(|replica| (replica.tries_patch, replica.stopping_since))
        .collect();
    assert_eq!(left, [(false, None), (false, Some(NOW.plus(5))), (true, Some(NOW.plus(5)))]);
    let changed = store.changed_since(moment).await.unwrap();
    assert_eq!((changed.replicas.len(), changed.deployments.len()), (3, 1), "whoever follows hears of all of it");
}

pub async fn what_has_changed_meanwhile_is_not_taken_over(database: Database) {
    let store = database.open().await;
    let deployment = staged(&store).await;
    store.add_replica(&replica(1, &deployment)).await.unwrap();
    let mut after = taken_over(&deployment);
    let touch = |deployment: &mut Deployment| {
        deployment.target_replicas = 3;
        Ok::<(), Error>(())
    };
    store.change_deployment(&deployment.id, None, touch).await.unwrap();
    let refused = store.take_over(&mut after, None, NOW).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    assert_eq!(store.replicas(None).await.unwrap()[0].stopping_since, None);
}

pub async fn a_push_forgets_what_was_staged(database: Database) {
    let store = database.open().await;
    let deployment = staged(&store).await;
    let mut again = push(&store.model(&deployment.model_id).await.unwrap(), 3);
    again.kind = DeploymentKind::Development;
    store.add_deployment(&again, None).await.unwrap();
    assert_eq!(store.deployment(&deployment.id).await.unwrap().patches, None);
    assert!(!store.archive_keys().await.unwrap().contains(&"archives/patched".to_owned()));
}
