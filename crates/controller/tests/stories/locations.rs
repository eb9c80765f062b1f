//! Several locations: where replicas go, where they are found again, and what moves them.

use std::{collections::BTreeMap, time::Duration};

use api::{
    id::DeploymentId,
    internal::replica::{ExitCause, Phase},
};
use backends::Backend;
use planner::{
    catalogue::Catalogue,
    heartbeat::Health,
    lifecycle::Status,
    location::Enforcement,
    policy::{Policy, written},
    promotion::Room,
};
use store::{
    PoliciesOf,
    domain::{Component, Deployment, PRODUCTION},
};

use crate::world::World;

const BEAT: Duration = Duration::from_millis(10);

impl World {
    /// A world with a location in France and one in America.
    async fn of_two_locations() -> World {
        let mut world = World::new().await;
        world.first_location = "paris:fr";
        world.settings.heartbeat = BEAT;
        world.backend.make_ready_at_once();
        world.add_location("virginia:us");
        world
    }

    async fn allow_only(&self, country: &str) -> String {
        let name = format!("{country}-only");
        let entry = written::Entry { kind: Some("country".into()), name: country.into() };
        let policy = written::Policy {
            name: name.clone(),
            kind: "location".into(),
            locations: vec![entry],
            ..written::Policy::default()
        };
        self.store.add_policy(&Policy::try_from(policy).unwrap(), self.now(), None).await.unwrap();
        name
    }

    async fn attach(&self, to: &Deployment, policies: &[String]) {
        self.store.attach_policies(PoliciesOf::Deployment(&to.id), policies, None).await.unwrap();
    }

    /// How many replicas that answer are in each location.
    async fn ready_in(&self, id: &DeploymentId) -> BTreeMap<String, u32> {
        let mut ready = BTreeMap::new();
        for replica in self.replicas(id).await {
            let is_ready = replica.status.is_some_and(|status| status.phase == Phase::Ready);
            if is_ready && replica.stopping_since.is_none() {
                *ready.entry(replica.location.unwrap_or_default()).or_default() += 1;
            }
        }
        ready
    }

    async fn until_ready_in(&self, id: &DeploymentId, expected: &[(&str, u32)]) {
        let expected: BTreeMap<String, u32> =
            expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let what = format!("replicas are ready in {expected:?}");
        self.eventually(&what, || async {
            let is_all = self.replicas(id).await.len() as u32 == expected.values().sum::<u32>();
            (is_all && self.ready_in(id).await == expected).then_some(())
        })
        .await;
    }

    async fn push_serving(&self, replicas: u32) -> Deployment {
        let pushed = self
            .push_model_with("iris", |push| {
                (push.autoscaling.min_replica, push.autoscaling.max_replica) = (replicas, replicas);
            })
            .await;
        self.eventually("production serves it", || async { self.current(&pushed.model_id, PRODUCTION).await }).await;
        let settings = move |settings: &mut planner::autoscale::Settings| {
            (settings.min_replica, settings.max_replica) = (replicas, replicas);
        };
        self.set_autoscaling(&pushed.id, settings).await;
        pushed
    }

    /// Lets the locations be asked so many times.
    async fn beat(&self, times: u32) {
        let asked = || self.backend.calls().checks;
        for _ in 0..times {
            let before = asked();
            self.advance(BEAT);
            let beaten = async {
                while asked() == before {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), beaten).await.expect("the locations are asked");
        }
    }
}

#[tokio::test]
async fn replicas_are_spread_and_a_server_that_starts_anew_finds_each_in_its_place() {
    let world = World::of_two_locations().await;
    let controller = world.start();
    let pushed = world.push_serving(3).await;
    world.until_ready_in(&pushed.id, &[("paris", 2), ("virginia", 1)]).await;
    let before = world.replicas(&pushed.id).await;
    assert_eq!((world.backend.live().len(), world.beside[0].1.live().len()), (2, 1));
    world.kill(controller).await;

    let again = world.start();
    again.ready().await;
    world.settle(&again).await;
    let ids =
        |replicas: Vec<store::domain::Replica>| replicas.into_iter().map(|it| (it.id, it.location)).collect::<Vec<_>>();
    assert_eq!(ids(world.replicas(&pushed.id).await), ids(before));
}

