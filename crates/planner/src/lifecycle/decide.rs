//! How far a run is, and how many replicas it should have.

use std::fmt;

use super::{Build, Lifecycle, Observed, Reason, Run, Wanted};
use crate::{
    Decision, Timestamp,
    replica_set::{Cause, End},
};

/// Starts that may fail before a first start is given up, or a wake-up counts as trouble.
const PATIENCE: u32 = 3;
/// A wake-up is not abandoned within this time, so that whoever asked for it can arrive.
const WAKE_HOLD_MS: u64 = 60_000;

/// What the lifecycle looks at.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// Replicas by where they stand.
    pub observed: Observed,
    /// Starts that have failed in a row.
    pub failures: u32,
    /// The newest failure, in the pass that counts it.
    pub failure: Option<&'a End>,
    /// Replicas that the load asks for; what `autoscale` says.
    pub demand: u32,
    /// Replicas of a first start: at least one, and the settings' minimum.
    pub first_replicas: u32,
    /// Whether a promotion wants no replica of it, whatever the load.
    pub is_held_back: bool,
    /// How long a first start may take.
    pub deploy_timeout_ms: u64,
}

/// Why a run is where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The build has not ended.
    WaitingForBuild,
    /// The build failed.
    BuildFailed,
    /// The build was stopped.
    BuildStopped,
    /// Rest is wanted.
    Resting,
    /// A promotion wants no replica of it.
    HeldBack,
    /// The first replicas are being started.
    FirstStart,
    /// It has been ready, and follows the load.
    FollowingLoad,
    /// It has been ready, and is not now.
    NotReady,
    /// There was no traffic.
    NoTraffic,
    /// Somebody asks for it.
    Waking,
    /// The wake-up keeps failing.
    WakeFails,
    /// The start was given up.
    GivenUp,
}

impl Why {
    /// Whether the target is the load's to choose.
    pub fn follows_load(self) -> bool {
        match self {
            Why::FollowingLoad | Why::NotReady | Why::NoTraffic => true,
            Why::WaitingForBuild | Why::BuildFailed | Why::BuildStopped | Why::Resting => false,
            Why::HeldBack => false,
            Why::FirstStart | Why::Waking | Why::WakeFails | Why::GivenUp => false,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::WaitingForBuild => "waiting for the build",
            Why::BuildFailed => "the build failed",
            Why::BuildStopped => "the build was stopped",
            Why::Resting => "it is deactivated",
            Why::HeldBack => "a promotion needs its room",
            Why::FirstStart => "waiting for the first replica to be ready",
            Why::FollowingLoad => "following the load",
            Why::NotReady => "waiting for a replica to be ready again",
            Why::NoTraffic => "there is no traffic",
            Why::Waking => "waking up for a request",
            Why::WakeFails => "it cannot wake up, replicas keep ending",
            Why::GivenUp => "the start was given up",
        })
    }
}

/// Why a deployment stands where it does, from its facts alone; none when it serves.
pub fn reason(lifecycle: &Lifecycle, observed: &Observed) -> Option<Why> {
    match (lifecycle.wanted, &lifecycle.build, &lifecycle.run) {
        (Wanted::Inactive, _, _) => Some(Why::Resting),
        (Wanted::Running, Build::Pending { .. }, _) => Some(Why::WaitingForBuild),
        (Wanted::Running, Build::Failed { .. }, _) => Some(Why::BuildFailed),
        (Wanted::Running, Build::Stopped { .. }, _) => Some(Why::BuildStopped),
        (Wanted::Running, Build::Succeeded { .. }, Run::Failed { .. }) => Some(Why::GivenUp),
        (Wanted::Running, Build::Succeeded { .. }, Run::AtZero { .. }) => Some(Why::NoTraffic),
        (Wanted::Running, Build::Succeeded { .. }, _) if observed.ready > 0 => None,
        (Wanted::Running, Build::Succeeded { .. }, Run::Idle | Run::Starting { .. }) => Some(Why::FirstStart),
        (Wanted::Running, Build::Succeeded { .. }, Run::Serving { .. }) => Some(Why::NotReady),
        (Wanted::Running, Build::Succeeded { .. }, Run::Waking { .. }) => Some(Why::Waking),
    }
}

/// Moves a run on, and says how many replicas it should have.
pub fn decide(now: Timestamp, lifecycle: &Lifecycle, picture: &Picture<'_>) -> Decision<Lifecycle, u32, Why> {
    let rest =
        |why| Decision { next: Lifecycle { run: Run::Idle, ..lifecycle.clone() }, output: 0, wake_at: None, why };
    match (lifecycle.wanted, &lifecycle.build) {
        (Wanted::Inactive, _) => rest(Why::Resting),
        (Wanted::Running, Build::Pending { .. }) => rest(Why::WaitingForBuild),
        (Wanted::Running, Build::Failed { .. }) => rest(Why::BuildFailed),
        (Wanted::Running, Build::Stopped { .. }) => rest(Why::BuildStopped),
        (Wanted::Running, Build::Succeeded { .. }) => {
            let step = advance(now, &lifecycle.run, picture);
            let first_ready = match step.next {
                Run::Serving { since } => lifecycle.first_ready.or(Some(since)),
                _ => lifecycle.first_ready,
            };
            Decision {
                next: Lifecycle { run: step.next, first_ready, ..lifecycle.clone() },
                output: step.output,
                wake_at: step.wake_at,
                why: step.why,
            }
        }
    }
}

