//! Who serves which environment.

use std::time::Duration;

use api::internal::{replica::Exit, routes::Availability};
use planner::{
    autoscale,
    lifecycle::Status,
    promotion::{Command, Ending, Mode, Status as Progress},
};
use store::domain::{Component, DeploymentKind, Environment, PRODUCTION};

use crate::{
    promoting::{STEP, exactly},
    world::World,
};

#[tokio::test]
async fn a_push_for_an_environment_replaces_what_serves_it_which_then_rests() {
    let world = World::new().await;
    let _controller = world.start();
    let first = world.push_model_with("iris", |push| push.autoscaling.min_replica = 1).await;
    world.until_active(&first.id).await;
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;
    world.set_autoscaling(&first.id, |settings| settings.min_replica = 1).await;

    world.advance(Duration::from_secs(1));
    let second = world.push(&first.model_id, |push| push.target_environment = Some(PRODUCTION.into())).await;
    let replica = world.until_started(&second.id, &[]).await;
    assert_eq!(world.current(&first.model_id, PRODUCTION).await.as_ref(), Some(&first.id), "until it is ready");
    world.backend.ready(&replica);
    world.until_serves(&first.model_id, PRODUCTION, &second.id).await;

    world.until_status(&first.id, Status::ScaledToZero).await;
    world
        .eventually("only the second runs", || async { (world.backend.live() == [replica.clone()]).then_some(()) })
        .await;
    assert_eq!(world.deployment(&first.id).await.autoscaling.min_replica, 0, "or it would wake at once");
    assert_eq!(world.spy.stopped_while_listed(), []);
}

#[tokio::test]
async fn a_push_without_an_environment_leaves_production_alone() {
    let world = World::new().await;
    let controller = world.start();
    let first = world.push_model("iris").await;
    world.until_active(&first.id).await;
    world.until_serves(&first.model_id, PRODUCTION, &first.id).await;

    let second = world.push(&first.model_id, |_| {}).await;
    let replica = world.until_started(&second.id, &[]).await;
    world.backend.ready(&replica);
    world.until_status(&second.id, Status::Active).await;
    world.settle(&controller).await;
    assert_eq!(world.current(&first.model_id, PRODUCTION).await, Some(first.id));
}

#[tokio::test]
async fn an_older_push_that_is_ready_later_does_not_replace_a_newer_one() {
    let world = World::new().await;
    let _controller = world.start();
    let older = world.push_model("iris").await;
    let late = world.until_started(&older.id, &[]).await;
    world.advance(Duration::from_secs(1));
    let newer = world.push(&older.model_id, |push| push.target_environment = Some(PRODUCTION.into())).await;
    world.until_active(&newer.id).await;
    world.until_serves(&older.model_id, PRODUCTION, &newer.id).await;

    world.backend.ready(&late);
    world
        .eventually("the older one gives way", || async {
            world.deployment(&older.id).await.target_environment.is_none().then_some(())
        })
        .await;
    assert_eq!(world.current(&older.model_id, PRODUCTION).await, Some(newer.id));
}

#[tokio::test]
async fn a_failed_first_push_never_holds_production() {
    let world = World::new().await;
    let _controller = world.start();
    let broken = world.push_model("iris").await;
    let replica = world.until_started(&broken.id, &[]).await;
    let exit = Exit {
        cause: api::internal::replica::ExitCause::LoadFailed,
        message: "`load` raised ValueError: boom".into(),
        detail: None,
    };
    world.backend.exit(&replica, exit);
    world.until_status(&broken.id, Status::DeployFailed).await;
    assert_eq!(world.current(&broken.model_id, PRODUCTION).await, None);
    world
        .eventually("callers of production hear that it failed", || async {
            let table = world.gateway.table.borrow().clone()?;
            let stable = table.models.get(&broken.model_id)?.environments.get(PRODUCTION)?.clone()?.stable;
            (table.deployments.get(&stable)?.availability == Availability::Unhealthy).then_some(())
        })
        .await;

    let good = world.push(&broken.model_id, |push| push.target_environment = Some(PRODUCTION.into())).await;
    world.until_active(&good.id).await;
    world.until_serves(&broken.model_id, PRODUCTION, &good.id).await;
}

#[tokio::test]
async fn production_of_a_model_that_has_only_a_development_deployment_is_served_by_that() {
    let world = World::new().await;
    let _controller = world.start();
    let pushed = world
        .push_model_with("iris", |push| {
            push.kind = DeploymentKind::Development;
            push.target_environment = None;
        })
        .await;
    world.until_active(&pushed.id).await;
    let table = world.gateway.table.borrow().clone().unwrap();
    let routes = &table.models[&pushed.model_id];
    assert_eq!(routes.development.as_ref(), Some(&pushed.id));
    assert_eq!(routes.environments[PRODUCTION].as_ref().unwrap().stable, pushed.id);
    assert_eq!(world.current(&pushed.model_id, PRODUCTION).await, None, "it only stands in");
}

