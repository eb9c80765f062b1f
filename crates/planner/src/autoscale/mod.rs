//! How many replicas a deployment should have. Behaviour 4. Up at once; down in steps, each after a whole quiet delay, and none
//! within a window of a start of the server or of the last step up.

mod history;
mod inputs;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::inputs::Inputs;
use self::{
    history::History,
    inputs::{inputs, needed},
};
use crate::{Decision, Timestamp};

/// Looks in one window while the average moves.
const LOOKS: u64 = 20;

/// The settings of one deployment or environment. Parsed at the door: every value is within its range here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Never fewer.
    pub min_replica: u32,
    /// Never more.
    pub max_replica: u32,
    /// The load is averaged over this many seconds.
    pub autoscaling_window_s: u32,
    /// The load must stay low for this many seconds before each step down.
    pub scale_down_delay_s: u32,
    /// Requests in flight that one replica is meant to have.
    pub concurrency_target: u32,
    /// Head-room: the part of the target to plan with, in percent.
    pub target_utilization_percent: u32,
    /// The largest step down, in percent of what runs.
    pub max_scale_down_rate_percent: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_replica: 0,
            max_replica: 1,
            autoscaling_window_s: 60,
            scale_down_delay_s: 900,
            concurrency_target: 1,
            target_utilization_percent: 70,
            max_scale_down_rate_percent: 50,
        }
    }
}

/// What a deployment has on its hands, summed over all gateways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Sent to a replica and not answered.
    pub in_flight: u32,
    /// Waiting for a slot or a replica.
    pub queued: u32,
    /// Requests that ended since the last decision.
    pub finished: u64,
    /// Whether somebody asked for a wake-up since the last decision.
    pub woken: bool,
}

impl Load {
    fn is_none(&self) -> bool {
        *self == Load::default()
    }
}

/// What is remembered between decisions. A shell keeps it to itself; what a restart loses is said by [`Steadiness::Unknown`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    history: History,
    steadiness: Steadiness,
    low: Option<Low>,
}

/// Until when no replica is taken away, whatever the load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Steadiness {
    /// Nothing is known of the load: the server has just started. The first decision holds the size for one window.
    #[default]
    Unknown,
    /// The server started at this moment, and the load is learned for one window.
    Learning(Timestamp),
    /// More replicas were asked for at this moment, and have one window to prove themselves.
    Raised(Timestamp),
}

/// The load has asked for fewer replicas than there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Low {
    since: Timestamp,
    /// The most that it asked for since then, once the average has forgotten what came before.
    most: u32,
}

impl Memory {
    /// The same, as if the load had not been low: it is not the load that decides now.
    #[must_use]
    pub fn without_delay(self) -> Self {
        Self { low: None, ..self }
    }
}

/// How many replicas there should be, and what that was worked out from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Replicas that there should be.
    pub replicas: u32,
    /// What it was worked out from.
    pub inputs: Inputs,
}

/// Why a deployment should have so many replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Why {
    /// The load asks for as many as there are.
    AtTarget,
    /// The load asks for more.
    LoadAboveTarget,
    /// Requests wait, so none is taken away.
    RequestsWait,
    /// The load asks for more than may be.
    AtMaximum,
    /// The load asks for fewer than must be.
    AtMinimum,
    /// The load asks for fewer, and has not done so for long enough.
    WaitingOutDelay,
    /// The load asks for fewer, and the last replica was added less than a window ago.
    JustRaised,
    /// The load asks for fewer, and the server has known it for less than a window.
    JustRestarted,
    /// The load has been low for the whole delay.
    LoadStayedLow,
    /// Nothing came for the whole delay.
    NoTraffic,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::AtTarget => "the load is at its target",
            Why::LoadAboveTarget => "the load is above its target",
            Why::RequestsWait => "requests are waiting",
            Why::AtMaximum => "the load asks for more than the maximum",
            Why::AtMinimum => "the load asks for no more than the minimum",
            Why::WaitingOutDelay => "waiting out the scale-down delay",
            Why::JustRaised => "replicas were added less than a window ago",
            Why::JustRestarted => "the server started less than a window ago and learns the load",
            Why::LoadStayedLow => "the load stayed low for the whole scale-down delay",
            Why::NoTraffic => "there was no traffic for the whole scale-down delay",
        })
    }
}

