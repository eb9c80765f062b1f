//! The status of a deployment, derived from facts.

use std::fmt;

use super::{Build, Lifecycle, Run, Status, Wanted};
use crate::replica_set::{Memory, Phase, Replica};

/// How many replicas a deployment has, by where they stand. Ended ones do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observed {
    /// Ordered, or their process is being started.
    pub starting: u32,
    /// In `load()`.
    pub loading: u32,
    /// Answer requests.
    pub ready: u32,
    /// Say that they are not healthy.
    pub unhealthy: u32,
    /// Told to stop, and still there.
    pub draining: u32,
}

impl Observed {
    /// Counts replicas.
    pub fn of(replicas: &[Replica]) -> Self {
        let mut counts = Self::default();
        for replica in replicas {
            match &replica.phase {
                Phase::Ended(_) => {}
                _ if replica.stopping => counts.draining += 1,
                Phase::Draining => counts.draining += 1,
                Phase::Starting => counts.starting += 1,
                Phase::Loading => counts.loading += 1,
                Phase::Ready => counts.ready += 1,
                Phase::Unhealthy => counts.unhealthy += 1,
            }
        }
        counts
    }

    /// Replicas that still hold something: a process, a slot, a request.
    pub fn alive(&self) -> u32 {
        self.starting + self.loading + self.ready + self.unhealthy + self.draining
    }
}

/// Failures in a row after which it is not to be expected any more that the next replica lives.
const TROUBLE: u32 = 2;

/// Whether a deployment without a ready replica will soon have one again: the last one was lost or taken away, none says that it is
/// not healthy, and starts do not keep failing. Callers wait for it, so that a replica's end concerns only what it had accepted.
pub fn recovers(lifecycle: &Lifecycle, observed: &Observed, memory: &Memory) -> bool {
    let is_lost = status(lifecycle, observed) == Status::Unhealthy;
    is_lost && observed.unhealthy == 0 && memory.failures < TROUBLE
}

/// The status that facts and replicas amount to.
pub fn status(lifecycle: &Lifecycle, observed: &Observed) -> Status {
    match (lifecycle.wanted, &lifecycle.build) {
        (Wanted::Inactive, _) if observed.alive() > 0 => Status::Deactivating,
        (Wanted::Inactive, _) => Status::Inactive,
        (Wanted::Running, Build::Pending { .. }) => Status::Building,
        (Wanted::Running, Build::Failed { .. }) => Status::BuildFailed,
        (Wanted::Running, Build::Stopped { .. }) => Status::BuildStopped,
        (Wanted::Running, Build::Succeeded { .. }) => running(&lifecycle.run, observed),
    }
}

fn running(run: &Run, observed: &Observed) -> Status {
    let is_ready = observed.ready > 0;
    match run {
        Run::Idle => Status::Deploying,
        Run::Starting { .. } if is_ready => Status::Active,
        Run::Starting { .. } if observed.loading > 0 => Status::LoadingModel,
        Run::Starting { .. } => Status::Deploying,
        Run::Serving { .. } if is_ready => Status::Active,
        Run::Serving { .. } => Status::Unhealthy,
        Run::AtZero { .. } => Status::ScaledToZero,
        Run::Waking { .. } if is_ready => Status::Active,
        Run::Waking { .. } => Status::WakingUp,
        Run::Failed { .. } => Status::DeployFailed,
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Building => "BUILDING",
            Status::Deploying => "DEPLOYING",
            Status::LoadingModel => "LOADING_MODEL",
            Status::Active => "ACTIVE",
            Status::Updating => "UPDATING",
            Status::Unhealthy => "UNHEALTHY",
            Status::ScaledToZero => "SCALED_TO_ZERO",
            Status::WakingUp => "WAKING_UP",
            Status::Deactivating => "DEACTIVATING",
            Status::Inactive => "INACTIVE",
            Status::BuildFailed => "BUILD_FAILED",
            Status::BuildStopped => "BUILD_STOPPED",
            Status::DeployFailed => "DEPLOY_FAILED",
            Status::Failed => "FAILED",
        })
    }
}
