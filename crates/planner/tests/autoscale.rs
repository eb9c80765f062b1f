//! How many replicas the load asks for, seen from outside: one decision, or a few in a row.

use planner::{
    Decision, Timestamp,
    autoscale::{Load, Memory, Settings, Size, Why, decide},
};

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
    check(0, in_flight(u32::MAX), &Settings { target_utilization_percent: 1, ..settings() }, 10, Why::LoadAboveTarget);
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
    assert_eq!((first.output.replicas, first.wake_at, first.why), (1, Some(NOW.plus(900_000)), Why::WaitingOutDelay));
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
