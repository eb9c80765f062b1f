//! What tasks would do, in a server that has none: build, start replicas, carry out promotions.

use std::{collections::BTreeMap, io::Read as _};

use api::{
    id::ReplicaId,
    internal::replica::{Phase, StartTimes, Status},
};
use futures::TryStreamExt as _;
use planner::{
    autoscale,
    lifecycle::{Build, Lifecycle, Reason, Run},
    promotion::{self, Ending, Memory, Room, Seen, Side, State},
    reload::{Reload, taken_over},
};
use store::{
    Candidate, NewPromotion, Topic,
    domain::{Deployment, Origin, Promotion, Replica},
};

use super::{Pushed, TestApp};

impl TestApp {
    /// Gives the deployment a build, a ready replica, and the environment it was pushed for.
    pub async fn make_active(&self, pushed: &Pushed) -> ReplicaId {
        let now = self.now();
        self.change(pushed, |lifecycle| Lifecycle {
            build: Build::Succeeded { at: now, artifact: "artifact".into() },
            run: Run::Serving { since: now },
            first_ready: Some(now),
            ..lifecycle
        })
        .await;
        self.set_target(pushed, 1).await;
        let replica = self.add_replica(pushed, Phase::Ready).await;
        let deployment = self.store.deployment(&pushed.deployment_id()).await.unwrap();
        if let Some(environment) = &deployment.target_environment {
            self.begin_pushed(pushed).await;
            self.end_promotion(pushed, environment, Ending::Succeeded).await;
        }
        replica
    }

    /// Begins the promotion of a deployment that was pushed for an environment.
    pub async fn begin_pushed(&self, pushed: &Pushed) {
        let deployment = self.store.deployment(&pushed.deployment_id()).await.unwrap();
        let name = deployment.target_environment.as_deref().expect("it was pushed for an environment");
        let environment = self.store.environment(&deployment.model_id, name).await.unwrap();
        let settings = environment.promotion(Room::Beside, deployment.deploy_timeout_ms, 0).unwrap();
        let side = Side { ready: 0, alive: 0, wanted: 0, is_built: false, has_been_ready: false, failure: None };
        let seen = Seen {
            candidate: side,
            previous: environment.current.as_ref().map(|_| side),
            load: autoscale::Load::default(),
            autoscaling: &environment.autoscaling,
            published_percent: None,
        };
        let state = State::begin(self.now(), &settings, &seen);
        let first = promotion::decide(self.now(), &state, &Memory::default(), None, &settings, &seen);
        let new = NewPromotion {
            model_id: deployment.model_id.clone(),
            environment: name.to_owned(),
            candidate: Candidate::Existing(deployment.id.clone()),
            previous: environment.current.clone(),
            origin: Origin::Push,
            started_at: self.now(),
            settings,
            state,
            targets: first.output,
            why: first.why.to_string(),
            requested_by: None,
            difference: None,
        };
        self.store.begin_promotion(&new, None).await.unwrap();
    }

    /// Brings the promotion of an environment to its end.
    pub async fn end_promotion(&self, pushed: &Pushed, environment: &str, ending: Ending) {
        let mut promotion = self.promotion(pushed, environment).await;
        promotion.targets.candidate_percent = if ending == Ending::Succeeded { 100 } else { 0 };
        promotion.why = ending.to_string();
        promotion.state.phase = promotion::Phase::Ended { at: self.now(), ending };
        self.store.finish_promotion(&mut promotion, self.now(), None).await.unwrap();
    }

    /// Changes how far a promotion is.
    pub async fn move_promotion(&self, pushed: &Pushed, environment: &str, change: impl FnOnce(&mut Promotion)) {
        let mut promotion = self.promotion(pushed, environment).await;
        change(&mut promotion);
        self.store.save_promotion(&mut promotion).await.unwrap();
    }

    /// The promotion of an environment that is in progress.
    pub async fn promotion(&self, pushed: &Pushed, environment: &str) -> Promotion {
        let model = pushed.model.parse().unwrap();
        self.store.active_promotion(&model, environment).await.unwrap().expect("a promotion is in progress")
    }