fn advance(now: Timestamp, run: &Run, picture: &Picture<'_>) -> Decision<Run, u32, Why> {
    let is_ready = picture.observed.ready > 0;
    match run {
        Run::Idle | Run::Starting { .. } if picture.is_held_back => settle(Run::Idle, 0, Why::HeldBack),
        Run::Serving { .. } | Run::Waking { .. } | Run::AtZero { .. } if picture.is_held_back => {
            let since = if let Run::AtZero { since } = run { *since } else { now };
            settle(Run::AtZero { since }, 0, Why::HeldBack)
        }
        Run::Idle => begin(now, picture),
        Run::Starting { .. } if is_ready => serve(now, picture.first_replicas),
        Run::Starting { since } => {
            let since = (*since).min(now);
            match reason_to_give_up(now, since, picture) {
                Some(reason) => settle(Run::Failed { at: now, reason }, 0, Why::GivenUp),
                None => begin(since, picture),
            }
        }
        Run::Serving { .. } if picture.demand == 0 => settle(Run::AtZero { since: now }, 0, Why::NoTraffic),
        Run::Serving { since } => {
            let why = if is_ready { Why::FollowingLoad } else { Why::NotReady };
            settle(Run::Serving { since: *since }, picture.demand, why)
        }
        Run::AtZero { .. } if picture.demand > 0 => wake(now, now, picture.demand),
        Run::AtZero { since } => settle(Run::AtZero { since: *since }, 0, Why::NoTraffic),
        Run::Waking { .. } if is_ready => serve(now, picture.demand.max(1)),
        Run::Waking { .. } if picture.failures >= PATIENCE => {
            settle(Run::Serving { since: now }, picture.demand.max(1), Why::WakeFails)
        }
        Run::Waking { since } => {
            let since = (*since).min(now);
            match picture.demand {
                0 if now.since(since) >= WAKE_HOLD_MS => settle(Run::AtZero { since: now }, 0, Why::NoTraffic),
                demand => wake(now, since, demand),
            }
        }
        Run::Failed { at, reason } => settle(Run::Failed { at: *at, reason: reason.clone() }, 0, Why::GivenUp),
    }
}

/// A first start begins, or goes on.
fn begin(since: Timestamp, picture: &Picture<'_>) -> Decision<Run, u32, Why> {
    Decision {
        next: Run::Starting { since },
        output: picture.first_replicas,
        wake_at: Some(since.plus(picture.deploy_timeout_ms)),
        why: Why::FirstStart,
    }
}

fn serve(now: Timestamp, replicas: u32) -> Decision<Run, u32, Why> {
    settle(Run::Serving { since: now }, replicas, Why::FollowingLoad)
}

fn wake(now: Timestamp, since: Timestamp, demand: u32) -> Decision<Run, u32, Why> {
    let held_until = since.plus(WAKE_HOLD_MS);
    let wake_at = (held_until > now).then_some(held_until);
    Decision { next: Run::Waking { since }, output: demand.max(1), wake_at, why: Why::Waking }
}

fn settle(run: Run, replicas: u32, why: Why) -> Decision<Run, u32, Why> {
    Decision { next: run, output: replicas, wake_at: None, why }
}

/// Why a first start can no longer succeed, if so. A model that cannot load fails at once: the replica has tried again itself.
fn reason_to_give_up(now: Timestamp, since: Timestamp, picture: &Picture<'_>) -> Option<Reason> {
    if let Some(end) = picture.failure {
        let is_hopeless = match end.cause {
            Cause::LoadFailed | Cause::StartTimeout => true,
            Cause::Crashed | Cause::Stopped => picture.failures >= PATIENCE,
        };
        if is_hopeless {
            let message = match end.cause {
                Cause::LoadFailed | Cause::StartTimeout => end.message.clone(),
                Cause::Crashed | Cause::Stopped => {
                    format!("the model ended {} times while starting: {}", picture.failures, end.message)
                }
            };
            let hint = "mend the model and push again, or retry if the cause lay outside it";
            return Some(Reason { message, hint: Some(hint.into()), detail: end.detail.clone() });
        }
    }
    (now.since(since) >= picture.deploy_timeout_ms).then(|| {
        let minutes = picture.deploy_timeout_ms / 60_000;
        let stuck = match picture.observed {
            Observed { loading: 1.., .. } => "`load` had not returned",
            Observed { unhealthy: 1.., .. } => "the model was never healthy",
            _ => "no replica had started",
        };
        Reason {
            message: format!("not ready within the deploy timeout of {minutes} minutes: {stuck}"),
            hint: Some("look at the log for what it was doing, or push with a longer deploy timeout".into()),
            detail: None,
        }
    })
}
