//! How many tokens may be taken: one decision, or a few in a row.

use api::internal::tokens::{Spent, TokenLimit, Tokens};
use planner::{
    Timestamp,
    policy::{
        Level, Policy, ResourceType,
        tokens::{Usage, Window, decide},
        written as form,
    },
};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// 2026-03-15T10:00:30Z.
const NOW: Timestamp = Timestamp(20_527 * DAY + 10 * HOUR + 30 * SECOND);

/// A policy from `granularity step`, and bounds such as `input=5`.
fn policy(name: &str, window: &str, bounds: &str) -> Policy {
    let (granularity, step) = window.split_once(' ').expect("a window is written granularity step");
    let bound = |name: &str| {
        let mut pairs = bounds.split(' ').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, most)| most.parse().expect("a bound is a number"))
    };
    let max_tokens = form::MaxTokens {
        granularity: granularity.into(),
        step: Some(step.parse().expect("a step is a number")),
        input: bound("input"),
        output: bound("output"),
        total: bound("total"),
        ratio_input_over_output: bound("ratio"),
    };
    let (name, kind) = (name.into(), "maxToken".into());
    Policy::try_from(form::Policy { name, kind, max_tokens: Some(max_tokens), ..form::Policy::default() })
        .expect("the policy is a possible one")
}

fn level(policies: &[Policy]) -> Vec<TokenLimit> {
    Level::new(policies, ResourceType::Model).token_limits().to_vec()
}

fn tokens(input: u64, output: u64) -> Tokens {
    Tokens { input, output }
}

/// What has been taken once a request that ends now has taken these tokens.
fn plus(usage: &Usage, now: Timestamp, limits: &[TokenLimit], tokens: Tokens) -> Usage {
    let mut usage = usage.clone();
    usage.add(now, limits, tokens);
    usage
}

/// Whether the next request is served after one that took these tokens.
#[track_caller]
fn check(bounds: &str, taken: Tokens, expected: Result<(), &str>) {
    let policies = [policy("p", "minute 1", bounds)];
    let limits = level(&policies);
    let usage = plus(&Usage::default(), NOW, &limits, taken);
    assert_eq!(decide(NOW, &limits, &[&usage]).map_err(|refusal| refusal.to_string()), expected.map_err(str::to_owned));
}

#[test]
fn the_request_that_crosses_a_limit_is_served_and_the_next_waits_for_the_window_to_end() {
    let policies = [policy("free", "minute 1", "total=100")];
    let limits = level(&policies);
    let first = plus(&Usage::default(), NOW, &limits, tokens(60, 30));
    assert_eq!(decide(NOW, &limits, &[&first]), Ok(()));
    let crossed = plus(&first, NOW.plus(10 * SECOND), &limits, tokens(60, 30));
    let refusal = decide(NOW.plus(10_001), &limits, &[&crossed]).unwrap_err();
    assert_eq!((refusal.until, refusal.retry_after_s), (NOW.plus(30 * SECOND), 20));
    assert_eq!(refusal.to_string(), "policy free allows 100 tokens each minute, and 180 are used: try again in 20 s");
    assert!(decide(NOW.plus(29_999), &limits, &[&crossed]).is_err());
    assert_eq!(decide(NOW.plus(30_000), &limits, &[&crossed]), Ok(()));
}

#[test]
fn each_measure_is_bounded_alone() {
    check("input=10", tokens(9, 1_000), Ok(()));
    check(
        "input=10 output=10",
        tokens(9, 10),
        Err("policy p allows 10 tokens of output each minute, and 10 are used: try again in 30 s"),
    );
    check("total=10", tokens(5, 4), Ok(()));
    check("total=10", tokens(5, 5), Err("policy p allows 10 tokens each minute, and 10 are used: try again in 30 s"));
    check("output=1", tokens(u64::MAX, 0), Ok(()));
}

#[test]
fn a_ratio_may_be_just_what_is_allowed_and_needs_output() {
    check("ratio=2", tokens(20, 10), Ok(()));
    check(
        "ratio=2",
        tokens(21, 10),
        Err("policy p allows 2 tokens of input for each of output each minute, and 3 are used: try again in 30 s"),
    );
    check("ratio=2", tokens(20, 0), Ok(()));
}

#[test]
fn every_policy_holds_and_the_longest_wait_is_answered() {
    let environment = [policy("minutely", "minute 1", "total=10"), policy("daily", "day 1", "total=100")];
    let deployment = [policy("loose", "day 1", "total=1000"), policy("hourly", "hour 1", "output=50")];
    let limits = [level(&environment), level(&deployment)].concat();
    let refused = |usage: &Usage| decide(NOW, &limits, &[usage]).map_err(|refusal| refusal.policy.to_string());
    let usage = plus(&Usage::default(), NOW, &limits, tokens(10, 0));
    assert_eq!(refused(&usage), Err("minutely".into()));
    let usage = plus(&usage, NOW, &limits, tokens(10, 50));
    assert_eq!(refused(&usage), Err("hourly".into()));
    let usage = plus(&usage, NOW, &limits, tokens(100, 0));
    assert_eq!(refused(&usage), Err("daily".into()));
}

