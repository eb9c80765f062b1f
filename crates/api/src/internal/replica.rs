//! What a backend tells `greenroom-replica` to run, and what the replica says of itself.
//!
//! One replica process owns one model process. The backend starts `greenroom-replica DIRECTORY` with a [`Spec`] as JSON in
//! `DIRECTORY/spec.json` and a [`Secrets`] as JSON on standard input, then closes it: secrets never touch the disk, the command
//! line or the environment of the replica. The secrets are the order to begin. What needs neither them nor a name is done before
//! they come, so `greenroom-replica DIRECTORY standby` can be started long ahead. From when it has made `DIRECTORY/prepared` until its
//! order the folder may be renamed; which replica of the deployment it is, when it was ordered and in which environment is read
//! from `spec.json` once more when the order has come. One whose input ends without an order, or that cannot be made ready, ends. The replica serves HTTP on `DIRECTORY/replica.sock`, keeps [`Status`] in
//! `DIRECTORY/status.json` (replaced whole by rename) and appends one [`LogLine`] a line to `DIRECTORY/log.jsonl`.
//! It outlives the server that started it, and ends when its model process ends: who starts the next one is not its decision.
//!
//! On its socket, beside the model's own paths, the replica answers
//! `GET /_greenroom/status` ([`Status`]), `GET /_greenroom/events` (one [`Status`] as a JSON line on each change, the present one
//! first, until either side closes) and `POST /_greenroom/drain` (accept nothing new, end when the last request has ended, or
//! after the `timeout_ms` of [`Drain`]). SIGTERM means drain with the deployment's own limit.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::id::{DeploymentId, ModelId, ReplicaId};

/// File names inside a replica's folder.
pub mod file {
    /// The [`super::Spec`], written by the backend.
    pub const SPEC: &str = "spec.json";
    /// The [`super::Status`], written by the replica.
    pub const STATUS: &str = "status.json";
    /// The socket the replica serves HTTP on.
    pub const SOCKET: &str = "replica.sock";
    /// Made by a replica that stands by, when it has been made ready and its folder may be renamed.
    pub const PREPARED: &str = "prepared";
    /// The [`super::LogLine`]s, appended by the replica.
    pub const LOG: &str = "log.jsonl";
}

/// All that a replica needs to know, except secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec<P = Program> {
    /// This copy.
    pub replica_id: ReplicaId,
    /// What it is a copy of.
    pub deployment_id: DeploymentId,
    /// The model the deployment belongs to.
    pub model_id: ModelId,
    /// The environment's document as the model sees it (`{"name": "production"}`), none when it is in no environment.
    pub environment: Option<serde_json::Value>,
    /// What to run.
    pub program: P,
    /// Variables for the model process, on top of the fixed ones (`APP_HOME`, `HOME`, `BT_MODEL_ID`, …).
    pub environment_variables: BTreeMap<String, String>,
    /// Requests that may be inside `predict` at one time.
    pub predict_concurrency: u32,
    /// The longest gap between two chunks of a stream.
    pub streaming_read_timeout_ms: u64,
    /// The longest a request may take in all; also how long a drain waits.
    pub request_timeout_ms: u64,
    /// How long the model may take to become ready before the replica gives up.
    pub start_timeout_ms: u64,
    /// How long requests may be on their way that were sent before their sender knew that nothing new is taken: a drain begins
    /// by waiting for them.
    pub drain_delay_ms: u64,
    /// The largest request body that is accepted.
    pub max_body_bytes: u64,
    /// What the model process may use.
    pub limits: Limits,
    /// The GPUs that it has to itself; none for a model that asks for none.
    #[serde(default)]
    pub gpus: Option<Gpus>,
    /// What follows from its health.
    #[serde(default)]
    pub health: HealthLimits,
    /// What the model process may see, and as whom. The backend says; a template has the default.
    #[serde(default)]
    pub sandbox: Sandbox,
    /// When it was decided to start this copy, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub ordered_at_ms: u64,
}

impl<P: PartialEq + Clone> Spec<P> {
    /// Whether what was made ready for one serves the other: they differ at most in which copy it is, since when and where.
    pub fn is_alike(&self, other: &Self) -> bool {
        let same_copy = |spec: &Self| Self {
            replica_id: self.replica_id.clone(),
            environment: self.environment.clone(),
            ordered_at_ms: self.ordered_at_ms,
            ..spec.clone()
        };
        *self == same_copy(other)
    }
}

/// What of the machine a model process sees. It always has folders of its own for `/app`, `/home/app`, `/tmp` and the like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Folders that look empty, with all that is below them: the server's data, the home folder of its user.
    pub hidden: Vec<PathBuf>,
    /// What lies in hidden folders and is shown all the same, read-only and at its own path: the environment, certificates.
    /// What [`Program`] names, and the interpreter that its environment leads to, need no mention.
    pub needed: Vec<PathBuf>,
    /// The user and group that the model process runs as, where the replica is started by root: it must be able to read the
    /// program and what is needed, and own what it may change in `app`. None, or elsewhere: as who starts the replica.
    pub user: Option<u32>,
}

