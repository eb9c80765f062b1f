//! The process is killed between any two steps, and the next one finishes the story as if nothing had been.

use std::{sync::Arc, time::Duration};

use planner::{
    lifecycle::Status,
    promotion::{Command, Mode, Room, Settings, Status as Progress, Step},
};
use store::{
    Topic,
    domain::{Component, Origin, PRODUCTION},
};
use tokio::task::JoinHandle;

use crate::{
    promoting::exactly,
    world::{World, line},
};

/// Where a process dies.
#[derive(Clone, Copy)]
enum Death {
    /// Before or after the n-th thing that is asked of the backend.
    AtBackend(i64),
    /// Right after something is stored for the n-th time.
    AfterStore(u64),
}

/// Keeps a controller running, with one death in between. Tells whether it came.
fn run(world: &Arc<World>, death: Death) -> JoinHandle<()> {
    let world = world.clone();
    let topics = [Topic::Deployments, Topic::Environments, Topic::Promotions, Topic::Replicas];
    let mut changes = world.store.changes(&topics);
    if let Death::AtBackend(steps) = death {
        world.spy.die_after(steps);
    }
    tokio::spawn(async move {
        let first = world.start();
        match death {
            Death::AtBackend(_) => world.spy.died().await,
            Death::AfterStore(count) => {
                for _ in 0..count {
                    changes.wait().await;
                }
            }
        }
        world.kill(first).await;
        let _second = world.start();
        std::future::pending::<()>().await;
    })
}

/// A push that serves, a push that replaces it, rest. Whether the arranged death came before the story ended.
async fn story(death: Death) -> bool {
    let world = Arc::new(World::new().await);
    world.backend.make_ready_at_once();
    let running = run(&world, death);

    let first = world.push_model("iris").await;
    world.until_status(&first.id, Status::Active).await;
    let serves = |id: api::id::DeploymentId| {
        let world = world.clone();
        let model = first.model_id.clone();
        async move {
            world
                .eventually("production serves it", || async {
                    (world.current(&model, PRODUCTION).await.as_ref() == Some(&id)).then_some(())
                })
                .await;
        }
    };
    serves(first.id.clone()).await;
    for replica in world.backend.live() {
        world.backend.log(&replica, line("hello"));
    }

    world.advance(Duration::from_secs(1));
    let second = world.push(&first.model_id, |push| push.target_environment = Some(PRODUCTION.into())).await;
    serves(second.id.clone()).await;
    world.until_status(&first.id, Status::ScaledToZero).await;
    world.until_status(&second.id, Status::Active).await;
    let one_replica = world.eventually("one replica is left", || async {
        let live = world.backend.live();
        (live.len() == 1 && world.is_of(&live[0], &second.id)).then(|| live[0].clone())
    });
    let replica = one_replica.await;
    world.until_routed(&second.id, &[replica]).await;

    world.change(&second.id, |lifecycle, _| lifecycle.deactivate()).await;
    world.until_status(&second.id, Status::Inactive).await;
    world
        .eventually("nothing is left", || async {
            let listed = backends::Backend::list(&*world.backend).await.unwrap();
            (listed.is_empty() && world.store.replicas(None).await.unwrap().is_empty()).then_some(())
        })
        .await;

    assert_eq!(world.spy.started(&first.id), 1, "no replica too many");
    assert_eq!(world.spy.started(&second.id), 1, "no replica too many");
    world.check_laws();
    let hello = world.messages(&first.id, Component::Model).await;
    assert_eq!(hello, ["hello"], "stored exactly once");
    for id in [&first.id, &second.id] {
        assert_eq!(world.deployment(id).await.replica_memory.failures, 0, "nothing has failed");
    }
    let has_died = match death {
        Death::AtBackend(_) => !world.spy.is_doomed(),
        Death::AfterStore(_) => true,
    };
    running.abort();
    has_died
}

#[tokio::test]
async fn killed_before_or_after_any_step_at_the_backend() {
    let mut steps = 0;
    while story(Death::AtBackend(steps)).await {
        steps += 1;
    }
    assert!(steps > 20, "the story has only {steps} steps");
}

