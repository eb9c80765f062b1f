//! No room for both sides: the previous deployment ends before the candidate starts, and requests wait in the gateways meanwhile.
//! What holds each side back is whether the other still holds something, so there is nothing to remember. Replicas of the candidate
//! that run already have their room and keep it.

use super::{
    Ending, Phase, State, Targets, Why,
    back::limit_at,
    decide::{Turn, Verdict, waits_for_candidate},
    targets::exactly,
};

/// What should be true of a promotion in place.
pub(super) fn targets(turn: &Turn<'_>, state: &State, candidate_percent: u8) -> Targets {
    let nothing = exactly(0);
    let all = exactly(state.total.max(1));
    let previous_alive = turn.seen.previous.map_or(0, |previous| previous.alive);
    let side = &turn.seen.candidate;
    let running = exactly(side.alive.min(side.wanted).min(all.max));
    let (candidate, previous) = match &state.phase {
        Phase::Restoring { .. } => (nothing, Some(if turn.seen.candidate.alive == 0 { all } else { nothing })),
        Phase::Returning { .. } | Phase::Ended { ending: Ending::Failed { .. } | Ending::Canceled { .. }, .. } => {
            (nothing, None)
        }
        _ if !turn.seen.candidate.is_built => (nothing, None),
        Phase::Ended { ending: Ending::Succeeded, .. } => (all, Some(nothing)),
        _ => (if previous_alive == 0 { all } else { running }, Some(nothing)),
    };
    Targets { candidate, previous, candidate_percent }
}

/// Waits for the previous deployment to end, then for the candidate.
pub(super) fn replace(turn: &Turn<'_>, state: State) -> Verdict {
    let alive = turn.seen.previous.map_or(0, |previous| previous.alive);
    if alive > 0 && state.percent == 0 {
        return turn.then(state, Why::MakingRoom { alive });
    }
    let state = match state.percent {
        // From here on the candidate can be expected, and requests wait for it.
        0 => State { percent: 100, progress_at: Some(turn.now), ..state },
        _ => state,
    };
    match waits_for_candidate(turn, &state) {
        Some((why, wake_at)) => Verdict { next: state, why, wake_at },
        None => turn.then(turn.swap(state), Why::WaitingForGateways { percent: 100 }),
    }
}

/// Waits for the candidate to end, then for the previous deployment; not for ever, and not when it cannot come.
pub(super) fn restore(turn: &Turn<'_>, state: State, ending: Ending) -> Verdict {
    let is_late = limit_at(turn, &state).is_some_and(|at| turn.now >= at);
    let is_back = turn.previous_ready() > 0;
    let is_hopeless = turn.seen.previous.is_none_or(|previous| previous.failure.is_some());
    if is_back || is_hopeless || is_late {
        let why = Why::Returning { ending: ending.clone() };
        return turn.then(State { percent: 0, ..state }.into_phase(Phase::Returning { ending }), why);
    }
    let alive = turn.seen.candidate.alive;
    turn.then(state, Why::Restoring { alive, ending })
}
