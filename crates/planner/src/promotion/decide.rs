//! The decision: scale, obey, go back when going forward has failed, else go on.

use super::{
    Command, Ending, Memory, Mode, Phase, Resume, Room, Seen, Settings, State, Targets, Why, back, canary, commands,
    in_place, rolling,
};
use crate::{Decision, Timestamp, autoscale};

/// Phases that one decision can pass through.
const MOST_STEPS: usize = 12;

/// What a decision works with.
pub(super) struct Turn<'a> {
    pub now: Timestamp,
    pub settings: &'a Settings,
    pub seen: &'a Seen<'a>,
}

/// Where one step leads.
pub(super) struct Verdict {
    pub next: State,
    pub why: Why,
    pub wake_at: Option<Timestamp>,
}

/// Says what should be true of a promotion now.
pub fn decide(
    now: Timestamp,
    state: &State,
    memory: &Memory,
    command: Option<Command>,
    settings: &Settings,
    seen: &Seen<'_>,
) -> Decision<(State, Memory), Targets, Why> {
    let turn = Turn { now, settings, seen };
    if let Phase::Ended { ending, .. } = &state.phase {
        let why = Why::Ended { ending: ending.clone() };
        return Decision { next: (state.clone(), memory.clone()), output: turn.targets(state), wake_at: None, why };
    }
    let (state, memory, scaling_at) = scale(&turn, state.clone().rewound(now), memory);
    let state = observe(&turn, state);
    let state = match command {
        Some(command) => commands::obey(&turn, state, command),
        None => state,
    };
    let mut verdict = advance(&turn, back::checked(&turn, state));
    for _ in 0..MOST_STEPS {
        let again = advance(&turn, back::checked(&turn, verdict.next.clone()));
        let is_done = again.next == verdict.next;
        verdict = again;
        if is_done {
            break;
        }
    }
    let Verdict { next, why, wake_at } = verdict;
    let wake_at = match next.phase {
        Phase::Ended { .. } => None,
        _ => [wake_at, scaling_at, back::limit_at(&turn, &next)].into_iter().flatten().min().map(|at| at.max(now)),
    };
    let output = turn.targets(&next);
    Decision { next: (next, memory), output, wake_at, why }
}

impl Turn<'_> {
    /// Ready replicas of the previous deployment.
    pub fn previous_ready(&self) -> u32 {
        self.seen.previous.map_or(0, |previous| previous.ready)
    }

    /// Whether the previous deployment ends before the candidate starts.
    pub fn is_in_place(&self) -> bool {
        self.settings.room == Room::InPlace && self.seen.previous.is_some()
    }

    /// Whether nobody is served by the previous deployment, nor should be: there is nothing to ramp.
    pub fn is_previous_at_rest(&self) -> bool {
        self.seen.previous.is_none_or(|previous| previous.wanted == 0 && previous.ready == 0)
    }

    /// Whether the gateways do what is asked of them. Without a previous deployment there is nothing to ask.
    pub fn is_published(&self, state: &State) -> bool {
        self.seen.previous.is_none() || self.seen.published_percent == Some(self.shown_percent(state))
    }

    /// This comes next, and only what is seen leads on from there.
    pub fn then(&self, next: State, why: Why) -> Verdict {
        Verdict { next, why, wake_at: None }
    }

    /// This comes next, and the passing of time leads on from there as well.
    pub fn then_at(&self, at: Timestamp, next: State, why: Why) -> Verdict {
        Verdict { next, why, wake_at: Some(at) }
    }

    /// All traffic to the candidate.
    pub fn swap(&self, state: State) -> State {
        let requested = state.requested.max(state.total);
        State { percent: 100, requested, phase: Phase::Swapping, ..state }
    }
}

/// Follows the load of both sides.
fn scale(turn: &Turn<'_>, state: State, memory: &Memory) -> (State, Memory, Option<Timestamp>) {
    let Mode::Rolling { overhead_percent, .. } = turn.settings.mode else {
        let (total, memory, wake_at) = wanted_together(turn, &state, memory);
        return (State { total, ..state }, memory, wake_at);
    };
    let is_pinned = turn.seen.autoscaling.min_replica == turn.seen.autoscaling.max_replica;
    let (total, memory, wake_at) = match is_pinned {
        true => (state.total, memory.clone(), None),
        false => wanted_together(turn, &state, memory),
    };
    let state = match &state.phase {
        Phase::Releasing | Phase::Paused { resume: Resume::Releasing, .. } => {
            rolling::with_overhead(State { total, ..state }, overhead_percent)
        }
        Phase::Holding { .. } | Phase::Growing | Phase::Paused { .. } | Phase::RollingForward | Phase::Swapping => {
            rolling::split(state, total)
        }
        Phase::Replacing
        | Phase::RampingDown { .. }
        | Phase::Restoring { .. }
        | Phase::Returning { .. }
        | Phase::Ended { .. } => State { total, ..state },
    };
    (state, memory, wake_at)
}

/// Replicas that the load of both sides asks for. A side that takes part has one, whatever the load.
fn wanted_together(turn: &Turn<'_>, state: &State, memory: &Memory) -> (u32, Memory, Option<Timestamp>) {
    let Seen { load, autoscaling, .. } = *turn.seen;
    let bounds = autoscale::Settings {
        min_replica: autoscaling.min_replica.max(1),
        max_replica: autoscaling.max_replica.max(1),
        ..autoscaling.clone()
    };
    let decision = autoscale::decide(turn.now, state.total, load, &memory.scaling, &bounds);
    (decision.output.replicas, Memory { scaling: decision.next }, decision.wake_at)
}

