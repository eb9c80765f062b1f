//! What goes wrong, and what is made of it.

use std::time::Duration;

use api::{
    id::{DeploymentId, ModelId, ReplicaId},
    internal::{
        replica::{Exit, ExitCause, Level, Limits, Secrets},
        routes::Availability,
    },
};
use backends::{Artifact, Backend, BuildError, ReplicaTemplate, StartError, StartReplica, fake::BuildScript};
use planner::lifecycle::{Build, Status};
use store::domain::Component;

use crate::world::{World, line};

fn exit(cause: ExitCause, message: &str, detail: Option<&str>) -> Exit {
    Exit { cause, message: message.into(), detail: detail.map(Into::into) }
}

async fn until_counted(world: &World, id: &DeploymentId) {
    world
        .eventually("the failure is counted", || async {
            (world.deployment(id).await.replica_memory.failures == 1).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_failing_load_is_a_failed_deployment_whose_log_has_the_traceback() {
    let world = World::new().await;
    let _controller = world.start();
    let pushed = world.push_model("iris").await;
    let replica = world.until_started(&pushed.id, &[]).await;
    world.backend.log(&replica, line("loading weights"));
    let traceback = "Traceback (most recent call last):\n  File \"model.py\", line 3, in load\nValueError: boom";
    world.backend.exit(&replica, exit(ExitCause::LoadFailed, "`load` raised ValueError: boom", Some(traceback)));

    world.until_status(&pushed.id, Status::DeployFailed).await;
    let deployment = world.deployment(&pushed.id).await;
    let reason = deployment.lifecycle.failure().unwrap();
    assert_eq!(reason.message, "`load` raised ValueError: boom");
    assert_eq!(reason.detail.as_deref(), Some(traceback));
    let logs = world.logs(&pushed.id).await;
    let told: Vec<_> = logs.iter().filter(|record| record.line.message.contains(traceback)).collect();
    assert_eq!(told.len(), 1, "told once");
    assert_eq!((told[0].component, told[0].line.level), (Component::Deploy, Some(Level::Error)));
    assert_eq!(told[0].replica_id.as_ref(), Some(&replica));
    assert!(logs.iter().any(|record| record.line.message == "loading weights"), "its last output is kept");
    world
        .eventually("nothing is left of it", || async {
            (world.replicas(&pushed.id).await.is_empty() && world.backend.list().await.unwrap().is_empty())
                .then_some(())
        })
        .await;
    assert_eq!(world.spy.started(&pushed.id), 1, "a model that cannot load is not tried again by itself");
}

#[tokio::test]
async fn a_replica_that_keeps_dying_is_started_again_after_longer_and_longer_pauses() {
    let world = World::new().await;
    let controller = world.start();
    let pushed = world.push_model("iris").await;
    let mut replicas = vec![world.until_active(&pushed.id).await];
    for pause_s in [1, 2, 4] {
        world.backend.crash(replicas.last().unwrap(), ExitCause::OutOfMemory);
        world.until_status(&pushed.id, Status::Unhealthy).await;
        world.settle(&controller).await;
        let route = world.until_routed(&pushed.id, &[]).await;
        // Whoever calls waits for the next one, unless that is not to be expected any more.
        let expected = if pause_s == 1 { Availability::Serve } else { Availability::Unhealthy };
        assert_eq!(route.availability, expected, "before a pause of {pause_s} s");
        world.advance(Duration::from_millis(pause_s * 1000 - 1));
        world.settle(&controller).await;
        assert_eq!(world.backend.live(), [], "not before its time");
        world.advance(Duration::from_millis(1));
        let next = world.until_started(&pushed.id, &replicas).await;
        world.backend.ready(&next);
        world.until_status(&pushed.id, Status::Active).await;
        replicas.push(next);
    }
}

#[tokio::test]
async fn a_failed_build_tells_the_reason_the_output_and_the_hint() {
    let world = World::new().await;
    let _controller = world.start();
    world.backend.script_build(BuildScript {
        lines: vec![line("Resolving dependencies"), line("no solution for numpy==99")],
        error: Some(BuildError::Invalid {
            message: "requirements: numpy==99 does not exist".into(),
            hint: Some("choose a version that exists".into()),
        }),
        ..BuildScript::default()
    });
    let pushed = world.push_model("iris").await;
    world.until_status(&pushed.id, Status::BuildFailed).await;
    let deployment = world.deployment(&pushed.id).await;
    let reason = deployment.lifecycle.failure().unwrap().clone();
    assert_eq!(reason.message, "requirements: numpy==99 does not exist");
    assert_eq!(reason.hint.as_deref(), Some("choose a version that exists"));
    assert_eq!(reason.detail.as_deref(), Some("Resolving dependencies\nno solution for numpy==99"));
    // Whoever sees the failure sees all of the output.
    let build = world.messages(&pushed.id, Component::Build).await;
    assert_eq!(build[0], "build started");
    assert_eq!(build[2..4], ["Resolving dependencies", "no solution for numpy==99"]);
    assert!(build[4].ends_with("requirements: numpy==99 does not exist"), "{build:?}");
    assert_eq!(build[5], "hint: choose a version that exists");
}

#[tokio::test]
async fn a_deployment_deleted_or_put_to_rest_while_it_builds_is_not_built_on() {
    let world = World::new().await;
    world.spy.hold_builds();
    let controller = world.start();
    let resting = world.push_model("resting").await;
    let deleted = world.push_model("deleted").await;
    world.eventually("both build", || async { (world.spy.building() == 2).then_some(()) }).await;

    world.store.delete_model(&deleted.model_id, None).await.unwrap();
    world.change(&resting.id, |lifecycle, _| lifecycle.deactivate()).await;
    world.eventually("both builds are dropped", || async { (world.spy.dropped_builds() == 2).then_some(()) }).await;
    world.until_status(&resting.id, Status::Inactive).await;
    world.until_told(&resting.id, "failed: the candidate cannot serve: it is deactivated").await;
    assert_eq!(std::fs::read_dir(&world.settings.work_dir).unwrap().count(), 0, "nothing stays behind");

    world.change(&resting.id, |lifecycle, now| lifecycle.activate(now).unwrap()).await;
    world.spy.let_builds_through(1);
    world.until_active(&resting.id).await;
    world.settle(&controller).await;
    assert_eq!(world.backend.calls().builds, 1);
}

#[tokio::test]
async fn a_missing_archive_fails_the_build_with_a_remedy() {
    let world = World::new().await;
    let pushed = world.push_model("iris").await;
    world.blobs.delete(&pushed.archive.key).await.unwrap();
    let _controller = world.start();
    world.until_status(&pushed.id, Status::BuildFailed).await;
    let deployment = world.deployment(&pushed.id).await;
    let reason = deployment.lifecycle.failure().unwrap().clone();
    assert_eq!(reason.message, "the uploaded archive is no longer there");
    assert_eq!(reason.hint.as_deref(), Some("push the model again"));
}

#[tokio::test]
async fn a_lost_artifact_is_built_again() {
    let world = World::new().await;
    let _controller = world.start();
    let pushed = world.push_model("iris").await;
    let first = world.until_active(&pushed.id).await;
    let Build::Succeeded { artifact, .. } = world.deployment(&pushed.id).await.lifecycle.build else { panic!() };
    world.backend.lose_artifact(&Artifact(artifact));
    world.backend.crash(&first, ExitCause::Code { code: 1 });
    world.until_status(&pushed.id, Status::Unhealthy).await;
    until_counted(&world, &pushed.id).await;
    world.advance(Duration::from_secs(1));
    let second = world.until_started(&pushed.id, &[first]).await;
    world.backend.ready(&second);
    world.until_status(&pushed.id, Status::Active).await;
    assert_eq!(world.backend.calls().builds, 2);
}

#[tokio::test]
async fn a_start_that_can_never_work_fails_the_deployment_with_the_backends_reason() {
    let world = World::new().await;
    world.backend.fail_start(StartError::Impossible("this machine has no GPU".into()));
    let _controller = world.start();
    let pushed = world.push_model("iris").await;
    world.until_status(&pushed.id, Status::DeployFailed).await;
    let deployment = world.deployment(&pushed.id).await;
    assert_eq!(deployment.lifecycle.failure().unwrap().message, "this machine has no GPU");
}

#[tokio::test]
async fn a_start_that_fails_for_the_machines_sake_is_tried_again() {
    let world = World::new().await;
    world.backend.fail_start(StartError::Machine(std::io::Error::other("out of processes")));
    let _controller = world.start();
    let pushed = world.push_model("iris").await;
    world
        .eventually("the failure is told", || async {
            let deploy = world.messages(&pushed.id, Component::Deploy).await;
            deploy.iter().any(|message| message.contains("out of processes")).then_some(())
        })
        .await;
    until_counted(&world, &pushed.id).await;
    world.advance(Duration::from_secs(1));
    world.until_active(&pushed.id).await;
}

#[tokio::test]
async fn a_start_that_hangs_fails_at_the_deploy_timeout() {
    let world = World::new().await;
    let _controller = world.start();
    let pushed = world.push_model("iris").await;
    let replica = world.until_started(&pushed.id, &[]).await;
    world.backend.loading(&replica);
    world.until_status(&pushed.id, Status::LoadingModel).await;
    world.advance(Duration::from_secs(600));
    world.until_status(&pushed.id, Status::DeployFailed).await;
    world.eventually("its replica is ended", || async { world.backend.live().is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn a_first_start_is_not_charged_for_the_time_without_a_server() {
    let world = World::new().await;
    let controller = world.start();
    let pushed = world.push_model("iris").await;
    let first = world.until_started(&pushed.id, &[]).await;
    world.backend.loading(&first);
    world.until_status(&pushed.id, Status::LoadingModel).await;
    world.kill(controller).await;
    world.backend.crash(&first, ExitCause::Lost);
    world.advance(Duration::from_secs(3600));

    let _again = world.start();
    until_counted(&world, &pushed.id).await;
    world.advance(Duration::from_secs(1));
    let second = world.until_started(&pushed.id, &[first]).await;
    world.backend.ready(&second);
    world.until_status(&pushed.id, Status::Active).await;
}

#[tokio::test]
async fn secrets_of_another_key_fail_those_that_declare_some_and_nobody_else() {
    let world = World::with_foreign_secret("hf_access_token").await;
    let _controller = world.start();
    let declares = |push: &mut store::NewDeployment| {
        push.config = serde_json::json!({"secrets": {"hf_access_token": null}});
    };
    let affected = world.push_model_with("llm", declares).await;
    let unaffected = world.push_model("iris").await;

    world.until_active(&unaffected.id).await;
    world.until_status(&affected.id, Status::DeployFailed).await;
    let reason = world.deployment(&affected.id).await.lifecycle.failure().unwrap().clone();
    assert!(reason.message.contains("secret does not fit"), "{}", reason.message);
    assert!(reason.message.contains("restore the file server-secret"), "{}", reason.message);

    world.set_secret("hf_access_token", "set anew").await;
    world.change(&affected.id, |lifecycle, now| lifecycle.retry(now).unwrap()).await;
    world.until_active(&affected.id).await;
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_the_trouble_of_one_replica() {
    let world = World::new().await;
    let controller = world.start();
    let bad = world.push_model("bad").await;
    let good = world.push_model("good").await;
    let bad_replica = world.until_active(&bad.id).await;
    let good_replica = world.until_active(&good.id).await;
    world.spy.lose_log(&bad_replica);

    world.backend.log(&good_replica, line("hello"));
    world.spy.nudge();
    world
        .eventually("the other's log is stored", || async {
            (world.messages(&good.id, Component::Model).await == ["hello"]).then_some(())
        })
        .await;
    world.backend.exit(&bad_replica, exit(ExitCause::Code { code: 1 }, "it ended", None));
    until_counted(&world, &bad.id).await;
    let told = world.messages(&bad.id, Component::Deploy).await;
    assert!(told.iter().any(|message| message.ends_with("ended: it ended")), "{told:?}");
    let failing: Vec<_> = controller.tasks().into_iter().filter(|task| task.error.is_some()).collect();
    assert_eq!(failing, [], "no task is held up by it");
}

#[tokio::test]
async fn the_last_words_of_a_replica_are_kept_when_its_log_cannot_be_read_for_a_moment() {
    let world = World::new().await;
    let _controller = world.start();
    let pushed = world.push_model("iris").await;
    let replica = world.until_active(&pushed.id).await;
    world.spy.lose_log(&replica);
    world.backend.log(&replica, line("last words"));
    world.backend.exit(&replica, exit(ExitCause::Code { code: 1 }, "it ended", None));
    world
        .eventually("its end is told", || async {
            let told = world.messages(&pushed.id, Component::Deploy).await;
            told.iter().any(|message| message.ends_with("ended: it ended")).then_some(())
        })
        .await;
    world.spy.find_log(&replica);
    until_counted(&world, &pushed.id).await;
    assert_eq!(world.messages(&pushed.id, Component::Model).await, ["last words"]);
}

#[tokio::test]
async fn a_replica_that_nobody_owns_is_ended() {
    let world = World::new().await;
    let orphan = ReplicaId::from_entropy(99);
    let request = backends::BuildRequest {
        deployment_id: DeploymentId::from_entropy(5),
        archive: "nowhere".into(),
        config: Default::default(),
        raw_config: None,
    };
    let artifact = world.backend.build(request, std::sync::Arc::new(Silent)).await.unwrap();
    world.backend.start(stranger(orphan, artifact)).await.unwrap();
    let _controller = world.start();
    world.eventually("it is gone", || async { world.backend.list().await.unwrap().is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn a_replica_that_vanished_is_told_and_replaced() {
    let world = World::new().await;
    let controller = world.start();
    let pushed = world.push_model("iris").await;
    let first = world.until_active(&pushed.id).await;
    world.kill(controller).await;
    // While no server runs, somebody clears its folder away.
    world.backend.crash(&first, ExitCause::Lost);
    world.backend.forget(&first).await;

    let _again = world.start();
    world
        .eventually("the loss is told", || async {
            let deploy = world.messages(&pushed.id, Component::Deploy).await;
            deploy.iter().any(|message| message.contains("its process and its folder are gone")).then_some(())
        })
        .await;
    until_counted(&world, &pushed.id).await;
    world.advance(Duration::from_secs(1));
    let second = world.until_started(&pushed.id, &[first]).await;
    world.backend.ready(&second);
    world.until_status(&pushed.id, Status::Active).await;
}

#[tokio::test]
async fn no_table_is_published_before_the_backend_has_answered() {
    let world = World::new().await;
    let controller = world.start();
    let pushed = world.push_model("iris").await;
    let replica = world.until_active(&pushed.id).await;
    world.kill(controller).await;
    world.gateway.table.send_replace(None);

    world.backend.fail_lists(3);
    let again = world.start();
    again.ready().await;
    let table = world.gateway.table.borrow().clone().unwrap();
    assert_eq!(table.deployments[&pushed.id].replicas[0].replica_id, replica);
    let observe = again.tasks().into_iter().find(|task| task.name == "observe").unwrap();
    assert!(observe.passes > 3, "{observe:?}");
    world.settle(&again).await;
    assert_eq!(world.spy.started(&pushed.id), 1);
}

#[tokio::test]
async fn artifacts_that_nobody_needs_are_collected_and_used_ones_stay() {
    let world = World::new().await;
    let controller = world.start();
    let pushed = world.push_model("iris").await;
    let first = world.until_active(&pushed.id).await;
    world.kill(controller).await;
    let request = backends::BuildRequest {
        deployment_id: DeploymentId::from_entropy(5),
        archive: "nowhere".into(),
        config: Default::default(),
        raw_config: None,
    };
    let stray = world.backend.build(request, std::sync::Arc::new(Silent)).await.unwrap();
    let is_collected = async |world: &World, n: u128| {
        let start = world.backend.start(stranger(ReplicaId::from_entropy(n), stray.clone())).await;
        matches!(start, Err(StartError::NoArtifact(_)))
    };

    let before = world.backend.calls().collections;
    let again = world.start();
    world
        .eventually("garbage is collected", || async { (world.backend.calls().collections > before).then_some(()) })
        .await;
    assert!(is_collected(&world, 98).await, "the stray one is gone");
    world.kill(again).await;

    let _again = world.start();
    world.backend.crash(&first, ExitCause::Code { code: 1 });
    until_counted(&world, &pushed.id).await;
    world.advance(Duration::from_secs(1));
    world.until_started(&pushed.id, &[first]).await;
    assert_eq!(world.backend.calls().builds, 2, "the used one is still there: nothing was built again");
}

struct Silent;

impl backends::BuildOutput for Silent {
    fn line(&self, _line: api::internal::replica::LogLine) {}
}

fn stranger(replica_id: ReplicaId, artifact: Artifact) -> StartReplica {
    StartReplica {
        spec: ReplicaTemplate {
            replica_id,
            deployment_id: DeploymentId::from_entropy(5),
            model_id: ModelId::from_entropy(6),
            environment: None,
            program: (),
            environment_variables: Default::default(),
            predict_concurrency: 1,
            streaming_read_timeout_ms: 1,
            request_timeout_ms: 1,
            start_timeout_ms: 1,
            drain_delay_ms: 250,
            max_body_bytes: 1,
            limits: Limits { memory_bytes: None, millicpu: None, open_files: 1 },
            gpus: None,
            health: Default::default(),
            sandbox: Default::default(),
            ordered_at_ms: 0,
        },
        artifact,
        config: Default::default(),
        secrets: Secrets::default(),
    }
}
