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
    // Not the gateway's total less those that leave: the two are read one after the other, and a request that ends in between would
    // be demand.
    let staying = load.by_replica.iter().filter(|(id, _)| !leaves(id)).map(|(_, count)| *count);
    autoscale::Load {
        in_flight: staying.fold(0, u32::saturating_add),
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
    loads.values().any(|load| !is_idle(load))
}

/// Whether nothing is under way.
pub(crate) fn is_idle(load: &Load) -> bool {
    load.in_flight == 0 && load.queued == 0
}

#[cfg(test)]
mod tests {
    use planner::Timestamp;
    use store::domain::DeploymentKind;

    use super::*;
    use crate::fixtures::{self, deployment};

    fn replica(n: u128, stopping_since: Option<Timestamp>) -> Replica {
        Replica { stopping_since, ..fixtures::replica(n, 1) }
    }

    fn load(finished: u64) -> Load {
        let by_replica = [(1, 3), (2, 4)].map(|(n, count)| (ReplicaId::from_entropy(n), count)).into();
        Load { in_flight: 7, by_replica, queued: 2, finished, wakes: 0 }
    }

    #[test]
    fn requests_on_replicas_that_were_told_to_stop_are_no_demand() {
        let deployment = deployment(1, DeploymentKind::Published, None);
        let in_flight = |replicas: &[Replica]| demand(&Load::default(), &load(0), &deployment, replicas).in_flight;
        assert_eq!(in_flight(&[replica(1, None), replica(2, None)]), 7);
        assert_eq!(in_flight(&[replica(1, None), replica(2, Some(Timestamp(5)))]), 3);
        assert_eq!(in_flight(&[]), 0, "those that are gone do not count either");
        let ended_meanwhile = Load { in_flight: 1, ..Load::default() };
        assert_eq!(demand(&Load::default(), &ended_meanwhile, &deployment, &[]).in_flight, 0);
    }

    #[test]
    fn what_ends_while_no_replica_is_wanted_wakes_nobody() {
        let mut deployment = deployment(1, DeploymentKind::Published, None);
        assert_eq!(demand(&load(5), &load(9), &deployment, &[]).finished, 0);
        deployment.target_replicas = 1;
        assert_eq!(demand(&load(5), &load(9), &deployment, &[]).finished, 4);
        assert_eq!(demand(&load(9), &load(5), &deployment, &[]).finished, 5, "a counter that began again");
    }
}
