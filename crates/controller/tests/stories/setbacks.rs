//! Promotions whose candidate fails, whose previous deployment is broken, or for which there is no room.

use std::time::Duration;

use api::internal::{
    replica::{Exit, ExitCause},
    routes::Availability,
};
use planner::{
    capacity::Capacity,
    catalogue::Catalogue,
    lifecycle::Status,
    promotion::{Ending, Mode, Room, Status as Progress, Step},
};
use store::domain::{Component, Origin, PRODUCTION};

use crate::{
    promoting::{STEP, exactly},
    world::World,
};

fn surge(percent: u32) -> Mode {
    Mode::Rolling { step: Step::Surge(percent), stabilization_ms: 0, overhead_percent: 0 }
}

fn cannot_load() -> Exit {
    Exit { cause: ExitCause::LoadFailed, message: "`load` raised ValueError: boom".into(), detail: None }
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
    world.until_told(&broken.id, "the promotion to environment production failed").await;
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
async fn without_room_for_both_the_previous_deployment_ends_first_and_callers_wait() {
    let mut world = World::new().await;
    world.settings.instance_types = Catalogue::of(&[]);
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
    world.settings.instance_types = Catalogue::of(&[]);
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

#[tokio::test]
async fn the_room_that_the_previous_deployment_gives_up_is_the_candidates() {
    let mut world = World::new().await;
    world.settings.instance_types = Catalogue::of(&[]);
    world.settings.capacity = Capacity { millicpu: Some(1_000), ..Capacity::default() };
    let controller = world.start();
    world.backend.make_ready_at_once();
    let first = world.push_model("iris").await;
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    let stranger = world.push_model("rose").await;
    world
        .eventually("it waits", || async {
            let told = world.messages(&stranger.id, Component::Deploy).await;
            told.iter().any(|message| message.starts_with("waiting for capacity")).then_some(())
        })
        .await;
    world.advance(STEP);
    let second = world.push(&first.model_id, |_| {}).await;
    world.promote(&second.id, |settings| settings.room = Room::InPlace).await;
    world.until_serves(&first.model_id, PRODUCTION, &second.id).await;
    world.settle(&controller).await;
    assert_eq!(world.spy.started(&stranger.id), 0);
    world.check_laws();
}

#[tokio::test]
async fn a_deleted_deployment_uses_its_room_until_its_replicas_have_ended() {
    let mut world = World::new().await;
    world.settings.instance_types = Catalogue::of(&[]);
    world.settings.capacity = Capacity { millicpu: Some(1_000), ..Capacity::default() };
    let controller = world.start();
    world.backend.make_ready_at_once();
    let first = world.push_model("iris").await;
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    let old = world.until_started(&first.id, &[]).await;
    world.backend.hold_stops();
    world.store.delete_model(&first.model_id, None).await.unwrap();
    let second = world.push_model("rose").await;
    let waits = async |text: &str| {
        world
            .eventually("it waits", || async {
                let told = world.messages(&second.id, Component::Deploy).await;
                told.iter().any(|message| message == text).then_some(())
            })
            .await;
    };
    waits("waiting for capacity: 1000 millicpu needed, 0 free").await;
    world.settle(&controller).await;
    assert_eq!(world.spy.started(&second.id), 0);
    world.kill(controller).await;

    let controller = world.start();
    world.settle(&controller).await;
    assert_eq!(world.spy.started(&second.id), 0);
    world.backend.crash(&old, ExitCause::Stopped);
    world.until_serves(&second.model_id, PRODUCTION, &second.id).await;
}

#[tokio::test]
async fn a_candidate_that_fails_in_place_leaves_the_room_to_the_previous_deployment() {
    let world = World::new().await;
    let _controller = world.start();
    let (first, second) = world.on_stage(exactly(1)).await;
    world.until_status(&second.id, Status::Active).await;
    world.change(&second.id, |lifecycle, _| lifecycle.deactivate()).await;
    world.until_live(&second.id, 0).await;
    world.backend.start_slowly();
    world.change(&second.id, |lifecycle, now| lifecycle.activate(now).unwrap()).await;
    let begun = world.promote(&second.id, |settings| settings.room = Room::InPlace).await;
    world.until_live(&first.id, 0).await;
    world.until_told(&second.id, "sends 100 % of its traffic here").await;
    // What the activation had started may have given way to the promotion before.
    let candidate = world
        .eventually("the candidate is started", || async {
            let replicas = world.replicas(&second.id).await.into_iter();
            let mut kept = replicas.filter(|replica| replica.stopping_since.is_none());
            kept.find(|replica| world.backend.live().contains(&replica.id)).map(|replica| replica.id)
        })
        .await;
    world.backend.exit(&candidate, cannot_load());
    let back = world.until_started(&first.id, &[]).await;
    world.until_live(&second.id, 0).await;
    world.backend.ready(&back);
    let failed = world.until_promotion(&begun, Progress::Failed).await;
    assert!(failed.why.contains("`load` raised ValueError: boom"), "{}", failed.why);
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    world.until_routed(&first.id, std::slice::from_ref(&back)).await;
    world.check_laws();
}

#[tokio::test]
async fn a_candidate_that_hangs_fails_by_its_deploy_timeout() {
    let world = World::new().await;
    let controller = world.start();
    world.backend.make_ready_at_once();
    let first = world.push_model("iris").await;
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    world.backend.start_slowly();
    world.advance(STEP);
    let hangs = world.push(&first.model_id, |push| push.target_environment = Some(PRODUCTION.into())).await;
    let replica = world.until_started(&hangs.id, &[]).await;
    world.backend.loading(&replica);
    let began = world.now();
    world
        .as_time_passes(&controller, Duration::from_secs(30), "it is given up", || async {
            matches!(world.history(&first.model_id).await.remove(0).2, Some(Ending::Failed { .. })).then_some(())
        })
        .await;
    assert!(world.now().since(began) <= 630_000, "{} ms", world.now().since(began));
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    world.until_live(&hangs.id, 0).await;
    world.check_laws();
}

#[tokio::test]
async fn a_broken_old_version_never_blocks_a_good_new_one() {
    let world = World::new().await;
    let _controller = world.start();
    let (first, second) = world.on_stage(exactly(2)).await;
    world.until_status(&second.id, Status::Active).await;
    for replica in world.backend.live().into_iter().filter(|replica| world.is_of(replica, &first.id)) {
        world.backend.unhealthy(&replica);
    }
    world.until_status(&first.id, Status::Unhealthy).await;
    world.promote(&second.id, |settings| settings.mode = surge(50)).await;
    world.until_serves(&first.model_id, PRODUCTION, &second.id).await;
    world.check_laws();
}

#[tokio::test]
async fn a_candidate_that_gets_on_too_slowly_gives_up_in_time_to_keep_the_deadline() {
    let world = World::new().await;
    let _controller = world.start();
    let (first, second) = world.on_stage(exactly(6)).await;
    world.until_status(&second.id, Status::Active).await;
    world.backend.start_slowly();
    let begun = world.promote(&second.id, |_| {}).await;
    let mut started = Vec::new();
    for _ in 0..6 {
        started.push(world.until_started(&second.id, &started).await);
    }
    // Each is ready just in time not to count as a stall; together they take too long.
    let mut ended = None;
    for (ready, replica) in (1..).zip(&started) {
        world.backend.ready(replica);
        ended = world
            .eventually("it is counted, or too late", || async {
                let promotion = world.store.promotion(begun.id).await.unwrap();
                let is_over = promotion.ended_at.is_some();
                (is_over || promotion.state.best_ready == ready).then(|| Some(promotion).filter(|_| is_over))
            })
            .await;
        if ended.is_some() {
            break;
        }
        world.advance(Duration::from_secs(540));
    }
    let ended = ended.expect("it does not wait for the last one");
    assert_eq!(
        (ended.state.status(), ended.why),
        (Progress::Failed, "not finished in time to keep the deadline of 41 minutes".into())
    );
    assert!(ended.ended_at.unwrap() <= ended.state.deadline_at);
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    world.until_live(&first.id, 6).await;
    world.until_status(&second.id, Status::ScaledToZero).await;
    world.check_laws();
}
