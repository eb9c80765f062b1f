//! What is remembered of a promotion between decisions, and what that makes its status.

use serde::{Deserialize, Serialize};

use super::{Ending, Mode, Seen, Settings, rolling};
use crate::{Timestamp, autoscale};

/// Time that gateways may take to get one table, as the deadline allows for it.
const PUBLICATION_MS: u64 = 60_000;

/// Everything that is remembered of a promotion. Saved before anything is done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How far it is.
    pub phase: Phase,
    /// Replicas that both sides should have together, as the environment's autoscaling asks; at least one.
    pub total: u32,
    /// The candidate's share of the traffic, as decided. [`super::Targets::candidate_percent`] says where traffic can go.
    pub percent: u8,
    /// Replicas asked of the candidate in a rolling promotion.
    pub requested: u32,
    /// Ready replicas of the candidate for which the share was last shifted.
    pub counted: u32,
    /// Replicas left to the previous deployment in a rolling promotion, the overhead included.
    pub allowed: u32,
    /// Replicas put on top of the previous deployment until the swap.
    pub overhead: u32,
    /// Since when the candidate has been as ready as the first share needs, without a break.
    pub ready_since: Option<Timestamp>,
    /// The most replicas of the candidate that were ever ready.
    pub best_ready: u32,
    /// When more of the candidate's replicas than ever before were ready, or more began to be needed; none until it is built.
    pub progress_at: Option<Timestamp>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it has ended at the latest, unless no server runs then. It stops going forward one deploy timeout earlier, so that
    /// there is time to go back.
    pub deadline_at: Timestamp,
}

/// How far a promotion is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Waits for the candidate; the previous deployment has all traffic.
    Releasing,
    /// The previous deployment ends, then the candidate starts: there is no room for both.
    Replacing,
    /// A share has been shifted: it is watched, once the gateways have it.
    Holding {
        /// Since when; none until the gateways have it.
        since: Option<Timestamp>,
    },
    /// Waits for more of the candidate's replicas before the next shift.
    Growing,
    /// The share is pinned by somebody's wish.
    Paused {
        /// Since when.
        since: Timestamp,
        /// What goes on afterwards.
        resume: Resume,
    },
    /// Somebody wants the candidate to have everything as soon as it has one ready replica.
    RollingForward,
    /// The candidate has everything, as soon as the gateways have that.
    Swapping,
    /// The share goes back as the previous deployment can carry it.
    RampingDown {
        /// Since when.
        since: Timestamp,
        /// How it will have ended.
        ending: Ending,
    },
    /// The candidate ends, then the previous deployment starts again: there is no room for both.
    Restoring {
        /// Since when.
        since: Timestamp,
        /// How it will have ended.
        ending: Ending,
    },
    /// The previous deployment has everything, as soon as the gateways have that.
    Returning {
        /// How it will have ended.
        ending: Ending,
    },
    /// Over. Nothing changes any more.
    Ended {
        /// When.
        at: Timestamp,
        /// How.
        ending: Ending,
    },
}

/// What a paused promotion goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "resume", rename_all = "snake_case")]
pub enum Resume {
    /// [`Phase::Releasing`].
    Releasing,
    /// [`Phase::Holding`].
    Holding {
        /// Since when the gateways had the share.
        held_since: Option<Timestamp>,
    },
    /// [`Phase::Growing`].
    Growing,
}

/// What is remembered of the load. Losing it costs one scale-down delay at most, so a shell may keep it to itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// What is remembered of the load of both sides.
    pub scaling: autoscale::Memory,
}

/// The status that the API shows, with the contract's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The candidate builds or starts.
    Releasing,
    /// The candidate gets a growing share.
    RampingUp,
    /// The share goes back.
    RampingDown,
    /// The share is pinned.
    Paused,
    /// The candidate is the environment's current deployment.
    Succeeded,
    /// It was given up.
    Failed,
    /// Somebody gave it up.
    Canceled,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Status::Releasing => "RELEASING",
            Status::RampingUp => "RAMPING_UP",
            Status::RampingDown => "RAMPING_DOWN",
            Status::Paused => "PAUSED",
            Status::Succeeded => "SUCCEEDED",
            Status::Failed => "FAILED",
            Status::Canceled => "CANCELED",
        })
    }
}

