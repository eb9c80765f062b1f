//! What is true of every decision, whatever the world does. Checked after each simulated step.

use crate::{
    Decision, Timestamp,
    deployment::{self, Output, Seen, State, Why},
    lifecycle::{Build, Observed, Run, Status, Wanted, status},
    replica_set::{Action, Phase, Replica, Stay},
};

/// The first rule that a decision breaks, in words; none when it keeps them all.
pub fn broken_rule(
    now: Timestamp,
    before: &State,
    seen: &Seen<'_>,
    decision: &Decision<State, Output, Why>,
) -> Option<&'static str> {
    let after = &decision.next;
    let rules = [
        (keeps_facts(before, after), "a decision does not change what people and the builder have said"),
        (keeps_bounds(after, seen), "the target lies between the minimum and the maximum"),
        (keeps_callers(after, seen), "a deployment that can serve does not go to zero while requests wait"),
        (keeps_ends(before, after), "a failed run stays failed until somebody retries"),
        (was_ready_before_zero(after, seen), "a deployment is ready once before it is scaled to zero"),
        (
            starts_no_more_than_missing(after, seen, &decision.output.actions),
            "never more replicas than wanted are started",
        ),
        (honours_back_off(now, after, &decision.output.actions), "no replica is started before the back-off has ended"),
        (
            stops_unready_first(seen, &decision.output.actions),
            "a ready replica is not stopped while an unready one is kept",
        ),
        (
            moves_in_order(after, seen, &decision.output.actions),
            "a replica that has to move is not stopped before another is ready in its place",
        ),
        (decision.wake_at.is_none_or(|at| at >= now), "a wake-up does not lie in the past"),
    ];
    rules.into_iter().find(|(is_kept, _)| !is_kept).map(|(_, rule)| rule)
}

/// Decisions about an unchanged world after which nothing changes any more; enough for a step at each when there is no delay.
const MOST_DECISIONS: usize = 40;

/// Whether deciding again and again about an unchanged world comes to an end.
pub fn settles(now: Timestamp, state: &State, seen: &Seen<'_>) -> bool {
    let mut state = state.clone();
    for _ in 0..MOST_DECISIONS {
        let next = deployment::decide(now, &state, seen).next;
        if next == state {
            return true;
        }
        state = next;
    }
    false
}

fn keeps_facts(before: &State, after: &State) -> bool {
    let (old, new) = (&before.lifecycle, &after.lifecycle);
    old.wanted == new.wanted
        && old.build == new.build
        && (old.first_ready.is_none() || old.first_ready == new.first_ready)
}

fn keeps_bounds(after: &State, seen: &Seen<'_>) -> bool {
    let lifecycle = &after.lifecycle;
    let may_run = lifecycle.wanted == Wanted::Running && matches!(lifecycle.build, Build::Succeeded { .. });
    let bounds = match lifecycle.run {
        _ if !may_run => 0..=0,
        Run::Idle | Run::AtZero { .. } | Run::Failed { .. } => 0..=0,
        Run::Starting { .. } | Run::Serving { .. } | Run::Waking { .. } => {
            seen.bounds().min.max(1)..=seen.bounds().max.max(1)
        }
    };
    bounds.contains(&after.target)
}

fn keeps_callers(after: &State, seen: &Seen<'_>) -> bool {
    let is_at_zero = matches!(after.lifecycle.run, Run::AtZero { .. });
    let is_held_back = seen.bounds().max == 0;
    !(is_at_zero && !is_held_back && (seen.load.queued > 0 || seen.load.in_flight > 0))
}

fn keeps_ends(before: &State, after: &State) -> bool {
    let is_failed = |state: &State| matches!(state.lifecycle.run, Run::Failed { .. });
    let is_running =
        before.lifecycle.wanted == Wanted::Running && matches!(before.lifecycle.build, Build::Succeeded { .. });
    !(is_running && is_failed(before)) || is_failed(after)
}

fn was_ready_before_zero(after: &State, seen: &Seen<'_>) -> bool {
    let status = status(&after.lifecycle, &Observed::of(seen.replicas));
    status != Status::ScaledToZero || after.lifecycle.first_ready.is_some()
}

fn starts_no_more_than_missing(after: &State, seen: &Seen<'_>, actions: &[Action]) -> bool {
    let live = seen.replicas.iter().filter(|replica| may_stay(replica)).count() as u64;
    let started: u64 =
        actions.iter().map(|action| if let Action::Start(count) = action { u64::from(*count) } else { 0 }).sum();
    started == 0 || live + started <= u64::from(after.target)
}

fn honours_back_off(now: Timestamp, after: &State, actions: &[Action]) -> bool {
    let starts = actions.iter().any(|action| matches!(action, Action::Start(_)));
    !starts || after.starts.not_before.is_none_or(|moment| moment <= now)
}

fn stops_unready_first(seen: &Seen<'_>, actions: &[Action]) -> bool {
    let is_stopped = |id| actions.contains(&Action::Stop(id));
    let mut live = seen.replicas.iter().filter(|replica| may_stay(replica));
    let stops_ready = live.clone().any(|replica| replica.phase == Phase::Ready && is_stopped(replica.id.clone()));
    let keeps_unready = live.any(|replica| replica.phase != Phase::Ready && !is_stopped(replica.id.clone()));
    !(stops_ready && keeps_unready)
}

fn may_stay(replica: &Replica) -> bool {
    replica.is_live() && replica.stay == Stay::Stays
}

fn moves_in_order(after: &State, seen: &Seen<'_>, actions: &[Action]) -> bool {
    let moving = || seen.replicas.iter().filter(|replica| replica.is_live() && replica.stay == Stay::UntilReplaced);
    let ready = seen.replicas.iter().filter(|replica| may_stay(replica) && replica.phase == Phase::Ready).count();
    let kept = moving().filter(|replica| !actions.contains(&Action::Stop(replica.id.clone()))).count();
    let enough = (ready + moving().count()).min(after.target as usize);
    ready + kept >= enough
}
