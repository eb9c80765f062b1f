//! Stands between a controller and its backend: holds builds back, watches that laws are kept, and stops the world at a chosen
//! step as a killed process would.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
};

use api::{
    id::{DeploymentId, ReplicaId},
    internal::replica::Secrets,
};
use async_trait::async_trait;
use backends::{
    Artifact, Backend, BackendError, BuildError, BuildOutput, BuildRequest, Likely, LogChunk, Observed, StartError,
    StartReplica, SwapError, Usage, fake::Fake,
};
use tokio::sync::{Notify, Semaphore};

use crate::gateway::Gateway;

pub struct Spy {
    inner: Arc<Fake>,
    gateway: Arc<Gateway>,
    nudge: Notify,
    /// Builds that may begin; unlimited unless a test holds them.
    gate: Semaphore,
    building: AtomicUsize,
    most_building: AtomicUsize,
    dropped_builds: AtomicU64,
    /// Steps until the process "dies"; negative means never.
    steps_to_live: AtomicI64,
    died: Notify,
    stopped_while_listed: Mutex<Vec<ReplicaId>>,
    unreadable_logs: Mutex<BTreeSet<ReplicaId>>,
    started: Mutex<BTreeMap<DeploymentId, BTreeSet<ReplicaId>>>,
}

impl Spy {
    pub fn new(inner: Arc<Fake>, gateway: Arc<Gateway>) -> Self {
        Self {
            inner,
            gateway,
            nudge: Notify::new(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            building: AtomicUsize::new(0),
            most_building: AtomicUsize::new(0),
            dropped_builds: AtomicU64::new(0),
            steps_to_live: AtomicI64::new(-1),
            died: Notify::new(),
            stopped_while_listed: Mutex::default(),
            unreadable_logs: Mutex::default(),
            started: Mutex::default(),
        }
    }

    /// Whoever waits for a change of the backend looks again.
    pub fn nudge(&self) {
        self.nudge.notify_waiters();
    }

    /// From now on builds wait until they are let through.
    pub fn hold_builds(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub fn let_builds_through(&self, count: usize) {
        self.gate.add_permits(count);
    }

    /// Builds that wait or run now.
    pub fn building(&self) -> usize {
        self.building.load(Ordering::SeqCst)
    }

    /// The most builds there ever were at one time.
    pub fn most_building(&self) -> usize {
        self.most_building.load(Ordering::SeqCst)
    }

    /// Builds that were dropped before they ended.
    pub fn dropped_builds(&self) -> u64 {
        self.dropped_builds.load(Ordering::SeqCst)
    }

    /// Dies after so many steps: the call under way never returns.
    pub fn die_after(&self, steps: i64) {
        self.steps_to_live.store(steps, Ordering::SeqCst);
    }

    pub async fn died(&self) {
        self.died.notified().await;
    }

    /// Whether a death that was arranged has not come yet.
    pub fn is_doomed(&self) -> bool {
        self.steps_to_live.load(Ordering::SeqCst) >= 0
    }

    /// Replicas that were told to stop while requests could still be sent to them.
    pub fn stopped_while_listed(&self) -> Vec<ReplicaId> {
        self.stopped_while_listed.lock().unwrap().clone()
    }

    /// From now on this replica's log cannot be read.
    pub fn lose_log(&self, replica: &ReplicaId) {
        self.unreadable_logs.lock().unwrap().insert(replica.clone());
    }

    /// Its log can be read again.
    pub fn find_log(&self, replica: &ReplicaId) {
        self.unreadable_logs.lock().unwrap().remove(replica);
    }

    /// How many different replicas a deployment ever had.
    pub fn started(&self, deployment: &DeploymentId) -> usize {
        self.started.lock().unwrap().get(deployment).map_or(0, BTreeSet::len)
    }

    /// A place between two steps.
    async fn step(&self) {
        if self.steps_to_live.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.died.notify_one();
            std::future::pending().await
        }
    }
}

/// Counts a build for as long as it lives.
struct Building<'a> {
    spy: &'a Spy,
    has_ended: bool,
}

