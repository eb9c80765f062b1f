//! What people, and the builder, may do to a deployment: each takes the facts and gives the facts that follow, or refuses.
//! A command only records intent; what runs changes when the next decision is taken.

use super::{Build, Lifecycle, Reason, Run, Wanted};
use crate::Timestamp;

/// Why a command does nothing, in words for the one who gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Activation of something that failed.
    RetryInstead,
    /// Retry of something that runs, or has not run yet.
    NothingFailed,
    /// Retry of a build that a person stopped.
    StoppedByPerson,
    /// Retry of something that is deactivated.
    ActivateInstead,
    /// Stopping a build that does not run.
    NotBuilding,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refusal::RetryInstead => "the deployment failed: retry it instead of activating it",
            Refusal::NothingFailed => "the deployment has not failed, there is nothing to retry",
            Refusal::StoppedByPerson => "the build was stopped by a person: push again to build it",
            Refusal::ActivateInstead => "the deployment is inactive: activate it instead of retrying it",
            Refusal::NotBuilding => "the deployment is not being built",
        })
    }
}

impl std::error::Error for Refusal {}

impl Lifecycle {
    /// Lets an inactive deployment serve again, from its existing build. One that serves already stays as it is.
    pub fn activate(self, now: Timestamp) -> Result<Self, Refusal> {
        match (self.wanted, &self.build, &self.run) {
            (Wanted::Inactive, Build::Pending { .. } | Build::Succeeded { .. }, _) => {
                Ok(Self { wanted: Wanted::Running, run: Run::Idle, rests_because: None, ..self })
            }
            (Wanted::Inactive, Build::Failed { .. } | Build::Stopped { .. }, _) => {
                let build = Build::Pending { since: now };
                Ok(Self { wanted: Wanted::Running, build, run: Run::Idle, rests_because: None, ..self })
            }
            (Wanted::Running, Build::Failed { .. } | Build::Stopped { .. }, _)
            | (Wanted::Running, _, Run::Failed { .. }) => Err(Refusal::RetryInstead),
            (Wanted::Running, Build::Pending { .. } | Build::Succeeded { .. }, _) => Ok(self),
        }
    }

    /// Lets a deployment rest: replicas drain, everything else is kept.
    #[must_use]
    pub fn deactivate(self) -> Self {
        Self { wanted: Wanted::Inactive, run: Run::Idle, rests_because: None, ..self }
    }

    /// Runs the part that failed again.
    pub fn retry(self, now: Timestamp) -> Result<Self, Refusal> {
        match (self.wanted, &self.build, &self.run) {
            (Wanted::Inactive, _, _) => Err(Refusal::ActivateInstead),
            (Wanted::Running, Build::Failed { .. }, _) => {
                Ok(Self { build: Build::Pending { since: now }, run: Run::Idle, ..self })
            }
            (Wanted::Running, Build::Stopped { .. }, _) => Err(Refusal::StoppedByPerson),
            (Wanted::Running, Build::Succeeded { .. }, Run::Failed { .. }) => Ok(Self { run: Run::Idle, ..self }),
            (Wanted::Running, Build::Pending { .. } | Build::Succeeded { .. }, _) => Err(Refusal::NothingFailed),
        }
    }

    /// Ends a build because a person asked for it.
    pub fn stop_build(self, now: Timestamp) -> Result<Self, Refusal> {
        match &self.build {
            Build::Pending { .. } => Ok(Self { build: Build::Stopped { at: now }, ..self }),
            Build::Succeeded { .. } | Build::Failed { .. } | Build::Stopped { .. } => Err(Refusal::NotBuilding),
        }
    }

    /// The build that the builder should be at work on, named by the moment it was asked for.
    pub fn pending_build(&self) -> Option<Timestamp> {
        match (self.wanted, &self.build) {
            (Wanted::Running, Build::Pending { since }) => Some(*since),
            _ => None,
        }
    }

    /// Records the end of the build that was asked for at `since`: the artifact, or what went wrong. The result of a build that
    /// nobody waits for any more is dropped.
    #[must_use]
    pub fn build_finished(self, since: Timestamp, now: Timestamp, result: Result<String, Reason>) -> Self {
        match &self.build {
            Build::Pending { since: asked } if *asked == since => {
                let build = match result {
                    Ok(artifact) => Build::Succeeded { at: now, artifact },
                    Err(reason) => Build::Failed { at: now, reason },
                };
                Self { build, ..self }
            }
            Build::Pending { .. } | Build::Succeeded { .. } | Build::Failed { .. } | Build::Stopped { .. } => self,
        }
    }

    /// Records that the artifact is no longer there: it is built again before anything else starts.
    #[must_use]
    pub fn artifact_lost(self, now: Timestamp) -> Self {
        match &self.build {
            Build::Succeeded { .. } => Self { build: Build::Pending { since: now }, run: Run::Idle, ..self },
            Build::Pending { .. } | Build::Failed { .. } | Build::Stopped { .. } => self,
        }
    }
}