#[tokio::test]
async fn a_policy_that_is_attached_moves_what_runs_and_something_is_ready_all_the_time() {
    let world = World::of_two_locations().await;
    let _controller = world.start();
    let pushed = world.push_serving(1).await;
    world.until_ready_in(&pushed.id, &[("paris", 1)]).await;
    world.beside[0].1.start_slowly();
    let us = world.allow_only("us").await;
    world.attach(&pushed, std::slice::from_ref(&us)).await;
    let new = world.eventually("another is started", || async { world.beside[0].1.live().pop() }).await;
    world.beside[0].1.loading(&new);
    world.eventually("both run", || async { (world.replicas(&pushed.id).await.len() == 2).then_some(()) }).await;
    assert_eq!(world.ready_in(&pushed.id).await, BTreeMap::from([("paris".to_owned(), 1)]), "until the other is ready");
    world.beside[0].1.ready(&new);
    world.until_ready_in(&pushed.id, &[("virginia", 1)]).await;
    assert!(world.backend.live().is_empty());

    let changed = written::Policy {
        name: us.clone(),
        kind: "location".into(),
        locations: vec![written::Entry { kind: Some("location".into()), name: "paris".into() }],
        ..written::Policy::default()
    };
    world.store.replace_policy(&changed.try_into().unwrap(), world.now(), None).await.unwrap();
    world.until_ready_in(&pushed.id, &[("paris", 1)]).await;
}

#[tokio::test]
async fn policies_of_the_environment_count_for_what_it_serves_and_a_policy_that_goes_frees_it() {
    let world = World::of_two_locations().await;
    let _controller = world.start();
    let pushed = world.push_serving(2).await;
    world.until_ready_in(&pushed.id, &[("paris", 1), ("virginia", 1)]).await;
    let us = world.allow_only("us").await;
    let production = PoliciesOf::Environment(&pushed.model_id, PRODUCTION);
    world.store.attach_policies(production, std::slice::from_ref(&us), None).await.unwrap();
    world.until_ready_in(&pushed.id, &[("virginia", 2)]).await;
    world.store.delete_policy(&us, true, None).await.unwrap();
    world.change(&pushed.id, |lifecycle, _| lifecycle.deactivate()).await;
    world.until_ready_in(&pushed.id, &[]).await;
    world.change(&pushed.id, |lifecycle, now| lifecycle.activate(now).unwrap()).await;
    world.until_ready_in(&pushed.id, &[("paris", 1), ("virginia", 1)]).await;
}

#[tokio::test]
async fn what_may_run_nowhere_is_ended_and_says_why_until_there_is_a_place() {
    let world = World::of_two_locations().await;
    let _controller = world.start();
    let pushed = world.push_serving(1).await;
    world.until_ready_in(&pushed.id, &[("paris", 1)]).await;
    let japan = world.allow_only("jp").await;
    world.attach(&pushed, &[japan]).await;
    world.eventually("it ends", || async { world.backend.live().is_empty().then_some(()) }).await;
    let waits_for = world
        .eventually("another waits", || async {
            world.replicas(&pushed.id).await.into_iter().find_map(|it| it.waits_for)
        })
        .await;
    assert!(waits_for.starts_with("waiting for a place: none of 2 pairs"), "{waits_for}");
    assert!(waits_for.contains("the deployment's location policy jp-only"), "{waits_for}");
    assert!(world.messages(&pushed.id, Component::Deploy).await.contains(&waits_for));
    world.attach(&pushed, &[]).await;
    world.until_ready_in(&pushed.id, &[("paris", 1)]).await;
}

