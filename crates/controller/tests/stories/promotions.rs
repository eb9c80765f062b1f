//! Promotions from their beginning to each of their ends.

use std::time::Duration;

use api::internal::{
    replica::{Exit, ExitCause},
    routes::Availability,
};
use planner::{
    capacity::Capacity,
    lifecycle::Status,
    placement,
    promotion::{Cleanup, Command, Ending, Mode, Room, Status as Progress, Step},
};
use store::domain::{Component, Environment, Origin, PRODUCTION};

use crate::{gateway::Share, world::World};

const STEP: Duration = Duration::from_secs(1);

fn surge(percent: u32) -> Mode {
    Mode::Rolling { step: Step::Surge(percent), stabilization_ms: 0, overhead_percent: 0 }
}

fn slowly(percent: u32) -> Mode {
    Mode::Rolling { step: Step::Surge(percent), stabilization_ms: 60_000, overhead_percent: 0 }
}

fn exactly(replicas: u32) -> impl Fn(&mut planner::autoscale::Settings) {
    move |settings| {
        settings.min_replica = replicas;
        settings.max_replica = replicas;
    }
}

fn cannot_load() -> Exit {
    Exit { cause: ExitCause::LoadFailed, message: "`load` raised ValueError: boom".into(), detail: None }
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
    let told = world.messages(&first.id, Component::Deploy).await;
    let fate = format!("environment production is served by deployment {} from now on", second.id);
    assert!(told.iter().any(|message| message.starts_with(&fate)), "{told:?}");
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
    world
        .eventually("traffic moves", || async {
            world.gateway.shares().iter().any(|share| share.percent > 0).then_some(())
        })
        .await;
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
    let told = world.messages(&second.id, Component::Deploy).await;
    for part in ["is paused with", "goes on", "was canceled: canceled by request"] {
        assert!(told.iter().any(|message| message.contains(part)), "{part}: {told:?}");
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
        world
            .eventually("traffic moves", || async {
                world.gateway.shares().iter().any(|share| share.percent > 0).then_some(())
            })
            .await;
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
async fn a_candidate_that_cannot_load_fails_and_harms_nobody() {
    let world = World::new().await;
    let controller = world.start();
    world.backend.make_ready_at_once();
    let first = world.push_model("iris").await;
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    let before = world.store.environment(&first.model_id, PRODUCTION).await.unwrap();
    world.backend.start_slowly();
    world.advance(STEP);
    let broken = world.push(&first.model_id, |push| push.target_environment = Some(PRODUCTION.into())).await;
    let replica = world.until_started(&broken.id, &[]).await;
    world.backend.exit(&replica, cannot_load());
    world.until_status(&broken.id, Status::DeployFailed).await;
    world
        .eventually("the promotion has failed", || async {
            let (candidate, origin, ending) = world.history(&first.model_id).await.remove(0);
            let Some(Ending::Failed { reason }) = ending else { return None };
            assert_eq!((candidate == broken.id, origin), (true, Origin::Push));
            reason.contains("`load` raised ValueError: boom").then_some(())
        })
        .await;
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    world.settle(&controller).await;
    assert_eq!(world.store.environment(&first.model_id, PRODUCTION).await.unwrap(), before);
    assert_eq!(world.spy.started(&first.id), 1);
    let told = world.messages(&broken.id, Component::Deploy).await;
    assert!(told.iter().any(|message| message.contains("the promotion to environment production failed")), "{told:?}");
    world.check_laws();
}

#[tokio::test]
async fn a_candidate_that_dies_with_traffic_gives_it_back() {
    let world = World::new().await;
    let controller = world.start();
    let (first, second) = world.on_stage(exactly(1)).await;
    let begun = world.promote(&second.id, |settings| settings.mode = Mode::Canary { duration_ms: 600_000 }).await;
    world
        .as_time_passes(&controller, STEP, "a tenth has moved", || async {
            world.gateway.shares().last().is_some_and(|share| share.percent == 10).then_some(())
        })
        .await;
    let replica = world.until_started(&second.id, &[]).await;
    world.backend.start_slowly();
    world.backend.crash(&replica, ExitCause::OutOfMemory);
    let failed = world.until_promotion(&begun, Progress::Failed).await;
    assert!(failed.why.contains("none of the candidate's replicas is ready any more"), "{}", failed.why);
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    world.check_laws();
}

#[tokio::test]
async fn a_newer_push_takes_the_place_of_one_that_nobody_is_served_by() {
    let world = World::new().await;
    let _controller = world.start();
    world.backend.make_ready_at_once();
    let first = world.push_model("iris").await;
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    world.spy.hold_builds();
    let for_production = |push: &mut store::NewDeployment| push.target_environment = Some(PRODUCTION.into());
    world.advance(STEP);
    let older = world.push(&first.model_id, for_production).await;
    world
        .eventually("it is a candidate", || async {
            world.store.active_promotion(&first.model_id, PRODUCTION).await.unwrap()
        })
        .await;
    world.advance(STEP);
    let newer = world.push(&first.model_id, for_production).await;
    world
        .eventually("the newer one is a candidate", || async {
            let active = world.store.active_promotion(&first.model_id, PRODUCTION).await.unwrap()?;
            (active.candidate == newer.id).then_some(())
        })
        .await;
    world.spy.let_builds_through(9);
    world.until_serves(&first.model_id, PRODUCTION, &newer.id).await;
    let reason = format!("superseded by deployment {}", newer.id);
    let history: Vec<_> =
        world.history(&first.model_id).await.into_iter().map(|(id, _, ending)| (id, ending)).collect();
    assert_eq!(
        history,
        [
            (newer.id.clone(), Some(Ending::Succeeded)),
            (older.id.clone(), Some(Ending::Canceled { reason })),
            (first.id.clone(), Some(Ending::Succeeded)),
        ]
    );
    world.check_laws();
}

#[tokio::test]
async fn a_push_waits_until_a_persons_promotion_has_ended() {
    let world = World::new().await;
    let controller = world.start();
    let (first, second) = world.on_stage(exactly(1)).await;
    let begun = world.promote(&second.id, |settings| settings.mode = Mode::Canary { duration_ms: 100_000 }).await;
    world.advance(STEP);
    let pushed = world.push(&first.model_id, |push| push.target_environment = Some(PRODUCTION.into())).await;
    world.until_status(&pushed.id, Status::Active).await;
    world.settle(&controller).await;
    assert_eq!(world.deployment(&pushed.id).await.target_environment.as_deref(), Some(PRODUCTION), "it waits");
    world.command(&begun, Command::Cancel).await;
    world.until_serves(&first.model_id, PRODUCTION, &pushed.id).await;
    world.check_laws();
}

#[tokio::test]
async fn an_environment_that_is_deleted_takes_its_promotion_along() {
    let world = World::new().await;
    let controller = world.start();
    let first = world.push_model("iris").await;
    let staging = Environment {
        model_id: first.model_id.clone(),
        name: "staging".into(),
        created_at: world.now(),
        current: None,
        autoscaling: planner::autoscale::Settings::default(),
        promotion_settings: serde_json::json!({}),
        generation: 0,
    };
    world.store.create_environment(&staging, None).await.unwrap();
    let pushed = world.push(&first.model_id, |push| push.target_environment = Some("staging".into())).await;
    let replica = world.until_started(&pushed.id, &[]).await;
    world
        .eventually("callers hear that it is not ready", || async {
            let table = world.gateway.table.borrow().clone()?;
            let split = table.models.get(&first.model_id)?.environments.get("staging")?.clone()?;
            (table.deployments.get(&split.stable)?.availability == Availability::NotReady).then_some(())
        })
        .await;
    world.store.delete_environment(&first.model_id, "staging", world.now(), None).await.unwrap();
    world.backend.ready(&replica);
    world.until_status(&pushed.id, Status::Active).await;
    world.settle(&controller).await;
    world.until_live(&pushed.id, 1).await;
    world
        .eventually("it is in no environment", || async {
            (world.backend.environments(&replica).last() == Some(&None)).then_some(())
        })
        .await;
    assert_eq!(world.store.active_promotion(&first.model_id, "staging").await.unwrap(), None);
    world.check_laws();
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
async fn without_room_for_both_the_previous_deployment_ends_first_and_callers_wait() {
    let mut world = World::new().await;
    world.settings.instance_types = placement::cpu_catalogue();
    world.settings.capacity = Capacity { millicpu: Some(2_000), ..Capacity::default() };
    let _controller = world.start();
    world.backend.make_ready_at_once();
    let first = world.push_model("iris").await;
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    world.until_live(&first.id, 1).await;
    world.advance(STEP);
    let mut production = world.store.environment(&first.model_id, PRODUCTION).await.unwrap();
    exactly(2)(&mut production.autoscaling);
    world.store.save_environment(&mut production, None).await.unwrap();
    world.until_live(&first.id, 2).await;

    world.backend.start_slowly();
    let second = world.push(&first.model_id, |push| push.target_environment = Some(PRODUCTION.into())).await;
    let waiting = world.until_started(&second.id, &[]).await;
    world.until_live(&first.id, 0).await;
    world
        .eventually("callers wait for the candidate", || async {
            let table = world.gateway.table.borrow().clone()?;
            let split = table.models.get(&first.model_id)?.environments.get(PRODUCTION)?.clone()?;
            let open = table.deployments.get(&second.id)?.availability == Availability::Serve;
            (split.candidate == Some((second.id.clone(), 100)) && open).then_some(())
        })
        .await;
    world.backend.ready(&waiting);
    let other = world.until_started(&second.id, std::slice::from_ref(&waiting)).await;
    world.backend.ready(&other);
    world.until_serves(&first.model_id, PRODUCTION, &second.id).await;
    let history = world.store.promotion_history(&first.model_id, PRODUCTION, 1).await.unwrap();
    assert_eq!(history[0].settings.room, Room::InPlace);
    world.check_laws();
}

#[tokio::test]
async fn an_order_waits_for_room_and_the_log_says_so() {
    let mut world = World::new().await;
    world.settings.instance_types = placement::cpu_catalogue();
    world.settings.capacity = Capacity { millicpu: Some(1_000), ..Capacity::default() };
    let controller = world.start();
    world.backend.make_ready_at_once();
    let first = world.push_model("iris").await;
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    let second = world.push_model("rose").await;
    world
        .eventually("it waits", || async {
            let told = world.messages(&second.id, Component::Deploy).await;
            told.contains(&"waiting for capacity: 1000 millicpu needed, 0 free".to_owned()).then_some(())
        })
        .await;
    world.settle(&controller).await;
    world.until_live(&second.id, 0).await;
    world.change(&first.id, |lifecycle, _| lifecycle.deactivate()).await;
    world.until_serves(&second.model_id, PRODUCTION, &second.id).await;
    let told = world.messages(&second.id, Component::Deploy).await;
    assert_eq!(told.iter().filter(|message| message.starts_with("waiting for capacity")).count(), 1, "{told:?}");
}
