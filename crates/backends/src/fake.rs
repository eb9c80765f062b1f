//! A backend in memory, for tests of what stands on backends. It does what the test scripted, when the test says so, and counts
//! what it was asked. Time passes only through tokio's timers, so a paused clock makes it deterministic.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use api::{
    id::{DeploymentId, ReplicaId},
    internal::{
        replica::{Exit, ExitCause, LogLine, Phase, Secrets, StartTimes, Status},
        routes::Address,
    },
};
use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    Artifact, Backend, BackendError, BuildError, BuildOutput, BuildRequest, Likely, LogChunk, Observed, StartError,
    StartReplica, SwapError, Usage,
};

/// Lines that one [`Backend::read_log`] answers at most.
const LINES_PER_CHUNK: usize = 1000;

/// What one says that is down.
const DOWN: &str = "the test took it down";

/// The backend. Cheap to share as `Arc<Fake>`; tests keep one end, the code under test the other.
#[derive(Default)]
pub struct Fake {
    state: Mutex<State>,
    /// What was built, which those beside each other share.
    artifacts: Arc<Mutex<BTreeSet<Artifact>>>,
    changes: Changes,
}

/// What one build does. The default succeeds at once, silently.
#[derive(Debug, Default)]
pub struct BuildScript {
    /// How long it takes, on tokio's clock.
    pub takes: Duration,
    /// What it says before it ends.
    pub lines: Vec<LogLine>,
    /// How it ends, where it does not succeed.
    pub error: Option<BuildError>,
}

/// How often each door was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Builds begun.
    pub builds: u32,
    /// Starts, repeated and refused ones included.
    pub starts: u32,
    /// Stops.
    pub stops: u32,
    /// Lists.
    pub lists: u32,
    /// Checks.
    pub checks: u32,
    /// Forgets.
    pub forgets: u32,
    /// Environments told.
    pub environments: u32,
    /// Garbage collections.
    pub collections: u32,
}

#[derive(Default)]
struct State {
    build_scripts: VecDeque<BuildScript>,
    start_errors: VecDeque<StartError>,
    replicas: BTreeMap<ReplicaId, Replica>,
    start_order: Vec<ReplicaId>,
    ready_at_once: bool,
    stops_are_held: bool,
    likely: Vec<DeploymentId>,
    list_errors: u32,
    is_down: bool,
    swap_errors: VecDeque<SwapError>,
    calls: Calls,
}

struct Replica {
    start: StartReplica,
    /// Every environment that it was told it is in, the one of its start first.
    environments: Vec<Option<serde_json::Value>>,
    status: Status,
    log: Vec<LogLine>,
}

struct Changes(watch::Sender<u64>);

impl Default for Changes {
    fn default() -> Self {
        Self(watch::Sender::new(1))
    }
}

impl Fake {
    /// An empty one: builds succeed at once, replicas stay `Starting` until told otherwise, stops end them at once.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Another one that starts what this one has built, as a second location on one machine does.
    pub fn beside(&self) -> Arc<Self> {
        Arc::new(Self { artifacts: self.artifacts.clone(), ..Self::default() })
    }

    /// From now on it answers no check and no list, as a location does whose machines cannot be reached; or it does again.
    pub fn set_down(&self, is_down: bool) {
        self.state().is_down = is_down;
        self.bump();
    }

    /// Scripts the next build that has no script yet.
    pub fn script_build(&self, script: BuildScript) {
        self.state().build_scripts.push_back(script);
    }

    /// Makes the next start that would begin a replica fail.
    pub fn fail_start(&self, error: StartError) {
        self.state().start_errors.push_back(error);
    }

    /// Makes the next `count` lists fail.
    pub fn fail_lists(&self, count: u32) {
        self.state().list_errors = count;
    }

    /// From now on replicas are ready as soon as they are started.
    pub fn make_ready_at_once(&self) {
        self.state().ready_at_once = true;
    }

    /// From now on replicas are ready when the test says so, as at first.
    pub fn start_slowly(&self) {
        self.state().ready_at_once = false;
    }

    /// From now on a stopped replica drains until [`Fake::exit`] ends it.
    pub fn hold_stops(&self) {
        self.state().stops_are_held = true;
    }

    /// The replica loads its model now.
    pub fn loading(&self, replica: &ReplicaId) {
        self.set_phase(replica, Phase::Loading);
    }

    /// The replica answers requests now.
    pub fn ready(&self, replica: &ReplicaId) {
        self.set_phase(replica, Phase::Ready);
    }

    /// The replica says that it is not healthy.
    pub fn unhealthy(&self, replica: &ReplicaId) {
        self.set_phase(replica, Phase::Unhealthy);
    }

    /// The replica's process is gone, for this cause.
    pub fn crash(&self, replica: &ReplicaId, cause: ExitCause) {
        self.exit(replica, Exit { cause, message: format!("the test ended it: {cause:?}"), detail: None });
    }

