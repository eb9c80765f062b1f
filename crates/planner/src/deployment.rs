//! The one decision about one deployment, composed of the others: what the load asks for, how far the run is, which replicas to
//! start and stop. A shell looks, calls this, saves what it says, does what it says, and looks again.

use std::fmt;

use crate::{
    Decision, Timestamp, autoscale,
    lifecycle::{self, Lifecycle, Observed, Run},
    promotion::Hold,
    replica_set::{self, Action, Replica},
};

/// All that is remembered of a deployment between decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What has happened to it.
    pub lifecycle: Lifecycle,
    /// How many replicas should run, as last decided.
    pub target: u32,
    /// What is remembered of failed starts.
    pub starts: replica_set::Memory,
    /// What is remembered of the load.
    pub scaling: autoscale::Memory,
}

/// What a decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Every replica that has not been cleared away.
    pub replicas: &'a [Replica],
    /// What the gateways have on their hands.
    pub load: autoscale::Load,
    /// How it scales.
    pub settings: &'a autoscale::Settings,
    /// Bounds that a promotion sets, in place of the settings' minimum and maximum.
    pub hold: Option<Hold>,
    /// How long a first start may take.
    pub deploy_timeout_ms: u64,
}

impl Seen<'_> {
    /// The minimum and the maximum that are in force.
    pub fn bounds(&self) -> Hold {
        self.hold.unwrap_or(Hold { min: self.settings.min_replica, max: self.settings.max_replica })
    }
}

/// Why a deployment is as it is: the most telling of its parts' reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// How far its run is.
    Run(lifecycle::Why),
    /// How it follows the load.
    Scaling(autoscale::Why),
    /// How its replicas fare.
    Replicas(replica_set::Why),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Run(why) => why.fmt(f),
            Why::Scaling(why) => why.fmt(f),
            Why::Replicas(why) => why.fmt(f),
        }
    }
}

/// Why a deployment stands where it does, from stored facts alone, in a sentence; none when it serves as it should.
pub fn explain(lifecycle: &Lifecycle, observed: &Observed, starts: &replica_set::Memory) -> Option<String> {
    let rest = lifecycle.rests_because.clone();
    let failure = || lifecycle.failure().map(|reason| reason.message.clone());
    let trouble = || starts.trouble().filter(|_| observed.ready == 0);
    rest.or_else(failure).or_else(trouble).or_else(|| lifecycle::reason(lifecycle, observed).map(|why| why.to_string()))
}

/// Since when a start of another replica is to be expected: of one that rests and may be woken, or that serves and may grow. None
/// where nothing is expected, and while one is under way.
pub fn may_start(lifecycle: &Lifecycle, target: u32, most: u32) -> Option<Timestamp> {
    match lifecycle.run {
        Run::AtZero { since } | Run::Serving { since } => (target < most).then_some(since),
        Run::Idle | Run::Starting { .. } | Run::Waking { .. } | Run::Failed { .. } => None,
    }
}

/// What should happen to a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Replicas to start, to stop and to clear away.
    pub actions: Vec<Action>,
    /// How the load was taken into account; none while it is not the load that decides.
    pub scaling: Option<(autoscale::Inputs, autoscale::Why)>,
}

