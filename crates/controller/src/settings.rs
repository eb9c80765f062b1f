//! What an operator may tune, and what a controller is made of.

use std::{path::PathBuf, sync::Arc, time::Duration};

use backends::Backend;
use planner::{Clock, capacity::Capacity, catalogue::Catalogue, location::Enforcement};
use store::{Blobs, Store};

use crate::{Gateways, LogExport, Site};

/// Where random bits come from; replica ids are made of them.
pub type Entropy = Arc<dyn Fn() -> u128 + Send + Sync>;

/// The rooms a controller stands between.
#[derive(Clone)]
pub struct Parts {
    /// Intent and facts.
    pub store: Store,
    /// Archives.
    pub blobs: Blobs,
    /// Where models are built.
    pub builder: Arc<dyn Backend>,
    /// Where they run, in the order of preference; each can start what the builder has built.
    pub sites: Vec<Site>,
    /// Who is told the routes, and tells the load.
    pub gateways: Arc<dyn Gateways>,
    /// The time.
    pub clock: Clock,
    /// Random bits.
    pub entropy: Entropy,
    /// Who takes log lines elsewhere.
    pub log_export: Option<Arc<dyn LogExport>>,
}

/// What an operator may tune.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// An existing folder for archives while they are being built from; its content is worthless after a restart.
    pub work_dir: PathBuf,
    /// Builds that may run at one time; the others wait in the order of their pushes.
    pub builds_at_once: usize,
    /// Each task looks at least this often, whether or not it is woken.
    pub slow_round: Duration,
    /// How often unused archives, artifacts and old log lines are removed.
    pub garbage_round: Duration,
    /// The longest a request may take; also how long it may wait for a replica, and how long a stopping replica may drain.
    pub request_timeout: Duration,
    /// How long a replica that is to stop goes on taking requests that were sent before their sender knew.
    pub drain_delay: Duration,
    /// The largest request body.
    pub max_body_bytes: u64,
    /// Requests of one deployment that may wait at a gateway.
    pub max_queued: u32,
    /// How many bytes the bodies of those may have together.
    pub max_queued_bytes: u64,
    /// Files that a model process may have open.
    pub open_files: u64,
    /// What a replica of each instance type may use. A type that it does not know is limited to what the config asks for.
    pub instance_types: Catalogue,
    /// What all replicas may use together; a replica that does not fit waits.
    pub capacity: Capacity,
    /// When running replicas obey policies that have changed.
    pub enforcement: Enforcement,
    /// How often locations are asked whether they can run replicas.
    pub heartbeat: Duration,
    /// How long a candidate must have been ready before it gets its first traffic.
    pub min_ready: Duration,
    /// Where archives stand in the blob store; below it, what no deployment refers to is removed after a day.
    pub archive_prefix: String,
    /// How long log lines are kept.
    pub log_retention: Duration,
    /// How many bytes of log lines are kept; the oldest go first.
    pub log_max_bytes: u64,
    /// How often what was counted is recorded; also how finely it can be looked at afterwards.
    pub measure_interval: Duration,
    /// How long it is kept that finely.
    pub measure_retention: Duration,
    /// How long [`crate::Shutdown::StopReplicas`] waits for requests under way.
    pub shutdown_limit: Duration,
}

impl Settings {
    /// The defaults, with a folder for temporary files.
    pub fn new(work_dir: impl Into<PathBuf>) -> Self {
        Self {
            work_dir: work_dir.into(),
            builds_at_once: 4,
            slow_round: Duration::from_secs(10),
            garbage_round: Duration::from_secs(3600),
            request_timeout: Duration::from_secs(1200),
            drain_delay: Duration::from_millis(250),
            max_body_bytes: 100 * 1000 * 1000,
            max_queued: 10_000,
            max_queued_bytes: 1 << 30,
            open_files: 65_536,
            instance_types: Catalogue::default(),
            capacity: Capacity::default(),
            enforcement: Enforcement::default(),
            heartbeat: Duration::from_secs(5),
            min_ready: Duration::ZERO,
            archive_prefix: "archives".into(),
            log_retention: Duration::from_secs(7 * 24 * 3600),
            log_max_bytes: 4 << 30,
            measure_interval: Duration::from_secs(30),
            measure_retention: Duration::from_secs(8 * 24 * 3600),
            shutdown_limit: Duration::from_secs(30),
        }
    }

    pub(crate) fn request_timeout_ms(&self) -> u64 {
        millis(self.request_timeout)
    }

    pub(crate) fn drain_delay_ms(&self) -> u64 {
        millis(self.drain_delay)
    }

    pub(crate) fn shutdown_limit_ms(&self) -> u64 {
        millis(self.shutdown_limit)
    }
}

/// A duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