    /// Wants so many replicas.
    pub async fn set_target(&self, pushed: &Pushed, replicas: u32) {
        let set = |deployment: &mut Deployment| {
            deployment.target_replicas = replicas;
            Ok::<_, store::Error>(())
        };
        self.store.change_deployment(&pushed.deployment_id(), None, set).await.unwrap();
    }

    pub async fn add_replica(&self, pushed: &Pushed, phase: Phase) -> ReplicaId {
        let id = ReplicaId::from_entropy(rand::random());
        let start = StartTimes { spawn_ms: Some(20), import_ms: Some(0), load_ms: Some(5), ..StartTimes::default() };
        let status = Status { sequence: 1, phase, in_flight: 0, start, pid: 1 };
        let replica = Replica {
            id: id.clone(),
            deployment_id: pushed.deployment_id(),
            created_at: self.now(),
            stopping_since: None,
            status: None,
            seen_at: None,
            log_cursor: 0,
            environment: self.store.deployment(&pushed.deployment_id()).await.unwrap().target_environment,
            instance_type: self.store.deployment(&pushed.deployment_id()).await.unwrap().instance_type,
            waits_for: None,
            tries_patch: false,
            location: None,
        };
        self.store.add_replica(&replica).await.unwrap();
        self.store.see_replica(&id, &status, self.now()).await.unwrap();
        id
    }

    /// Lets the build fail.
    pub async fn fail_build(&self, pushed: &Pushed) {
        let at = self.now();
        let reason = Reason {
            message: "requirements: no version of nonesuch".into(),
            hint: Some("correct the name".into()),
            detail: None,
        };
        self.change(pushed, |lifecycle| Lifecycle { build: Build::Failed { at, reason: reason.clone() }, ..lifecycle })
            .await;
    }

    /// Waits until somebody asks for what is staged to run, and lets it.
    pub async fn let_patch_take_over(&self, pushed: &Pushed) {
        let deployment = self.until_sync(pushed).await;
        let pending = deployment.patches.clone().and_then(|patches| patches.pending).expect("something is staged");
        let mut after = deployment;
        (after.lifecycle, after.replica_memory) = taken_over(after.lifecycle, self.now(), "patched".into());
        after.take_over(&pending);
        self.store.take_over(&mut after, None, self.now()).await.unwrap();
    }

    /// Waits until somebody asks for what is staged to run, and lets it fail.
    pub async fn let_patch_fail(&self, pushed: &Pushed) {
        let mut deployment = self.until_sync(pushed).await;
        let reason = Reason {
            message: "`load` raised ValueError: boom".into(),
            hint: None,
            detail: Some("Traceback (most recent call last)".into()),
        };
        deployment.change_reload(|_| Reload::Failed { at: self.now(), reason });
        self.store.save_deployment(&mut deployment, None).await.unwrap();
    }

    async fn until_sync(&self, pushed: &Pushed) -> Deployment {
        let mut changes = self.store.changes(&[Topic::Deployments]);
        loop {
            let deployment = self.store.deployment(&pushed.deployment_id()).await.unwrap();
            if matches!(deployment.reload(), Some(Reload::Building { .. })) {
                return deployment;
            }
            changes.wait().await;
        }
    }

    /// What is staged, by path.
    pub async fn patched_files(&self, pushed: &Pushed) -> BTreeMap<String, String> {
        let deployment = self.store.deployment(&pushed.deployment_id()).await.unwrap();
        let pending = deployment.patches.and_then(|patches| patches.pending).expect("something is staged");
        let chunks: Vec<_> =
            self.blobs.get(&pending.archive.key, None).await.unwrap().chunks.try_collect().await.unwrap();
        let mut archive = tar::Archive::new(std::io::Cursor::new(chunks.concat()));
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (entry.path().unwrap().display().to_string(), text)
        });
        entries.collect()
    }

    async fn change(&self, pushed: &Pushed, change: impl Fn(Lifecycle) -> Lifecycle) {
        self.store
            .change_deployment(&pushed.deployment_id(), None, |deployment| {
                deployment.lifecycle = change(deployment.lifecycle.clone());
                Ok::<_, store::Error>(())
            })
            .await
            .unwrap();
    }
}
