//! Which replicas to start and stop so that as many run as are wanted, without spinning when they keep dying.

use std::{collections::BTreeSet, fmt};

use api::id::ReplicaId;
use serde::{Deserialize, Serialize};

use crate::{Decision, Timestamp};

/// The pause after the first failed start; doubles with each further one.
const FIRST_BACK_OFF_MS: u64 = 1_000;
/// The longest pause.
const LONGEST_BACK_OFF_MS: u64 = 300_000;
/// Failures are forgotten when a replica has been ready for this long.
const STEADY_MS: u64 = 60_000;

/// A replica as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Which copy.
    pub id: ReplicaId,
    /// When it was ordered.
    pub ordered_at: Timestamp,
    /// Whether it has been told to stop.
    pub stopping: bool,
    /// Where it stands.
    pub phase: Phase,
}

impl Replica {
    /// Whether it counts towards what is wanted: neither gone nor going.
    pub fn is_live(&self) -> bool {
        match self.phase {
            _ if self.stopping => false,
            Phase::Starting | Phase::Loading | Phase::Ready | Phase::Unhealthy => true,
            Phase::Draining | Phase::Ended(_) => false,
        }
    }
}

/// Where a replica stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Ordered and not seen yet, or its process is being started.
    Starting,
    /// In `load()`.
    Loading,
    /// Answers requests.
    Ready,
    /// Says that it is not healthy.
    Unhealthy,
    /// Finishes what it has accepted.
    Draining,
    /// Gone.
    Ended(End),
}

/// How a replica ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The cause, as far as decisions need it.
    pub cause: Cause,
    /// One sentence for a person.
    pub message: String,
    /// A traceback, or the last lines of output.
    pub detail: Option<String>,
}

/// The cause of an end, as far as decisions need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It was asked to stop.
    Stopped,
    /// The model could not be loaded, however often it was tried.
    LoadFailed,
    /// It was not ready in time.
    StartTimeout,
    /// Anything else: an exit code, a signal, no memory, a lost process.
    Crashed,
}

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
        Self {
            counted: ids(replicas),
            ..Self::default()
        }
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
    memory
        .counted
        .retain(|id| replicas.iter().any(|replica| replica.id == *id));
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
    let is_ready = replicas
        .iter()
        .any(|replica| replica.phase == Phase::Ready && !replica.stopping);
    if memory.failures > 0 {
        memory.steady_since = is_ready.then(|| memory.steady_since.unwrap_or(now));
        if memory.steady_since.is_some_and(|since| now.since(since) >= STEADY_MS) {
            let ended = |replica: &&Replica| matches!(replica.phase, Phase::Ended(_));
            let counted = replicas
                .iter()
                .filter(ended)
                .map(|replica| replica.id.clone())
                .collect();
            memory = Memory {
                counted,
                ..Memory::default()
            };
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
        failures => FIRST_BACK_OFF_MS
            .saturating_mul(1 << (failures - 1).min(20))
            .min(LONGEST_BACK_OFF_MS),
    }
}

/// One thing to do. Each can be done again without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Order so many new replicas.
    Start(u32),
    /// Tell this one to stop.
    Stop(ReplicaId),
    /// Clear away what is left of this one.
    Forget(ReplicaId),
}

/// Why replicas are started, stopped, or left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// As many as are wanted.
    Enough,
    /// Some are missing.
    Starting(u32),
    /// Some are too many.
    Stopping(u32),
    /// Some are missing, and replicas keep ending.
    BackingOff {
        /// How often in a row.
        failures: u32,
        /// How long until the next try, in milliseconds.
        wait_ms: u64,
        /// How the last one ended.
        last_failure: Option<String>,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Enough => f.write_str("as many replicas as wanted"),
            Why::Starting(1) => f.write_str("starting a replica"),
            Why::Starting(count) => write!(f, "starting {count} replicas"),
            Why::Stopping(1) => f.write_str("stopping a replica"),
            Why::Stopping(count) => write!(f, "stopping {count} replicas"),
            Why::BackingOff {
                failures,
                wait_ms,
                last_failure,
            } => {
                write!(f, "backing off after {failures} failure")?;
                f.write_str(if *failures == 1 { "" } else { "s" })?;
                write!(f, ", next in {} s", wait_ms.div_ceil(1_000))?;
                last_failure.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
            }
        }
    }
}

