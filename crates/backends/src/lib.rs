//! Where models are built and run. One trait, several engines: `fake` for tests, `local` for processes on this machine.
//! A backend does what it is told, once for each id, and tells what it sees; it decides nothing and remembers nothing that
//! it cannot find again on the machine after a restart.

pub mod fake;
pub mod local;

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
};

use api::{
    id::{DeploymentId, ReplicaId},
    internal::{
        replica::{LogLine, Secrets, Spec, Status},
        routes::Address,
    },
    truss_config::TrussConfig,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// An engine that builds and runs deployments.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Makes everything a replica needs from an archive. Equal requests give equal artifacts, share what they can, and may run at
    /// the same time; stopping in the middle (dropping the future) leaves nothing that a later build would take for finished.
    async fn build(&self, request: BuildRequest, output: Arc<dyn BuildOutput>) -> Result<Artifact, BuildError>;

    /// Starts a replica. Idempotent by `replica_id`: starting one that exists, in any state, does nothing.
    async fn start(&self, start: StartReplica) -> Result<(), StartError>;

    /// Says which starts may come before long, the likeliest first, in place of what was said before. What the backend makes ready for
    /// them is its own affair: a start may find it and needs none of it.
    async fn stand_by(&self, likely: Vec<Likely>);

    /// Lets a replica finish what it has accepted, for at most `grace_ms`, then ends it. Returns at once; the end shows in
    /// [`Backend::list`]. Unknown ids do nothing.
    async fn stop(&self, replica: &ReplicaId, grace_ms: u64);

    /// Tells a replica which environment it is in now: the document that its model sees, or none. Telling it twice is telling it
    /// once. One that does not answer, or that is not there, is an error.
    async fn set_environment(
        &self,
        replica: &ReplicaId,
        environment: Option<serde_json::Value>,
    ) -> Result<(), BackendError>;

    /// Gives a replica other values of its secrets: all that its config declares, where the team has them, in place of those it had.
    /// Giving them twice is giving them once. One that does not answer, or that is not there, is an error.
    async fn set_secrets(&self, replica: &ReplicaId, secrets: Secrets) -> Result<(), BackendError>;

    /// Lets a replica go on with the code of another build of the same model: its process stays, and what the model has loaded.
    /// Requests are answered by the old code until the new code answers. Doing it twice is doing it once.
    async fn swap_code(&self, replica: &ReplicaId, artifact: &Artifact) -> Result<(), SwapError>;

    /// Every replica this backend owns, survivors of a restart and ended ones that were not forgotten included.
    async fn list(&self) -> Result<Vec<Observed>, BackendError>;

    /// What living replicas use of their machines. Those of which it cannot be told are left out.
    async fn usage(&self) -> HashMap<ReplicaId, Usage>;

    /// Answers at once whether replicas can be started here; the reason when not. Costs next to nothing: it is asked every few seconds.
    async fn check(&self) -> Result<(), BackendError>;

    /// Removes what is left of an ended replica, when its end and its log have been stored.
    async fn forget(&self, replica: &ReplicaId);

    /// Log lines of a replica from `cursor` on (0 at first), at most about a mebibyte. The answer's cursor continues.
    async fn read_log(&self, replica: &ReplicaId, cursor: u64) -> Result<LogChunk, BackendError>;

    /// Completes when [`Backend::list`] or [`Backend::read_log`] may answer differently than when this last answered `seen`
    /// (0 at first, which completes at once); answers the value to wait with next. Nothing that happens between two calls is lost,
    /// and any number of tasks may wait, each with its own `seen`.
    async fn changed(&self, seen: u64) -> u64;

    /// Removes artifacts, and what they were made from, that none of `keep` needs.
    async fn collect_garbage(&self, keep: &BTreeSet<Artifact>) -> Result<(), BackendError>;
}

/// What to build.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// For whom; names the log and temporary folders, never the artifact.
    pub deployment_id: DeploymentId,
    /// The uploaded archive, in a local file.
    pub archive: PathBuf,
    /// The config that the push sent; it wins over the one in the archive.
    pub config: Arc<TrussConfig>,
    /// The same, verbatim YAML where there is any: it replaces `config.yaml` in the artifact.
    pub raw_config: Option<String>,
}

/// A finished build. Opaque outside the backend that made it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Artifact(pub String);

/// Where build output goes. Called from any thread; must not block.
pub trait BuildOutput: Send + Sync {
    /// One line.
    fn line(&self, line: LogLine);
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The user's to mend: the message names what is wrong and where, the hint says what to do.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Ours, or the machine's: disk full, no `uv`, no network.
    #[error("cannot build: {0}")]
    Machine(#[source] std::io::Error),
}

/// What to start.
#[derive(Clone)]
pub struct StartReplica {
    /// Which copy of what, and how. `program` is filled in by the backend from `artifact` and `config`.
    pub spec: ReplicaTemplate,
    /// The finished build.
    pub artifact: Artifact,
    /// The deployment's config.
    pub config: Arc<TrussConfig>,
    /// Values of the secrets that the config declares, where the team has them.
    pub secrets: Secrets,
}

/// A start that may come: all that is known of it before it is ordered.
#[derive(Clone)]
pub struct Likely {
    /// As in [`StartReplica`]. The id is for what is made ready; the start comes with another.
    pub spec: ReplicaTemplate,
    /// The finished build.
    pub artifact: Artifact,
    /// The deployment's config.
    pub config: Arc<TrussConfig>,
}

/// A [`Spec`] without its program.
pub type ReplicaTemplate = Spec<()>;

/// Why a replica could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The artifact is gone: build again.
    #[error("the build {0:?} is no longer there")]
    NoArtifact(Artifact),
    /// It can never run here.
    #[error("{0}")]
    Impossible(String),
    /// This time it did not work; another time it may.
    #[error("cannot start a replica: {0}")]
    Machine(#[source] std::io::Error),
}

/// Why a replica goes on with the code that it had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwapError {
    /// It takes another process.
    #[error("{0}")]
    Impossible(String),
    /// The new code does not work.
    #[error("{message}")]
    Broken {
        /// Why, in a sentence.
        message: String,
        /// The traceback.
        detail: Option<String>,
    },
}

/// A question that the machine did not answer.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct BackendError {
    /// What was asked.
    pub what: String,
    /// What went wrong.
    #[source]
    pub source: std::io::Error,
}

/// A replica as its backend sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Which copy.
    pub replica_id: ReplicaId,
    /// Of what.
    pub deployment_id: DeploymentId,
    /// What it last said of itself; an ended one ends with `Phase::Exited`, whatever ended it.
    pub status: Status,
    /// Where it listens.
    pub address: Address,
}

/// What a replica, with all that it has started, uses of its machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since it began, in milliseconds.
    pub cpu_ms: u64,
    /// Memory, in bytes. What several processes share counts once where the kernel tells.
    pub memory_bytes: u64,
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogChunk {
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// Where to go on.
    pub cursor: u64,
    /// Whether more can be read at once.
    pub more: bool,
}
