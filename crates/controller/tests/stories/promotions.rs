//! Promotions from their beginning to each of their ends.

use std::time::Duration;

use api::internal::{replica::ExitCause, routes::Load};
use planner::{
    lifecycle::Status,
    promotion::{Cleanup, Command, Ending, Mode, Status as Progress, Step},
};
use store::domain::PRODUCTION;

use crate::{
    gateway::Share,
    promoting::{STEP, exactly},
    world::World,
};

fn surge(percent: u32) -> Mode {
    Mode::Rolling { step: Step::Surge(percent), stabilization_ms: 0, overhead_percent: 0 }
}

fn slowly(percent: u32) -> Mode {
    Mode::Rolling { step: Step::Surge(percent), stabilization_ms: 60_000, overhead_percent: 0 }
}

#[tokio::test]
async fn an_immediate_promotion_waits_for_every_replica_that_is_needed() {
    let world = World::new().await;
    let _controller = world.start();
    let (first, second) = world.on_stage(exactly(2)).await;
    let begun = world.promote(&second.id, |_| {}).await;
    world.until_serves(&first.model_id, PRODUCTION, &second.id).await;
    assert_eq!(world.spy.started(&second.id), 2);
    world.until_status(&first.id, Status::ScaledToZero).await;
    world.until_live(&first.id, 0).await;
    world.until_live(&second.id, 2).await;
    let ended = world.store.promotion(begun.id).await.unwrap();
    assert_eq!(ended.state.ending(), Some(&Ending::Succeeded));
    assert_eq!(ended.ended_at, Some(world.now()));
    let swap = Share { percent: 100, candidate: 2, previous: 2 };
    assert!(world.gateway.shares().contains(&swap), "{:?}", world.gateway.shares());
    let second_settings = world.deployment(&second.id).await.autoscaling;
    assert_eq!((second_settings.min_replica, second_settings.max_replica), (2, 2), "the environment's");
    let fate = format!("environment production is served by deployment {} from now on", second.id);
    world.until_told(&first.id, &fate).await;
    world.check_laws();
}

#[tokio::test]
async fn what_becomes_of_the_previous_deployment_is_what_the_settings_say() {
    for (cleanup, status) in [(Cleanup::Keep, Status::Active), (Cleanup::Deactivate, Status::Inactive)] {
        let world = World::new().await;
        let controller = world.start();
        let (first, second) = world.on_stage(exactly(1)).await;
        world.promote(&second.id, |settings| settings.cleanup = cleanup).await;
        world.until_serves(&first.model_id, PRODUCTION, &second.id).await;
        world.until_status(&first.id, status).await;
        world.settle(&controller).await;
        world.until_live(&first.id, usize::from(cleanup == Cleanup::Keep)).await;
        world.check_laws();
    }
}

#[tokio::test]
async fn a_canary_moves_a_tenth_at_a_time_and_can_be_taken_back_at_once() {
    let world = World::new().await;
    let controller = world.start();
    let (first, second) = world.on_stage(exactly(2)).await;
    let canary = Mode::Canary { duration_ms: 100_000 };
    let begun = world.promote(&second.id, |settings| settings.mode = canary).await;
    world
        .as_time_passes(&controller, STEP, "three tenths have moved", || async {
            world.gateway.shares().iter().any(|share| share.percent == 30).then_some(())
        })
        .await;
    world.command(&begun, Command::Cancel).await;
    world.until_promotion(&begun, Progress::Canceled).await;
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    world.until_live(&second.id, 0).await;
    world.until_live(&first.id, 2).await;
    let percents: Vec<u8> = world.gateway.shares().iter().map(|share| share.percent).collect();
    let mut moved = percents.clone();
    moved.dedup();
    assert_eq!(moved, [0, 10, 20, 30, 0]);

    let again = world.promote(&second.id, |settings| settings.mode = canary).await;
    world
        .as_time_passes(&controller, STEP, "all have moved", || async {
            let now = world.store.promotion(again.id).await.unwrap();
            (now.state.status() == Progress::Succeeded).then_some(())
        })
        .await;
    world.until_serves(&first.model_id, PRODUCTION, &second.id).await;
    assert_eq!(world.spy.started(&first.id), 2, "the previous side kept what it had");
    world.check_laws();
}

#[tokio::test]
async fn a_rolling_promotion_replaces_replica_by_replica() {
    let world = World::new().await;
    let _controller = world.start();
    let (first, second) = world.on_stage(exactly(4)).await;
    let begun = world.promote(&second.id, |settings| settings.mode = surge(25)).await;
    world.until_serves(&first.model_id, PRODUCTION, &second.id).await;
    world.until_live(&first.id, 0).await;
    world.until_live(&second.id, 4).await;
    assert_eq!(world.spy.started(&second.id), 4, "no replica too many");
    assert_eq!(world.spy.started(&first.id), 4, "no replica too many");
    let shares = world.gateway.shares();
    assert!(shares.is_sorted_by_key(|share| share.percent), "{shares:?}");
    assert!(shares.iter().all(|share| (4..=5).contains(&(share.candidate + share.previous)) || share.percent == 100));
    assert!(shares.len() > 4, "{shares:?}");
    world.until_promotion(&begun, Progress::Succeeded).await;
    world.check_laws();
}

