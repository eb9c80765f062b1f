//! The queue and the slots, with replicas that nobody connects to.

use std::{pin::Pin, time::Duration};

use api::{
    id::ReplicaId,
    internal::routes::{Address, Endpoint, RequestLimits},
};
use futures::{FutureExt, future::BoxFuture};

use super::*;

const SLOTS: u32 = 4;
const MOST_QUEUED: u32 = 1000;
const PATIENCE: Duration = Duration::from_secs(60);

fn route(replicas: &[u128], slots_per_replica: u32, availability: Availability) -> Arc<DeploymentRoute> {
    let endpoint = |number: &u128| Endpoint {
        replica_id: ReplicaId::from_entropy(*number),
        address: Address::Unix("/nowhere".into()),
        start: Default::default(),
    };
    Arc::new(DeploymentRoute {
        id: DeploymentId::from_entropy(1),
        model_id: api::id::ModelId::from_entropy(1),
        protocol: Default::default(),
        availability,
        replicas: replicas.iter().map(endpoint).collect(),
        slots_per_replica,
        limits: RequestLimits {
            queue_ms: 1,
            first_byte_ms: 1,
            idle_ms: 1,
            max_body_bytes: 1,
            max_queued: MOST_QUEUED,
            max_queued_bytes: u64::MAX,
            waits_when_full: true,
        },
    })
}

fn serving(replicas: &[u128]) -> Arc<DeploymentRoute> {
    route(replicas, SLOTS, Availability::Serve)
}

fn deployment(replicas: &[u128]) -> Arc<Deployment> {
    Arc::new(Deployment::new(serving(replicas), Arc::default()))
}

fn applicant(turn: Turn) -> Applicant<'static> {
    Applicant { turn, deadline: Instant::now() + PATIENCE, bytes: 0, is_meant: None }
}

type Admission = BoxFuture<'static, Result<Permit, NotAdmitted>>;

fn ask(deployment: &Arc<Deployment>) -> Admission {
    let deployment = deployment.clone();
    let admission = async move { deployment.admit(applicant(Turn::New)).await };
    // Tests poll many in one go, which the runtime would otherwise interrupt.
    tokio::task::unconstrained(admission).boxed()
}

/// Polls once: the permit where there is one now.
fn now(admission: &mut Admission) -> Option<Permit> {
    admission.now_or_never().map(|result| result.expect("nothing refuses here"))
}

/// Takes every slot.
fn fill(deployment: &Arc<Deployment>) -> Vec<Permit> {
    std::iter::from_fn(|| {
        let seats = deployment.seats();
        deployment.reserve(&seats)
    })
    .collect()
}

fn load(in_flight: u32, queued: u32, finished: u64) -> Load {
    Load { in_flight, queued, finished, ..Load::default() }
}

fn counts(deployment: &Deployment) -> Load {
    Load { by_replica: BTreeMap::new(), ..deployment.load() }
}

#[tokio::test]
async fn slots_are_given_to_the_least_loaded_until_none_is_left() {
    for replicas in [&[1][..], &[1, 2, 3], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]] {
        let deployment = deployment(replicas);
        let permits = fill(&deployment);
        assert_eq!(permits.len(), replicas.len() * SLOTS as usize);
        let seats = deployment.seats.load_full();
        assert!(seats.replicas.iter().all(|replica| replica.in_flight() == SLOTS));
        drop(permits);
        assert!(seats.replicas.iter().all(|replica| replica.in_flight() == 0));
    }
    let deployment = deployment(&[1, 2, 3]);
    let _two_each: Vec<_> = (0..6).map(|_| now(&mut ask(&deployment)).unwrap()).collect();
    assert!(deployment.seats().replicas.iter().all(|replica| replica.in_flight() == 2));
}

