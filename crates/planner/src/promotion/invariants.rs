//! What is true of every decision about a promotion, whatever the world does. Checked after each simulated step.

use super::{
    Ending, Memory, Mode, Phase, Seen, Settings, State, Step, Targets, Why,
    decide::{Turn, decide},
    rolling::{self, step_replicas},
};
use crate::{Decision, Timestamp};

/// A decision, and all that led to it.
#[derive(Debug)]
pub struct Case<'a> {
    /// When it was taken.
    pub now: Timestamp,
    /// What was remembered.
    pub before: &'a State,
    /// How the promotion goes.
    pub settings: &'a Settings,
    /// What was seen.
    pub seen: &'a Seen<'a>,
    /// Whether somebody had asked for something.
    pub is_commanded: bool,
    /// What was decided.
    pub decision: &'a Decision<(State, Memory), Targets, Why>,
}

/// Whether a case keeps a rule.
type Rule = fn(&Case<'_>) -> bool;

/// The first rule that a decision breaks, in words; none when it keeps them all.
pub fn broken_rule(case: &Case<'_>) -> Option<&'static str> {
    let rules: [(Rule, &'static str); 15] = [
        (shares_are_percent, "a share lies between 0 and 100"),
        (traffic_goes_where_something_is_ready, "traffic goes where something is ready, or nothing is"),
        (weight_falls_before_replicas, "a side shrinks only when the gateways send it less"),
        (what_stays_can_carry_its_share, "a side that shrinks keeps what its share needs"),
        (the_previous_side_can_carry_what_it_gets_back, "traffic goes back step by step to a side that can carry it"),
        (enough_stay_while_rolling, "while traffic moves, both sides together have the replicas that the load needs"),
        (no_more_than_a_step_is_added, "a rolling promotion asks for no more replicas than one step on top"),
        (each_side_keeps_one, "a side that takes part has at least one replica"),
        (one_after_the_other, "in place, one side starts only when the other has ended"),
        (ends_stay, "what is finished stays finished"),
        (success_is_proven, "only a candidate that serves all traffic becomes current"),
        (a_pause_pins, "a paused promotion keeps its share, and stays paused until somebody resumes it"),
        (the_deadline_stands, "the deadline moves only by the time of a pause"),
        (marks_do_not_fall, "the most replicas that were ever ready never become fewer"),
        (the_next_look_lies_ahead, "a wake-up does not lie in the past, nor in this moment when nothing has changed"),
    ];
    rules.into_iter().find(|(is_kept, _)| !is_kept(case)).map(|(_, rule)| rule)
}

/// Whether deciding again about the same world gives nothing new, the autoscaler's own steps aside.
pub fn is_settled(case: &Case<'_>) -> bool {
    let (state, memory) = &case.decision.next;
    let again = decide(case.now, state, memory, None, case.settings, case.seen);
    let (next, _) = &again.next;
    next.total != state.total || (next == state && again.output == case.decision.output)
}

impl Case<'_> {
    fn after(&self) -> &State {
        &self.decision.next.0
    }

    fn turn(&self) -> Turn<'_> {
        Turn { now: self.now, settings: self.settings, seen: self.seen }
    }

    fn step(&self) -> Option<Step> {
        match self.settings.mode {
            Mode::Rolling { step, .. } if !self.turn().is_in_place() => Some(step),
            Mode::Rolling { .. } | Mode::Immediate | Mode::Canary { .. } => None,
        }
    }

    fn previous_ready(&self) -> u32 {
        self.turn().previous_ready()
    }

    /// Whether the gateways send what is now asked of them.
    fn is_published(&self) -> bool {
        self.turn().is_published(self.after())
    }

    fn has_same_total(&self) -> bool {
        self.before.total == self.after().total
    }
}

fn is_given_back(state: &State) -> bool {
    match &state.phase {
        Phase::Returning { .. } | Phase::Restoring { .. } => true,
        Phase::Ended { ending, .. } => *ending != Ending::Succeeded,
        _ => false,
    }
}

fn shares_are_percent(case: &Case<'_>) -> bool {
    case.after().percent <= 100 && case.decision.output.candidate_percent <= 100
}

fn traffic_goes_where_something_is_ready(case: &Case<'_>) -> bool {
    let percent = case.decision.output.candidate_percent;
    let (candidate, previous) = (case.seen.candidate.ready, case.previous_ready());
    let is_over = matches!(case.after().phase, Phase::Ended { .. });
    let for_candidate = percent == 0 || candidate > 0 || previous == 0 || is_over;
    let for_previous = percent == 100 || previous > 0 || candidate == 0 || is_given_back(case.after());
    for_candidate && for_previous
}

fn weight_falls_before_replicas(case: &Case<'_>) -> bool {
    let (before, after) = (case.before, case.after());
    let is_over = matches!(after.phase, Phase::Ended { .. });
    if case.step().is_none() || is_over || !case.has_same_total() {
        return true;
    }
    let was_released = !matches!(before.phase, Phase::Releasing);
    let shrinks = was_released && (after.allowed < before.allowed || after.requested < before.requested);
    !shrinks || case.is_published()
}

fn what_stays_can_carry_its_share(case: &Case<'_>) -> bool {
    let (before, after) = (case.before, case.after());
    let was_moving = matches!(before.phase, Phase::Holding { .. } | Phase::Growing);
    if case.step().is_none() || !was_moving || !case.has_same_total() || after.allowed >= before.allowed {
        return true;
    }
    let share = u64::from(100 - case.decision.output.candidate_percent);
    // A percent is a whole number, and so are replicas.
    let blurred = share.saturating_sub(1) * u64::from(after.total) / 100;
    u64::from(after.allowed + rolling::tolerated(case.settings, after.total)) >= blurred
}

fn the_previous_side_can_carry_what_it_gets_back(case: &Case<'_>) -> bool {
    let after = case.after();
    let gets_back = matches!(after.phase, Phase::RampingDown { .. }) && after.percent < case.before.percent;
    let carried = u64::from(100 - after.percent) * u64::from(after.total);
    let tolerated = rolling::tolerated(case.settings, after.total);
    !gets_back || u64::from(case.previous_ready() + tolerated) * 100 >= carried
}

fn enough_stay_while_rolling(case: &Case<'_>) -> bool {
    let (before, after) = (case.before, case.after());
    let moves = matches!(after.phase, Phase::Holding { .. } | Phase::Growing);
    if case.step().is_none() || !moves || !case.has_same_total() || after.allowed >= before.allowed {
        return true;
    }
    let tolerated = rolling::tolerated(case.settings, after.total);
    after.allowed + case.seen.candidate.ready >= after.total.saturating_sub(tolerated).max(1)
}

fn no_more_than_a_step_is_added(case: &Case<'_>) -> bool {
    let (before, after) = (case.before, case.after());
    let grows = matches!(after.phase, Phase::Growing) && after.requested > before.requested;
    match case.step() {
        Some(step) if grows && case.has_same_total() && case.previous_ready() > 0 => {
            let ahead = match step {
                Step::Surge(_) => step_replicas(step, after.total),
                Step::Unavailable(_) => 1,
            };
            after.allowed + after.requested <= after.total + ahead + after.overhead
        }
        Some(_) | None => true,
    }
}

fn each_side_keeps_one(case: &Case<'_>) -> bool {
    let targets = &case.decision.output;
    case.turn().is_in_place() || targets.candidate.min > 0 && targets.previous.is_none_or(|hold| hold.min > 0)
}

fn one_after_the_other(case: &Case<'_>) -> bool {
    let targets = &case.decision.output;
    let Some(previous) = case.seen.previous.filter(|_| case.turn().is_in_place()) else {
        return true;
    };
    let candidate = &case.seen.candidate;
    let candidate_waits = targets.candidate.max <= candidate.alive || previous.alive == 0;
    let previous_waits = targets.previous.is_none_or(|hold| hold.max == 0) || candidate.alive == 0;
    candidate_waits && previous_waits || matches!(case.after().phase, Phase::Ended { .. })
}

fn ends_stay(case: &Case<'_>) -> bool {
    !matches!(case.before.phase, Phase::Ended { .. }) || case.before == case.after()
}

fn success_is_proven(case: &Case<'_>) -> bool {
    let succeeds = case.before.ending().is_none() && case.after().ending() == Some(&Ending::Succeeded);
    let candidate = &case.seen.candidate;
    let has_all = case.seen.previous.is_none() || case.seen.published_percent == Some(100);
    !succeeds || has_all && candidate.ready > 0 && candidate.has_been_ready
}

fn a_pause_pins(case: &Case<'_>) -> bool {
    let is_paused = |state: &State| matches!(state.phase, Phase::Paused { .. });
    if !is_paused(case.before) || case.is_commanded {
        return true;
    }
    let fails = case.seen.candidate.failure.is_some() || case.seen.candidate.ready == 0;
    fails || is_paused(case.after()) && case.after().percent == case.before.percent
}

fn the_deadline_stands(case: &Case<'_>) -> bool {
    let (before, after) = (case.before, case.after());
    let paused_ms = match before.phase {
        Phase::Paused { since, .. } if !matches!(after.phase, Phase::Paused { .. }) => case.now.since(since),
        _ => 0,
    };
    after.deadline_at <= before.deadline_at.plus(paused_ms)
}

fn marks_do_not_fall(case: &Case<'_>) -> bool {
    case.after().best_ready >= case.before.best_ready
}

fn the_next_look_lies_ahead(case: &Case<'_>) -> bool {
    let has_changed = case.before != case.after();
    case.decision.wake_at.is_none_or(|at| at > case.now || has_changed && at == case.now)
}
