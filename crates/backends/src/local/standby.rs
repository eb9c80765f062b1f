//! Replicas that stand by: made ready for a start that may come, up to the point where their deployment's own code would run. The
//! start gives one its name, its environment and its secrets, and spares what takes longest: processes, a sandbox, an
//! interpreter and what the model imports. Why each is a deployment's own, and used once: docs/decisions/0012.
//!
//! They are a cache. Each ends with this server, and goes when nobody expects its start any more, when memory is short, or when it
//! has waited for too long.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use api::{
    id::DeploymentId,
    internal::replica::{Spec, file},
};
use tokio::{process::ChildStdin, sync::Notify, time::Instant};

use super::{Local, remove_folder, replicas::Owner};
use crate::Likely;

/// More than this are never made ready.
const MOST: usize = 32;
/// Between two that are made ready, so that they take little from what serves; and between two looks.
const GAP: Duration = Duration::from_millis(250);
const LOOK: Duration = Duration::from_secs(5);
/// One whose start is not expected any more stays this long: a start that is under way may still take it.
const GRACE: Duration = Duration::from_secs(5);
/// One that nothing has started for so long is not needed.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// One that ended before it was needed is tried again after this long.
const RETRY: Duration = Duration::from_secs(600);
/// With less memory available, in percent of all, the oldest goes; and with less than this none is made ready.
const TIGHT_PERCENT: u64 = 10;
const ROOMY_PERCENT: u64 = 20;
/// What names of folders begin with.
const PREFIX: &str = "standby-";
/// Makes `greenroom-replica` stand by.
const WORD: &str = "standby";

/// All of them.
#[derive(Default)]
pub(super) struct Standbys {
    state: Mutex<State>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    likely: Vec<Likely>,
    ready: BTreeMap<DeploymentId, Standby>,
    /// Deployments for which none is made ready: for how long, or until they are next started.
    resting: BTreeMap<DeploymentId, Option<Instant>>,
}

/// One of them. Dropping it ends it.
pub(super) struct Standby {
    pub folder: PathBuf,
    /// Where its order goes.
    pub input: ChildStdin,
    spec: Spec,
    since: Instant,
    unexpected_since: Option<Instant>,
}

/// Removes what a server before this one has left.
pub(super) fn clear(replicas: &Path) -> io::Result<()> {
    for entry in fs::read_dir(replicas)? {
        let entry = entry?;
        if is_ours(&entry.file_name()) {
            remove_folder(&entry.path())?;
        }
    }
    Ok(())
}

fn is_ours(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

/// Keeps what stands by in line with what is expected, until the backend is dropped.
pub(super) async fn keep(local: Weak<Local>) {
    let Some(changed) = local.upgrade().map(|local| local.standbys.changed.clone()) else { return };
    loop {
        let may_be_more = match local.upgrade() {
            Some(local) => local.tend_standbys().await,
            None => return,
        };
        if may_be_more {
            tokio::time::sleep(GAP).await;
        } else {
            let _ = tokio::time::timeout(LOOK, changed.notified()).await; // memory changes without a word
        }
    }
}

impl Local {
    pub(super) fn expect_starts(&self, likely: Vec<Likely>) {
        self.standbys.lock().likely = likely;
        self.standbys.changed.notify_one();
    }

    /// One that is ready for this start.
    pub(super) fn take_standby(&self, spec: &Spec) -> Option<Standby> {
        let id = &spec.deployment_id;
        let mut state = self.standbys.lock();
        state.resting.remove(id);
        // One that is still being made ready is for the next start.
        let is_prepared = state.ready.get(id)?.folder.join(file::PREPARED).exists();
        let standby = if is_prepared { state.ready.remove(id) } else { None };
        standby.filter(|standby| standby.spec.is_alike(spec))
    }

    /// One that was started in a folder of this name has ended, if it is one of these still.
    pub(super) fn standby_ended(&self, name: &OsStr) {
        if !is_ours(name) {
            return;
        }
        let mut state = self.standbys.lock();
        let is_it = |standby: &Standby| standby.folder.file_name() == Some(name);
        let ended = state.ready.iter().find(|(_, standby)| is_it(standby)).map(|(id, _)| id.clone());
        if let Some(id) = ended {
            state.ready.remove(&id);
            tracing::debug!(deployment.id = %id, "a replica that stood by has ended");
            state.resting.insert(id, Some(Instant::now() + RETRY));
        }
        drop(state);
        let folder = self.replicas.join(name);
        if let Err(error) = remove_folder(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, folder = %folder.display(), "cannot remove what is left of a replica that stood by");
        }
    }

    /// Lets those go that should, and makes one ready that is missing. Whether there may be more to do at once.
    async fn tend_standbys(&self) -> bool {
        let available = available_percent();
        let now = Instant::now();
        let next = {
            let mut state = self.standbys.lock();
            state.let_go(now, available);
            if available < ROOMY_PERCENT { None } else { state.missing().cloned() }
        };
        let Some(likely) = next else { return false };
        let id = likely.spec.deployment_id.clone();
        match self.make_ready(likely).await {
            Ok(standby) => drop(self.standbys.lock().ready.insert(id, standby)),
            Err(error) => {
                tracing::debug!(deployment.id = %id, %error, "no replica can stand by");
                self.standbys.lock().resting.insert(id, Some(now + RETRY));
            }
        }
        true
    }

    async fn make_ready(&self, likely: Likely) -> io::Result<Standby> {
        let Likely { spec, artifact, config } = likely;
        let spec = self.specify(spec, &artifact, &config).map_err(io::Error::other)?;
        let owner = Owner { deployment_id: spec.deployment_id.clone(), artifact };
        let folder = self.replicas.join(format!("{PREFIX}{}", spec.replica_id));
        self.make_replica_folder(&folder, &spec, &owner)?;
        let input = self.spawn(&folder, Some(WORD)).await?;
        Ok(Standby { folder, input, spec, since: Instant::now(), unexpected_since: None })
    }
}

