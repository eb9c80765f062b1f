//! A patch on its way into a development deployment. It is built and tried beside what runs, in a replica of its own, and takes over
//! when that replica is ready: until then, and for good where the patch is broken, the code that was there before answers. Where
//! nothing answers, or there is no room for two, it takes over at once. Where its author wants the process to go on, the code is swapped
//! in the replica that runs.

use api::id::ReplicaId;
use serde::{Deserialize, Serialize};

use crate::{
    Timestamp,
    lifecycle::{Build, Lifecycle, Reason, Run, Wanted},
    replica_set::{Action, Memory, Phase, Replica},
};

/// How far a patch is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reload", rename_all = "snake_case")]
pub enum Reload {
    /// Kept; nobody has asked for it to run yet.
    Staged,
    /// Waiting for, or with, the builder.
    Building {
        /// Since when.
        since: Timestamp,
    },
    /// Built; tried.
    Starting {
        /// Since when.
        since: Timestamp,
        /// The backend's name for the build.
        artifact: String,
    },
    /// Cannot be built or started. It is kept: the next patch builds on it.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        reason: Reason,
    },
}

impl Reload {
    /// The build that the builder should be at work on, named by the moment it was asked for.
    pub fn pending_build(&self) -> Option<Timestamp> {
        match self {
            Reload::Building { since } => Some(*since),
            Reload::Staged | Reload::Starting { .. } | Reload::Failed { .. } => None,
        }
    }

    /// Records the end of the build that was asked for at `since`. The result of one that nobody waits for any more is dropped.
    #[must_use]
    pub fn build_finished(self, since: Timestamp, now: Timestamp, result: Result<String, Reason>) -> Self {
        match (self.pending_build() == Some(since), result) {
            (false, _) => self,
            (true, Ok(artifact)) => Reload::Starting { since: now, artifact },
            (true, Err(reason)) => Reload::Failed { at: now, reason },
        }
    }

    /// Records that its build is no longer there: it is built again.
    #[must_use]
    pub fn artifact_lost(self, now: Timestamp) -> Self {
        match self {
            Reload::Starting { .. } => Reload::Building { since: now },
            Reload::Staged | Reload::Building { .. } | Reload::Failed { .. } => self,
        }
    }
}

/// A replica in which a patch is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// As it was last seen.
    pub replica: Replica,
    /// Whether there is no room for it.
    pub lacks_room: bool,
}

/// What should happen to a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Replicas that try it are to be started, stopped and cleared away; none when there is nothing to do but to wait.
    Try(Vec<Action>),
    /// It runs from now on: its build is the deployment's, this replica becomes the deployment's own, and all others stop.
    TakeOver {
        /// The build.
        artifact: String,
        /// The replica that has tried it, where one was needed.
        replica: Option<ReplicaId>,
    },
    /// This replica, which runs, is to go on with the code of the build. What comes of that is up to it.
    Swap {
        /// The build.
        artifact: String,
        /// The deployment's own.
        replica: ReplicaId,
    },
    /// It is broken.
    Fail(Reason),
}

/// Says what should happen to a patch now. `candidates` are all replicas in which any patch of the deployment has been tried;
/// `swaps` is the replica that runs, where the patch is one of code only and the process is to go on.
pub fn decide(
    reload: Option<&Reload>,
    lifecycle: &Lifecycle,
    candidates: &[Candidate],
    swaps: Option<&Replica>,
) -> Step {
    let Some(Reload::Starting { since, artifact }) = reload else {
        return Step::Try(candidates.iter().filter_map(dismiss).collect());
    };
    let artifact = artifact.clone();
    if !answers(lifecycle) {
        return Step::TakeOver { artifact, replica: None };
    }
    if let Some(running) = swaps.filter(|running| running.phase == Phase::Ready && !running.stopping) {
        return Step::Swap { artifact, replica: running.id.clone() };
    }
    let (own, stale): (Vec<_>, Vec<_>) = candidates.iter().partition(|one| one.replica.ordered_at >= *since);
    let mut actions: Vec<Action> = stale.into_iter().filter_map(dismiss).collect();
    match own.first() {
        None => actions.push(Action::Start(1)),
        Some(one) if one.lacks_room => return Step::TakeOver { artifact, replica: None },
        Some(one) => match &one.replica.phase {
            Phase::Ready => return Step::TakeOver { artifact, replica: Some(one.replica.id.clone()) },
            Phase::Ended(end) => {
                return Step::Fail(Reason { message: end.message.clone(), hint: None, detail: end.detail.clone() });
            }
            Phase::Starting | Phase::Loading | Phase::Unhealthy | Phase::Draining => {}
        },
    }
    Step::Try(actions)
}

