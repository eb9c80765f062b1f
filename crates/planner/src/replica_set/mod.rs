//! Which replicas to start and stop so that as many run as are wanted, without spinning when they keep dying.

mod failures;

use std::fmt;

use api::id::ReplicaId;

pub use self::failures::{Lesson, Memory, learn};
use crate::{Decision, Timestamp};

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
    /// Whether it may go on where it runs.
    pub stay: Stay,
}

/// Whether a replica may go on where it runs. Says nothing of one that has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stay {
    /// It may.
    #[default]
    Stays,
    /// Until others are ready in its place.
    UntilReplaced,
    /// It may not, and there is no place for another.
    Leaves,
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
            Why::BackingOff { failures, wait_ms, last_failure } => {
                write!(f, "backing off after {failures} failure")?;
                f.write_str(if *failures == 1 { "" } else { "s" })?;
                write!(f, ", next in {} s", wait_ms.div_ceil(1_000))?;
                last_failure.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
            }
        }
    }
}

/// Says what to start and stop so that `wanted` replicas run where they may. Those that may stay count as wanted; one that may stay
/// until it is replaced goes when as many others are ready, so that a move never costs a caller anything. The memory is what [`learn`]
/// has just given; it is not changed.
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
    let live = |stay: Stay| replicas.iter().filter(move |replica| replica.is_live() && replica.stay == stay);
    actions.extend(live(Stay::Leaves).map(|replica| Action::Stop(replica.id.clone())));
    let mut staying: Vec<&Replica> = live(Stay::Stays).collect();
    let ready = number(staying.iter().filter(|replica| replica.phase == Phase::Ready).count());
    let mut moving: Vec<&Replica> = live(Stay::UntilReplaced).collect();
    let replaced = number(moving.len()).saturating_sub(wanted.saturating_sub(ready));
    actions.extend(newest_unready_first(&mut moving, replaced).map(Action::Stop));
    let count = number(staying.len());
    let missing = wanted.saturating_sub(count);
    let surplus = count.saturating_sub(wanted);

    let not_before = memory.not_before.filter(|moment| *moment > now);
    let (wake_at, why) = match (missing, not_before) {
        (0, _) if surplus > 0 => {
            actions.extend(newest_unready_first(&mut staying, surplus).map(Action::Stop));
            (None, Why::Stopping(surplus))
        }
        (0, _) if replaced > 0 => (None, Why::Stopping(replaced)),
        (0, _) => (None, Why::Enough),
        (_, Some(moment)) => {
            let last_failure = memory.last_failure.clone();
            (Some(moment), Why::BackingOff { failures: memory.failures, wait_ms: moment.since(now), last_failure })
        }
        (missing, None) => {
            actions.push(Action::Start(missing));
            (None, Why::Starting(missing))
        }
    };
    let wake_at = wake_at.into_iter().chain(memory.forgets_at()).min();
    Decision { next: memory.clone(), output: actions, wake_at, why }
}

fn number(count: usize) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
}

/// So many of these to stop: those that serve nobody before those that do, the youngest before the older.
fn newest_unready_first(replicas: &mut [&Replica], count: u32) -> impl Iterator<Item = ReplicaId> {
    replicas.sort_by_key(|replica| (replica.phase == Phase::Ready, std::cmp::Reverse(replica.ordered_at)));
    replicas.iter().take(count as usize).map(|replica| replica.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn replica(number: u32, ordered_at: u64, phase: Phase) -> Replica {
        let id = ReplicaId::from_entropy(u128::from(number));
        Replica { id, ordered_at: Timestamp(ordered_at), stopping: false, phase, stay: Stay::Stays }
    }

    fn crashed() -> Phase {
        Phase::Ended(End { cause: Cause::Crashed, message: "killed by signal 9".into(), detail: None })
    }

    fn id(number: u32) -> ReplicaId {
        ReplicaId::from_entropy(u128::from(number))
    }

    #[test]
    fn missing_replicas_are_started_and_ended_ones_forgotten() {
        let replicas = [replica(1, 500, crashed()), replica(2, 500, Phase::Ready)];
        let decision = decide(NOW, 3, &replicas, &Memory::default());
        assert_eq!(decision.output, [Action::Forget(id(1)), Action::Start(2)]);
    }

    #[test]
    fn the_newest_unready_replica_is_stopped_first() {
        let replicas = [replica(1, 500, Phase::Ready), replica(2, 600, Phase::Loading), replica(3, 700, Phase::Ready)];
        assert_eq!(decide(NOW, 2, &replicas, &Memory::default()).output, [Action::Stop(id(2))]);
        assert_eq!(decide(NOW, 1, &replicas, &Memory::default()).output, [Action::Stop(id(2)), Action::Stop(id(3))]);
    }

    #[test]
    fn a_draining_replica_is_replaced_and_not_stopped_again() {
        let leaving = Replica { stopping: true, ..replica(1, 500, Phase::Ready) };
        assert_eq!(decide(NOW, 1, std::slice::from_ref(&leaving), &Memory::default()).output, [Action::Start(1)]);
        assert_eq!(decide(NOW, 0, &[leaving], &Memory::default()).output, []);
    }

    fn moving(number: u32, phase: Phase) -> Replica {
        Replica { stay: Stay::UntilReplaced, ..replica(number, 500, phase) }
    }

    #[test]
    fn what_has_to_move_goes_one_by_one_as_others_are_ready_in_its_place() {
        let old = [moving(1, Phase::Ready), moving(2, Phase::Ready)];
        assert_eq!(decide(NOW, 2, &old, &Memory::default()).output, [Action::Start(2)]);
        let with = |first: Phase, second: Phase| {
            let new = [replica(3, 600, first), replica(4, 600, second)];
            decide(NOW, 2, &[old.clone(), new].concat(), &Memory::default()).output
        };
        assert_eq!(with(Phase::Loading, Phase::Loading), []);
        assert_eq!(with(Phase::Ready, Phase::Loading), [Action::Stop(id(1))]);
        assert_eq!(with(Phase::Ready, Phase::Ready), [Action::Stop(id(1)), Action::Stop(id(2))]);
    }

    #[test]
    fn what_has_to_move_is_the_first_to_go_when_fewer_are_wanted() {
        let replicas = [moving(1, Phase::Ready), moving(2, Phase::Loading), replica(3, 600, Phase::Loading)];
        assert_eq!(decide(NOW, 1, &replicas, &Memory::default()).output, [Action::Stop(id(2))]);
    }

    #[test]
    fn what_may_not_stay_leaves_although_nothing_takes_its_place() {
        let replicas = [Replica { stay: Stay::Leaves, ..replica(1, 500, Phase::Ready) }];
        assert_eq!(decide(NOW, 1, &replicas, &Memory::default()).output, [Action::Stop(id(1)), Action::Start(1)]);
    }

    #[test]
    fn a_pause_holds_starts_back_and_says_why() {
        let memory = learn(NOW, &[replica(1, 500, crashed())], &Memory::default()).memory;
        let decision = decide(NOW, 1, &[], &memory);
        assert_eq!((decision.output, decision.wake_at), (vec![], Some(NOW.plus(1_000))));
        assert_eq!(decision.why.to_string(), "backing off after 1 failure, next in 1 s: killed by signal 9");
        assert_eq!(decide(NOW.plus(1_000), 1, &[], &memory).output, [Action::Start(1)]);
    }
}
