//! Going back: when going forward has failed, and how traffic returns to a side that can carry it.

use super::{
    Ending, Mode, Phase, Resume, State, Why, canary,
    decide::{Turn, Verdict, can_serve},
    rolling,
};
use crate::Timestamp;

/// Why a promotion cannot go on.
enum Trouble {
    /// The candidate cannot serve.
    Broken(String),
    /// It took too long.
    Late(String),
}

/// Turns back when going forward has failed.
pub(super) fn checked(turn: &Turn<'_>, state: State) -> State {
    match trouble(turn, &state) {
        None => state,
        // Nobody is served by the previous deployment, and the candidate serves: back would be worse than forward.
        Some(Trouble::Late(_)) if turn.previous_ready() == 0 && can_serve(turn) => turn.swap(state),
        Some(Trouble::Broken(reason) | Trouble::Late(reason)) => give_up(turn, state, Ending::Failed { reason }),
    }
}

fn trouble(turn: &Turn<'_>, state: &State) -> Option<Trouble> {
    let candidate = &turn.seen.candidate;
    let has_traffic = match &state.phase {
        Phase::Releasing | Phase::Replacing | Phase::RollingForward => false,
        Phase::Paused { resume: Resume::Releasing, .. } => false,
        Phase::Holding { .. } | Phase::Growing | Phase::Swapping | Phase::Paused { .. } => state.percent > 0,
        Phase::RampingDown { .. } | Phase::Restoring { .. } | Phase::Returning { .. } | Phase::Ended { .. } => {
            return None;
        }
    };
    if let Some(failure) = candidate.failure {
        return Some(Trouble::Broken(format!("the candidate cannot serve: {failure}")));
    }
    if has_traffic && candidate.ready == 0 {
        let percent = state.percent;
        let reason =
            format!("none of the candidate's replicas is ready any more, while it had {percent} % of the traffic");
        return Some(Trouble::Broken(reason));
    }
    if stalls_at(turn, state).is_some_and(|at| turn.now >= at) {
        let minutes = turn.settings.deploy_timeout_ms / 60_000;
        return Some(Trouble::Late(match state.best_ready {
            0 => format!("none of the candidate's replicas became ready within {minutes} minutes"),
            best => format!("no more than {best} of the candidate's replicas became ready within {minutes} minutes"),
        }));
    }
    if gives_up_at(turn, state).is_some_and(|at| turn.now >= at) {
        let minutes = state.deadline_at.since(state.started_at) / 60_000;
        return Some(Trouble::Late(format!("not finished in time to keep the deadline of {minutes} minutes")));
    }
    None
}

/// Whether there is nothing to go back to, and the candidate is on its first start: as long as that has not failed, it is waited for.
fn is_only_hope(turn: &Turn<'_>) -> bool {
    turn.seen.previous.is_none() && !turn.seen.candidate.has_been_ready
}

/// When waiting for the candidate is given up, unless more of its replicas than ever become ready.
fn stalls_at(turn: &Turn<'_>, state: &State) -> Option<Timestamp> {
    if is_only_hope(turn) {
        return None;
    }
    let patience_ms = turn.settings.deploy_timeout_ms;
    let progress_at = state.progress_at?;
    match (&state.phase, turn.settings.mode) {
        (Phase::Releasing, _) => Some(progress_at.plus(patience_ms).plus(turn.settings.min_ready_ms)),
        (Phase::Replacing, _) => {
            (state.percent > 0).then(|| progress_at.plus(patience_ms).plus(turn.settings.min_ready_ms))
        }
        (Phase::Growing | Phase::RollingForward, _) => Some(progress_at.plus(patience_ms)),
        (Phase::Holding { since }, Mode::Canary { duration_ms }) => {
            let is_short = turn.seen.candidate.ready < canary::needed_next(turn, state);
            is_short.then(|| progress_at.max(canary::due_at(turn, *since, duration_ms)).plus(patience_ms))
        }
        _ => None,
    }
}

