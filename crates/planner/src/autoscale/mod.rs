//! How many replicas a deployment should have. Behaviour 4. Up at once; down in steps, each after a whole quiet delay, and none
//! within a window of a start of the server or of the last step up.

mod history;

use std::fmt;

use serde::{Deserialize, Serialize};

use self::history::History;
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

/// All that a decision was worked out from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Replicas that there should have been until then.
    pub current: u32,
    /// Requests that were with replicas.
    pub in_flight: u32,
    /// Requests that were waiting.
    pub queued: u32,
    /// The average of both over the window, in thousandths.
    pub average_milli: u64,
    /// The time that is averaged over, in milliseconds; shorter than the window when less is known.
    pub averaged_ms: u64,
    /// Requests that one replica is meant to have, in thousandths: the concurrency target with its head-room.
    pub per_replica_milli: u64,
    /// Replicas that the load asks for, whatever the bounds.
    pub asked: u32,
    /// The fewest there may be.
    pub min_replica: u32,
    /// The most there may be.
    pub max_replica: u32,
}

impl fmt::Display for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = |milli: u64| format!("{}.{}", milli / 1_000, milli % 1_000 / 100);
        write!(
            f,
            "{} requests on average over {} s, and {} that wait now, at {} for each replica ask for {}; allowed are {} to {}",
            tenths(self.average_milli),
            self.averaged_ms / 1_000,
            self.queued,
            tenths(self.per_replica_milli),
            self.asked,
            self.min_replica,
            self.max_replica,
        )
    }
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

/// What the load asks for: what its average needs with head-room, and what has waited for more than a moment without.
fn inputs(now: Timestamp, current: u32, load: Load, history: &History, settings: &Settings) -> Inputs {
    let average = history.average(now, u64::from(settings.autoscaling_window_s.max(1)) * 1_000);
    let target_milli = u64::from(settings.concurrency_target.max(1)) * 1_000;
    let per_replica_milli = (target_milli * u64::from(settings.target_utilization_percent) / 100).max(1);
    let by_average = match current {
        // What was before a deployment came to rest is no reason to start it again.
        0 => average.milli.min((u64::from(load.in_flight) + u64::from(load.queued)) * 1_000),
        _ => average.milli,
    };
    let by_average = needed(by_average, per_replica_milli);
    // Where nothing runs, nothing drains a queue.
    let waiting = if current == 0 { load.queued } else { history.waiting() };
    let by_queue = needed(u64::from(waiting) * 1_000, target_milli);
    let asked = match by_average.max(by_queue) {
        // An average that has not yet forgotten does not keep the last replica.
        // Where nothing runs, a request that has ended is no reason to start: a long one may end after its deployment came to rest.
        0 | 1 if current == 0 => u32::from(!Load { finished: 0, ..load }.is_none()),
        0 | 1 => u32::from(!load.is_none()),
        asked => asked,
    };
    Inputs {
        current,
        in_flight: load.in_flight,
        queued: load.queued,
        average_milli: average.milli,
        averaged_ms: average.over_ms,
        per_replica_milli,
        asked,
        min_replica: settings.min_replica,
        max_replica: settings.max_replica,
    }
}

