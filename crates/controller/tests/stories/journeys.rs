//! The ways that are meant to be taken.

use std::time::Duration;

use api::internal::routes::{Availability, Load};
use controller::Shutdown;
use planner::{
    autoscale::{self, Why},
    lifecycle::Status,
};
use store::domain::{Component, PRODUCTION};

use crate::world::{World, line};

#[tokio::test]
async fn a_push_is_built_started_published_and_staged() {
    let world = World::new().await;
    let _controller = world.start();
    let pushed = world.push_model("iris").await;

    let replica = world.until_started(&pushed.id, &[]).await;
    world
        .eventually("callers hear that it is not ready", || async {
            let route = world.gateway.route(&pushed.id)?;
            (route.availability == Availability::NotReady).then_some(())
        })
        .await;
    world.backend.loading(&replica);
    world.until_status(&pushed.id, Status::LoadingModel).await;
    world.backend.ready(&replica);
    world.until_status(&pushed.id, Status::Active).await;
    let route = world.until_routed(&pushed.id, std::slice::from_ref(&replica)).await;
    assert_eq!(route.availability, Availability::Serve);

    world
        .eventually("production serves it", || async {
            (world.current(&pushed.model_id, PRODUCTION).await.as_ref() == Some(&pushed.id)).then_some(())
        })
        .await;
    let build = world.messages(&pushed.id, Component::Build).await;
    assert_eq!(build.first().map(String::as_str), Some("build started"));
    assert!(build.last().unwrap().starts_with("build finished in "), "{build:?}");
    for part in ["pushed", "starting", "loads the model", "is ready", "is active", "environment production is served"] {
        world.until_told(&pushed.id, part).await;
    }
}

#[tokio::test]
async fn a_replica_knows_its_environment_its_variables_and_only_declared_secrets() {
    let world = World::new().await;
    let _controller = world.start();
    world.set_secret("hf-access-token", "for the model").await;
    world.set_secret("another", "not for the model").await;
    let pushed = world
        .push_model_with("llm", |push| {
            push.config = serde_json::json!({
                "secrets": {"hf_access_token": null, "never_set": null},
                "environment_variables": {"MODE": "fast", "PATH": "/tmp"},
                "runtime": {"predict_concurrency": 3},
            });
        })
        .await;

    let replica = world.until_started(&pushed.id, &[]).await;
    let start = world.backend.started_with(&replica).unwrap();
    assert_eq!(start.spec.environment, Some(serde_json::json!({"name": "production"})));
    assert_eq!(start.spec.predict_concurrency, 3);
    assert_eq!(start.spec.environment_variables.into_iter().collect::<Vec<_>>(), [("MODE".into(), "fast".into())]);
    let secrets: Vec<_> = start.secrets.0.into_iter().collect();
    assert_eq!(secrets, [("hf_access_token".to_owned(), "for the model".to_owned())]);
}

#[tokio::test]
async fn a_new_value_of_a_secret_reaches_what_runs_and_declares_it() {
    let world = World::new().await;
    let controller = world.start();
    world.set_secret("hf-access-token", "old").await;
    let config = serde_json::json!({"secrets": {"hf_access_token": null}});
    let pushed = world.push_model_with("llm", |push| push.config = config.clone()).await;
    let other = world.push_model("iris").await;
    let (replica, unconcerned) = (world.until_active(&pushed.id).await, world.until_active(&other.id).await);
    let has = |value: &'static str| {
        let (world, replica) = (&world, &replica);
        async move {
            let secrets = world.backend.started_with(replica)?.secrets.0;
            (secrets == [("hf_access_token".to_owned(), value.to_owned())].into()).then_some(())
        }
    };
    world.set_secret("hf_access_token", "new").await;
    world.eventually("it has the new value", || has("new")).await;

    // Set while no server looks.
    world.kill(controller).await;
    world.set_secret("hf_access_token", "newest").await;
    let _controller = world.start();
    world.eventually("it has the newest value", || has("newest")).await;
    assert!(world.backend.started_with(&unconcerned).expect("it runs").secrets.0.is_empty());
}

#[tokio::test]
async fn without_traffic_it_goes_to_zero_and_a_waiting_request_wakes_it() {
    let world = World::new().await;
    let controller = world.start();
    let pushed = world.push_model("iris").await;
    let first = world.until_active(&pushed.id).await;
    world.until_serves(&pushed.model_id, PRODUCTION, &pushed.id).await;

    // The delay counts from the first look without load.
    world.settle(&controller).await;
    world.advance(Duration::from_secs(1));
    world.advance(Duration::from_secs(899));
    assert_eq!(world.backend.live(), std::slice::from_ref(&first));
    world
        .eventually("it goes to zero", || async {
            world.advance(Duration::from_secs(60));
            (world.status(&pushed.id).await == Status::ScaledToZero).then_some(())
        })
        .await;
    world.eventually("its replica is gone", || async { world.backend.live().is_empty().then_some(()) }).await;
    let route = world.until_routed(&pushed.id, &[]).await;
    assert_eq!(route.availability, Availability::Serve, "requests wait");

    world.gateway.set_load(&pushed.id, Load { queued: 1, ..Load::default() });
    let second = world.until_started(&pushed.id, std::slice::from_ref(&first)).await;
    world.until_status(&pushed.id, Status::WakingUp).await;
    world.backend.ready(&second);
    world.until_routed(&pushed.id, &[second]).await;
    world.until_status(&pushed.id, Status::Active).await;
    assert_eq!(world.spy.stopped_while_listed(), []);
    let kept = world.store.scaling_decisions(&pushed.id, 9).await.unwrap();
    let kept: Vec<_> = kept.iter().map(|decision| (decision.inputs.current, decision.replicas, decision.why)).collect();
    assert_eq!(kept, [(0, 1, Why::LoadAboveTarget), (1, 0, Why::NoTraffic)]);
}

