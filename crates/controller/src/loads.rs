//! What gateways report, as decisions count it.

use std::collections::HashMap;

use api::{
    id::{DeploymentId, ReplicaId},
    internal::routes::Load,
};
use planner::autoscale;
use store::domain::{Deployment, Replica};

/// What has come for a deployment since the counters were `last`. A counter that is lower than before began again with its
/// gateway. Requests on replicas that have been told to stop are no demand: they end where they are. Nor is what has ended while
/// no replica was wanted: it came before.
pub(crate) fn demand(last: &Load, load: &Load, deployment: &Deployment, replicas: &[Replica]) -> autoscale::Load {
    let since = |before: u64, now: u64| if now >= before { now - before } else { now };
    let leaves = |id: &ReplicaId| {
        replicas.iter().find(|replica| replica.id == *id).is_none_or(|replica| replica.stopping_since.is_some())
    };
    let leaving = load.by_replica.iter().filter(|(id, _)| leaves(id)).map(|(_, count)| *count).sum();
    autoscale::Load {
        in_flight: load.in_flight.saturating_sub(leaving),
        queued: load.queued,
        finished: if deployment.target_replicas == 0 { 0 } else { since(last.finished, load.finished) },
        woken: since(last.wakes, load.wakes) > 0,
    }
}

/// Both loads as one.
pub(crate) fn sum(one: autoscale::Load, other: autoscale::Load) -> autoscale::Load {
    autoscale::Load {
        in_flight: one.in_flight.saturating_add(other.in_flight),
        queued: one.queued.saturating_add(other.queued),
        finished: one.finished.saturating_add(other.finished),
        woken: one.woken || other.woken,
    }
}

/// Whether requests are under way anywhere: then loads change without anybody ringing.
pub(crate) fn any(loads: &HashMap<DeploymentId, Load>) -> bool {
    loads.values().any(|load| load.in_flight > 0 || load.queued > 0)
}