/// When going forward ends, so that there is time to go back before the deadline.
fn gives_up_at(turn: &Turn<'_>, state: &State) -> Option<Timestamp> {
    if is_only_hope(turn) {
        return None;
    }
    let latest = Timestamp(state.deadline_at.0.saturating_sub(turn.settings.deploy_timeout_ms));
    match state.phase {
        Phase::Releasing | Phase::Replacing | Phase::Holding { .. } | Phase::Growing => Some(latest),
        Phase::RollingForward => Some(state.deadline_at),
        _ => None,
    }
}

/// When a phase ends even if nothing is seen.
pub(super) fn limit_at(turn: &Turn<'_>, state: &State) -> Option<Timestamp> {
    match &state.phase {
        // Not cut short by the deadline: it may have passed while no server ran.
        Phase::RampingDown { since, .. } | Phase::Restoring { since, .. } => {
            Some(since.plus(turn.settings.deploy_timeout_ms))
        }
        _ => [stalls_at(turn, state), gives_up_at(turn, state)].into_iter().flatten().min(),
    }
}

/// Turns back in order: step by step where the candidate has traffic and can keep it meanwhile.
pub(super) fn give_up(turn: &Turn<'_>, state: State, ending: Ending) -> State {
    let can_wait = state.percent > 0 && turn.seen.candidate.ready > 0 && turn.seen.previous.is_some();
    match &state.phase {
        _ if turn.is_in_place() => return_all(turn, state, ending),
        Phase::Releasing | Phase::Paused { resume: Resume::Releasing, .. } => return_all(turn, state, ending),
        _ if can_wait => State { allowed: state.allowed.max(state.total), ..state }
            .into_phase(Phase::RampingDown { since: turn.now, ending }),
        _ => return_all(turn, state, ending),
    }
}

/// Turns back at once.
pub(super) fn return_all(turn: &Turn<'_>, state: State, ending: Ending) -> State {
    let is_untouched = matches!(state.phase, Phase::Releasing | Phase::Paused { resume: Resume::Releasing, .. });
    let has_moved_nothing = is_untouched && turn.seen.published_percent.unwrap_or(0) == 0;
    let phase = match turn.is_in_place() {
        true if !is_untouched => Phase::Restoring { since: turn.now, ending },
        _ if has_moved_nothing => Phase::Ended { at: turn.now, ending },
        true | false => Phase::Returning { ending },
    };
    let percent = if turn.seen.previous.is_some() { 0 } else { state.percent };
    State { percent, allowed: state.allowed.max(state.total), phase, ..state }
}

/// Gives the share back as the previous deployment can carry it; then the candidate shrinks.
pub(super) fn ramp_down(turn: &Turn<'_>, state: State, ending: Ending) -> Verdict {
    let why = Why::Returning { ending: ending.clone() };
    let is_hopeless = turn.seen.previous.is_none_or(|previous| previous.failure.is_some() && previous.ready == 0);
    let is_late = limit_at(turn, &state).is_some_and(|at| turn.now >= at);
    if turn.seen.candidate.ready == 0 || is_hopeless || is_late {
        return turn.then(return_all(turn, state, ending), why);
    }
    let ready = turn.previous_ready();
    let needed = state.total.saturating_sub(rolling::tolerated(turn.settings, state.total)).max(1);
    let carried = match ready >= needed {
        true => 100,
        false => u64::from(ready) * 100 / u64::from(state.total.max(1)),
    };
    let percent = state.percent.min(100 - u8::try_from(carried.min(100)).unwrap_or(100));
    let state = State { percent, allowed: state.allowed.max(state.total), ..state };
    if percent == 0 {
        return turn.then(return_all(turn, state, ending), why);
    }
    let why = Why::RampingDown { ready, needed, ending };
    if !turn.is_published(&state) {
        return turn.then(state, why);
    }
    let kept = rolling::percent_of(state.total, u32::from(percent));
    let kept = kept.saturating_sub(rolling::tolerated(turn.settings, state.total)).max(1);
    turn.then(State { requested: state.requested.min(kept), ..state }, why)
}

/// Waits until the gateways have given everything back.
pub(super) fn hand_over(turn: &Turn<'_>, state: State, ending: Ending) -> Verdict {
    if turn.is_published(&state) {
        let why = Why::Ended { ending: ending.clone() };
        return turn.then(state.into_phase(Phase::Ended { at: turn.now, ending }), why);
    }
    turn.then(state, Why::Returning { ending })
}