/// Whether there is code that answers, which a broken patch must not end.
fn answers(lifecycle: &Lifecycle) -> bool {
    lifecycle.wanted == Wanted::Running && matches!(lifecycle.run, Run::Serving { .. })
}

fn dismiss(candidate: &Candidate) -> Option<Action> {
    let Replica { id, stopping, phase, .. } = &candidate.replica;
    match phase {
        Phase::Ended(_) => Some(Action::Forget(id.clone())),
        _ if *stopping => None,
        _ => Some(Action::Stop(id.clone())),
    }
}

/// The facts of a deployment that a patch has taken over: what failed before is tried with it.
pub fn taken_over(lifecycle: Lifecycle, now: Timestamp, artifact: String) -> (Lifecycle, Memory) {
    let run = match lifecycle.run {
        Run::Failed { .. } => Run::Idle,
        Run::Starting { .. } => Run::Starting { since: now },
        run @ (Run::Idle | Run::Serving { .. } | Run::AtZero { .. } | Run::Waking { .. }) => run,
    };
    (Lifecycle { build: Build::Succeeded { at: now, artifact }, run, ..lifecycle }, Memory::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica_set::{Cause, End, Stay};

    const NOW: Timestamp = Timestamp(1_000_000);

    fn reload() -> Reload {
        Reload::Starting { since: NOW, artifact: "new".into() }
    }

    fn lifecycle(run: Run) -> Lifecycle {
        Lifecycle { run, ..Lifecycle::pushed(NOW).build_finished(NOW, NOW, Ok("old".into())) }
    }

    fn serving() -> Lifecycle {
        lifecycle(Run::Serving { since: NOW })
    }

    fn candidate(number: u128, ordered_at: Timestamp, phase: Phase) -> Candidate {
        let replica =
            Replica { id: ReplicaId::from_entropy(number), ordered_at, stopping: false, phase, stay: Stay::Stays };
        Candidate { replica, lacks_room: false }
    }

    fn take_over(replica: Option<u128>) -> Step {
        Step::TakeOver { artifact: "new".into(), replica: replica.map(ReplicaId::from_entropy) }
    }

    #[test]
    fn a_patch_is_tried_beside_what_answers_and_takes_over_when_it_is_ready() {
        let step = |candidates: &[Candidate]| decide(Some(&reload()), &serving(), candidates, None);
        assert_eq!(step(&[]), Step::Try(vec![Action::Start(1)]));
        for phase in [Phase::Starting, Phase::Loading, Phase::Unhealthy] {
            assert_eq!(step(&[candidate(1, NOW, phase)]), Step::Try(vec![]));
        }
        assert_eq!(step(&[candidate(1, NOW, Phase::Ready)]), take_over(Some(1)));
    }

    #[test]
    fn one_that_keeps_the_process_is_swapped_into_what_answers() {
        let running = candidate(7, Timestamp(0), Phase::Ready).replica;
        let step = |lifecycle: &Lifecycle, running: &Replica| decide(Some(&reload()), lifecycle, &[], Some(running));
        let swap = Step::Swap { artifact: "new".into(), replica: running.id.clone() };
        assert_eq!(step(&serving(), &running), swap);
        let beside = Step::Try(vec![Action::Start(1)]);
        assert_eq!(step(&serving(), &Replica { stopping: true, ..running.clone() }), beside);
        assert_eq!(step(&serving(), &Replica { phase: Phase::Unhealthy, ..running.clone() }), beside);
        assert_eq!(step(&lifecycle(Run::AtZero { since: NOW }), &running), take_over(None));
    }

    #[test]
    fn a_broken_patch_fails_with_the_reason_of_its_replica() {
        let detail = Some("Traceback".to_owned());
        let end = End { cause: Cause::LoadFailed, message: "`load` raised".into(), detail: detail.clone() };
        let step = decide(Some(&reload()), &serving(), &[candidate(1, NOW, Phase::Ended(end))], None);
        assert_eq!(step, Step::Fail(Reason { message: "`load` raised".into(), hint: None, detail }));
    }

    #[test]
    fn where_nothing_answers_or_there_is_no_room_for_two_it_takes_over_at_once() {
        let reason = Reason { message: "`load` raised".into(), hint: None, detail: None };
        for run in [
            Run::Idle,
            Run::Starting { since: NOW },
            Run::AtZero { since: NOW },
            Run::Waking { since: NOW },
            Run::Failed { at: NOW, reason },
        ] {
            assert_eq!(decide(Some(&reload()), &lifecycle(run), &[], None), take_over(None));
        }
        assert_eq!(decide(Some(&reload()), &serving().deactivate(), &[], None), take_over(None));
        let waits = Candidate { lacks_room: true, ..candidate(1, NOW, Phase::Starting) };
        assert_eq!(decide(Some(&reload()), &serving(), &[waits], None), take_over(None));
    }

    #[test]
    fn replicas_of_earlier_tries_go_and_decide_nothing() {
        let before = Timestamp(NOW.0 - 1);
        let end = End { cause: Cause::Crashed, message: "killed".into(), detail: None };
        let old = [candidate(1, before, Phase::Ready), candidate(2, before, Phase::Ended(end))];
        let gone = vec![Action::Stop(old[0].replica.id.clone()), Action::Forget(old[1].replica.id.clone())];
        let with_start = [gone.clone(), vec![Action::Start(1)]].concat();
        assert_eq!(decide(Some(&reload()), &serving(), &old, None), Step::Try(with_start));
        assert_eq!(decide(Some(&Reload::Staged), &serving(), &old, None), Step::Try(gone.clone()));
        assert_eq!(decide(None, &serving(), &old, None), Step::Try(gone));
    }

    #[test]
    fn what_failed_is_tried_again_with_the_patch_and_what_serves_serves_on() {
        let reason = Reason { message: "`load` raised".into(), hint: None, detail: None };
        let (after, _) = taken_over(lifecycle(Run::Failed { at: NOW, reason: reason.clone() }), NOW, "new".into());
        assert_eq!((after.run, after.build), (Run::Idle, Build::Succeeded { at: NOW, artifact: "new".into() }));
        let unbuilt = Lifecycle::pushed(NOW).build_finished(NOW, NOW, Err(reason));
        assert_eq!(taken_over(unbuilt, NOW, "new".into()).0.failure(), None);
        assert_eq!(taken_over(serving(), NOW, "new".into()).0.run, Run::Serving { since: NOW });
    }

    #[test]
    fn a_build_that_nobody_waits_for_changes_nothing() {
        let building = Reload::Building { since: NOW };
        assert_eq!(building.clone().build_finished(Timestamp(1), NOW, Ok("new".into())), building);
        assert_eq!(Reload::Staged.build_finished(NOW, NOW, Ok("new".into())), Reload::Staged);
        assert_eq!(building.clone().build_finished(NOW, NOW, Ok("new".into())), reload());
        assert_eq!(reload().artifact_lost(NOW), building);
    }
}