impl Standbys {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl State {
    /// Ends those that nobody expects any more, that have waited for too long, or, while memory is short, the one that has waited
    /// longest.
    fn let_go(&mut self, now: Instant, available_percent: u64) {
        let likely = &self.likely;
        let resting = &mut self.resting;
        self.ready.retain(|id, standby| {
            if likely.iter().any(|likely| likely.spec.deployment_id == *id) {
                standby.unexpected_since = None;
            } else {
                standby.unexpected_since.get_or_insert(now);
            }
            let has_waited = now - standby.since >= LONGEST_WAIT;
            if has_waited {
                resting.insert(id.clone(), None);
            }
            !has_waited && standby.unexpected_since.is_none_or(|since| now - since < GRACE)
        });
        resting.retain(|_, until| until.is_none_or(|until| now < until));
        if available_percent < TIGHT_PERCENT {
            let oldest = self.ready.iter().min_by_key(|(_, standby)| standby.since).map(|(id, _)| id.clone());
            if let Some(id) = oldest {
                self.ready.remove(&id);
                resting.insert(id, Some(now + RETRY));
            }
        }
    }

    /// The likeliest start that nothing is ready for.
    fn missing(&self) -> Option<&Likely> {
        // One with GPUs would need to have them before it is sure that it starts.
        let can_wait = |likely: &&Likely| likely.config.docker_server.is_none() && likely.spec.gpus.is_none();
        let mut likely = self.likely.iter().filter(can_wait).take(MOST);
        likely.find(|likely| {
            let id = &likely.spec.deployment_id;
            !self.ready.contains_key(id) && !self.resting.contains_key(id)
        })
    }
}

/// Memory that programs could still get, in percent of all that the machine has.
fn available_percent() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    let (all, available): (Option<u64>, Option<u64>) = (kib("MemTotal:"), kib("MemAvailable:"));
    // A machine that does not say is not one to fill up.
    available.unwrap_or(0) * 100 / all.unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, process::Stdio};

    use api::{
        id::{ModelId, ReplicaId},
        internal::replica::Limits,
    };
    use tokio::process::Command;

    use super::*;
    use crate::{Artifact, ReplicaTemplate};

    fn id(n: u128) -> DeploymentId {
        DeploymentId::from_entropy(n)
    }

    fn likely(n: u128) -> Likely {
        let spec = ReplicaTemplate {
            replica_id: ReplicaId::from_entropy(n),
            deployment_id: id(n),
            model_id: ModelId::from_entropy(n),
            environment: None,
            program: (),
            environment_variables: BTreeMap::new(),
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
        };
        Likely { spec, artifact: Artifact("a".into()), config: Arc::default() }
    }

    /// Something that stands by since `since`, as far as the decision looks at it.
    fn standby(n: u128, since: Instant) -> Standby {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let program = api::internal::replica::Program::Server {
            command: String::new(),
            app: PathBuf::new(),
            path: None,
            port: 1,
            predict_endpoint: String::new(),
            readiness_endpoint: String::new(),
            liveness_endpoint: String::new(),
            protocol: Default::default(),
        };
        let spec = super::super::replicas::with_program(likely(n).spec, program, Default::default());
        Standby { folder: PathBuf::new(), input: child.stdin.take().unwrap(), spec, since, unexpected_since: None }
    }

    /// What stands by, of deployments 1 and 2 that are expected in this order, when the decision is made at these times.
    fn state(since: Instant) -> State {
        let ready = [(id(1), standby(1, since)), (id(2), standby(2, since + GAP))].into();
        State { likely: vec![likely(2), likely(1)], ready, resting: BTreeMap::new() }
    }

    fn missing(state: &State) -> Option<DeploymentId> {
        state.missing().map(|likely| likely.spec.deployment_id.clone())
    }

    #[tokio::test]
    async fn what_nobody_expects_goes_when_a_start_that_is_under_way_has_had_its_time() {
        let now = Instant::now();
        let mut state = state(now);
        state.likely.pop();
        state.let_go(now, 100);
        assert_eq!(state.ready.len(), 2);
        state.let_go(now + GRACE, 100);
        assert_eq!(state.ready.keys().collect::<Vec<_>>(), [&id(2)]);
        assert_eq!(missing(&state), None);
    }

    #[tokio::test]
    async fn what_has_waited_for_too_long_goes_and_is_not_missed() {
        let now = Instant::now();
        let mut state = state(now);
        state.let_go(now + LONGEST_WAIT, 100);
        assert_eq!(state.ready.keys().collect::<Vec<_>>(), [&id(2)]);
        assert_eq!(missing(&state), None, "until it is started again");
        state.ready.clear();
        assert_eq!(missing(&state), Some(id(2)));
    }

    #[tokio::test]
    async fn while_memory_is_short_the_oldest_goes_one_at_a_time() {
        let now = Instant::now();
        let mut state = state(now);
        state.let_go(now, TIGHT_PERCENT - 1);
        assert_eq!(state.ready.keys().collect::<Vec<_>>(), [&id(2)]);
        state.let_go(now, TIGHT_PERCENT - 1);
        assert!(state.ready.is_empty() && missing(&state).is_none());
        state.let_go(now + RETRY, 100);
        assert_eq!(missing(&state), Some(id(2)), "the likeliest first");
    }
}
