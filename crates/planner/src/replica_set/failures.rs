//! What is learnt from replicas that end on their own accord: how often it has happened, and how long to wait before the next start.

use std::collections::BTreeSet;

use api::id::ReplicaId;
use serde::{Deserialize, Serialize};

use super::{Cause, End, Phase, Replica};
use crate::Timestamp;

/// The pause after the first failed start; doubles with each further one.
const FIRST_BACK_OFF_MS: u64 = 1_000;
/// The longest pause.
const LONGEST_BACK_OFF_MS: u64 = 300_000;
/// Failures are forgotten when a replica has been ready for this long.
const STEADY_MS: u64 = 60_000;

/// What is remembered of failed starts between decisions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Rounds of replicas that ended on their own accord, since one was last ready for a while.
    pub failures: u32,
    /// No start before this moment.
    pub not_before: Option<Timestamp>,
    /// Replicas whose end says nothing new: they were there when the last failure was counted, or when the run began. Those that
    /// die together are one failure, and one that is seen twice is counted once, whatever the clock does.
    pub counted: BTreeSet<ReplicaId>,
    /// Since when a replica is ready again, after failures.
    pub steady_since: Option<Timestamp>,
    /// How the last one ended, in a sentence.
    pub last_failure: Option<String>,
}

impl Memory {
    /// Nothing has failed yet in a run that begins while `replicas` are there.
    pub fn new_run(replicas: &[Replica]) -> Self {
        Self { counted: ids(replicas), ..Self::default() }
    }

    /// What keeps happening, in a sentence, while it does.
    pub fn trouble(&self) -> Option<String> {
        let last = self.last_failure.as_deref().filter(|_| self.failures > 0)?;
        let times = if self.failures == 1 { "once".to_owned() } else { format!("{} times", self.failures) };
        Some(format!("the model has ended {times}, and is started again: {last}"))
    }

    /// When failures are forgotten if the replica that is ready now stays so.
    pub(super) fn forgets_at(&self) -> Option<Timestamp> {
        self.steady_since.map(|since| since.plus(STEADY_MS))
    }
}

fn ids(replicas: &[Replica]) -> BTreeSet<ReplicaId> {
    replicas.iter().map(|replica| replica.id.clone()).collect()
}

/// What has been learnt from looking at the replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesson<'a> {
    /// To remember.
    pub memory: Memory,
    /// The failure that has just been counted, if one has.
    pub failure: Option<&'a End>,
}

/// Counts new failures, and forgets old ones when a replica has been ready for a while. Looking twice teaches nothing new.
pub fn learn<'a>(now: Timestamp, replicas: &'a [Replica], memory: &Memory) -> Lesson<'a> {
    let mut memory = rewound(now, memory);
    memory.counted.retain(|id| replicas.iter().any(|replica| replica.id == *id));
    let failure = worst_failure(replicas, &memory.counted);
    if let Some(end) = failure {
        memory = Memory {
            failures: memory.failures.saturating_add(1),
            not_before: Some(now.plus(back_off_ms(memory.failures + 1))),
            counted: ids(replicas),
            steady_since: None,
            last_failure: Some(end.message.clone()),
        };
    }
    let is_ready = replicas.iter().any(|replica| replica.phase == Phase::Ready && !replica.stopping);
    if memory.failures > 0 {
        memory.steady_since = is_ready.then(|| memory.steady_since.unwrap_or(now));
        if memory.steady_since.is_some_and(|since| now.since(since) >= STEADY_MS) {
            let ended = |replica: &&Replica| matches!(replica.phase, Phase::Ended(_));
            let counted = replicas.iter().filter(ended).map(|replica| replica.id.clone()).collect();
            memory = Memory { counted, ..Memory::default() };
        }
    }
    Lesson { memory, failure }
}

/// A clock that stepped back must not leave moments in memory that lie too far ahead.
fn rewound(now: Timestamp, memory: &Memory) -> Memory {
    let latest = now.plus(back_off_ms(memory.failures));
    Memory {
        not_before: memory.not_before.map(|moment| moment.min(latest)),
        steady_since: memory.steady_since.map(|moment| moment.min(now)),
        ..memory.clone()
    }
}

/// The failure to count, the most telling one first.
fn worst_failure<'a>(replicas: &'a [Replica], counted: &BTreeSet<ReplicaId>) -> Option<&'a End> {
    let failures = replicas.iter().filter_map(|replica| match &replica.phase {
        Phase::Ended(end) if !replica.stopping && !counted.contains(&replica.id) => Some(end),
        _ => None,
    });
    failures.min_by_key(|end| match end.cause {
        Cause::LoadFailed => 0,
        Cause::StartTimeout => 1,
        Cause::Crashed => 2,
        Cause::Stopped => 3,
    })
}

