//! What the stored replicas of a deployment amount to.

use api::internal::replica::Phase as Seen;
use planner::{
    lifecycle::{self, Lifecycle, Observed, Status},
    replica_set::{self, Phase, Stay},
};
use store::domain::{Deployment, Replica};

/// Where a deployment stands.
pub fn status(lifecycle: &Lifecycle, replicas: &[Replica]) -> Status {
    lifecycle::status(lifecycle, &observe(replicas))
}

/// How many replicas are ready.
pub fn ready(replicas: &[Replica]) -> u32 {
    observe(replicas).ready
}

/// Why a deployment stands where it does, in a sentence; none when it serves as it should.
pub fn reason(deployment: &Deployment, replicas: &[Replica]) -> Option<String> {
    let orders = replicas.iter().filter(|replica| replica.stopping_since.is_none() && !replica.tries_patch);
    let waits_for = orders.filter_map(|replica| replica.waits_for.clone()).next();
    waits_for
        .or_else(|| planner::deployment::explain(&deployment.lifecycle, &observe(replicas), &deployment.replica_memory))
}

/// How many replicas there are, by where they stand.
pub fn observe(replicas: &[Replica]) -> Observed {
    let own = replicas.iter().filter(|replica| !replica.tries_patch);
    let alive = own.filter_map(|replica| {
        Some(replica_set::Replica {
            id: replica.id.clone(),
            ordered_at: replica.created_at,
            stopping: replica.stopping_since.is_some(),
            phase: phase(replica)?,
            stay: Stay::Stays,
        })
    });
    Observed::of(&alive.collect::<Vec<_>>())
}

/// Where a replica stands that is not gone.
fn phase(replica: &Replica) -> Option<Phase> {
    match replica.status.as_ref().map(|status| &status.phase) {
        None | Some(Seen::Starting) => Some(Phase::Starting),
        Some(Seen::Loading) => Some(Phase::Loading),
        Some(Seen::Ready) => Some(Phase::Ready),
        Some(Seen::Unhealthy) => Some(Phase::Unhealthy),
        Some(Seen::Draining) => Some(Phase::Draining),
        Some(Seen::Exited(_)) => None,
    }
}
