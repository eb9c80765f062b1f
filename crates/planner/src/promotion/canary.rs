//! Ten even stages, each when its time has come and the candidate can carry it. Behaviour 3.7.

use super::{
    Phase, State, Why,
    decide::{Turn, Verdict},
    rolling::percent_of,
};
use crate::Timestamp;

/// How much one stage moves.
const STAGE_PERCENT: u8 = 10;

/// Replicas of the candidate that a share needs.
pub(super) fn needed(turn: &Turn<'_>, state: &State, percent: u8) -> u32 {
    percent_of(state.total, u32::from(percent)).max(turn.seen.autoscaling.min_replica).max(1)
}

/// Replicas of the candidate that the next stage needs.
pub(super) fn needed_next(turn: &Turn<'_>, state: &State) -> u32 {
    needed(turn, state, next_percent(state))
}

fn next_percent(state: &State) -> u8 {
    state.percent.saturating_add(STAGE_PERCENT).min(100)
}

/// The first stage lies one tenth of the whole ahead.
pub(super) fn begin(turn: &Turn<'_>, state: State) -> State {
    state.into_phase(Phase::Holding { since: Some(turn.now) })
}

/// When the next stage is due.
pub(super) fn due_at(turn: &Turn<'_>, since: Option<Timestamp>, duration_ms: u64) -> Timestamp {
    since.unwrap_or(turn.now).plus(duration_ms / 10)
}

/// Waits for the next stage.
pub(super) fn hold(turn: &Turn<'_>, state: State, since: Option<Timestamp>, duration_ms: u64) -> Verdict {
    let percent = turn.shown_percent(&state);
    let due_at = due_at(turn, since, duration_ms);
    if !turn.is_published(&state) {
        return turn.then(state, Why::WaitingForGateways { percent });
    }
    if turn.now < due_at {
        return turn.then_at(due_at, state, Why::BetweenStages { percent });
    }
    let (ready, needed) = (turn.seen.candidate.ready, needed_next(turn, &state));
    if ready < needed {
        return turn.then(state, Why::WaitingForCandidate { ready, needed });
    }
    let percent = next_percent(&state);
    let why = Why::WaitingForGateways { percent };
    if percent == 100 {
        return turn.then(turn.swap(state), why);
    }
    let shifted =
        State { percent, progress_at: Some(turn.now), phase: Phase::Holding { since: Some(turn.now) }, ..state };
    turn.then(shifted, why)
}