#[tokio::test]
async fn a_development_push_in_place_replaces_the_running_code() {
    let world = World::new().await;
    let _controller = world.start();
    let development = |push: &mut store::NewDeployment| {
        push.kind = DeploymentKind::Development;
        push.target_environment = None;
    };
    let pushed = world.push_model_with("iris", development).await;
    let old = world.until_active(&pushed.id).await;

    world.advance(Duration::from_secs(1));
    let again = world.push(&pushed.model_id, development).await;
    assert_eq!(again.id, pushed.id);
    let new = world.until_started(&pushed.id, std::slice::from_ref(&old)).await;
    world.backend.ready(&new);
    world.until_routed(&pushed.id, std::slice::from_ref(&new)).await;
    world
        .eventually("only the new code runs", || async { (world.backend.live() == [new.clone()]).then_some(()) })
        .await;
    let artifact = |replica| world.backend.started_with(replica).unwrap().artifact;
    assert_eq!(world.backend.calls().builds, 2);
    let built = match world.deployment(&pushed.id).await.lifecycle.build {
        planner::lifecycle::Build::Succeeded { artifact, .. } => artifact,
        other => panic!("{other:?}"),
    };
    assert_eq!(artifact(&new).0, built);
}

#[tokio::test]
async fn an_environment_with_its_own_settings_lends_them_to_what_it_serves() {
    let world = World::new().await;
    let _controller = world.start();
    let first = world.push_model("iris").await;
    let staging = Environment {
        model_id: first.model_id.clone(),
        name: "staging".into(),
        created_at: world.now(),
        current: None,
        autoscaling: autoscale::Settings { min_replica: 2, max_replica: 3, ..autoscale::Settings::default() },
        backpressure: None,
        promotion_settings: serde_json::json!({}),
        generation: 0,
    };
    world.store.create_environment(&staging, None).await.unwrap();
    let pushed = world.push(&first.model_id, |push| push.target_environment = Some("staging".into())).await;
    let replica = world.until_started(&pushed.id, &[]).await;
    assert_eq!(
        world.backend.started_with(&replica).unwrap().spec.environment,
        Some(serde_json::json!({"name": "staging"}))
    );
    world.backend.ready(&replica);
    world.until_serves(&first.model_id, "staging", &pushed.id).await;
    world
        .eventually("two replicas run", || async {
            let live = world.backend.live();
            (live.iter().filter(|replica| world.is_of(replica, &pushed.id)).count() == 2).then_some(())
        })
        .await;
    assert_eq!(world.messages(&first.id, Component::Deploy).await.iter().filter(|m| m.contains("staging")).count(), 0);
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
async fn a_push_that_comes_too_late_gives_way_and_is_not_promoted_months_later() {
    let world = World::new().await;
    let controller = world.start();
    let (first, second) = world.on_stage(exactly(1)).await;
    // It waited for the environment, rested meanwhile, and has been overtaken.
    let late = world.push(&first.model_id, |_| {}).await;
    world.until_status(&late.id, Status::Active).await;
    world.change(&late.id, |lifecycle, _| lifecycle.deactivate()).await;
    world.advance(STEP);
    let newer = world.push(&first.model_id, |push| push.target_environment = Some(PRODUCTION.into())).await;
    world.until_serves(&first.model_id, PRODUCTION, &newer.id).await;
    let waits = |deployment: &mut store::domain::Deployment| {
        deployment.target_environment = Some(PRODUCTION.into());
        deployment.lifecycle = deployment.lifecycle.clone().activate(world.now()).unwrap();
        Ok::<(), store::Error>(())
    };
    world.store.change_deployment(&late.id, None, waits).await.unwrap();
    world.until_told(&late.id, &format!("environment production serves deployment {}, which is newer", newer.id)).await;
    world.until_status(&late.id, Status::Active).await;
    world.settle(&controller).await;
    assert_eq!(world.deployment(&late.id).await.target_environment, None);
    assert_eq!(world.current(&first.model_id, PRODUCTION).await, Some(newer.id));
    assert_eq!(world.history(&first.model_id).await.len(), 2, "the first push, and the newer one: {}", second.id);
    world.check_laws();
}

#[tokio::test]
async fn a_candidate_that_is_canceled_before_it_was_ever_active_ends_at_once_and_says_why() {
    let world = World::new().await;
    let controller = world.start();
    let (first, second) = world.on_stage(exactly(1)).await;
    world.until_status(&second.id, Status::Active).await;
    world.backend.start_slowly();
    let third = world.push(&first.model_id, |_| {}).await;
    let starting = world.until_started(&third.id, &[]).await;
    world.backend.loading(&starting);
    world.until_status(&third.id, Status::LoadingModel).await;
    let begun = world.promote(&third.id, |_| {}).await;
    world.command(&begun, Command::Cancel).await;
    world.until_promotion(&begun, Progress::Canceled).await;
    world.until_status(&third.id, Status::Inactive).await;
    world.until_live(&third.id, 0).await;
    let reason = "deactivated: its promotion to environment production was canceled: canceled by request";
    world.until_told(&third.id, reason).await;
    world.settle(&controller).await;
    assert_eq!(world.spy.started(&third.id), 1);

    world.backend.make_ready_at_once();
    world.change(&third.id, |lifecycle, now| lifecycle.activate(now).unwrap()).await;
    world.until_status(&third.id, Status::Active).await;
    assert_eq!(world.current(&first.model_id, PRODUCTION).await, Some(first.id));
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
        backpressure: None,
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
    world.until_status(&pushed.id, Status::Inactive).await;
    world.until_told(&pushed.id, "was canceled: environment staging was deleted").await;
    world.until_live(&pushed.id, 0).await;
    world.settle(&controller).await;
    assert!(world.replicas(&pushed.id).await.is_empty(), "{replica} has ended and is forgotten");
    assert_eq!(world.store.active_promotion(&first.model_id, "staging").await.unwrap(), None);
    world.check_laws();
}
