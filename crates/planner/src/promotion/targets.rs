//! What should be true of replicas and routes in each phase.

use super::{Ending, Hold, Mode, Phase, State, Targets, canary, decide::Turn, in_place};

impl State {
    /// The candidate's share in the routes when so many replicas of each side are ready: the one decided, but no traffic goes
    /// where nothing is ready while the other side has something that is. Traffic that was given back stays there: that was
    /// asked for, or the candidate cannot have it. Without a previous deployment the candidate has it all.
    pub fn share(&self, candidate_ready: u32, previous_ready: Option<u32>) -> u8 {
        let Some(previous_ready) = previous_ready else {
            return 100;
        };
        match &self.phase {
            Phase::Returning { .. } | Phase::Restoring { .. } => 0,
            Phase::Ended { ending: Ending::Failed { .. } | Ending::Canceled { .. }, .. } => 0,
            Phase::Ended { ending: Ending::Succeeded, .. } => 100,
            _ => match (candidate_ready, previous_ready) {
                (0, 1..) => 0,
                (1.., 0) => 100,
                (0, 0) | (1.., 1..) => self.percent,
            },
        }
    }
}

impl Turn<'_> {
    /// What should be true.
    pub fn targets(&self, state: &State) -> Targets {
        let candidate_percent = self.shown_percent(state);
        if self.is_in_place() {
            return in_place::targets(self, state, candidate_percent);
        }
        let (candidate, previous) = (self.candidate(state), self.previous(state));
        // One that rests is left to itself: a hold would wake it up.
        let previous = previous.filter(|_| !self.is_previous_at_rest());
        Targets { candidate, previous, candidate_percent }
    }

    /// The candidate's share in the routes, as far as this decision sees.
    pub fn shown_percent(&self, state: &State) -> u8 {
        state.share(self.seen.candidate.ready, self.seen.previous.map(|previous| previous.ready))
    }

    fn candidate(&self, state: &State) -> Hold {
        match self.settings.mode {
            Mode::Immediate => self.at_least(state.total),
            Mode::Canary { .. } => self.at_least(match state.phase {
                Phase::Releasing if self.is_previous_at_rest() => state.total,
                Phase::Releasing => self.seen.autoscaling.min_replica.max(1),
                Phase::Swapping | Phase::Ended { ending: Ending::Succeeded, .. } => canary::needed(self, state, 100),
                _ => canary::needed_next(self, state),
            }),
            Mode::Rolling { .. } => exactly(state.requested.max(1)),
        }
    }

    fn previous(&self, state: &State) -> Option<Hold> {
        let is_released = !matches!(state.phase, Phase::Releasing | Phase::Ended { .. });
        match self.settings.mode {
            Mode::Immediate | Mode::Canary { .. } => is_released.then(|| self.at_least(state.total)),
            Mode::Rolling { .. } => {
                (is_released || self.seen.candidate.is_built).then(|| exactly(state.allowed.max(1)))
            }
        }
    }

    /// The environment's bounds, with a raised minimum.
    fn at_least(&self, replicas: u32) -> Hold {
        let min = replicas.max(1);
        Hold { min, max: min.max(self.seen.autoscaling.max_replica) }
    }
}

/// So many and no other number.
pub(super) fn exactly(replicas: u32) -> Hold {
    Hold { min: replicas, max: replicas }
}