impl State {
    /// A promotion that begins now.
    pub fn begin(now: Timestamp, settings: &Settings, seen: &Seen<'_>) -> Self {
        let total = seen.previous.map_or(0, |previous| previous.wanted).max(1);
        Self {
            phase: Phase::Releasing,
            total,
            percent: if seen.previous.is_some() { 0 } else { 100 },
            requested: rolling::first_requested(settings, total, seen.candidate.wanted),
            counted: 0,
            allowed: total,
            overhead: 0,
            ready_since: None,
            best_ready: 0,
            progress_at: None,
            started_at: now,
            deadline_at: now.plus(longest_ms(settings, total.max(seen.autoscaling.max_replica))),
        }
    }

    /// What the API shows.
    pub fn status(&self) -> Status {
        match &self.phase {
            Phase::Releasing | Phase::Replacing => Status::Releasing,
            Phase::Holding { .. } | Phase::Growing | Phase::RollingForward | Phase::Swapping => Status::RampingUp,
            Phase::Paused { .. } => Status::Paused,
            Phase::RampingDown { .. } | Phase::Restoring { .. } | Phase::Returning { .. } => Status::RampingDown,
            Phase::Ended { ending: Ending::Succeeded, .. } => Status::Succeeded,
            Phase::Ended { ending: Ending::Failed { .. }, .. } => Status::Failed,
            Phase::Ended { ending: Ending::Canceled { .. }, .. } => Status::Canceled,
        }
    }

    /// How it has ended; none while it is under way.
    pub fn ending(&self) -> Option<&Ending> {
        match &self.phase {
            Phase::Ended { ending, .. } => Some(ending),
            _ => None,
        }
    }

    /// Goes on after a restart of the server: while none ran, nothing could become ready.
    #[must_use]
    pub fn resumed_by_another_server(self, now: Timestamp) -> Self {
        Self { progress_at: self.progress_at.map(|_| now), ..self }
    }

    /// The same, in another phase.
    pub(super) fn into_phase(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }

    /// A clock that stepped back must not leave moments that lie ahead, nor a deadline that is further away than at the start.
    pub(super) fn rewound(self, now: Timestamp) -> Self {
        let past = |moment: Timestamp| moment.min(now);
        let phase = match self.phase {
            Phase::Holding { since } => Phase::Holding { since: since.map(past) },
            Phase::Paused { since, resume } => Phase::Paused { since: past(since), resume: resume.rewound(now) },
            Phase::RampingDown { since, ending } => Phase::RampingDown { since: past(since), ending },
            Phase::Restoring { since, ending } => Phase::Restoring { since: past(since), ending },
            phase => phase,
        };
        Self {
            phase,
            ready_since: self.ready_since.map(past),
            progress_at: self.progress_at.map(past),
            started_at: past(self.started_at),
            deadline_at: Timestamp(self.deadline_at.0.saturating_sub(self.started_at.since(now))),
            ..self
        }
    }
}

impl Resume {
    fn rewound(self, now: Timestamp) -> Self {
        match self {
            Resume::Holding { held_since } => Resume::Holding { held_since: held_since.map(|since| since.min(now)) },
            Resume::Releasing | Resume::Growing => self,
        }
    }
}

/// How long a promotion may take, its way back included: the build and the first start, the deliberate holds, starts in between,
/// and one deploy timeout to go back.
fn longest_ms(settings: &Settings, most_replicas: u32) -> u64 {
    let peak = u64::from(most_replicas);
    let (holds_ms, batches, shifts) = match settings.mode {
        Mode::Immediate => (0, 1, 1),
        Mode::Canary { duration_ms } => (duration_ms, peak.min(10), 10),
        Mode::Rolling { step, stabilization_ms, .. } => {
            let batches = peak.div_ceil(u64::from(rolling::step_replicas(step, most_replicas)));
            (stabilization_ms.saturating_mul(peak + 1), batches, peak + 1)
        }
    };
    let starts_ms = settings.deploy_timeout_ms.saturating_mul(batches + 3);
    settings.min_ready_ms.saturating_add(holds_ms).saturating_add(starts_ms).saturating_add(shifts * PUBLICATION_MS)
}