#[tokio::test]
async fn a_deactivated_deployment_drains_and_an_activated_one_starts_from_its_build() {
    let world = World::new().await;
    let _controller = world.start();
    let pushed = world.push_model("iris").await;
    let first = world.until_active(&pushed.id).await;
    world.backend.hold_stops();

    world.change(&pushed.id, |lifecycle, _| lifecycle.deactivate()).await;
    let route = world.until_routed(&pushed.id, &[]).await;
    assert_eq!(route.availability, Availability::Inactive);
    world.until_status(&pushed.id, Status::Deactivating).await;
    world.eventually("it is told to drain", || async { (world.backend.calls().stops > 0).then_some(()) }).await;
    world.backend.crash(&first, api::internal::replica::ExitCause::Stopped);
    world.until_status(&pushed.id, Status::Inactive).await;

    world.change(&pushed.id, |lifecycle, now| lifecycle.activate(now).unwrap()).await;
    let second = world.until_started(&pushed.id, &[first]).await;
    world.backend.ready(&second);
    world.until_status(&pushed.id, Status::Active).await;
    assert_eq!(world.backend.calls().builds, 1);
    assert_eq!(world.spy.stopped_while_listed(), []);
}

#[tokio::test]
async fn a_deleted_model_leaves_nothing_behind() {
    let world = World::new().await;
    let _controller = world.start();
    let pushed = world.push_model("iris").await;
    world.until_active(&pushed.id).await;

    world.store.delete_model(&pushed.model_id, None).await.unwrap();
    world
        .eventually("it is gone everywhere", || async {
            let table = world.gateway.table.borrow().clone()?;
            let is_routed = table.models.contains_key(&pushed.model_id) || table.deployments.contains_key(&pushed.id);
            let rows = world.store.replicas(None).await.unwrap();
            let listed = backends::Backend::list(&*world.backend).await.unwrap();
            (!is_routed && rows.is_empty() && listed.is_empty()).then_some(())
        })
        .await;
    assert_eq!(world.spy.stopped_while_listed(), []);
}

#[tokio::test]
async fn ten_pushes_build_at_once_as_far_as_is_allowed_and_each_once() {
    let mut world = World::new().await;
    world.settings.builds_at_once = 4;
    world.spy.hold_builds();
    let _controller = world.start();
    let mut pushed = Vec::new();
    for n in 0..10 {
        pushed.push(world.push_model(&format!("model-{n}")).await.id);
    }
    world.eventually("four build", || async { (world.spy.building() == 4).then_some(()) }).await;
    world.spy.let_builds_through(10);
    for id in &pushed {
        world.until_active(id).await;
    }
    assert_eq!(world.spy.most_building(), 4);
    assert_eq!(world.backend.calls().builds, 10);
}

#[tokio::test]
async fn a_load_above_the_target_brings_more_replicas_up_to_the_maximum() {
    let world = World::new().await;
    let _controller = world.start();
    let pushed = world.push_model_with("llm", |push| push.autoscaling.max_replica = 3).await;
    let first = world.until_active(&pushed.id).await;
    // Staging lends the environment's settings; these are the deployment's own again.
    world.eventually("production serves it", || async { world.current(&pushed.model_id, PRODUCTION).await }).await;
    world.set_autoscaling(&pushed.id, |settings| settings.max_replica = 3).await;

    world.gateway.set_load(&pushed.id, Load { in_flight: 1, queued: 20, ..Load::default() });
    world.eventually("three replicas run", || async { (world.backend.live().len() == 3).then_some(()) }).await;
    for replica in world.backend.live() {
        world.backend.ready(&replica);
    }
    let mut all = vec![first];
    world
        .eventually("requests go to all three", || async {
            (world.gateway.route(&pushed.id)?.replicas.len() == 3).then_some(())
        })
        .await;
    all.extend(world.backend.live());
    assert_eq!(world.gateway.route(&pushed.id).unwrap().slots_per_replica, 1, "what waits is shared");
}

