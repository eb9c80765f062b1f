//! How many tokens may be taken: one decision, or a few in a row.

use api::internal::tokens::{Spent, TokenLimit, Tokens};
use planner::{
    Timestamp,
    policy::{Counter, Level, Policy, ResourceType, tokens::Window, written as form},
};
use proptest::{collection::vec, prelude::*, sample::select};

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

/// A counter of what these limits hold for, of which nothing has been taken.
fn fresh(limits: &[TokenLimit]) -> Counter {
    let mut counter = Counter::default();
    counter.follow(limits, &[], &[]);
    counter
}

/// One of which a request that ended at this time has taken these tokens.
fn plus(counter: &Counter, now: Timestamp, tokens: Tokens) -> Counter {
    let mut counter = counter.clone();
    counter.add(now, tokens);
    counter
}

/// One that others limits hold for from now on.
fn under(counter: &Counter, limits: &[TokenLimit]) -> Counter {
    let mut counter = counter.clone();
    counter.follow(limits, &[], &[]);
    counter
}

fn spent(counters: &[&Counter]) -> Vec<Spent> {
    counters.iter().flat_map(|counter| counter.spent()).collect()
}

/// Whether the next request is served after one that took these tokens.
#[track_caller]
fn check(bounds: &str, taken: Tokens, expected: Result<(), &str>) {
    let policies = [policy("p", "minute 1", bounds)];
    let limits = level(&policies);
    let counter = plus(&fresh(&limits), NOW, taken);
    assert_eq!(counter.decide(NOW).map_err(|refusal| refusal.to_string()), expected.map_err(str::to_owned));
}

#[test]
fn the_request_that_crosses_a_limit_is_served_and_the_next_waits_for_the_window_to_end() {
    let policies = [policy("free", "minute 1", "total=100")];
    let limits = level(&policies);
    let first = plus(&fresh(&limits), NOW, tokens(60, 30));
    assert_eq!(first.decide(NOW), Ok(()));
    let crossed = plus(&first, NOW.plus(10 * SECOND), tokens(60, 30));
    let refusal = crossed.decide(NOW.plus(10_001)).unwrap_err();
    assert_eq!((refusal.until, refusal.retry_after_s), (NOW.plus(30 * SECOND), 20));
    assert_eq!(refusal.to_string(), "policy free allows 100 tokens each minute, and 180 are used: try again in 20 s");
    assert!(crossed.decide(NOW.plus(29_999)).is_err());
    assert_eq!(crossed.decide(NOW.plus(30_000)), Ok(()));
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
    let refused = |counter: &Counter| counter.decide(NOW).map_err(|refusal| refusal.policy.to_string());
    let counter = plus(&fresh(&limits), NOW, tokens(10, 0));
    assert_eq!(refused(&counter), Err("minutely".into()));
    let counter = plus(&counter, NOW, tokens(10, 50));
    assert_eq!(refused(&counter), Err("hourly".into()));
    let counter = plus(&counter, NOW, tokens(100, 0));
    assert_eq!(refused(&counter), Err("daily".into()));
}

#[test]
fn without_limits_everything_is_served() {
    assert_eq!(Counter::default().decide(NOW), Ok(()));
}

#[test]
fn a_limit_that_changes_keeps_what_was_counted() {
    let (strict, loose) = ([policy("p", "day 1", "total=10")], [policy("p", "day 1", "total=100")]);
    let counter = plus(&fresh(&level(&strict)), NOW, tokens(20, 0));
    assert!(counter.decide(NOW).is_err());
    let counter = under(&counter, &level(&loose));
    assert_eq!(counter.decide(NOW), Ok(()));
    assert!(plus(&counter, NOW, tokens(80, 0)).decide(NOW).is_err());
}

#[test]
fn a_clock_that_was_ahead_locks_nobody_out() {
    let policies = [policy("p", "month 1", "total=10")];
    let counter = plus(&fresh(&level(&policies)), NOW.plus(400 * DAY), tokens(20, 0));
    assert_eq!(counter.decide(NOW), Ok(()));
}

#[test]
fn what_several_have_counted_in_a_window_counts_together() {
    let limits = level(&[policy("p", "day 1", "total=10")]);
    let one = plus(&fresh(&limits), NOW, tokens(4, 0));
    let others = [tokens(0, 6), tokens(0, 1)].map(|taken| plus(&fresh(&limits), NOW, taken));
    assert_eq!(one.decide(NOW), Ok(()));
    let told = |elsewhere: &[Spent]| {
        let mut one = one.clone();
        one.follow(&limits, &[], elsewhere);
        one
    };
    let [first, second] = &others;
    assert_eq!(told(&spent(&[first])).decide(NOW).unwrap_err().used, 10);
    let all = told(&spent(&[first, second]));
    assert_eq!(all.decide(NOW).unwrap_err().used, 11);
    assert_eq!(all.decide(NOW.plus(DAY)), Ok(()));
}

#[test]
fn a_counter_recalls_what_it_has_forgotten_and_nothing_else() {
    let (daily, hourly) = (level(&[policy("d", "day 1", "total=10")]), level(&[policy("h", "hour 1", "total=10")]));
    let recorded = spent(&[&plus(&fresh(&[daily.clone(), hourly.clone()].concat()), NOW, tokens(9, 0))]);
    let mut counter = plus(&fresh(&daily), NOW, tokens(3, 0));
    counter.follow(&daily, &recorded, &[]);
    assert_eq!(counter.decide(NOW), Ok(()));
    counter.follow(&hourly, &recorded, &[]);
    assert_eq!(plus(&counter, NOW, tokens(1, 0)).decide(NOW).unwrap_err().used, 10);
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
        let end = Timestamp(u64::MAX);
        let counter = plus(&plus(&fresh(&limits), end, tokens(1, 1)), end, tokens(1, 1));
        let refusal = counter.decide(end).unwrap_err();
        assert_eq!((refusal.used, refusal.retry_after_s >= 1), (4, true));
    }
}

/// Requests that have taken something, each so long after [`NOW`].
fn any_requests() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
    vec((0..3 * HOUR, 0_u64..6, 0_u64..6), 0..5)
}

fn any_limits() -> impl Strategy<Value = Vec<TokenLimit>> {
    let window = select(vec!["minute 1", "minute 90", "hour 1", "day 1"]);
    let bounds = (select(vec!["input", "output", "total", "ratio"]), 1_u64..12);
    vec((window, bounds), 0..6).prop_map(|written| {
        let policy = |(window, (measure, most))| policy("p", window, &format!("{measure}={most}"));
        level(&written.into_iter().map(policy).collect::<Vec<_>>())
    })
}

proptest! {
    /// The quick question beside the slow one.
    #[test]
    fn a_counter_may_refuse_just_when_there_is_a_moment_at_which_it_does(
        limits in any_limits(),
        own in any_requests(),
        others in any_requests(),
    ) {
        let counted = |requests: Vec<(u64, u64, u64)>| {
            let add = |counter: Counter, (after, input, output)| plus(&counter, NOW.plus(after), tokens(input, output));
            requests.into_iter().fold(fresh(&limits), add)
        };
        let (mut one, other) = (counted(own), counted(others));
        let elsewhere = spent(&[&other]);
        one.follow(&limits, &[], &elsewhere);
        let mut moments = elsewhere.into_iter().chain(one.spent()).map(|spent| Timestamp(spent.from_ms));
        let refuses = moments.any(|moment| one.decide(moment).is_err());
        prop_assert_eq!(one.may_refuse(), refuses);
    }
}