/// Says what should happen to a deployment now.
pub fn decide(now: Timestamp, state: &State, seen: &Seen<'_>) -> Decision<State, Output, Why> {
    let lesson = replica_set::learn(now, seen.replicas, &state.starts);
    let bounds = seen.bounds();
    let settings = autoscale::Settings { min_replica: bounds.min, max_replica: bounds.max, ..seen.settings.clone() };
    let scaling = autoscale::decide(now, state.target, seen.load, &state.scaling, &settings);
    let run = lifecycle::decide(
        now,
        &state.lifecycle,
        &lifecycle::Picture {
            observed: Observed::of(seen.replicas),
            failures: lesson.memory.failures,
            failure: lesson.failure,
            demand: scaling.output.replicas,
            first_replicas: bounds.min.max(1),
            is_held_back: bounds.max == 0,
            deploy_timeout_ms: seen.deploy_timeout_ms,
        },
    );
    let starts = match (&state.lifecycle.run, &run.next.run) {
        (Run::Idle, Run::Starting { .. }) | (Run::AtZero { .. }, Run::Waking { .. }) => {
            replica_set::Memory::new_run(seen.replicas)
        }
        _ => lesson.memory,
    };
    let replicas = replica_set::decide(now, run.output, seen.replicas, &starts);

    let follows_load = run.why.follows_load();
    let is_asked_for = follows_load || run.why == lifecycle::Why::Waking;
    let why = match (&replicas.why, run.why) {
        (replica_set::Why::BackingOff { .. }, _) => Why::Replicas(replicas.why),
        (_, lifecycle::Why::FollowingLoad) => Why::Scaling(scaling.why),
        (_, why) => Why::Run(why),
    };
    let wake_at = [run.wake_at, replicas.wake_at, scaling.wake_at.filter(|_| follows_load)].into_iter().flatten().min();
    let next = State {
        lifecycle: run.next,
        target: run.output,
        starts: replicas.next,
        scaling: if follows_load { scaling.next } else { scaling.next.without_delay() },
    };
    let scaling = is_asked_for.then_some((scaling.output.inputs, scaling.why));
    Decision { next, output: Output { actions: replicas.output, scaling }, wake_at, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Reason;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn built(run: Run) -> State {
        let lifecycle = Lifecycle::pushed(NOW).build_finished(NOW, NOW, Ok("artifact".into()));
        State {
            lifecycle: Lifecycle { run, first_ready: Some(NOW), ..lifecycle },
            target: 2,
            starts: replica_set::Memory::default(),
            scaling: autoscale::Memory::default(),
        }
    }

    #[track_caller]
    fn check_hold(run: Run, queued: u32, hold: Option<(u32, u32)>, target: u32, expected: Run) {
        let load = autoscale::Load { queued, ..autoscale::Load::default() };
        let hold = hold.map(|(min, max)| Hold { min, max });
        let settings = autoscale::Settings { min_replica: 1, ..autoscale::Settings::default() };
        let seen = Seen { replicas: &[], load, settings: &settings, hold, deploy_timeout_ms: 600_000 };
        let next = decide(NOW, &built(run), &seen).next;
        assert_eq!((next.target, next.lifecycle.run), (target, expected));
    }

    #[test]
    fn a_hold_replaces_the_bounds_of_the_settings() {
        let (serving, at_zero) = (Run::Serving { since: NOW }, Run::AtZero { since: NOW });
        check_hold(serving.clone(), 0, Some((3, 3)), 3, serving.clone());
        check_hold(serving.clone(), 50, Some((3, 3)), 3, serving);
        check_hold(at_zero, 0, Some((3, 3)), 3, Run::Waking { since: NOW });
        check_hold(Run::Idle, 0, Some((3, 5)), 3, Run::Starting { since: NOW });
    }

    #[test]
    fn what_is_held_back_has_no_replica_although_requests_wait() {
        let at_zero = Run::AtZero { since: NOW };
        check_hold(Run::Serving { since: NOW }, 5, Some((0, 0)), 0, at_zero.clone());
        check_hold(Run::Waking { since: NOW }, 5, Some((0, 0)), 0, at_zero.clone());
        check_hold(at_zero.clone(), 5, Some((0, 0)), 0, at_zero.clone());
        check_hold(Run::Starting { since: NOW }, 5, Some((0, 0)), 0, Run::Idle);
        check_hold(at_zero, 5, None, 1, Run::Waking { since: NOW });
    }

    #[test]
    fn a_start_is_expected_of_what_rests_or_may_grow() {
        let expected = |run: Run, target, most| may_start(&built(run).lifecycle, target, most).is_some();
        assert!(expected(Run::AtZero { since: NOW }, 0, 1));
        assert!(!expected(Run::AtZero { since: NOW }, 0, 0), "a promotion holds it back");
        assert!(expected(Run::Serving { since: NOW }, 1, 2));
        assert!(!expected(Run::Serving { since: NOW }, 2, 2));
        assert!(!expected(Run::Waking { since: NOW }, 1, 2));
        assert!(!expected(Run::Idle, 0, 1));
    }

    #[test]
    fn a_failure_explains_itself() {
        let reason = Reason { message: "`load` raised ValueError: boom".into(), hint: None, detail: None };
        let failed = Lifecycle::pushed(NOW).build_finished(NOW, NOW, Err(reason));
        let explained = explain(&failed, &Observed::default(), &replica_set::Memory::default());
        assert_eq!(explained.as_deref(), Some("`load` raised ValueError: boom"));
    }

    #[test]
    fn a_crash_loop_explains_itself_while_nothing_is_ready() {
        let built = Lifecycle::pushed(NOW).build_finished(NOW, NOW, Ok("artifact".into()));
        let serving = Lifecycle { run: Run::Serving { since: NOW }, ..built };
        let last_failure = Some("killed by signal 9".into());
        let starts = replica_set::Memory { failures: 4, last_failure, ..replica_set::Memory::default() };
        let explained = explain(&serving, &Observed::default(), &starts);
        assert_eq!(explained.as_deref(), Some("the model has ended 4 times, and is started again: killed by signal 9"));
        assert_eq!(explain(&serving, &Observed { ready: 1, ..Observed::default() }, &starts), None);
    }

    #[test]
    fn what_waits_says_for_what() {
        let waiting = explain(&Lifecycle::pushed(NOW), &Observed::default(), &replica_set::Memory::default());
        assert_eq!(waiting.as_deref(), Some("waiting for the build"));
    }
}