/// What a replica runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Program {
    /// A `Model` class in the Truss packaging format, loaded by our Python worker.
    Truss {
        /// The interpreter of the deployment's environment.
        python: PathBuf,
        /// The folder that is `/app` for the model: `config.yaml`, `model/`, `data/`. Private to this replica's deployment, read-only.
        app: PathBuf,
        /// The folder that is `/packages` for the model, where the archive bundled any.
        packages: Option<PathBuf>,
        /// Where the replica notes down which modules of the environment `load` needed, for those that wait ahead to import.
        #[serde(default)]
        modules: Option<PathBuf>,
        /// The fully expanded config (every key present), given to the model as `config`.
        config: serde_json::Value,
    },
    /// A server of the user's own, in `docker_server` terms, run as a plain process.
    Server {
        /// The command line, run by `sh -c`.
        command: String,
        /// The folder it starts in (`/app`).
        app: PathBuf,
        /// Prepended to `PATH`: the `bin` of the deployment's environment.
        path: Option<PathBuf>,
        /// The port it was configured to listen on; the replica assigns a free one as `PORT` and replaces the configured number
        /// in the command line where it stands as a word of its own.
        port: u16,
        /// Where `/v1/models/model:predict` goes.
        predict_endpoint: String,
        /// Where `/v1/models/model` goes.
        readiness_endpoint: String,
        /// Where `/` goes.
        liveness_endpoint: String,
        /// What it speaks.
        #[serde(default)]
        protocol: Protocol,
    },
}

/// What the replicas of a deployment speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1, links and websockets.
    #[default]
    Http,
    /// gRPC, which is HTTP/2 all the way.
    Grpc,
}

/// Limits of the model process; enforced where the machine allows, reported when it cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of the whole process group.
    pub memory_bytes: Option<u64>,
    /// Thousandths of a CPU.
    pub millicpu: Option<u64>,
    /// Open files for each process.
    pub open_files: u64,
}

/// GPUs that nothing else uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpus {
    /// The flavor that they are: `t4`.
    pub flavor: String,
    /// How many.
    pub count: u32,
    /// Which. The backend says; a template has none.
    #[serde(default)]
    pub devices: Vec<Device>,
}

/// A GPU, as its vendor's library tells of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Device {
    /// No other has it, wherever it is.
    pub id: String,
    /// Its place among those of the machine, by their place on the bus.
    pub number: u32,
}

/// How long a model that was ready may say that it is not healthy, or a server of the user's own not answer, before something
/// follows from it, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthLimits {
    /// How often it is asked.
    pub interval_ms: u64,
    /// It gets no requests any more until it is healthy again.
    pub stop_traffic_ms: u64,
    /// It ends, so that another can take its place.
    pub restart_ms: u64,
    /// Not before it has been ready for so long.
    pub restart_delay_ms: u64,
}

impl Default for HealthLimits {
    /// The contract's.
    fn default() -> Self {
        Self { interval_ms: 10_000, stop_traffic_ms: 1_800_000, restart_ms: 1_800_000, restart_delay_ms: 0 }
    }
}

/// Secrets of the deployment, by declared name. Goes over standard input only. Has no `Debug`: it must not reach a log.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Secrets(pub BTreeMap<String, String>);

/// What a replica says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Grows by one with every change, so that a reader can tell old from new.
    pub sequence: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Requests accepted and not yet answered.
    pub in_flight: u32,
    /// How long each part of the start took, as far as it is known.
    pub start: StartTimes,
    /// The process to signal when the socket does not answer.
    pub pid: u32,
}

/// Where a replica stands. `Exited` is final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// The model process is being started.
    Starting,
    /// `load()` runs, or the server has not answered its readiness endpoint yet.
    Loading,
    /// Answers requests.
    Ready,
    /// Alive, and says that it is not healthy.
    Unhealthy,
    /// Finishes what it has accepted, accepts nothing more.
    Draining,
    /// The model process is gone.
    Exited(Exit),
}

/// Why a model process is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The cause.
    pub cause: ExitCause,
    /// One sentence for a person: "`load` raised ValueError: boom".
    pub message: String,
    /// The traceback or the last lines of output, where there are any.
    pub detail: Option<String>,
}

/// The cause of an [`Exit`], as far as a machine needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExitCause {
    /// Asked to stop, and stopped.
    Stopped,
    /// The model could not be imported or constructed, or `load` failed all its tries.
    LoadFailed,
    /// Not ready within `start_timeout_ms`.
    StartTimeout,
    /// Over its memory limit.
    OutOfMemory,
    /// Not healthy for longer than it may be.
    Unhealthy,
    /// Ended by itself.
    Code {
        /// The exit code.
        code: i32,
    },
    /// Ended by a signal that we did not send.
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// The replica process itself vanished; found by the backend.
    Lost,
}

/// How long each part of a start took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartTimes {
    /// From the decision to start it to the order that reached it.
    #[serde(default)]
    pub decide_ms: Option<u64>,
    /// From the order to a running model process; nothing to speak of where one had been made ready.
    pub spawn_ms: Option<u64>,
    /// Importing the model's module.
    pub import_ms: Option<u64>,
    /// Construction and `load()`; of a server of the user's own, until it first answers its readiness endpoint.
    pub load_ms: Option<u64>,
    /// The first question whether it is healthy, where the model has an answer.
    #[serde(default)]
    pub first_probe_ms: Option<u64>,
}

/// The body of `POST /_greenroom/drain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// After this long, whatever still runs is ended.
    pub timeout_ms: u64,
}

/// The body of `POST /_greenroom/swap`: go on with the code of another build, with the same process and what the model has loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// The other build's folder that would be `/app`.
    pub app: PathBuf,
}

/// Why a replica goes on with the code it had: the answer to a [`Swap`] with status 409, or 422 where the code does not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotSwapped {
    /// One sentence.
    pub message: String,
    /// Whether the new code does not work. Else it needs another process.
    pub is_broken: bool,
    /// The traceback.
    pub detail: Option<String>,
}

/// One line of output, of the model or of the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// How bad it is, where the line says.
    pub level: Option<Level>,
    /// The request it belongs to, where the line says.
    pub request_id: Option<String>,
    /// The text, without a line end.
    pub message: String,
}

/// Severity of a log line, with the contract's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// For the model's author.
    Debug,
    /// The ordinary.
    Info,
    /// Worth a look.
    Warning,
    /// Something failed.
    Error,
}