fn back_off_ms(failures: u32) -> u64 {
    match failures {
        0 => 0,
        failures => FIRST_BACK_OFF_MS.saturating_mul(1 << (failures - 1).min(20)).min(LONGEST_BACK_OFF_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica_set::Stay;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn replica(number: u32, ordered_at: u64, phase: Phase) -> Replica {
        let id = ReplicaId::from_entropy(u128::from(number));
        Replica { id, ordered_at: Timestamp(ordered_at), stopping: false, phase, stay: Stay::Stays }
    }

    fn crashed() -> Phase {
        Phase::Ended(End { cause: Cause::Crashed, message: "killed by signal 9".into(), detail: None })
    }

    #[test]
    fn looking_twice_at_the_same_end_counts_it_once() {
        let replicas = [replica(1, 500, crashed())];
        let first = learn(NOW, &replicas, &Memory::default());
        assert_eq!((first.memory.failures, first.failure.is_some()), (1, true));
        let second = learn(NOW, &replicas, &first.memory);
        assert_eq!(second, Lesson { memory: first.memory, failure: None });
    }

    #[test]
    fn replicas_that_die_together_are_one_failure() {
        let both = [replica(1, 500, crashed()), replica(2, 500, Phase::Loading)];
        let memory = learn(NOW, &both, &Memory::default()).memory;
        let second_died = [replica(1, 500, crashed()), replica(2, 500, crashed())];
        let memory = learn(NOW.plus(50), &second_died, &memory).memory;
        assert_eq!(memory.failures, 1);
        let next_round = [replica(3, 2_000, crashed())];
        assert_eq!(learn(NOW.plus(2_000), &next_round, &memory).memory.failures, 2);
    }

    #[test]
    fn the_ends_of_an_earlier_run_do_not_count() {
        let replicas = [replica(1, 500, crashed())];
        assert_eq!(learn(NOW, &replicas, &Memory::new_run(&replicas)).memory.failures, 0);
    }

    #[test]
    fn a_replica_that_was_told_to_stop_is_no_failure() {
        let stopped = Replica { stopping: true, ..replica(1, 500, crashed()) };
        assert_eq!(learn(NOW, &[stopped], &Memory::default()).memory, Memory::default());
    }

    #[test]
    fn a_model_that_cannot_load_is_told_before_a_crash() {
        let cannot_load = End { cause: Cause::LoadFailed, message: "`load` raised".into(), detail: None };
        let replicas = [replica(1, 500, crashed()), replica(2, 500, Phase::Ended(cannot_load.clone()))];
        assert_eq!(learn(NOW, &replicas, &Memory::default()).failure, Some(&cannot_load));
    }

    #[test]
    fn failures_are_forgotten_when_a_replica_stays_ready() {
        let failed = learn(NOW, &[replica(1, 500, crashed())], &Memory::default()).memory;
        let ready = [replica(2, NOW.0 + 1_000, Phase::Ready)];
        let steady = learn(NOW.plus(2_000), &ready, &failed).memory;
        assert_eq!((steady.failures, steady.steady_since), (1, Some(NOW.plus(2_000))));
        let interrupted = learn(NOW.plus(40_000), &[], &steady).memory;
        assert_eq!(interrupted.steady_since, None);
        let forgotten = learn(NOW.plus(62_000), &ready, &steady).memory;
        assert_eq!((forgotten.failures, forgotten.not_before, forgotten.last_failure), (0, None, None));
    }

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let pauses: Vec<u64> = [1, 2, 3, 9, 10, 4_000_000_000].map(back_off_ms).into();
        assert_eq!(pauses, [1_000, 2_000, 4_000, 256_000, 300_000, 300_000]);
    }

    #[test]
    fn a_clock_that_steps_back_does_not_prolong_the_pause() {
        let memory = learn(NOW, &[replica(1, 500, crashed())], &Memory::default()).memory;
        let earlier = Timestamp(200_000);
        let memory = learn(earlier, &[], &memory).memory;
        assert_eq!(memory.not_before, Some(earlier.plus(1_000)));
        let started_after = [replica(2, earlier.0 + 1_000, crashed())];
        assert_eq!(learn(earlier.plus(1_500), &started_after, &memory).memory.failures, 2);
    }
}
