//! Live reload of a development deployment.

use api::internal::replica::ExitCause;
use backends::{SwapError, fake::BuildScript};
use planner::{
    lifecycle::{Build, Status},
    reload::Reload,
};
use serde_json::json;
use store::domain::{Archive, Component, Deployment, DeploymentKind, Patches, PendingPatch};

use crate::world::World;

/// A development deployment that is active, and its replica.
async fn active(world: &World) -> (Deployment, api::id::ReplicaId) {
    let pushed = world
        .push_model_with("iris", |push| {
            push.kind = DeploymentKind::Development;
            push.target_environment = None;
        })
        .await;
    let replica = world.until_active(&pushed.id).await;
    (pushed, replica)
}

/// Stages a patch and asks for it to run.
async fn sync(world: &World, deployment: &Deployment, mode: &str) {
    sync_with(world, deployment, mode, false).await;
}

/// The same, where the process may be to go on.
async fn sync_with(world: &World, deployment: &Deployment, mode: &str, keeps_process: bool) {
    let key = format!("archives/{mode}");
    let chunks = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from(format!("patched: {mode}")))]);
    let bytes = world.blobs.put(&key, chunks, 1 << 20).await.unwrap();
    let pending = PendingPatch {
        point: Default::default(),
        archive: Archive { key, bytes },
        config: json!({ "environment_variables": { "MODE": mode } }),
        raw_config: None,
        keeps_process,
        reload: Reload::Building { since: world.now() },
    };
    let stage = |deployment: &mut Deployment| {
        let running = deployment.patches.take().and_then(|patches| patches.running);
        deployment.patches = Some(Patches { running, pending: Some(pending.clone()) });
        Ok::<(), store::Error>(())
    };
    world.store.change_deployment(&deployment.id, None, stage).await.unwrap();
}