/// Says what to start and stop so that `wanted` replicas run. The memory is what [`learn`] has just given; it is not changed.
pub fn decide(
    now: Timestamp,
    wanted: u32,
    replicas: &[Replica],
    memory: &Memory,
) -> Decision<Memory, Vec<Action>, Why> {
    let mut actions: Vec<Action> = replicas
        .iter()
        .filter(|replica| matches!(replica.phase, Phase::Ended(_)))
        .map(|replica| Action::Forget(replica.id.clone()))
        .collect();
    let mut live: Vec<&Replica> = replicas.iter().filter(|replica| replica.is_live()).collect();
    let count = live.len().try_into().unwrap_or(u32::MAX);
    let missing = wanted.saturating_sub(count);
    let surplus = count.saturating_sub(wanted);

    let not_before = memory.not_before.filter(|moment| *moment > now);
    let (wake_at, why) = match (missing, not_before) {
        (0, _) if surplus > 0 => {
            live.sort_by_key(|replica| (replica.phase == Phase::Ready, std::cmp::Reverse(replica.ordered_at)));
            actions.extend(
                live.iter()
                    .take(surplus as usize)
                    .map(|replica| Action::Stop(replica.id.clone())),
            );
            (None, Why::Stopping(surplus))
        }
        (0, _) => (None, Why::Enough),
        (_, Some(moment)) => {
            let last_failure = memory.last_failure.clone();
            (
                Some(moment),
                Why::BackingOff {
                    failures: memory.failures,
                    wait_ms: moment.since(now),
                    last_failure,
                },
            )
        }
        (missing, None) => {
            actions.push(Action::Start(missing));
            (None, Why::Starting(missing))
        }
    };
    let steady_at = memory.steady_since.map(|since| since.plus(STEADY_MS));
    let wake_at = wake_at.into_iter().chain(steady_at).min();
    Decision {
        next: memory.clone(),
        output: actions,
        wake_at,
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn replica(number: u32, ordered_at: u64, phase: Phase) -> Replica {
        let id = ReplicaId::from_entropy(u128::from(number));
        Replica {
            id,
            ordered_at: Timestamp(ordered_at),
            stopping: false,
            phase,
        }
    }

    fn crashed() -> Phase {
        Phase::Ended(End {
            cause: Cause::Crashed,
            message: "killed by signal 9".into(),
            detail: None,
        })
    }

    fn id(number: u32) -> ReplicaId {
        ReplicaId::from_entropy(u128::from(number))
    }

    #[test]
    fn looking_twice_at_the_same_end_counts_it_once() {
        let replicas = [replica(1, 500, crashed())];
        let first = learn(NOW, &replicas, &Memory::default());
        assert_eq!((first.memory.failures, first.failure.is_some()), (1, true));
        let second = learn(NOW, &replicas, &first.memory);
        assert_eq!(
            second,
            Lesson {
                memory: first.memory,
                failure: None
            }
        );
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
        let stopped = Replica {
            stopping: true,
            ..replica(1, 500, crashed())
        };
        assert_eq!(learn(NOW, &[stopped], &Memory::default()).memory, Memory::default());
    }

    #[test]
    fn a_model_that_cannot_load_is_told_before_a_crash() {
        let cannot_load = End {
            cause: Cause::LoadFailed,
            message: "`load` raised".into(),
            detail: None,
        };
        let replicas = [
            replica(1, 500, crashed()),
            replica(2, 500, Phase::Ended(cannot_load.clone())),
        ];
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
        assert_eq!(
            (forgotten.failures, forgotten.not_before, forgotten.last_failure),
            (0, None, None)
        );
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

    #[test]
    fn missing_replicas_are_started_and_ended_ones_forgotten() {
        let replicas = [replica(1, 500, crashed()), replica(2, 500, Phase::Ready)];
        let decision = decide(NOW, 3, &replicas, &Memory::default());
        assert_eq!(decision.output, [Action::Forget(id(1)), Action::Start(2)]);
    }

    #[test]
    fn the_newest_unready_replica_is_stopped_first() {
        let replicas = [
            replica(1, 500, Phase::Ready),
            replica(2, 600, Phase::Loading),
            replica(3, 700, Phase::Ready),
        ];
        assert_eq!(
            decide(NOW, 2, &replicas, &Memory::default()).output,
            [Action::Stop(id(2))]
        );
        assert_eq!(
            decide(NOW, 1, &replicas, &Memory::default()).output,
            [Action::Stop(id(2)), Action::Stop(id(3))]
        );
    }

    #[test]
    fn a_draining_replica_is_replaced_and_not_stopped_again() {
        let leaving = Replica {
            stopping: true,
            ..replica(1, 500, Phase::Ready)
        };
        assert_eq!(
            decide(NOW, 1, std::slice::from_ref(&leaving), &Memory::default()).output,
            [Action::Start(1)]
        );
        assert_eq!(decide(NOW, 0, &[leaving], &Memory::default()).output, []);
    }

    #[test]
    fn a_pause_holds_starts_back_and_says_why() {
        let memory = learn(NOW, &[replica(1, 500, crashed())], &Memory::default()).memory;
        let decision = decide(NOW, 1, &[], &memory);
        assert_eq!((decision.output, decision.wake_at), (vec![], Some(NOW.plus(1_000))));
        assert_eq!(
            decision.why.to_string(),
            "backing off after 1 failure, next in 1 s: killed by signal 9"
        );
        assert_eq!(decide(NOW.plus(1_000), 1, &[], &memory).output, [Action::Start(1)]);
    }
}
