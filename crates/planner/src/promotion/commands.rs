//! What people may ask of a promotion that is under way, and what follows from it at once.

use super::{
    Command, Ending, Mode, Phase, Resume, Room, Settings, State,
    back::{give_up, return_all},
    decide::Turn,
};
use crate::Timestamp;

/// Why a command does nothing, in words for the one who gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is nothing to command any more.
    Ended,
    /// The command is for rolling promotions.
    NotRolling,
    /// A promotion in place has no steps between which it could rest.
    InPlace,
    /// It goes back, or has everything already: there is no step to hold at.
    NoMoreSteps,
    /// It is paused already.
    AlreadyPaused,
    /// It is not paused.
    NotPaused,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refusal::Ended => "the promotion has ended",
            Refusal::NotRolling => "the promotion is not a rolling deployment: it can only be canceled",
            Refusal::InPlace => {
                "the promotion replaces the previous deployment in place: it has no steps to pause between"
            }
            Refusal::NoMoreSteps => "the promotion has no further step to pause before",
            Refusal::AlreadyPaused => "the promotion is paused already",
            Refusal::NotPaused => "the promotion is not paused",
        })
    }
}

impl std::error::Error for Refusal {}

impl State {
    /// Whether a command means anything now.
    pub fn accepts(&self, command: Command, settings: &Settings) -> Result<(), Refusal> {
        if matches!(self.phase, Phase::Ended { .. }) {
            return Err(Refusal::Ended);
        }
        let is_rolling = matches!(settings.mode, Mode::Rolling { .. });
        match command {
            Command::Cancel | Command::ForceCancel => Ok(()),
            Command::Pause | Command::Resume | Command::ForceRollForward if !is_rolling => Err(Refusal::NotRolling),
            Command::ForceRollForward => Ok(()),
            Command::Pause if settings.room == Room::InPlace => Err(Refusal::InPlace),
            Command::Pause => match self.phase {
                Phase::Releasing | Phase::Holding { .. } | Phase::Growing => Ok(()),
                Phase::Paused { .. } => Err(Refusal::AlreadyPaused),
                Phase::Replacing | Phase::RollingForward | Phase::Swapping => Err(Refusal::NoMoreSteps),
                Phase::RampingDown { .. } | Phase::Restoring { .. } | Phase::Returning { .. } | Phase::Ended { .. } => {
                    Err(Refusal::NoMoreSteps)
                }
            },
            Command::Resume if matches!(self.phase, Phase::Paused { .. }) => Ok(()),
            Command::Resume => Err(Refusal::NotPaused),
        }
    }

    /// Goes on after a pause as if its time had not passed.
    fn resumed(self, now: Timestamp) -> Self {
        let Phase::Paused { since, resume } = self.phase else {
            return self;
        };
        let paused_ms = now.since(since);
        let phase = match resume {
            Resume::Releasing => Phase::Releasing,
            Resume::Holding { held_since } => {
                Phase::Holding { since: held_since.map(|since| since.plus(paused_ms).min(now)) }
            }
            Resume::Growing => Phase::Growing,
        };
        Self {
            phase,
            progress_at: self.progress_at.map(|at| at.plus(paused_ms).min(now)),
            deadline_at: self.deadline_at.plus(paused_ms),
            ..self
        }
    }
}

/// What a command makes of a promotion. One that is refused changes nothing.
pub(super) fn obey(turn: &Turn<'_>, state: State, command: Command) -> State {
    if state.accepts(command, turn.settings).is_err() {
        return state;
    }
    match command {
        Command::Pause => pause(turn.now, state),
        Command::Resume => state.resumed(turn.now),
        Command::Cancel => cancel(turn, state.resumed(turn.now)),
        Command::ForceCancel => force_cancel(turn, state.resumed(turn.now)),
        Command::ForceRollForward => force_roll_forward(turn, state.resumed(turn.now)),
    }
}

fn pause(now: Timestamp, state: State) -> State {
    let resume = match state.phase {
        Phase::Holding { since } => Resume::Holding { held_since: since },
        Phase::Growing => Resume::Growing,
        _ => Resume::Releasing,
    };
    state.into_phase(Phase::Paused { since: now, resume })
}

fn canceled() -> Ending {
    Ending::Canceled { reason: "canceled by request".into() }
}

fn cancel(turn: &Turn<'_>, state: State) -> State {
    match state.phase {
        Phase::RampingDown { .. } | Phase::Restoring { .. } | Phase::Returning { .. } | Phase::Ended { .. } => state,
        _ if matches!(turn.settings.mode, Mode::Rolling { .. }) => give_up(turn, state, canceled()),
        _ => return_all(turn, state, canceled()),
    }
}

fn force_cancel(turn: &Turn<'_>, state: State) -> State {
    let ending = match &state.phase {
        Phase::RampingDown { ending, .. } => ending.clone(),
        Phase::Restoring { .. } | Phase::Returning { .. } => return state,
        _ => Ending::Canceled { reason: "canceled by force".into() },
    };
    return_all(turn, state, ending)
}

fn force_roll_forward(turn: &Turn<'_>, state: State) -> State {
    match &state.phase {
        Phase::Swapping | Phase::RollingForward | Phase::Ended { .. } => state,
        Phase::Returning { ending: Ending::Failed { .. } } | Phase::Restoring { ending: Ending::Failed { .. }, .. } => {
            state
        }
        // Waiting begins anew, unless it has not begun: a build is not waited for.
        _ => State { progress_at: state.progress_at.map(|_| turn.now), ..state }.into_phase(Phase::RollingForward),
    }
}
