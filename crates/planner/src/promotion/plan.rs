//! What a promotion will do: the machine itself, driven through a world in which everything goes well.

use super::{Mode, Seen, Settings, Side, State, Step, Targets, decide, rolling};
use crate::{Timestamp, autoscale};

/// Steps after which a plan breaks off.
const MOST_STEPS: usize = 10_000;

/// One step of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanStep {
    /// When, in milliseconds from the moment at which the candidate's first replicas are ready. Replicas are ready at once here.
    pub at_ms: u64,
    /// The candidate's share from then on.
    pub percent: u8,
    /// Replicas of the candidate from then on.
    pub candidate: u32,
    /// Replicas of the previous deployment from then on.
    pub previous: u32,
}

/// What a promotion will do when everything goes well, with the load as it is. `previous` is how many replicas the previous
/// deployment should have; none when there is no previous deployment.
pub fn plan(settings: &Settings, previous: Option<u32>, autoscaling: &autoscale::Settings) -> Vec<PlanStep> {
    // The load stays as it is: nothing is taken away for want of it.
    let autoscaling = autoscale::Settings { scale_down_delay_s: u32::MAX, ..autoscaling.clone() };
    let mut now = Timestamp(0);
    let side = |replicas: u32| Side {
        ready: replicas,
        alive: replicas,
        wanted: replicas,
        is_built: true,
        has_been_ready: true,
        failure: None,
    };
    let (mut candidate, mut previous, mut published) = (0, previous, None);
    let mut state = None;
    let mut memory = super::Memory::default();
    let mut steps: Vec<PlanStep> = Vec::new();
    for _ in 0..MOST_STEPS {
        let seen = Seen {
            candidate: side(candidate),
            previous: previous.map(side),
            load: autoscale::Load::default(),
            autoscaling: &autoscaling,
            published_percent: published,
        };
        let before = state.unwrap_or_else(|| State::begin(now, settings, &seen));
        let decision = decide(now, &before, &memory, None, settings, &seen);
        let Targets { candidate: hold, previous: previous_hold, candidate_percent } = decision.output;
        let after = (hold.min, previous.map(|replicas| previous_hold.map_or(replicas, |hold| hold.min)));
        let step =
            PlanStep { at_ms: now.0, percent: candidate_percent, candidate: after.0, previous: after.1.unwrap_or(0) };
        let is_new = steps.last().is_none_or(|last| PlanStep { at_ms: last.at_ms, ..step } != *last);
        if is_new {
            steps.push(step);
        }
        let is_same = after == (candidate, previous) && published == Some(candidate_percent);
        (candidate, previous, published) = (after.0, after.1, Some(candidate_percent));
        (state, memory) = (Some(decision.next.0), decision.next.1);
        if state.as_ref().is_some_and(|state| state.ending().is_some()) {
            break;
        }
        if is_same {
            now = decision.wake_at.map_or(now, |at| at.max(now));
        }
    }
    steps
}

/// How many more replicas than `total` there are at most while both sides run.
pub fn replicas_beside(settings: &Settings, total: u32) -> u32 {
    let total = total.max(1);
    match settings.mode {
        Mode::Immediate | Mode::Canary { .. } => total,
        Mode::Rolling { step, overhead_percent, .. } => {
            let overhead = rolling::percent_of(total, overhead_percent);
            let ahead = match step {
                Step::Surge(_) => rolling::step_replicas(step, total),
                Step::Unavailable(_) => 1,
            };
            overhead.saturating_add(ahead)
        }
    }
}
