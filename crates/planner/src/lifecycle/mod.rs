//! The life of one deployment: what has happened to it (facts, stored), what that makes its status (derived, never set by hand),
//! what its owners can ask of it (`commands`), and what should run next (`decide`). Behaviour 2.2, 2.3 and 2.5.

mod commands;
mod decide;
mod resume;
mod retire;
mod status;

use serde::{Deserialize, Serialize};

pub use self::{
    commands::Refusal,
    decide::{Picture, Why, decide, reason},
    status::{Observed, recovers, status},
};
use crate::Timestamp;

/// What has happened to a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// What its owners want of it.
    pub wanted: Wanted,
    /// How far its build is.
    pub build: Build,
    /// How far its run is.
    pub run: Run,
    /// When it was first ready; none until then. An environment may point at it from then on.
    #[serde(default)]
    pub first_ready: Option<Timestamp>,
    /// Why it rests, where that was not somebody's wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rests_because: Option<String>,
}

impl Lifecycle {
    /// A deployment that has just been pushed: to be built, then to serve.
    pub fn pushed(now: Timestamp) -> Self {
        Self {
            wanted: Wanted::Running,
            build: Build::Pending { since: now },
            run: Run::Idle,
            first_ready: None,
            rests_because: None,
        }
    }

    /// Why the build or the start failed, where it did.
    pub fn failure(&self) -> Option<&Reason> {
        match (&self.build, &self.run) {
            (Build::Failed { reason, .. }, _) | (_, Run::Failed { reason, .. }) => Some(reason),
            (Build::Pending { .. } | Build::Succeeded { .. } | Build::Stopped { .. }, _) => None,
        }
    }
}

/// What the owners of a deployment want of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// To serve, with as many replicas as demand asks for, none included.
    Running,
    /// To rest until somebody activates it.
    Inactive,
}

/// How far a build is. A promotion's copy starts at `Succeeded`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "build", rename_all = "snake_case")]
pub enum Build {
    /// Waiting for, or with, the builder.
    Pending {
        /// Since when.
        since: Timestamp,
    },
    /// Done.
    Succeeded {
        /// When.
        at: Timestamp,
        /// The backend's name for the result.
        artifact: String,
    },
    /// Ended with an error.
    Failed {
        /// When.
        at: Timestamp,
        /// What is wrong and what to do about it.
        reason: Reason,
    },
    /// Ended by a person.
    Stopped {
        /// When.
        at: Timestamp,
    },
}

/// How far a run is. A run begins when a build succeeds, and again with each activation and retry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "run", rename_all = "snake_case")]
pub enum Run {
    /// Nothing to run yet, or deactivated.
    Idle,
    /// No replica of this run has been ready yet.
    Starting {
        /// Since when; the deploy timeout counts from here.
        since: Timestamp,
    },
    /// At least one replica of this run has been ready.
    Serving {
        /// Since when.
        since: Timestamp,
    },
    /// No replica is wanted, for want of traffic.
    AtZero {
        /// Since when.
        since: Timestamp,
    },
    /// From zero to one again.
    Waking {
        /// Since when.
        since: Timestamp,
    },
    /// The start was given up.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        reason: Reason,
    },
}

/// Why something failed, in words for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// One sentence that names the thing and the cause.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// A traceback, or the last lines of output.
    pub detail: Option<String>,
}

/// The status that the API shows, with the contract's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The build runs or waits.
    Building,
    /// Built; replicas are being started.
    Deploying,
    /// A replica runs `load()`.
    LoadingModel,
    /// At least one replica is ready.
    Active,
    /// The platform moves it.
    Updating,
    /// Was active; no replica is ready now although some should be.
    Unhealthy,
    /// No replica, because of no traffic.
    ScaledToZero,
    /// From zero to one.
    WakingUp,
    /// Resting is wanted, replicas still drain.
    Deactivating,
    /// Resting.
    Inactive,
    /// The build failed.
    BuildFailed,
    /// The build was stopped by a person.
    BuildStopped,
    /// Never became ready.
    DeployFailed,
    /// Any other end.
    Failed,
}