#[tokio::test]
async fn killed_right_after_anything_is_stored() {
    for count in 1..=24 {
        story(Death::AfterStore(count)).await;
    }
}

/// A person's promotion from two replicas to two, with one death in between. Whether the arranged death came before it ended.
async fn promotion(death: Death, change: impl FnOnce(&mut Settings) + Copy, command: Option<Command>) -> bool {
    let world = Arc::new(World::new().await);
    let before = world.start();
    let (first, second) = world.on_stage(exactly(2)).await;
    world.until_status(&second.id, Status::Active).await;
    world.kill(before).await;
    let running = run(&world, death);
    let begun = world.promote(&second.id, change).await;
    if let Some(command) = command {
        world.eventually("traffic moves", || async { world.gateway.has_moved().then_some(()) }).await;
        world.command(&begun, command).await;
    }
    let (progress, stays, leaves) = match command {
        Some(Command::Cancel | Command::ForceCancel) => (Progress::Canceled, &first, &second),
        _ => (Progress::Succeeded, &second, &first),
    };

    world.until_promotion(&begun, progress).await;
    world.until_serves(&first.model_id, PRODUCTION, &stays.id).await;
    world.until_status(&leaves.id, Status::ScaledToZero).await;
    world.until_status(&stays.id, Status::Active).await;
    world.until_live(&leaves.id, 0).await;
    world.until_live(&stays.id, 2).await;
    world
        .eventually("requests go to both", || async {
            (world.gateway.route(&stays.id)?.replicas.len() == 2).then_some(())
        })
        .await;
    world
        .eventually("nothing is left of the others", || async {
            (world.store.replicas(None).await.unwrap().len() == 2).then_some(())
        })
        .await;

    assert_eq!(world.store.active_promotions().await.unwrap(), []);
    let (candidate, origin, _) = world.history(&first.model_id).await.remove(0);
    assert_eq!((candidate == second.id, origin), (true, Origin::Person));
    for id in [&first.id, &second.id] {
        assert_eq!(world.deployment(id).await.replica_memory.failures, 0, "nothing has failed");
    }
    assert_eq!(world.deployment(&stays.id).await.autoscaling.max_replica, 2, "the environment's");
    assert!(world.spy.started(&first.id) <= if command.is_some() { 3 } else { 2 }, "no replica too many");
    world.check_laws();
    let has_died = match death {
        Death::AtBackend(_) => !world.spy.is_doomed(),
        Death::AfterStore(_) => true,
    };
    running.abort();
    has_died
}

/// Kills it everywhere, and says before or after how many steps at the backend.
async fn killed_everywhere(changes: u64, command: Option<Command>, change: impl FnOnce(&mut Settings) + Copy) -> i64 {
    let mut steps = 0;
    while promotion(Death::AtBackend(steps), change, command).await {
        steps += 1;
    }
    for count in 1..=changes {
        promotion(Death::AfterStore(count), change, command).await;
    }
    steps
}

fn rolling(stabilization_ms: u64) -> Mode {
    Mode::Rolling { step: Step::Surge(50), stabilization_ms, overhead_percent: 0 }
}

#[tokio::test]
async fn an_immediate_promotion_survives_a_death_at_any_moment() {
    let steps = killed_everywhere(16, None, |settings| settings.mode = Mode::Immediate).await;
    assert!(steps > 8, "the story has only {steps} steps");
}

#[tokio::test]
async fn a_rolling_promotion_survives_a_death_at_any_moment() {
    let steps = killed_everywhere(24, None, |settings| settings.mode = rolling(0)).await;
    assert!(steps > 8, "the story has only {steps} steps");
}

#[tokio::test]
async fn a_promotion_that_is_taken_back_survives_a_death_at_any_moment() {
    let steps = killed_everywhere(16, Some(Command::Cancel), |settings| settings.mode = rolling(60_000)).await;
    assert!(steps > 8, "the story has only {steps} steps");
}

#[tokio::test]
async fn a_promotion_in_place_survives_a_death_at_any_moment() {
    let steps = killed_everywhere(24, None, |settings| settings.room = Room::InPlace).await;
    assert!(steps > 8, "the story has only {steps} steps");
}