    /// The replica's process is gone, with all that can be said about it.
    pub fn exit(&self, replica: &ReplicaId, exit: Exit) {
        self.set_phase(replica, Phase::Exited(exit));
    }

    /// The next swap of code fails.
    pub fn fail_swap(&self, error: SwapError) {
        self.state().swap_errors.push_back(error);
    }

    /// Appends a line to the replica's log.
    pub fn log(&self, replica: &ReplicaId, line: LogLine) {
        if let Some(replica) = self.state().replicas.get_mut(replica) {
            replica.log.push(line);
        }
        self.bump();
    }

    /// Forgets an artifact, as a lost disk would.
    pub fn lose_artifact(&self, artifact: &Artifact) {
        self.artifacts().remove(artifact);
    }

    /// Replicas whose process is alive, in the order of their start.
    pub fn live(&self) -> Vec<ReplicaId> {
        let state = self.state();
        state
            .start_order
            .iter()
            .filter(|id| state.replicas.get(*id).is_some_and(|r| !has_exited(&r.status)))
            .cloned()
            .collect()
    }

    /// What a replica was started with.
    pub fn started_with(&self, replica: &ReplicaId) -> Option<StartReplica> {
        self.state().replicas.get(replica).map(|replica| replica.start.clone())
    }

    /// Every environment that a replica was told it is in, the one of its start first.
    pub fn environments(&self, replica: &ReplicaId) -> Vec<Option<serde_json::Value>> {
        self.state().replicas.get(replica).map_or_else(Vec::new, |replica| replica.environments.clone())
    }

    /// Deployments whose starts were last said to be likely, the likeliest first.
    pub fn likely(&self) -> Vec<DeploymentId> {
        self.state().likely.clone()
    }

    /// How often each door was used so far.
    pub fn calls(&self) -> Calls {
        self.state().calls
    }

    fn set_phase(&self, replica: &ReplicaId, phase: Phase) {
        if let Some(replica) = self.state().replicas.get_mut(replica) {
            replica.set_phase(phase);
        }
        self.bump();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn artifacts(&self) -> MutexGuard<'_, BTreeSet<Artifact>> {
        self.artifacts.lock().expect("no holder of this lock panics")
    }

    fn bump(&self) {
        self.changes.0.send_modify(|count| *count += 1);
    }
}

impl Replica {
    /// An exit is final, as a dead process is.
    fn set_phase(&mut self, phase: Phase) {
        if !has_exited(&self.status) && self.status.phase != phase {
            self.status.phase = phase;
            self.status.sequence += 1;
        }
    }
}

fn has_exited(status: &Status) -> bool {
    matches!(status.phase, Phase::Exited(_))
}

#[async_trait]
impl Backend for Fake {
    async fn build(&self, request: BuildRequest, output: Arc<dyn BuildOutput>) -> Result<Artifact, BuildError> {
        let script = {
            let mut state = self.state();
            state.calls.builds += 1;
            state.build_scripts.pop_front().unwrap_or_default()
        };
        if !script.takes.is_zero() {
            tokio::time::sleep(script.takes).await;
        }
        for line in script.lines {
            output.line(line);
        }
        if let Some(error) = script.error {
            return Err(error);
        }
        let artifact = artifact_of(&request);
        self.artifacts().insert(artifact.clone());
        Ok(artifact)
    }

    async fn start(&self, start: StartReplica) -> Result<(), StartError> {
        let mut state = self.state();
        state.calls.starts += 1;
        let id = start.spec.replica_id.clone();
        if state.replicas.contains_key(&id) {
            return Ok(());
        }
        if let Some(error) = state.start_errors.pop_front() {
            return Err(error);
        }
        if state.is_down {
            return Err(StartError::Machine(std::io::Error::other(DOWN)));
        }
        if !self.artifacts().contains(&start.artifact) {
            return Err(StartError::NoArtifact(start.artifact));
        }
        let phase = if state.ready_at_once { Phase::Ready } else { Phase::Starting };
        let status = Status { sequence: 1, phase, in_flight: 0, start: StartTimes::default(), pid: 0 };
        state.start_order.push(id.clone());
        let environments = vec![start.spec.environment.clone()];
        state.replicas.insert(id, Replica { start, environments, status, log: Vec::new() });
        drop(state);
        self.bump();
        Ok(())
    }

    async fn stand_by(&self, likely: Vec<Likely>) {
        self.state().likely = likely.into_iter().map(|likely| likely.spec.deployment_id).collect();
        self.bump();
    }

    async fn stop(&self, replica: &ReplicaId, _grace_ms: u64) {
        let phase = {
            let mut state = self.state();
            state.calls.stops += 1;
            if state.stops_are_held {
                Phase::Draining
            } else {
                Phase::Exited(Exit { cause: ExitCause::Stopped, message: "stopped".into(), detail: None })
            }
        };
        self.set_phase(replica, phase);
    }

