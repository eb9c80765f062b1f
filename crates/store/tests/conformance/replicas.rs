//! Replicas.

use api::{
    id::ReplicaId,
    internal::replica::{Phase, StartTimes, Status},
};
use store::{AuditQuery, Error, Placement, domain::Replica};

use crate::{fixtures::*, support::Database};

fn status(sequence: u64, phase: Phase) -> Status {
    Status { sequence, phase, in_flight: 0, start: StartTimes::default(), pid: 1 }
}

pub async fn an_id_is_used_once(database: Database) {
    let store = database.open().await;
    let (_, deployment) = with_model(&store).await;
    let replica = replica(1, &deployment);
    store.add_replica(&replica).await.unwrap();
    let again = store.add_replica(&replica).await;
    assert!(matches!(again, Err(Error::Conflict { .. })), "{again:?}");
    assert_eq!(store.replicas(Some(&deployment.id)).await.unwrap(), [replica]);
}

pub async fn news_of_a_replica_never_goes_back(database: Database) {
    let store = database.open().await;
    let (_, deployment) = with_model(&store).await;
    let replica = replica(1, &deployment);
    store.add_replica(&replica).await.unwrap();
    store.see_replica(&replica.id, &status(2, Phase::Ready), NOW.plus(5)).await.unwrap();
    store.see_replica(&replica.id, &status(1, Phase::Loading), NOW.plus(6)).await.unwrap();
    let seen = store.replicas(None).await.unwrap().remove(0);
    assert_eq!(seen.status, Some(status(2, Phase::Ready)));
    assert_eq!(seen.seen_at, Some(NOW.plus(5)));
    store.see_replica(&replica.id, &status(3, Phase::Draining), NOW.plus(7)).await.unwrap();
    let seen = store.replicas(None).await.unwrap().remove(0);
    assert_eq!(seen.status, Some(status(3, Phase::Draining)));
    assert_eq!(seen.seen_at, Some(NOW.plus(5)));
    store.see_replica(&ReplicaId::from_entropy(2), &status(1, Phase::Ready), NOW).await.unwrap();
    assert_eq!(store.replicas(None).await.unwrap().len(), 1);
}

pub async fn the_first_stop_counts(database: Database) {
    let store = database.open().await;
    let (_, deployment) = with_model(&store).await;
    let replica = replica(1, &deployment);
    store.add_replica(&replica).await.unwrap();
    store.mark_replica_stopping(&replica.id, NOW.plus(1), Some(&event("REPLICA_TERMINATED"))).await.unwrap();
    store.mark_replica_stopping(&replica.id, NOW.plus(2), Some(&event("REPLICA_TERMINATED"))).await.unwrap();
    assert_eq!(store.replicas(None).await.unwrap()[0].stopping_since, Some(NOW.plus(1)));
    let told = store.audit_log(&AuditQuery { limit: 10, ..Default::default() }).await.unwrap();
    assert_eq!(told.iter().filter(|entry| entry.event.event_type == "REPLICA_TERMINATED").count(), 1);
}

pub async fn what_an_order_waits_for_is_known_until_it_waits_no_more(database: Database) {
    let store = database.open().await;
    let (_, deployment) = with_model(&store).await;
    let [waits, other] = [1, 2].map(|number| replica(number, &deployment));
    store.add_replica(&waits).await.unwrap();
    store.add_replica(&other).await.unwrap();
    let moment = store.everything().await.unwrap().moment;
    let full = Placement::WaitsFor("waiting for capacity".into());
    store.record_placements(&[(waits.id.clone(), full)]).await.unwrap();
    let changed = store.changed_since(moment).await.unwrap().replicas;
    let known = changed[&waits.id].as_ref().unwrap();
    assert_eq!((known.waits_for.as_deref(), changed.len()), (Some("waiting for capacity"), 1));
    assert!(known.claim().is_some_and(|claim| claim.waits));
    let moment = store.everything().await.unwrap().moment;
    store.record_placements(&[(waits.id.clone(), Placement::In("paris".into()))]).await.unwrap();
    let placed = Replica { location: Some("paris".into()), ..waits };
    let changed = store.changed_since(moment).await.unwrap().replicas;
    assert_eq!(changed[&placed.id].as_ref(), Some(&placed), "it waits no more, and is somewhere");
    assert_eq!(store.replicas(None).await.unwrap(), [placed, other]);
}