#[tokio::test]
async fn until_the_next_deployment_what_runs_stays_and_what_starts_obeys() {
    let mut world = World::of_two_locations().await;
    world.settings.enforcement = Enforcement::NextDeployment;
    let controller = world.start();
    let pushed = world.push_serving(1).await;
    world.until_ready_in(&pushed.id, &[("paris", 1)]).await;
    let us = world.allow_only("us").await;
    world.attach(&pushed, &[us]).await;
    world.settle(&controller).await;
    assert_eq!(world.ready_in(&pushed.id).await, BTreeMap::from([("paris".to_owned(), 1)]));
    world.set_autoscaling(&pushed.id, |settings| (settings.min_replica, settings.max_replica) = (2, 2)).await;
    world.until_ready_in(&pushed.id, &[("paris", 1), ("virginia", 1)]).await;
}

#[tokio::test]
async fn a_location_that_does_not_answer_gets_nothing_and_what_was_in_it_is_replaced_elsewhere() {
    let world = World::of_two_locations().await;
    let _controller = world.start();
    let pushed = world.push_serving(2).await;
    world.until_ready_in(&pushed.id, &[("paris", 1), ("virginia", 1)]).await;
    let virginia = &world.beside[0].1;
    virginia.set_down(true);
    world.beat(2).await;
    assert!(world.store.location_health().await.unwrap().is_empty(), "two misses are none");
    world.beat(1).await;
    world
        .eventually("two are ready in Paris", || async {
            (world.ready_in(&pushed.id).await == BTreeMap::from([("paris".to_owned(), 2)])).then_some(())
        })
        .await;
    let known = world.store.location_health().await.unwrap();
    let [(name, Health::Unhealthy { reason, .. })] = known.as_slice() else { panic!("{known:?}") };
    assert_eq!((name.as_str(), reason.as_str()), ("virginia", "cannot run replicas: the test took it down"));

    virginia.set_down(false);
    world.beat(1).await;
    world.eventually("it is ended there", || async { virginia.live().is_empty().then_some(()) }).await;
    world.until_ready_in(&pushed.id, &[("paris", 2)]).await;
    world
        .eventually("it is known to be healthy", || async {
            (world.store.location_health().await.unwrap()[0].1 == Health::default()).then_some(())
        })
        .await;
}

#[tokio::test]
async fn what_is_alone_in_a_location_that_does_not_answer_stays_and_new_ones_wait() {
    let mut world = World::new().await;
    world.settings.heartbeat = BEAT;
    world.backend.make_ready_at_once();
    let _controller = world.start();
    let pushed = world.push_serving(1).await;
    world.until_ready_in(&pushed.id, &[("local", 1)]).await;
    world.backend.set_down(true);
    world.beat(3).await;
    world.set_autoscaling(&pushed.id, |settings| (settings.min_replica, settings.max_replica) = (2, 2)).await;
    let told = "waiting for a place: no location that is allowed is healthy: local (cannot run replicas: the test took it down)";
    world.until_told(&pushed.id, told).await;
    assert_eq!(world.ready_in(&pushed.id).await, BTreeMap::from([("local".to_owned(), 1)]));
    world.backend.set_down(false);
    world.beat(1).await;
    world.until_ready_in(&pushed.id, &[("local", 2)]).await;
}

#[tokio::test]
async fn a_location_that_is_taken_out_of_the_configuration_is_left_in_order() {
    let mut world = World::of_two_locations().await;
    let controller = world.start();
    let pushed = world.push_serving(2).await;
    world.until_ready_in(&pushed.id, &[("paris", 1), ("virginia", 1)]).await;
    world.kill(controller).await;
    world.beside[0].0 = "-virginia";
    let controller = world.start();
    world.until_ready_in(&pushed.id, &[("paris", 2)]).await;
    assert!(world.beside[0].1.live().is_empty(), "it was told");
    world.kill(controller).await;

    // Nothing is known of it any more, not even by whom it could be told.
    world.first_location = "berlin:de";
    let gone = world.beside.remove(0);
    gone.1.start_slowly();
    let ran = world.backend.live();
    for id in &ran {
        world.backend.crash(id, api::internal::replica::ExitCause::Lost);
        world.backend.forget(id).await;
    }
    let _controller = world.start();
    world.until_told(&pushed.id, "its location paris is not configured any more").await;
    world
        .eventually("their rows are gone", || async { world.replicas(&pushed.id).await.is_empty().then_some(()) })
        .await;
    world.advance(Duration::from_secs(1));
    world.until_ready_in(&pushed.id, &[("berlin", 2)]).await;
    world.until_status(&pushed.id, Status::Active).await;
}