async fn until_in_force(world: &World, deployment: &Deployment, mode: &str) {
    world
        .eventually("the patch is in force", || async {
            let now = world.deployment(&deployment.id).await;
            let is_it = now.config["environment_variables"]["MODE"] == mode;
            (is_it && now.patches?.pending.is_none()).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_patch_that_keeps_the_process_is_swapped_into_it() {
    let world = World::new().await;
    let controller = world.start();
    let (deployment, replica) = active(&world).await;
    sync_with(&world, &deployment, "swapped", true).await;
    until_in_force(&world, &deployment, "swapped").await;
    world.settle(&controller).await;
    assert_eq!(world.backend.live(), std::slice::from_ref(&replica), "the same process");
    assert!(world.replicas(&deployment.id).await.iter().all(|replica| replica.stopping_since.is_none()));

    world.backend.fail_swap(SwapError::Broken { message: "NameError".into(), detail: Some("line 1".into()) });
    sync_with(&world, &deployment, "broken", true).await;
    let failed = world
        .eventually("the patch has failed", || async {
            match world.deployment(&deployment.id).await.reload() {
                Some(Reload::Failed { reason, .. }) => Some(reason.clone()),
                _ => None,
            }
        })
        .await;
    assert_eq!((failed.message.as_str(), failed.detail.as_deref()), ("NameError", Some("line 1")));
    assert_eq!(world.deployment(&deployment.id).await.config["environment_variables"]["MODE"], "swapped");
    world.settle(&controller).await;
    assert_eq!(world.backend.live(), std::slice::from_ref(&replica), "what ran before runs on");

    world.backend.fail_swap(SwapError::Impossible("it is asynchronous now".into()));
    sync_with(&world, &deployment, "another", true).await;
    let next = world.until_started(&deployment.id, &[replica]).await;
    world.backend.ready(&next);
    until_in_force(&world, &deployment, "another").await;
    let told = world.messages(&deployment.id, Component::Deploy).await;
    assert!(told.iter().any(|line| line.contains("a process of its own: it is asynchronous now")), "{told:?}");
}

#[tokio::test]
async fn the_old_code_answers_until_the_new_one_is_ready() {
    let world = World::new().await;
    let _controller = world.start();
    let (deployment, old) = active(&world).await;
    world.until_routed(&deployment.id, std::slice::from_ref(&old)).await;

    sync(&world, &deployment, "new").await;
    let new = world.until_started(&deployment.id, std::slice::from_ref(&old)).await;
    let start = world.backend.started_with(&new).unwrap();
    assert_eq!(start.spec.environment_variables["MODE"], "new");
    world.backend.loading(&new);
    world.until_routed(&deployment.id, std::slice::from_ref(&old)).await;
    assert_eq!(world.status(&deployment.id).await, Status::Active);
    assert_eq!(world.deployment(&deployment.id).await.config, deployment.config);

    world.backend.ready(&new);
    world.until_routed(&deployment.id, std::slice::from_ref(&new)).await;
    until_in_force(&world, &deployment, "new").await;
    world.eventually("the old one ends", || async { (world.backend.live() == [new.clone()]).then_some(()) }).await;
    world.until_told(&deployment.id, "it answers from now on").await;
    let Build::Succeeded { artifact, .. } = world.deployment(&deployment.id).await.lifecycle.build else {
        panic!("it is built");
    };
    assert_eq!(start.artifact.0, artifact);
    assert_eq!(world.spy.started(&deployment.id), 2, "what has tried it serves on");
    assert_eq!(world.spy.stopped_while_listed(), []);
}

#[tokio::test]
async fn a_patch_that_breaks_leaves_the_old_code_and_the_next_one_mends_it() {
    let world = World::new().await;
    let _controller = world.start();
    let (deployment, old) = active(&world).await;
    sync(&world, &deployment, "broken").await;
    let broken = world.until_started(&deployment.id, std::slice::from_ref(&old)).await;
    world.backend.crash(&broken, ExitCause::LoadFailed);
    world
        .eventually("it is known to be broken", || async {
            matches!(world.deployment(&deployment.id).await.reload(), Some(Reload::Failed { .. })).then_some(())
        })
        .await;
    world.until_told(&deployment.id, "what ran before runs on").await;
    world.until_routed(&deployment.id, std::slice::from_ref(&old)).await;
    assert_eq!(world.status(&deployment.id).await, Status::Active);

    sync(&world, &deployment, "mended").await;
    let mended = world.until_started(&deployment.id, &[old, broken]).await;
    world.backend.ready(&mended);
    world.until_routed(&deployment.id, &[mended]).await;
    until_in_force(&world, &deployment, "mended").await;
}

#[tokio::test]
async fn a_patch_that_cannot_be_built_starts_nothing() {
    let world = World::new().await;
    let _controller = world.start();
    let (deployment, old) = active(&world).await;
    let message = "requirements: no version of nonesuch".to_owned();
    let error = backends::BuildError::Invalid { message: message.clone(), hint: None };
    world.backend.script_build(BuildScript { error: Some(error), ..BuildScript::default() });
    sync(&world, &deployment, "unbuildable").await;
    let reason = world
        .eventually("it is known to be broken", || async {
            match world.deployment(&deployment.id).await.reload() {
                Some(Reload::Failed { reason, .. }) => Some(reason.message.clone()),
                _ => None,
            }
        })
        .await;
    assert_eq!(reason, message);
    assert_eq!(world.backend.live(), [old]);
}

#[tokio::test]
async fn a_new_patch_takes_the_place_of_one_that_is_being_tried() {
    let world = World::new().await;
    let _controller = world.start();
    let (deployment, old) = active(&world).await;
    sync(&world, &deployment, "first").await;
    let first = world.until_started(&deployment.id, std::slice::from_ref(&old)).await;
    world.advance(std::time::Duration::from_millis(10));
    sync(&world, &deployment, "second").await;
    let second = world.until_started(&deployment.id, &[old, first.clone()]).await;
    world.backend.ready(&second);
    world.until_routed(&deployment.id, std::slice::from_ref(&second)).await;
    world.eventually("only it is left", || async { (world.backend.live() == [second.clone()]).then_some(()) }).await;
    until_in_force(&world, &deployment, "second").await;
}

#[tokio::test]
async fn a_patch_survives_the_end_of_the_server_at_every_step() {
    let world = World::new().await;
    let controller = world.start();
    let (deployment, old) = active(&world).await;
    world.kill(controller).await;
    sync(&world, &deployment, "new").await;

    let controller = world.start();
    let new = world.until_started(&deployment.id, std::slice::from_ref(&old)).await;
    world.kill(controller).await;
    world.backend.ready(&new);

    let controller = world.start();
    world.until_routed(&deployment.id, std::slice::from_ref(&new)).await;
    world.kill(controller).await;
    let _controller = world.start();
    until_in_force(&world, &deployment, "new").await;
    world.eventually("the old one ends", || async { (world.backend.live() == [new.clone()]).then_some(()) }).await;
}

#[tokio::test]
async fn what_rests_runs_the_patch_when_it_wakes() {
    let world = World::new().await;
    let _controller = world.start();
    let (deployment, old) = active(&world).await;
    world.change(&deployment.id, |lifecycle, _| lifecycle.deactivate()).await;
    world.until_status(&deployment.id, Status::Inactive).await;
    sync(&world, &deployment, "new").await;
    until_in_force(&world, &deployment, "new").await;
    assert_eq!(world.backend.live(), []);
    world.change(&deployment.id, |lifecycle, now| lifecycle.activate(now).unwrap()).await;
    let new = world.until_started(&deployment.id, &[old]).await;
    assert_eq!(world.backend.started_with(&new).unwrap().spec.environment_variables["MODE"], "new");
}