#[test]
fn without_limits_everything_is_served() {
    assert_eq!(decide(NOW, &[], &[]), Ok(()));
}

#[test]
fn a_limit_that_changes_keeps_what_was_counted() {
    let (strict, loose) = ([policy("p", "day 1", "total=10")], [policy("p", "day 1", "total=100")]);
    let usage = plus(&Usage::default(), NOW, &level(&strict), tokens(20, 0));
    assert!(decide(NOW, &level(&strict), &[&usage]).is_err());
    assert_eq!(decide(NOW, &level(&loose), &[&usage]), Ok(()));
    let usage = plus(&usage, NOW, &level(&loose), tokens(80, 0));
    assert!(decide(NOW, &level(&loose), &[&usage]).is_err());
}

#[test]
fn a_clock_that_was_ahead_locks_nobody_out() {
    let policies = [policy("p", "month 1", "total=10")];
    let usage = plus(&Usage::default(), NOW.plus(400 * DAY), &level(&policies), tokens(20, 0));
    assert_eq!(decide(NOW, &level(&policies), &[&usage]), Ok(()));
}

#[test]
fn what_several_have_counted_in_a_window_counts_together() {
    let limits = level(&[policy("p", "day 1", "total=10")]);
    let (one, other) =
        (plus(&Usage::default(), NOW, &limits, tokens(4, 0)), plus(&Usage::default(), NOW, &limits, tokens(0, 6)));
    assert_eq!(decide(NOW, &limits, &[&one]), Ok(()));
    assert_eq!(decide(NOW, &limits, &[&one, &other]).unwrap_err().used, 10);
    let elsewhere = Usage::new([&one, &other].iter().flat_map(|usage| usage.spent()).copied().collect());
    assert!(decide(NOW, &limits, &[&elsewhere]).is_err());
    assert_eq!(decide(NOW.plus(DAY), &limits, &[&elsewhere]), Ok(()));
}

#[test]
fn a_counter_recalls_what_it_has_forgotten_and_nothing_else() {
    let (daily, hourly) = (level(&[policy("d", "day 1", "total=10")]), level(&[policy("h", "hour 1", "total=10")]));
    let recorded: Vec<Spent> =
        plus(&Usage::default(), NOW, &[daily.clone(), hourly.clone()].concat(), tokens(9, 0)).spent().to_vec();
    let mut usage = plus(&Usage::default(), NOW, &daily, tokens(3, 0));
    usage.recall(recorded);
    assert_eq!(decide(NOW, &daily, &[&usage]), Ok(()));
    let usage = plus(&usage, NOW, &hourly, tokens(1, 0));
    assert_eq!(decide(NOW, &hourly, &[&usage]).unwrap_err().used, 10);
}

/// The window that a moment is in, as days and milliseconds of a day.
#[track_caller]
fn check_window(window: &str, now: u64, from: u64, until: u64) {
    let policies = [policy("p", window, "total=1")];
    let period = level(&policies)[0].most.period;
    assert_eq!(Window::at(Timestamp(now), period), Window { from: Timestamp(from), until: Timestamp(until) });
}

#[test]
fn windows_lie_fixed_in_utc() {
    let midnight = 20_527 * DAY;
    check_window("minute 1", midnight + 61 * SECOND, midnight + MINUTE, midnight + 2 * MINUTE);
    check_window("minute 15", midnight + 44 * MINUTE, midnight + 30 * MINUTE, midnight + 45 * MINUTE);
    check_window("hour 6", midnight + 23 * HOUR, midnight + 18 * HOUR, midnight + DAY);
    check_window("day 1", midnight + DAY - 1, midnight, midnight + DAY);
    check_window("day 1", midnight + DAY, midnight + DAY, midnight + 2 * DAY);
}

#[test]
fn months_are_those_of_the_calendar() {
    // 2024-02-29 is day 19 782; the month began on day 19 754, and the year on day 19 723.
    check_window("month 1", 19_782 * DAY + 5, 19_754 * DAY, 19_783 * DAY);
    check_window("month 3", 19_782 * DAY, 19_723 * DAY, (19_723 + 91) * DAY);
    check_window("month 12", 19_782 * DAY, 19_723 * DAY, (19_723 + 366) * DAY);
    check_window("month 1", 0, 0, 31 * DAY);
}

#[test]
fn the_far_future_does_not_overflow() {
    for window in ["minute 4294967295", "day 4294967295", "month 4294967295", "month 1"] {
        let policies = [policy("p", window, "total=1")];
        let limits = level(&policies);
        let usage = plus(&Usage::default(), Timestamp(u64::MAX), &limits, tokens(1, 1));
        let refusal = decide(Timestamp(u64::MAX), &limits, &[&usage]).unwrap_err();
        assert!(refusal.retry_after_s >= 1);
    }
}
