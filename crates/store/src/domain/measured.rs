//! What was counted and measured of deployments.

use std::collections::BTreeMap;

use api::{
    id::{DeploymentId, ModelId, ReplicaId, TeamId},
    internal::{
        measures::{Histogram, Measures, Seconds},
        tokens::Tokens,
    },
};
use planner::Timestamp;
use serde::{Deserialize, Serialize};

/// What was counted of a deployment within a span of time, and how it stood at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Of what.
    pub deployment_id: DeploymentId,
    /// The environment that it was in; none when it was in none.
    pub environment: Option<String>,
    /// When the span began.
    pub since: Timestamp,
    /// When it ended.
    pub until: Timestamp,
    /// What was counted.
    pub measures: Measures,
    /// How it stood.
    pub standing: Standing,
    /// Replicas that ended without having been asked to. The store counts them: what a new sample says is not looked at.
    pub restarts: u64,
}

impl Sample {
    /// How long the span was, in milliseconds.
    pub fn span_ms(&self) -> u64 {
        self.until.0.saturating_sub(self.since.0)
    }
}

/// How a deployment stands at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Replicas that are wanted.
    pub desired: u32,
    /// Replicas that are ready.
    pub active: u32,
    /// Replicas on their way to that, or waiting for room.
    pub starting: u32,
    /// Replicas that say that they are not healthy.
    pub unhealthy: u32,
    /// Requests that a replica has.
    pub in_flight: u32,
    /// Requests that wait for one.
    pub queued: u32,
    /// What each replica uses, where the backend can tell.
    pub uses: BTreeMap<ReplicaId, Use>,
}

/// What a replica uses of its machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Processor time within the span, in milliseconds.
    pub cpu_ms: u64,
    /// Processor time since it began.
    pub cpu_total_ms: u64,
    /// Memory at the end of the span.
    pub memory_bytes: u64,
}

/// What was counted of a deployment in all.
#[derive(Debug, Clone, PartialEq)]
pub struct Total {
    /// Of what.
    pub deployment_id: DeploymentId,
    /// Until when.
    pub at: Timestamp,
    /// What was counted.
    pub measures: Measures,
    /// How it stood then.
    pub standing: Standing,
    /// How long its starts and builds took.
    pub durations: Durations,
    /// Replicas that ended without having been asked to.
    pub restarts: u64,
}

/// How long things took that happen now and then.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Durations {
    /// Parts of starts that came to a ready replica, by the name of the part; all of them together as `total`.
    pub starts: BTreeMap<String, Histogram<Seconds>>,
    /// Builds that made something to run.
    pub builds: Histogram<Seconds>,
    /// Builds that failed.
    pub failed_builds: Histogram<Seconds>,
}

/// What there is to pay for a deployment, a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Which.
    pub deployment_id: DeploymentId,
    /// The environment that it was in; none when it was in none.
    pub environment: Option<String>,
    /// When the span began.
    pub since: Timestamp,
    /// For how long replicas were up, all of them together.
    pub replica_ms: u64,
    /// Requests that were answered.
    pub requests: u64,
    /// Tokens that they took, as far as that is known.
    pub tokens: Tokens,
}

/// What there is to pay for a deployment in an environment, a day. It may be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageDay {
    /// When the day began, in UTC.
    pub day: Timestamp,
    /// Which deployment.
    pub deployment_id: DeploymentId,
    /// The environment that it was in; none when it was in none.
    pub environment: Option<String>,
    /// Its name, as last known.
    pub deployment_name: String,
    /// Its model.
    pub model_id: ModelId,
    /// The model's name, as last known.
    pub model_name: String,
    /// Whose it is.
    pub team_id: TeamId,
    /// From the catalogue.
    pub instance_type: String,
    /// For how long replicas were up, all of them together.
    pub replica_ms: u64,
    /// Requests that were answered.
    pub requests: u64,
    /// Tokens that they took, as far as that is known.
    pub tokens: Tokens,
    /// Whether the deployment is gone.
    pub is_deleted: bool,
}
