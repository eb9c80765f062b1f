//! How many replicas a deployment should have. Behaviour 4.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Decision, Timestamp};

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

/// What is remembered between decisions. Losing it costs one delay at most, so a shell may keep it to itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Since when the load has asked for fewer replicas than there are.
    low_since: Option<Timestamp>,
}

/// Why a deployment should have so many replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The load asks for as many as there are.
    AtTarget,
    /// The load asks for more.
    LoadAboveTarget,
    /// The load asks for more than may be.
    AtMaximum,
    /// The load asks for fewer than must be.
    AtMinimum,
    /// The load asks for fewer, and has not done so for long enough.
    WaitingOutDelay,
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
            Why::AtMaximum => "the load asks for more than the maximum",
            Why::AtMinimum => "the load asks for no more than the minimum",
            Why::WaitingOutDelay => "waiting out the scale-down delay",
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
) -> Decision<Memory, u32, Why> {
    let asked = replicas_for(load, settings);
    let desired = asked.clamp(settings.min_replica, settings.max_replica);
    let settled = |output, why| Decision { next: Memory::default(), output, wake_at: None, why };
    if desired > current {
        let is_forced = desired > asked;
        return settled(desired, if is_forced { Why::AtMinimum } else { Why::LoadAboveTarget });
    }
    if desired == current {
        return settled(
            current,
            match asked {
                asked if asked > desired => Why::AtMaximum,
                asked if asked < desired => Why::AtMinimum,
                0 => Why::NoTraffic,
                _ => Why::AtTarget,
            },
        );
    }
    if current > settings.max_replica {
        return settled(settings.max_replica, Why::AtMaximum);
    }

    let delay_ms = u64::from(settings.scale_down_delay_s) * 1_000;
    let low_since = memory.low_since.map_or(now, |since| since.min(now));
    if now.since(low_since) < delay_ms {
        return Decision {
            next: Memory { low_since: Some(low_since) },
            output: current,
            wake_at: Some(low_since.plus(delay_ms)),
            why: Why::WaitingOutDelay,
        };
    }
    let largest_step = (u64::from(current) * u64::from(settings.max_scale_down_rate_percent) / 100).max(1);
    let output = desired.max(current.saturating_sub(u32::try_from(largest_step).unwrap_or(u32::MAX)));
    let why = if output == 0 { Why::NoTraffic } else { Why::LoadStayedLow };
    Decision { next: Memory { low_since: Some(now) }, output, wake_at: Some(now.plus(delay_ms)), why }
}

/// Replicas that a load needs, head-room included: at least one when anything at all is asked for.
fn replicas_for(load: Load, settings: &Settings) -> u32 {
    if load.is_none() {
        return 0;
    }
    let requests = u64::from(load.in_flight) + u64::from(load.queued);
    let per_replica = u64::from(settings.concurrency_target) * u64::from(settings.target_utilization_percent);
    let needed = (requests * 100).div_ceil(per_replica.max(1));
    u32::try_from(needed).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn settings() -> Settings {
        Settings { max_replica: 10, ..Settings::default() }
    }

    fn in_flight(in_flight: u32) -> Load {
        Load { in_flight, ..Load::default() }
    }

    #[track_caller]
    fn check(current: u32, load: Load, settings: &Settings, expected: u32, why: Why) {
        let decision = decide(NOW, current, load, &Memory::default(), settings);
        assert_eq!((decision.output, decision.why), (expected, why));
    }

    #[test]
    fn the_load_is_divided_by_target_and_head_room() {
        let settings = Settings { concurrency_target: 10, ..settings() };
        check(1, in_flight(25), &settings, 4, Why::LoadAboveTarget);
        check(1, in_flight(7), &settings, 1, Why::AtTarget);
        check(1, in_flight(8), &settings, 2, Why::LoadAboveTarget);
    }

    #[test]
    fn waiting_requests_count_like_running_ones() {
        let settings = Settings { target_utilization_percent: 100, ..settings() };
        check(1, Load { in_flight: 1, queued: 3, ..Load::default() }, &settings, 4, Why::LoadAboveTarget);
    }

    #[test]
    fn a_load_beyond_the_maximum_stays_at_the_maximum() {
        check(10, in_flight(1_000), &settings(), 10, Why::AtMaximum);
        check(
            0,
            in_flight(u32::MAX),
            &Settings { target_utilization_percent: 1, ..settings() },
            10,
            Why::LoadAboveTarget,
        );
    }

    #[test]
    fn the_minimum_holds_without_traffic() {
        check(2, Load::default(), &Settings { min_replica: 2, ..settings() }, 2, Why::AtMinimum);
        check(0, Load::default(), &Settings { min_replica: 2, ..settings() }, 2, Why::AtMinimum);
    }

    #[test]
    fn anything_at_all_wakes_one_replica() {
        check(0, Load { woken: true, ..Load::default() }, &settings(), 1, Why::LoadAboveTarget);
        check(0, Load { finished: 1, ..Load::default() }, &settings(), 1, Why::LoadAboveTarget);
        check(0, Load { queued: 1, ..Load::default() }, &settings(), 2, Why::LoadAboveTarget);
        check(0, Load::default(), &settings(), 0, Why::NoTraffic);
    }

    #[test]
    fn zero_is_reached_after_the_whole_delay_and_not_before() {
        let first = decide(NOW, 1, Load::default(), &Memory::default(), &settings());
        assert_eq!((first.output, first.wake_at, first.why), (1, Some(NOW.plus(900_000)), Why::WaitingOutDelay));
        let early = decide(NOW.plus(899_999), 1, Load::default(), &first.next, &settings());
        assert_eq!(early.output, 1);
        let late = decide(NOW.plus(900_000), 1, Load::default(), &early.next, &settings());
        assert_eq!((late.output, late.why), (0, Why::NoTraffic));
    }

    #[test]
    fn traffic_within_the_delay_begins_it_anew() {
        let first = decide(NOW, 1, Load::default(), &Memory::default(), &settings());
        let busy = decide(NOW.plus(500_000), 1, Load { finished: 1, ..Load::default() }, &first.next, &settings());
        let quiet = decide(NOW.plus(900_000), 1, Load::default(), &busy.next, &settings());
        assert_eq!((quiet.output, quiet.why), (1, Why::WaitingOutDelay));
    }

    #[test]
    fn a_lowered_maximum_is_obeyed_at_once() {
        check(8, in_flight(100), &Settings { max_replica: 3, ..settings() }, 3, Why::AtMaximum);
    }
}