#[tokio::test]
async fn a_server_that_starts_anew_holds_the_size_until_it_knows_the_load() {
    let world = World::new().await;
    let controller = world.start();
    let calm = |settings: &mut autoscale::Settings| {
        (settings.min_replica, settings.max_replica, settings.scale_down_delay_s) = (0, 3, 0);
    };
    let pushed = world.push_model_with("llm", |push| calm(&mut push.autoscaling)).await;
    world.until_active(&pushed.id).await;
    world.eventually("production serves it", || async { world.current(&pushed.model_id, PRODUCTION).await }).await;
    world.set_autoscaling(&pushed.id, calm).await;
    world.gateway.set_load(&pushed.id, Load { in_flight: 1, queued: 20, ..Load::default() });
    world.eventually("three replicas run", || async { (world.backend.live().len() == 3).then_some(()) }).await;
    for replica in world.backend.live() {
        world.backend.ready(&replica);
    }
    world.settle(&controller).await;

    world.kill(controller).await;
    world.advance(Duration::from_secs(3_600));
    world.gateway.set_load(&pushed.id, Load::default());
    let controller = world.start();
    world.settle(&controller).await;
    assert_eq!(world.deployment(&pushed.id).await.target_replicas, 3, "nothing is known of the load");
    world.advance(Duration::from_secs(59));
    world.settle(&controller).await;
    assert_eq!(world.deployment(&pushed.id).await.target_replicas, 3, "one window is not over");
    world
        .eventually("it follows the load again", || async {
            world.advance(Duration::from_secs(2));
            (world.deployment(&pushed.id).await.target_replicas == 0).then_some(())
        })
        .await;
}

#[tokio::test]
async fn what_a_model_writes_is_stored_once_and_in_order_across_restarts() {
    let world = World::new().await;
    let controller = world.start();
    let pushed = world.push_model("iris").await;
    let replica = world.until_active(&pushed.id).await;
    for n in 0..5 {
        world.backend.log(&replica, line(&format!("line {n}")));
    }
    world
        .eventually("five lines are stored", || async {
            (world.messages(&pushed.id, Component::Model).await.len() == 5).then_some(())
        })
        .await;

    world.kill(controller).await;
    for n in 5..1500 {
        world.backend.log(&replica, line(&format!("line {n}")));
    }
    let _again = world.start();
    world
        .eventually("all lines are stored", || async {
            (world.replicas(&pushed.id).await.first()?.log_cursor == 1500).then_some(())
        })
        .await;
    world.backend.log(&replica, line("last words"));
    world.backend.crash(&replica, api::internal::replica::ExitCause::Code { code: 1 });
    world
        .eventually("the end is told", || async {
            let deploy = world.messages(&pushed.id, Component::Deploy).await;
            deploy.iter().any(|message| message.contains(&format!("replica {replica} ended"))).then_some(())
        })
        .await;
    let stored = world.messages(&pushed.id, Component::Model).await;
    let mut written: Vec<String> = (0..1500).map(|n| format!("line {n}")).collect();
    written.push("last words".into());
    assert_eq!(stored, written);
}

#[tokio::test]
async fn a_server_that_ends_before_it_leads_leaves_the_leaders_replicas_alone() {
    let world = World::new().await;
    let leader = world.start();
    let pushed = world.push_model("iris").await;
    let replica = world.until_active(&pushed.id).await;
    world.kill(leader).await;

    let standby = world.start();
    standby.shutdown(Shutdown::StopReplicas).await.unwrap();
    assert_eq!(world.backend.live(), std::slice::from_ref(&replica));
    assert_eq!(world.replicas(&pushed.id).await[0].stopping_since, None);
}

#[tokio::test]
async fn a_shutdown_can_end_the_replicas_and_the_next_start_brings_them_up_while_requests_wait() {
    let world = World::new().await;
    let controller = world.start();
    let pushed = world.push_model("iris").await;
    let first = world.until_active(&pushed.id).await;

    controller.shutdown(Shutdown::StopReplicas).await.unwrap();
    assert_eq!(world.backend.live(), []);

    let _again = world.start();
    let second = world.until_started(&pushed.id, &[first]).await;
    world.until_status(&pushed.id, Status::WakingUp).await;
    world
        .eventually("requests wait", || async {
            let route = world.gateway.route(&pushed.id)?;
            (route.availability == Availability::Serve && route.replicas.is_empty()).then_some(())
        })
        .await;
    world.backend.ready(&second);
    world.until_status(&pushed.id, Status::Active).await;
    assert_eq!(world.deployment(&pushed.id).await.replica_memory.failures, 0, "nothing has failed");
}

#[tokio::test]
async fn a_shutdown_can_leave_the_replicas_and_the_next_start_finds_them() {
    let world = World::new().await;
    let controller = world.start();
    let pushed = world.push_model("iris").await;
    let replica = world.until_active(&pushed.id).await;
    controller.shutdown(Shutdown::LeaveReplicas).await.unwrap();
    world.gateway.table.send_replace(None);

    let again = world.start();
    again.ready().await;
    assert_eq!(world.gateway.route(&pushed.id).unwrap().replicas[0].replica_id, replica, "in the first table");
    world.settle(&again).await;
    assert_eq!(world.backend.live(), [replica]);
    assert_eq!(world.spy.started(&pushed.id), 1);
}