#[tokio::test]
async fn a_rolling_promotion_pauses_goes_on_and_walks_back() {
    let world = World::new().await;
    let controller = world.start();
    let (first, second) = world.on_stage(exactly(2)).await;
    let begun = world.promote(&second.id, |settings| settings.mode = slowly(50)).await;
    world.eventually("traffic moves", || async { world.gateway.has_moved().then_some(()) }).await;
    world.command(&begun, Command::Pause).await;
    let paused = world.until_promotion(&begun, Progress::Paused).await;
    world.advance(Duration::from_secs(3600));
    world.settle(&controller).await;
    let still = world.store.promotion(begun.id).await.unwrap();
    assert_eq!((still.state.status(), still.targets), (Progress::Paused, paused.targets));
    world.command(&begun, Command::Resume).await;
    world.until_promotion(&begun, Progress::RampingUp).await;
    world.command(&begun, Command::Cancel).await;
    world.until_promotion(&begun, Progress::Canceled).await;
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    world.until_live(&first.id, 2).await;
    world.until_live(&second.id, 0).await;
    world.until_status(&second.id, Status::ScaledToZero).await;
    for part in ["is paused with", "goes on", "was canceled: canceled by request"] {
        world.until_told(&second.id, part).await;
    }
    world.check_laws();
}

#[tokio::test]
async fn force_ends_it_either_way() {
    for (command, progress) in
        [(Command::ForceCancel, Progress::Canceled), (Command::ForceRollForward, Progress::Succeeded)]
    {
        let world = World::new().await;
        let _controller = world.start();
        let (first, second) = world.on_stage(exactly(3)).await;
        let begun = world.promote(&second.id, |settings| settings.mode = slowly(34)).await;
        world.eventually("traffic moves", || async { world.gateway.has_moved().then_some(()) }).await;
        world.command(&begun, command).await;
        world.until_promotion(&begun, progress).await;
        let (stays, leaves) = match progress {
            Progress::Succeeded => (&second, &first),
            _ => (&first, &second),
        };
        world.until_serves(&first.model_id, PRODUCTION, &stays.id).await;
        world.until_live(&stays.id, 3).await;
        world.until_live(&leaves.id, 0).await;
        world.check_laws();
    }
}

#[tokio::test]
async fn a_model_is_told_of_promotion_and_demotion() {
    let world = World::new().await;
    let controller = world.start();
    world.backend.make_ready_at_once();
    let first = world.push_model("iris").await;
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    let second = world.push(&first.model_id, |_| {}).await;
    let old = world.until_started(&first.id, &[]).await;
    let new = world.until_started(&second.id, &[]).await;
    world.until_status(&second.id, Status::Active).await;
    assert_eq!(world.backend.environments(&new), [None]);

    world.promote(&second.id, |settings| settings.cleanup = Cleanup::Keep).await;
    world.until_serves(&first.model_id, PRODUCTION, &second.id).await;
    let production = Some(serde_json::json!({"name": "production"}));
    world
        .eventually("both know", || async {
            let told = (world.backend.environments(&new), world.backend.environments(&old));
            (told == (vec![None, production.clone()], vec![production.clone(), None])).then_some(())
        })
        .await;
    let told = world.backend.calls().environments;
    world.settle(&controller).await;
    assert_eq!(world.backend.calls().environments, told, "once is enough");
}

#[tokio::test]
async fn long_requests_end_where_they_began_and_bring_nothing_back() {
    let world = World::new().await;
    let controller = world.start();
    let (first, second) = world.on_stage(exactly(1)).await;
    let old = world.until_started(&first.id, &[]).await;
    world.backend.hold_stops();
    let busy = |in_flight: u32| Load {
        in_flight,
        by_replica: (in_flight > 0).then(|| (old.clone(), in_flight)).into_iter().collect(),
        finished: u64::from(5 - in_flight),
        ..Load::default()
    };
    world.gateway.set_load(&first.id, busy(5));
    world.promote(&second.id, |_| {}).await;
    world.until_serves(&first.model_id, PRODUCTION, &second.id).await;
    world.until_status(&first.id, Status::ScaledToZero).await;
    for in_flight in [4, 1, 0] {
        world.gateway.set_load(&first.id, busy(in_flight));
        world.settle(&controller).await;
    }
    assert!(world.backend.live().contains(&old), "it ends when it has drained, and not before");
    world.backend.crash(&old, ExitCause::Stopped);
    world.until_live(&first.id, 0).await;
    world.settle(&controller).await;
    assert_eq!(world.status(&first.id).await, Status::ScaledToZero);
    assert_eq!(world.spy.started(&first.id), 1);
    world.check_laws();
}