    async fn set_environment(
        &self,
        replica: &ReplicaId,
        environment: Option<serde_json::Value>,
    ) -> Result<(), BackendError> {
        let mut state = self.state();
        state.calls.environments += 1;
        match state.replicas.get_mut(replica).filter(|replica| !has_exited(&replica.status)) {
            Some(replica) => {
                if replica.environments.last() != Some(&environment) {
                    replica.environments.push(environment);
                }
                Ok(())
            }
            None => {
                let source = std::io::ErrorKind::NotFound.into();
                Err(BackendError { what: format!("cannot tell replica {replica} its environment"), source })
            }
        }
    }

    async fn set_secrets(&self, replica: &ReplicaId, secrets: Secrets) -> Result<(), BackendError> {
        let mut state = self.state();
        match state.replicas.get_mut(replica).filter(|replica| !has_exited(&replica.status)) {
            Some(replica) => {
                replica.start.secrets = secrets;
                drop(state);
                // Nothing else tells a test that waits for it.
                self.bump();
                Ok(())
            }
            None => {
                let source = std::io::ErrorKind::NotFound.into();
                Err(BackendError { what: format!("cannot give replica {replica} its secrets"), source })
            }
        }
    }

    async fn swap_code(&self, replica: &ReplicaId, artifact: &Artifact) -> Result<(), SwapError> {
        let mut state = self.state();
        if let Some(error) = state.swap_errors.pop_front() {
            return Err(error);
        }
        match state.replicas.get_mut(replica) {
            Some(replica) => replica.start.artifact = artifact.clone(),
            None => return Err(SwapError::Impossible(format!("replica {replica} is gone"))),
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Observed>, BackendError> {
        let mut state = self.state();
        state.calls.lists += 1;
        if state.is_down {
            return Err(BackendError { what: "cannot list replicas".into(), source: std::io::Error::other(DOWN) });
        }
        if state.list_errors > 0 {
            state.list_errors -= 1;
            let source = std::io::Error::other("the test scripted this");
            return Err(BackendError { what: "cannot list replicas".into(), source });
        }
        Ok(state.replicas.values().map(observe).collect())
    }

    async fn usage(&self) -> HashMap<ReplicaId, Usage> {
        HashMap::new()
    }

    async fn check(&self) -> Result<(), BackendError> {
        let mut state = self.state();
        state.calls.checks += 1;
        match state.is_down {
            true => Err(BackendError { what: "cannot run replicas".into(), source: std::io::Error::other(DOWN) }),
            false => Ok(()),
        }
    }

    async fn forget(&self, replica: &ReplicaId) {
        let mut state = self.state();
        state.calls.forgets += 1;
        if state.replicas.get(replica).is_some_and(|replica| has_exited(&replica.status)) {
            state.replicas.remove(replica);
            state.start_order.retain(|id| id != replica);
            drop(state);
            self.bump();
        }
    }

    async fn read_log(&self, replica: &ReplicaId, cursor: u64) -> Result<LogChunk, BackendError> {
        let state = self.state();
        let Some(replica) = state.replicas.get(replica) else {
            return Ok(LogChunk { cursor, ..LogChunk::default() });
        };
        let from = usize::try_from(cursor).unwrap_or(usize::MAX).min(replica.log.len());
        let to = (from + LINES_PER_CHUNK).min(replica.log.len());
        Ok(LogChunk { lines: replica.log[from..to].to_vec(), cursor: to as u64, more: to < replica.log.len() })
    }

    async fn changed(&self, seen: u64) -> u64 {
        let mut changes = self.changes.0.subscribe();
        *changes.wait_for(|count| *count > seen).await.expect("the sender lives in self")
    }

    async fn collect_garbage(&self, keep: &BTreeSet<Artifact>) -> Result<(), BackendError> {
        self.state().calls.collections += 1;
        self.artifacts().retain(|artifact| keep.contains(artifact));
        Ok(())
    }
}

fn observe(replica: &Replica) -> Observed {
    let spec = &replica.start.spec;
    Observed {
        replica_id: spec.replica_id.clone(),
        deployment_id: spec.deployment_id.clone(),
        status: replica.status.clone(),
        address: Address::Unix(PathBuf::from(format!("/fake/{}/replica.sock", spec.replica_id))),
    }
}

/// Equal archives (by content, or by path where there is no such file) with equal configs give equal artifacts.
fn artifact_of(request: &BuildRequest) -> Artifact {
    let archive =
        std::fs::read(&request.archive).unwrap_or_else(|_| request.archive.as_os_str().as_encoded_bytes().to_vec());
    let config = serde_json::to_vec(&*request.config).expect("a config is plain data");
    let mut hasher = blake3::Hasher::new();
    for part in [&archive[..], &config, request.raw_config.as_deref().unwrap_or_default().as_bytes()] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    Artifact(format!("fake-{}", &hasher.finalize().to_hex()[..16]))
}