#[tokio::test]
async fn a_limit_of_tokens_has_no_say_in_where_replicas_are() {
    let mut world = World::new().await;
    // Too little memory is declared for any instance type: without policies of places that is the operator's affair.
    world.first_location = "small:fr";
    world.backend.make_ready_at_once();
    let _controller = world.start();
    let pushed = world.push_serving(1).await;
    world.until_ready_in(&pushed.id, &[("small", 1)]).await;
    let before = world.backend.live();
    let limit = written::MaxTokens { granularity: "day".into(), total: Some(5), ..written::MaxTokens::default() };
    let policy = written::Policy {
        name: "daily".into(),
        kind: "maxToken".into(),
        max_tokens: Some(limit),
        ..written::Policy::default()
    };
    world.store.add_policy(&Policy::try_from(policy).unwrap(), world.now(), None).await.unwrap();
    world.attach(&pushed, &["daily".to_owned()]).await;
    world
        .eventually("the gateway has the limit", || async {
            let table = world.gateway.table.borrow();
            table.as_ref().filter(|table| !table.allowances.is_empty()).map(|_| ())
        })
        .await;
    world.until_ready_in(&pushed.id, &[("small", 1)]).await;
    assert_eq!(world.backend.live(), before);
}

#[tokio::test]
async fn a_promotion_counts_on_the_room_where_its_policies_allow_it_and_keeps_that_from_others() {
    let mut world = World::of_two_locations().await;
    world.settings.instance_types = Catalogue::of(&[]);
    (world.first_location, world.beside[0].0) = ("paris:fr=1", "virginia:us=4");
    let controller = world.start();
    let old = world.push_serving(1).await;
    world.until_ready_in(&old.id, &[("paris", 1)]).await;
    let fr = [world.allow_only("fr").await];
    world.store.attach_policies(PoliciesOf::Environment(&old.model_id, PRODUCTION), &fr, None).await.unwrap();
    world.backend.hold_stops();
    let other = world.push_model("rose").await;
    world.until_ready_in(&other.id, &[("virginia", 1)]).await;
    world.attach(&other, &fr).await;
    let full = "waiting for capacity: 1000 millicpu needed, 0 free in paris";
    world.until_told(&other.id, full).await;

    world.advance(Duration::from_secs(1));
    let new = world.push(&old.model_id, |push| push.target_environment = Some(PRODUCTION.into())).await;
    let begun = world
        .eventually("its promotion begins", || async {
            world.store.active_promotion(&old.model_id, PRODUCTION).await.unwrap()
        })
        .await;
    assert_eq!(begun.settings.room, Room::InPlace, "four CPUs are free where it may not run");
    let leaving = world.replicas(&old.id).await.remove(0).id;
    world
        .eventually("the old one is told to stop", || async {
            world.replicas(&old.id).await.remove(0).stopping_since.map(drop)
        })
        .await;
    world.backend.crash(&leaving, ExitCause::Stopped);
    world.until_serves(&old.model_id, PRODUCTION, &new.id).await;
    world.until_ready_in(&new.id, &[("paris", 1)]).await;
    world.settle(&controller).await;
    assert_eq!(world.ready_in(&other.id).await, BTreeMap::from([("virginia".to_owned(), 1)]), "it waited longer");
}