/// Remembers what is seen of the candidate.
fn observe(turn: &Turn<'_>, state: State) -> State {
    let candidate = &turn.seen.candidate;
    let is_best = candidate.ready > state.best_ready;
    let begins = candidate.is_built && state.progress_at.is_none();
    let is_ready = candidate.ready >= first_needed(turn, &state);
    State {
        best_ready: state.best_ready.max(candidate.ready),
        progress_at: if is_best || begins { Some(turn.now) } else { state.progress_at },
        ready_since: is_ready.then(|| state.ready_since.unwrap_or(turn.now)),
        ..state
    }
}

/// Replicas of the candidate that its first share needs.
pub(super) fn first_needed(turn: &Turn<'_>, state: &State) -> u32 {
    match turn.settings.mode {
        _ if turn.is_previous_at_rest() && !turn.is_in_place() => 1,
        _ if turn.is_in_place() => state.total,
        Mode::Immediate => state.total,
        Mode::Canary { .. } => turn.seen.autoscaling.min_replica.max(1),
        Mode::Rolling { .. } => 1,
    }
}

/// One step on.
fn advance(turn: &Turn<'_>, state: State) -> Verdict {
    match state.phase.clone() {
        Phase::Releasing if turn.is_in_place() && turn.seen.candidate.is_built => {
            let why = Why::MakingRoom { alive: turn.seen.previous.map_or(0, |previous| previous.alive) };
            turn.then(state.into_phase(Phase::Replacing), why)
        }
        Phase::Releasing => release(turn, state),
        Phase::Replacing => in_place::replace(turn, state),
        Phase::Holding { since } => match turn.settings.mode {
            Mode::Rolling { stabilization_ms, .. } => rolling::hold(turn, state, since, stabilization_ms),
            Mode::Canary { duration_ms } => canary::hold(turn, state, since, duration_ms),
            Mode::Immediate => turn.then(turn.swap(state), Why::WaitingForGateways { percent: 100 }),
        },
        Phase::Growing => match turn.settings.mode {
            Mode::Rolling { step, .. } => rolling::grow(turn, state, step),
            Mode::Canary { .. } | Mode::Immediate => {
                turn.then(turn.swap(state), Why::WaitingForGateways { percent: 100 })
            }
        },
        Phase::Paused { .. } => {
            let percent = turn.shown_percent(&state);
            turn.then(state, Why::Paused { percent })
        }
        Phase::RollingForward if can_serve(turn) => {
            turn.then(turn.swap(state), Why::WaitingForGateways { percent: 100 })
        }
        Phase::RollingForward => turn.then(state, Why::RollingForward),
        Phase::Swapping => swap(turn, state),
        Phase::RampingDown { ending, .. } => back::ramp_down(turn, state, ending),
        Phase::Restoring { ending, .. } => in_place::restore(turn, state, ending),
        Phase::Returning { ending } => back::hand_over(turn, state, ending),
        Phase::Ended { ending, .. } => turn.then(state, Why::Ended { ending }),
    }
}

/// Whether an environment may point at the candidate now.
pub(super) fn can_serve(turn: &Turn<'_>) -> bool {
    turn.seen.candidate.ready > 0 && turn.seen.candidate.has_been_ready
}

/// Waits until the candidate can have its first share.
fn release(turn: &Turn<'_>, state: State) -> Verdict {
    match waits_for_candidate(turn, &state) {
        Some((why, wake_at)) => Verdict { next: state, why, wake_at },
        None => {
            let next = match turn.settings.mode {
                _ if turn.is_previous_at_rest() => turn.swap(state),
                Mode::Immediate => turn.swap(state),
                Mode::Canary { .. } => canary::begin(turn, state),
                Mode::Rolling { step, .. } => rolling::shift(turn, state, step),
            };
            let percent = turn.shown_percent(&next);
            turn.then(next, Why::WaitingForGateways { percent })
        }
    }
}

/// What keeps the candidate from its first share, and until when at most.
pub(super) fn waits_for_candidate(turn: &Turn<'_>, state: &State) -> Option<(Why, Option<Timestamp>)> {
    let candidate = &turn.seen.candidate;
    let needed = first_needed(turn, state);
    match state.ready_since {
        _ if !candidate.is_built => Some((Why::WaitingForBuild, None)),
        Some(since) if candidate.has_been_ready => {
            let proven_at = since.plus(turn.settings.min_ready_ms);
            let min_ready_ms = turn.settings.min_ready_ms;
            (turn.now < proven_at).then_some((Why::Proving { min_ready_ms }, Some(proven_at)))
        }
        Some(_) | None => Some((Why::WaitingForCandidate { ready: candidate.ready, needed }, None)),
    }
}

/// Waits until the gateways have sent everything to the candidate.
fn swap(turn: &Turn<'_>, state: State) -> Verdict {
    if can_serve(turn) && turn.is_published(&state) {
        let ending = Ending::Succeeded;
        let why = Why::Ended { ending: ending.clone() };
        return turn.then(state.into_phase(Phase::Ended { at: turn.now, ending }), why);
    }
    turn.then(state, Why::WaitingForGateways { percent: 100 })
}
