//! What the gateway routes by: one immutable table, published whole by the controller and swapped whole by the gateway.
//! And what the gateway reports back. The gateway knows nothing else of the world.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
};

use super::{
    replica::{Protocol, StartTimes},
    tokens::{Allowance, Metered},
};
use crate::id::{DeploymentId, ModelId, ReplicaId};

/// Everything a gateway needs to answer requests.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Grows with every publication; shown by the gateway so that staleness can be seen.
    pub version: u64,
    /// By model.
    pub models: HashMap<ModelId, ModelRoutes>,
    /// By deployment, shared between tables while unchanged.
    pub deployments: HashMap<DeploymentId, Arc<DeploymentRoute>>,
    /// By SHA-256 of the whole key.
    pub keys: HashMap<[u8; 32], KeyGrant>,
    /// How many tokens may be taken, where that is limited.
    pub allowances: HashMap<Metered, Allowance>,
}

/// The targets of one model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelRoutes {
    /// What `/development` means.
    pub development: Option<DeploymentId>,
    /// What `/environments/{name}` means, `production` among them. An environment with nothing to serve is listed with none.
    pub environments: BTreeMap<String, Option<Split>>,
}

/// How an environment's traffic is divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The current deployment.
    pub stable: DeploymentId,
    /// The deployment being promoted and its share in percent, while there is one.
    pub candidate: Option<(DeploymentId, u8)>,
}

/// One deployment as the gateway sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentRoute {
    /// Which.
    pub id: DeploymentId,
    /// Of which model.
    pub model_id: ModelId,
    /// What to do with a request.
    pub availability: Availability,
    /// What its replicas speak.
    pub protocol: Protocol,
    /// Where ready replicas are. Order carries no meaning.
    pub replicas: Vec<Endpoint>,
    /// Requests that each replica takes at one time; the rest wait here.
    pub slots_per_replica: u32,
    /// Limits in time and size.
    pub limits: RequestLimits,
}

/// What to do with a request for a deployment (behaviour 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// Send it on; with no replica or no slot, let it wait and ask for a wake-up.
    Serve,
    /// Never ready yet: 400, `model_not_ready`.
    NotReady,
    /// Deactivated: 404, `model_unavailable`, with a text that says so.
    Inactive,
    /// Failed, or no replica passes its checks: 500, `model_unavailable`.
    Unhealthy,
}

/// Where a replica listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Which replica; the key its statistics are kept under.
    pub replica_id: ReplicaId,
    /// Its address.
    pub address: Address,
    /// How long the parts of its start took.
    pub start: StartTimes,
}

/// An address a gateway can connect to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A Unix socket on this machine.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

/// Limits of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// How long it may wait for a slot.
    pub queue_ms: u64,
    /// How long the first byte of the answer may take once it runs.
    pub first_byte_ms: u64,
    /// The longest silence between two bytes of an answer.
    pub idle_ms: u64,
    /// The largest body.
    pub max_body_bytes: u64,
    /// How many requests may wait.
    pub max_queued: u32,
    /// How many bytes the bodies of those may have together, as far as they are announced.
    pub max_queued_bytes: u64,
    /// Whether requests wait at all where there are replicas and all are busy.
    pub waits_when_full: bool,
}

/// What the holder of a key may do at the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyGrant {
    /// The public handle, for logs.
    pub prefix: Arc<str>,
    /// The models it may call; none means all.
    pub models: Option<Arc<[ModelId]>>,
    /// The environments in which it may call them; none means everywhere.
    pub environments: Option<Arc<[String]>>,
    /// How often it may call; none means as often as it likes.
    pub requests_per_minute: Option<NonZeroU32>,
    /// When it is worth nothing any more, in milliseconds since the Unix epoch; none means never.
    pub expires_at_ms: Option<u64>,
    /// Whether it may call models at all.
    pub may_invoke: bool,
}

/// What one gateway has on its hands for one deployment, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    /// Sent to a replica and not answered.
    pub in_flight: u32,
    /// The same by replica, as far as there are any; those that the newest table does not list any more included.
    pub by_replica: BTreeMap<ReplicaId, u32>,
    /// Waiting for a slot or a replica.
    pub queued: u32,
    /// Requests that ended since the gateway started; a change means traffic.
    pub finished: u64,
    /// Explicit wake calls since the gateway started; a change means "start".
    pub wakes: u64,
}
