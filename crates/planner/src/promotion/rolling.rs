//! Replica by replica: how many each side has, and what share follows from it. Behaviour 3.8.

use super::{
    Mode, Phase, Settings, State, Step, Why,
    decide::{Turn, Verdict},
};
use crate::Timestamp;

/// Replicas of one step.
pub(super) fn step_replicas(step: Step, total: u32) -> u32 {
    let (Step::Surge(percent) | Step::Unavailable(percent)) = step;
    percent_of(total, percent).max(1)
}

/// Replicas of the candidate before the first shift. One that runs already keeps what fits into a step.
pub(super) fn first_requested(settings: &Settings, total: u32, running: u32) -> u32 {
    match settings.mode {
        Mode::Rolling { step: step @ Step::Surge(_), .. } => running.clamp(1, step_replicas(step, total)),
        Mode::Rolling { step: Step::Unavailable(_), .. } | Mode::Immediate | Mode::Canary { .. } => 1,
    }
}

/// Replicas that the sides may lack together while traffic moves.
pub(super) fn tolerated(settings: &Settings, total: u32) -> u32 {
    match settings.mode {
        Mode::Rolling { step: step @ Step::Unavailable(_), .. } => step_replicas(step, total),
        Mode::Rolling { step: Step::Surge(_), .. } | Mode::Immediate | Mode::Canary { .. } => 0,
    }
}

/// A percentage of replicas, rounded up.
pub(super) fn percent_of(replicas: u32, percent: u32) -> u32 {
    let exact = u64::from(replicas) * u64::from(percent);
    u32::try_from(exact.div_ceil(100)).unwrap_or(u32::MAX)
}

/// The previous side before the first shift: as many as the load asks for, and the overhead.
pub(super) fn with_overhead(state: State, overhead_percent: u32) -> State {
    let overhead = percent_of(state.total, overhead_percent);
    State { overhead, allowed: state.total.saturating_add(overhead), ..state }
}

/// Splits what is added or removed so that both sides come as close to the present share as whole replicas can be, however many steps
/// it comes in.
pub(super) fn split(state: State, total: u32) -> State {
    let share_of = |replicas: u32| {
        let exact = u64::from(replicas) * u64::from(state.percent);
        u32::try_from((exact + 50) / 100).unwrap_or(replicas)
    };
    let change = total.abs_diff(state.total);
    let (requested, allowed) = if total >= state.total {
        let whole = state.requested.saturating_add(state.allowed).saturating_add(change);
        let requested = share_of(whole).clamp(state.requested, state.requested.saturating_add(change));
        (requested, whole.saturating_sub(requested))
    } else {
        let left = state.requested.saturating_add(state.allowed).saturating_sub(change);
        let requested = share_of(left).clamp(state.requested.saturating_sub(change), state.requested).max(1);
        (requested, left.saturating_sub(requested).clamp(1, state.allowed.max(1)))
    };
    State { total, requested, allowed, counted: state.counted.min(requested), ..state }
}

/// Gives the candidate the share that its ready replicas are of all those that will then be left: the previous side shrinks only
/// when the gateways send it as little as it can carry afterwards.
pub(super) fn shift(turn: &Turn<'_>, state: State, step: Step) -> State {
    let counted = turn.seen.candidate.ready.min(state.requested);
    let percent = share(counted, left_to_previous(&state, counted, step));
    State { counted, percent, phase: Phase::Holding { since: None }, ..state }
}

/// The candidate's part of all replicas, in percent. While both sides take part, both get something.
fn share(candidate: u32, previous: u32) -> u8 {
    let all = u64::from(candidate) + u64::from(previous);
    let percent = (u64::from(candidate) * 100 + all / 2) / all.max(1);
    u8::try_from(percent.clamp(1, 99)).unwrap_or(99)
}

