//! A request that somebody may ask about later: what the access log says of it.

use std::time::Duration;

use crate::id::{DeploymentId, ReplicaId};

/// One request for a model, when it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The deployment that it went to.
    pub deployment_id: DeploymentId,
    /// How long ago it ended.
    pub age: Duration,
    /// Its id.
    pub request_id: String,
    /// Its method.
    pub method: String,
    /// Its path, without the query.
    pub path: String,
    /// The answer's status; none when the client left before.
    pub status: Option<u16>,
    /// What came of it.
    pub outcome: Outcome,
    /// From its head to the last byte of its answer.
    pub took: Duration,
    /// How long it waited for a slot; none, like the replica, where it never had one.
    pub waited: Option<Duration>,
    /// What answered it.
    pub replica_id: Option<ReplicaId>,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its answer has gone out whole.
    Answered,
    /// Its client left before that.
    Left,
    /// Its answer broke off on our side.
    BrokenOff,
}

/// What there is to write down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accesses {
    /// Requests, in the order of their ends.
    pub requests: Vec<Access>,
    /// How many more there were of a deployment than are kept of it.
    pub omitted: Vec<(DeploymentId, u64)>,
}
