//! What is stored of replicas, in the words of the decisions.

use api::internal::replica::{ExitCause, Phase as Told};
use planner::replica_set::{Cause, End, Phase, Stay};
use store::domain::Replica;

/// Replicas as decisions see them. One that only tries a patch is none of theirs.
pub(crate) fn for_planner(replicas: &[Replica]) -> Vec<planner::replica_set::Replica> {
    replicas.iter().filter(|replica| !replica.tries_patch).map(self::replica).collect()
}

/// The same, with whether each may stay where it is.
pub(crate) fn placed(replicas: &[Replica], stay: impl Fn(&Replica) -> Stay) -> Vec<planner::replica_set::Replica> {
    let own = replicas.iter().filter(|replica| !replica.tries_patch);
    own.map(|row| planner::replica_set::Replica { stay: stay(row), ..replica(row) }).collect()
}

/// One of them.
pub(crate) fn replica(replica: &Replica) -> planner::replica_set::Replica {
    planner::replica_set::Replica {
        id: replica.id.clone(),
        ordered_at: replica.created_at,
        stopping: replica.stopping_since.is_some(),
        phase: phase(replica),
        stay: Stay::Stays,
    }
}

fn phase(replica: &Replica) -> Phase {
    match replica.status.as_ref().map(|status| &status.phase) {
        None | Some(Told::Starting) => Phase::Starting,
        Some(Told::Loading) => Phase::Loading,
        Some(Told::Ready) => Phase::Ready,
        Some(Told::Unhealthy) => Phase::Unhealthy,
        Some(Told::Draining) => Phase::Draining,
        Some(Told::Exited(exit)) => {
            Phase::Ended(End { cause: cause(exit.cause), message: exit.message.clone(), detail: exit.detail.clone() })
        }
    }
}

fn cause(cause: ExitCause) -> Cause {
    match cause {
        ExitCause::Stopped => Cause::Stopped,
        ExitCause::LoadFailed => Cause::LoadFailed,
        ExitCause::StartTimeout => Cause::StartTimeout,
        ExitCause::OutOfMemory
        | ExitCause::Unhealthy
        | ExitCause::Code { .. }
        | ExitCause::Signal { .. }
        | ExitCause::Lost => Cause::Crashed,
    }
}