/// What the previous side has to keep when the candidate carries this much.
fn left_to_previous(state: &State, carried: u32, step: Step) -> u32 {
    let whole = state.total.saturating_add(state.overhead);
    let kept = match step {
        Step::Surge(_) => whole,
        Step::Unavailable(_) => whole.saturating_sub(step_replicas(step, state.total)),
    };
    state.allowed.min(kept.saturating_sub(carried).max(1))
}

/// Watches a share that has been shifted.
pub(super) fn hold(turn: &Turn<'_>, state: State, since: Option<Timestamp>, stabilization_ms: u64) -> Verdict {
    let percent = turn.shown_percent(&state);
    if !turn.is_published(&state) {
        return turn.then(state, Why::WaitingForGateways { percent });
    }
    let since = since.unwrap_or(turn.now);
    let state = state.into_phase(Phase::Holding { since: Some(since) });
    if turn.now.since(since) < stabilization_ms {
        return turn.then_at(since.plus(stabilization_ms), state, Why::Stabilizing { percent });
    }
    turn.then(State { progress_at: Some(turn.now), phase: Phase::Growing, ..state }, Why::Stabilizing { percent })
}

/// Shrinks the previous side by what the candidate carries, asks for more of the candidate, and shifts when it has come.
pub(super) fn grow(turn: &Turn<'_>, state: State, step: Step) -> Verdict {
    let ready = turn.seen.candidate.ready.min(state.requested);
    if state.counted >= state.total && ready >= state.total {
        return turn.then(turn.swap(state), Why::WaitingForGateways { percent: 100 });
    }
    if ready > state.counted || ready == state.counted && carries_too_little(turn, &state, step) {
        let shifted = shift(turn, state, step);
        let percent = turn.shown_percent(&shifted);
        return turn.then(shifted, Why::WaitingForGateways { percent });
    }
    let state = relieved(turn, state, ready, step);
    let state = match turn.is_published(&state) {
        true => resized(state, ready, step, turn.previous_ready() == 0),
        false => state,
    };
    let needed = state.total.min(state.counted + 1);
    turn.then(state, Why::WaitingForCandidate { ready, needed })
}

/// Whether fewer replicas are needed than when the share was shifted, so that what would be left of the previous side could not
/// carry its part of it: the candidate carries more of the whole now, and is sent more before the previous side shrinks.
fn carries_too_little(turn: &Turn<'_>, state: &State, step: Step) -> bool {
    let left = left_to_previous(state, state.counted, step);
    let share = u64::from(100 - state.percent);
    // A percent is a whole number, and so are replicas.
    let blurred = share.saturating_sub(1) * u64::from(state.total) / 100;
    let is_short = u64::from(left + tolerated(turn.settings, state.total)) < blurred;
    is_short && self::share(state.counted, left) > state.percent
}

/// When the load has grown, and the previous side has grown with it before the candidate could, the candidate's share falls to what
/// it can carry.
fn relieved(turn: &Turn<'_>, state: State, ready: u32, step: Step) -> State {
    let left = left_to_previous(&state, ready, step);
    let is_whole = ready == state.counted && turn.previous_ready() >= left;
    let percent = if is_whole { state.percent.min(share(ready, left)) } else { state.percent };
    State { percent, ..state }
}

/// The next batch: what the previous side no longer needs, and what the candidate may have: everything when it is alone.
fn resized(state: State, ready: u32, step: Step, is_alone: bool) -> State {
    let allowed = left_to_previous(&state, ready.min(state.counted), step);
    let whole = state.total.saturating_add(state.overhead);
    let ahead = match step {
        Step::Surge(_) => step_replicas(step, state.total),
        Step::Unavailable(_) => 0,
    };
    let requested = match step {
        _ if is_alone => state.total,
        // The last replica of the candidate may come while one of the previous side is still up: neither goes below one.
        Step::Unavailable(_) if allowed <= 1 => state.total,
        Step::Surge(_) | Step::Unavailable(_) => state.total.min((whole + ahead).saturating_sub(allowed)),
    };
    State { allowed, requested: state.requested.max(requested), ..state }
}