/// Says how many replicas the load asks for, given how many there should be now.
pub fn decide(
    now: Timestamp,
    current: u32,
    load: Load,
    memory: &Memory,
    settings: &Settings,
) -> Decision<Memory, Size, Why> {
    let window_ms = u64::from(settings.autoscaling_window_s.max(1)) * 1_000;
    let history = memory.history.clone().seen(now, &load, window_ms);
    let steadiness = memory.steadiness.at(now);
    let inputs = inputs(now, current, load, &history, settings);
    let desired = inputs.asked.clamp(settings.min_replica, settings.max_replica);
    let is_waiting = history.waiting() > 0;
    let look_at = history.is_moving().then(|| now.plus(window_ms / LOOKS));
    let say = |replicas, steadiness, low, due_at: Option<Timestamp>, why| Decision {
        next: Memory { history, steadiness, low },
        output: Size { replicas, inputs },
        wake_at: look_at.into_iter().chain(due_at).min(),
        why,
    };
    if desired > current {
        let why = if desired > inputs.asked { Why::AtMinimum } else { Why::LoadAboveTarget };
        return say(desired, Steadiness::Raised(now), None, None, why);
    }
    if current > settings.max_replica {
        return say(settings.max_replica, steadiness, None, None, Why::AtMaximum);
    }
    if desired == current {
        let why = match inputs.asked {
            asked if asked > desired => Why::AtMaximum,
            asked if asked < desired => Why::AtMinimum,
            0 => Why::NoTraffic,
            _ => Why::AtTarget,
        };
        return say(current, steadiness, None, None, why);
    }
    if is_waiting {
        return say(current, steadiness, None, None, Why::RequestsWait);
    }

    let low = memory.low.map_or(Low { since: now, most: 0 }, |low| low.asking(now, desired, window_ms));
    let (due_at, waits_for) = steadiness.due_at(low.since, window_ms, settings);
    if now < due_at {
        return say(current, steadiness, Some(low), Some(due_at), waits_for);
    }
    let present = needed((u64::from(load.in_flight) + u64::from(load.queued)) * 1_000, inputs.per_replica_milli);
    if present >= current {
        // The average is low, this moment is not: the step waits for a look at which both are.
        let why = if load.queued > 0 { Why::RequestsWait } else { Why::AtTarget };
        return say(current, steadiness, Some(low), None, why);
    }
    let largest_step = u64::from(current) * u64::from(settings.max_scale_down_rate_percent) / 100;
    let smallest = current.saturating_sub(u32::try_from(largest_step.max(1)).unwrap_or(u32::MAX));
    let replicas = desired.max(low.most).max(present).max(smallest);
    let again_at = now.plus(u64::from(settings.scale_down_delay_s) * 1_000);
    let why = if replicas == 0 { Why::NoTraffic } else { Why::LoadStayedLow };
    say(replicas, steadiness, Some(Low { since: now, most: 0 }), Some(again_at), why)
}

impl Steadiness {
    /// The same in this moment: the first decision begins to learn, and a clock that stepped back leaves nothing ahead.
    fn at(self, now: Timestamp) -> Self {
        match self {
            Steadiness::Unknown => Steadiness::Learning(now),
            Steadiness::Learning(since) => Steadiness::Learning(since.min(now)),
            Steadiness::Raised(since) => Steadiness::Raised(since.min(now)),
        }
    }

    /// When a replica may be taken away if the load stays as low as it has been since `low_since`, and what that waits for.
    fn due_at(self, low_since: Timestamp, window_ms: u64, settings: &Settings) -> (Timestamp, Why) {
        let delayed = (low_since.plus(u64::from(settings.scale_down_delay_s) * 1_000), Why::WaitingOutDelay);
        let held = match self {
            Steadiness::Unknown => return delayed,
            Steadiness::Learning(since) => (since.plus(window_ms), Why::JustRestarted),
            Steadiness::Raised(since) => (since.plus(window_ms), Why::JustRaised),
        };
        if held.0 > delayed.0 { held } else { delayed }
    }
}

impl Low {
    /// The same after one more look at which the load asks for so many replicas.
    fn asking(self, now: Timestamp, desired: u32, window_ms: u64) -> Self {
        let since = self.since.min(now);
        let has_forgotten = now.since(since) >= window_ms;
        Self { since, most: if has_forgotten { self.most.max(desired) } else { 0 } }
    }
}