/// Replicas for so many requests, both in thousandths.
fn needed(milli: u64, per_replica_milli: u64) -> u32 {
    u32::try_from(milli.div_ceil(per_replica_milli)).unwrap_or(u32::MAX)
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
        assert_eq!((decision.output.replicas, decision.why), (expected, why));
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
        check(0, Load { finished: 1, ..Load::default() }, &settings(), 0, Why::NoTraffic);
        check(0, Load { queued: 1, ..Load::default() }, &settings(), 2, Why::LoadAboveTarget);
        check(0, Load::default(), &settings(), 0, Why::NoTraffic);
    }

    #[test]
    fn zero_is_reached_after_the_whole_delay_and_not_before() {
        let first = decide(NOW, 1, Load::default(), &Memory::default(), &settings());
        assert_eq!(
            (first.output.replicas, first.wake_at, first.why),
            (1, Some(NOW.plus(900_000)), Why::WaitingOutDelay)
        );
        let early = decide(NOW.plus(899_999), 1, Load::default(), &first.next, &settings());
        assert_eq!(early.output.replicas, 1);
        let late = decide(NOW.plus(900_000), 1, Load::default(), &early.next, &settings());
        assert_eq!((late.output.replicas, late.why), (0, Why::NoTraffic));
    }

    #[test]
    fn traffic_within_the_delay_begins_it_anew() {
        let first = decide(NOW, 1, Load::default(), &Memory::default(), &settings());
        let busy = decide(NOW.plus(500_000), 1, Load { finished: 1, ..Load::default() }, &first.next, &settings());
        let quiet = decide(NOW.plus(900_000), 1, Load::default(), &busy.next, &settings());
        assert_eq!((quiet.output.replicas, quiet.why), (1, Why::WaitingOutDelay));
    }

    #[test]
    fn a_lowered_maximum_is_obeyed_at_once() {
        check(8, in_flight(100), &Settings { max_replica: 3, ..settings() }, 3, Why::AtMaximum);
    }

    /// The last of several looks, two seconds apart; each has a load of its own.
    #[track_caller]
    fn after(current: u32, loads: &[Load], settings: &Settings) -> Decision<Memory, Size, Why> {
        let mut memory = Memory::default();
        let mut last = None;
        for (n, load) in (0..).zip(loads) {
            let decision = decide(NOW.plus(n * 2_000), current, *load, &memory, settings);
            memory = decision.next.clone();
            last = Some(decision);
        }
        last.expect("there is a load")
    }

    fn at_once() -> Settings {
        Settings { scale_down_delay_s: 0, autoscaling_window_s: 10, target_utilization_percent: 100, ..settings() }
    }

    #[test]
    fn after_a_start_of_the_server_the_size_is_held_for_one_window() {
        let quiet = [in_flight(1); 6];
        let held = after(7, &quiet[..5], &at_once());
        assert_eq!((held.output.replicas, held.why), (7, Why::JustRestarted));
        assert_eq!(held.wake_at, Some(NOW.plus(10_000)));
        assert_eq!(after(7, &quiet, &at_once()).output.replicas, 4);
    }

    #[test]
    fn what_was_raised_stays_for_one_window() {
        let raised = after(1, &[in_flight(4)], &at_once());
        assert_eq!(raised.output.replicas, 4);
        let quiet = decide(NOW.plus(2_000), 4, in_flight(0), &raised.next, &at_once());
        let held = decide(NOW.plus(9_999), 4, in_flight(0), &quiet.next, &at_once());
        assert_eq!((held.output.replicas, held.why, held.wake_at), (4, Why::JustRaised, Some(NOW.plus(10_000))));
        assert_eq!(decide(NOW.plus(10_000), 4, in_flight(0), &held.next, &at_once()).output.replicas, 2);
    }

    #[test]
    fn no_replica_is_taken_away_while_requests_wait() {
        let waits = Load { in_flight: 1, queued: 1, ..Load::default() };
        let decision = after(5, &[waits; 10], &at_once());
        assert_eq!((decision.output.replicas, decision.why), (5, Why::RequestsWait));
    }

    #[test]
    fn what_has_waited_for_more_than_a_moment_gets_replicas_at_once() {
        let quiet = [in_flight(0); 30];
        let burst = Load { in_flight: 1, queued: 8, ..Load::default() };
        let settings = Settings { max_replica: 20, concurrency_target: 2, ..settings() };
        assert_eq!(after(1, &[&quiet[..], &[burst]].concat(), &settings).output.replicas, 1);
        assert_eq!(after(1, &[&quiet[..], &[burst, burst]].concat(), &settings).output.replicas, 4);
    }

    #[test]
    fn a_step_down_leaves_what_the_quiet_time_has_needed() {
        let settings = Settings { scale_down_delay_s: 20, ..at_once() };
        // After ten seconds the average knows nothing of the time before; four were needed then, and one is at the end.
        let loads = [&[in_flight(1); 2][..], &[in_flight(4); 6], &[in_flight(1); 3]].concat();
        let decision = after(9, &loads, &settings);
        assert_eq!((decision.output.replicas, decision.why), (5, Why::LoadStayedLow));
        let gentle = Settings { max_scale_down_rate_percent: 100, ..settings };
        assert_eq!(after(9, &loads, &gentle).output.replicas, 4);
    }

    #[test]
    fn an_exact_multiple_of_the_target_does_not_round_up() {
        let settings = Settings { concurrency_target: 10, ..settings() };
        check(1, in_flight(7 * 9), &settings, 9, Why::LoadAboveTarget);
    }

    #[test]
    fn what_came_to_rest_is_not_started_by_the_load_it_had() {
        let mut memory = Memory::default();
        for second in (0..60).step_by(2) {
            memory = decide(NOW.plus(second * 1_000), 8, in_flight(8), &memory, &settings()).next;
        }
        let rested = decide(NOW.plus(62_000), 0, Load::default(), &memory, &settings());
        assert_eq!((rested.output.replicas, rested.why), (0, Why::NoTraffic));
        let woken = decide(NOW.plus(64_000), 0, Load { queued: 1, ..Load::default() }, &rested.next, &settings());
        assert_eq!(woken.output.replicas, 2);
    }
}