#[tokio::test]
async fn who_waits_longest_goes_first() {
    let deployment = deployment(&[1]);
    let mut held = fill(&deployment);
    let mut waiting: Vec<_> = (0..10).map(|_| ask(&deployment)).collect();
    assert!(waiting.iter_mut().all(|admission| now(admission).is_none()));
    assert_eq!(counts(&deployment), load(4, 10, 0));
    for first in waiting.iter_mut().take(4) {
        drop(held.pop());
        held.insert(0, now(first).expect("a freed slot goes to the first in line"));
    }
    assert!(waiting.iter_mut().skip(4).all(|admission| now(admission).is_none()));
    assert_eq!(counts(&deployment), load(4, 6, 4));
}

#[tokio::test]
async fn a_newcomer_does_not_pass_those_who_wait() {
    let deployment = deployment(&[1]);
    let mut held = fill(&deployment);
    let mut waiting = ask(&deployment);
    assert!(now(&mut waiting).is_none());
    held.pop();
    assert!(now(&mut ask(&deployment)).is_none());
    assert!(now(&mut waiting).is_some());
}

#[tokio::test]
async fn a_client_that_leaves_leaves_the_queue() {
    let deployment = deployment(&[1]);
    let mut held = fill(&deployment);
    let (mut gone, mut stays) = (ask(&deployment), ask(&deployment));
    assert!(now(&mut gone).is_none() && now(&mut stays).is_none());
    drop(gone);
    assert_eq!(counts(&deployment), load(4, 1, 1));
    held.pop();
    assert!(now(&mut stays).is_some());
}

#[tokio::test]
async fn a_slot_given_to_a_client_that_has_left_goes_to_the_next() {
    let deployment = deployment(&[1]);
    let mut held = fill(&deployment);
    let (mut gone, mut next) = (ask(&deployment), ask(&deployment));
    assert!(now(&mut gone).is_none() && now(&mut next).is_none());
    held.pop();
    drop(gone);
    assert!(now(&mut next).is_some());
}