impl<'a> Building<'a> {
    fn begin(spy: &'a Spy) -> Self {
        let now = spy.building.fetch_add(1, Ordering::SeqCst) + 1;
        spy.most_building.fetch_max(now, Ordering::SeqCst);
        spy.nudge();
        Self { spy, has_ended: false }
    }
}

impl Drop for Building<'_> {
    fn drop(&mut self) {
        self.spy.building.fetch_sub(1, Ordering::SeqCst);
        if !self.has_ended {
            self.spy.dropped_builds.fetch_add(1, Ordering::SeqCst);
        }
        self.spy.nudge();
    }
}

#[async_trait]
impl Backend for Spy {
    async fn build(&self, request: BuildRequest, output: Arc<dyn BuildOutput>) -> Result<Artifact, BuildError> {
        let mut building = Building::begin(self);
        self.gate.acquire().await.expect("the gate is never closed").forget();
        self.step().await;
        let result = self.inner.build(request, output).await;
        self.step().await;
        building.has_ended = true;
        result
    }

    async fn start(&self, start: StartReplica) -> Result<(), StartError> {
        let (replica, deployment) = (start.spec.replica_id.clone(), start.spec.deployment_id.clone());
        self.step().await;
        let result = self.inner.start(start).await;
        if result.is_ok() {
            self.started.lock().unwrap().entry(deployment).or_default().insert(replica);
        }
        self.step().await;
        result
    }

    async fn stand_by(&self, likely: Vec<Likely>) {
        self.step().await;
        self.inner.stand_by(likely).await;
    }

    async fn stop(&self, replica: &ReplicaId, grace_ms: u64) {
        if self.gateway.lists(replica) {
            self.stopped_while_listed.lock().unwrap().push(replica.clone());
        }
        self.step().await;
        self.inner.stop(replica, grace_ms).await;
        self.step().await;
    }

    async fn set_environment(
        &self,
        replica: &ReplicaId,
        environment: Option<serde_json::Value>,
    ) -> Result<(), BackendError> {
        self.step().await;
        let result = self.inner.set_environment(replica, environment).await;
        self.step().await;
        result
    }

    async fn set_secrets(&self, replica: &ReplicaId, secrets: Secrets) -> Result<(), BackendError> {
        self.step().await;
        let result = self.inner.set_secrets(replica, secrets).await;
        self.step().await;
        result
    }

    async fn swap_code(&self, replica: &ReplicaId, artifact: &Artifact) -> Result<(), SwapError> {
        self.step().await;
        let result = self.inner.swap_code(replica, artifact).await;
        self.step().await;
        result
    }

    async fn list(&self) -> Result<Vec<Observed>, BackendError> {
        self.step().await;
        self.inner.list().await
    }

    async fn check(&self) -> Result<(), BackendError> {
        self.inner.check().await
    }

    async fn usage(&self) -> HashMap<ReplicaId, Usage> {
        self.inner.usage().await
    }

    async fn forget(&self, replica: &ReplicaId) {
        self.step().await;
        self.inner.forget(replica).await;
        self.step().await;
    }

    async fn read_log(&self, replica: &ReplicaId, cursor: u64) -> Result<LogChunk, BackendError> {
        self.step().await;
        if self.unreadable_logs.lock().unwrap().contains(replica) {
            let source = std::io::Error::other("the disk is bad");
            return Err(BackendError { what: format!("cannot read the log of replica {replica}"), source });
        }
        self.inner.read_log(replica, cursor).await
    }

    async fn changed(&self, seen: u64) -> u64 {
        tokio::select! {
            seen = self.inner.changed(seen) => seen,
            () = self.nudge.notified() => seen,
        }
    }

    async fn collect_garbage(&self, keep: &BTreeSet<Artifact>) -> Result<(), BackendError> {
        let result = self.inner.collect_garbage(keep).await;
        self.nudge();
        result
    }
}