#[tokio::test(start_paused = true)]
async fn who_waits_past_the_deadline_is_told_so() {
    let deployment = deployment(&[]);
    assert_eq!(ask(&deployment).await.unwrap_err(), NotAdmitted::Late);
    assert_eq!(counts(&deployment), load(0, 0, 1));
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_how_full() {
    let deployment = deployment(&[1]);
    let _held = fill(&deployment);
    let mut waiting: Vec<_> = (0..MOST_QUEUED).map(|_| ask(&deployment)).collect();
    assert!(waiting.iter_mut().all(|admission| now(admission).is_none()));
    let expected = NotAdmitted::Full {
        fullness: Fullness::Requests { waiting: MOST_QUEUED, limit: MOST_QUEUED },
        in_flight: SLOTS,
    };
    assert_eq!(ask(&deployment).await.unwrap_err(), expected);
    let mut again = deployment.admit(applicant(Turn::Again)).boxed();
    assert!(Pin::new(&mut again).now_or_never().is_none(), "who had a slot always finds a place");
}

#[tokio::test]
async fn bodies_that_wait_have_a_limit_together_and_alone_may_be_as_large_as_is_allowed() {
    let mut route = DeploymentRoute::clone(&serving(&[]));
    route.limits.max_queued_bytes = 100;
    let deployment = Arc::new(Deployment::new(Arc::new(route), Arc::default()));
    let ask = |bytes: u64| deployment.admit(Applicant { bytes, ..applicant(Turn::New) }).boxed();
    let mut alone = ask(1_000);
    assert!((&mut alone).now_or_never().is_none());
    let full = NotAdmitted::Full { fullness: Fullness::Bytes { waiting: 1_000, limit: 100 }, in_flight: 0 };
    assert_eq!(ask(0).await.unwrap_err(), full);
    drop(alone);
    let (mut one, mut other) = (ask(60), ask(40));
    assert!((&mut one).now_or_never().is_none() && (&mut other).now_or_never().is_none());
    let full = NotAdmitted::Full { fullness: Fullness::Bytes { waiting: 100, limit: 100 }, in_flight: 0 };
    assert_eq!(ask(1).await.unwrap_err(), full);
    drop(one);
    assert!(ask(60).now_or_never().is_none());
}

#[tokio::test]
async fn where_nobody_waits_for_a_busy_replica_they_still_wait_for_the_first() {
    let rejecting = |replicas: &[u128]| {
        let mut route = DeploymentRoute::clone(&serving(replicas));
        route.limits.waits_when_full = false;
        Arc::new(route)
    };
    let deployment = Arc::new(Deployment::new(rejecting(&[]), Arc::default()));
    let mut first = ask(&deployment);
    assert!(now(&mut first).is_none(), "it rests: the request wakes it");
    deployment.update(&rejecting(&[1]));
    let mut held = vec![now(&mut first).unwrap()];
    held.extend(fill(&deployment));
    assert_eq!(ask(&deployment).await.unwrap_err(), NotAdmitted::Busy { in_flight: SLOTS, slots: SLOTS });
    held.pop();
    assert!(now(&mut ask(&deployment)).is_some());
}

#[tokio::test]
async fn the_first_who_waits_calls_attention_and_the_next_do_not() {
    let deployment = deployment(&[1]);
    let _held = fill(&deployment);
    let mut first = ask(&deployment);
    assert!(now(&mut first).is_none());
    assert_eq!(deployment.demand.notified().now_or_never(), Some(()));
    assert!(now(&mut ask(&deployment)).is_none());
    assert_eq!(deployment.demand.notified().now_or_never(), None);
}

#[tokio::test]
async fn who_could_not_use_a_slot_waits_before_all_others() {
    let deployment = deployment(&[1]);
    let mut held = fill(&deployment);
    let mut early = ask(&deployment);
    assert!(now(&mut early).is_none());
    let mut again = deployment.admit(applicant(Turn::Again)).boxed();
    assert!(Pin::new(&mut again).now_or_never().is_none());
    held.pop();
    assert!(now(&mut early).is_none());
    assert!(again.await.is_ok());
}

#[tokio::test]
async fn a_parked_burst_is_released_at_the_replicas_concurrency() {
    let deployment = deployment(&[]);
    let mut burst: Vec<_> = (0..500).map(|_| ask(&deployment)).collect();
    assert!(burst.iter_mut().all(|admission| now(admission).is_none()));
    assert_eq!(deployment.demand.notified().now_or_never(), Some(()), "a request without a replica is a demand");
    deployment.update(&serving(&[1]));
    let mut served = 0;
    while served < 500 {
        let permits: Vec<_> = burst.iter_mut().skip(served).map_while(now).collect();
        assert_eq!(permits.len(), SLOTS as usize);
        assert_eq!(deployment.load().in_flight, SLOTS);
        served += permits.len();
    }
    assert_eq!(counts(&deployment), load(0, 0, 500));
}

#[tokio::test]
async fn a_new_replica_takes_from_the_queue_at_once_and_the_old_keeps_its_counter() {
    let deployment = deployment(&[1]);
    let held = fill(&deployment);
    let mut waiting: Vec<_> = (0..6).map(|_| ask(&deployment)).collect();
    assert!(waiting.iter_mut().all(|admission| now(admission).is_none()));
    deployment.update(&serving(&[2, 1]));
    let permits: Vec<_> = waiting.iter_mut().map_while(now).collect();
    assert_eq!(permits.len(), SLOTS as usize);
    let new = ReplicaId::from_entropy(2);
    assert!(permits.iter().all(|permit| permit.replica().endpoint().replica_id == new));
    assert_eq!(counts(&deployment), load(2 * SLOTS, 2, 0));
    drop(held);
    assert_eq!(deployment.load().queued, 0);
}

#[tokio::test]
async fn a_replica_that_left_finishes_what_it_has_and_gets_nothing_more() {
    let deployment = deployment(&[1, 2]);
    let held = fill(&deployment);
    deployment.update(&serving(&[2]));
    let (gone, _stay): (Vec<_>, Vec<_>) = held.into_iter().partition(|permit| permit.replica().is_retired());
    assert_eq!(gone.len(), SLOTS as usize);
    let by_replica = |counts: &[(u128, u32)]| {
        counts.iter().map(|(number, count)| (ReplicaId::from_entropy(*number), *count)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(deployment.load().in_flight, 2 * SLOTS);
    assert_eq!(deployment.load().by_replica, by_replica(&[(1, SLOTS), (2, SLOTS)]));
    drop(gone);
    assert_eq!(deployment.load().by_replica, by_replica(&[(2, SLOTS)]));
    assert!(now(&mut ask(&deployment)).is_none());
}

#[tokio::test]
async fn a_deployment_that_stops_serving_dismisses_its_queue() {
    for (availability, closed) in [
        (Availability::NotReady, Closed::NotReady),
        (Availability::Inactive, Closed::Inactive),
        (Availability::Unhealthy, Closed::Unhealthy),
    ] {
        let deployment = deployment(&[]);
        let mut waiting = ask(&deployment);
        assert!(now(&mut waiting).is_none());
        deployment.update(&route(&[], SLOTS, availability));
        assert_eq!(waiting.await.unwrap_err(), NotAdmitted::Closed(closed));
        assert_eq!(ask(&deployment).await.unwrap_err(), NotAdmitted::Closed(closed));
        assert_eq!(counts(&deployment), load(0, 0, 1));
    }
}

#[tokio::test]
async fn fewer_slots_hold_for_whatever_comes_next() {
    let deployment = deployment(&[1]);
    let mut held = fill(&deployment);
    deployment.update(&route(&[1], 2, Availability::Serve));
    held.truncate(2);
    assert!(now(&mut ask(&deployment)).is_none());
    held.truncate(1);
    assert!(now(&mut ask(&deployment)).is_some());
}

/// Many threads ask, hold, leave early and swap replicas; afterwards nothing is taken, nobody waits, and every request has
/// been counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_under_contention() {
    let deployment = deployment(&[1, 2]);
    let ask_many = |impatient: bool| {
        let deployment = deployment.clone();
        tokio::spawn(async move {
            for round in 0..500 {
                let mut admission = ask(&deployment);
                let permit = match now(&mut admission) {
                    // Leaves the queue, perhaps just as a slot is on its way.
                    None if impatient && round % 3 == 0 => None,
                    None => Some(admission.await.expect("the deadline is far")),
                    permit => permit,
                };
                tokio::task::yield_now().await;
                drop(permit);
            }
        })
    };
    let askers: Vec<_> = (0..32).map(|number| ask_many(number % 2 == 0)).collect();
    for number in 0..50 {
        deployment.update(&serving(if number % 2 == 0 { &[1, 3] } else { &[1, 2] }));
        tokio::task::yield_now().await;
    }
    for asker in askers {
        asker.await.unwrap();
    }
    let load = deployment.load();
    assert_eq!((load.in_flight, load.queued), (0, 0));
    assert_eq!(load.finished, 32 * 500);
    assert_eq!(fill(&deployment).len(), 2 * SLOTS as usize);
}

#[tokio::test]
async fn who_came_by_an_environment_is_sent_away_and_the_others_wait_on() {
    let deployment = deployment(&[]);
    let mut direct = ask(&deployment);
    let by_environment = Applicant { is_meant: Some(&|| true), ..applicant(Turn::New) };
    let mut moving = deployment.admit(by_environment).boxed();
    assert!(now(&mut direct).is_none());
    assert!((&mut moving).now_or_never().is_none());
    deployment.send_away();
    assert_eq!(moving.await.unwrap_err(), NotAdmitted::Moved);
    assert!(now(&mut direct).is_none());
    assert_eq!(counts(&deployment), load(0, 1, 1));
}

#[tokio::test]
async fn who_was_sent_elsewhere_before_it_stood_in_line_does_not_wait() {
    let deployment = deployment(&[]);
    let by_environment = Applicant { is_meant: Some(&|| false), ..applicant(Turn::New) };
    assert_eq!(deployment.admit(by_environment).await.unwrap_err(), NotAdmitted::Moved);
    assert_eq!(counts(&deployment), load(0, 0, 1));
}
