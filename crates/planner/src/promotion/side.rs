//! What a promotion sees of a deployment, from its facts.

use super::Side;
use crate::{
    lifecycle::{Build, Lifecycle, Observed, Wanted},
    replica_set,
};

/// Failed starts in a row, without a ready replica, after which a side counts as broken.
const PATIENCE: u32 = 3;

impl<'a> Side<'a> {
    /// A deployment, seen as a side of a promotion. `target` is how many replicas should run, as last decided.
    pub fn of(lifecycle: &'a Lifecycle, observed: &Observed, target: u32, starts: &'a replica_set::Memory) -> Self {
        Self {
            ready: observed.ready,
            alive: observed.alive(),
            wanted: target,
            is_built: matches!(lifecycle.build, Build::Succeeded { .. }),
            has_been_ready: lifecycle.first_ready.is_some(),
            failure: failure(lifecycle, observed, starts),
        }
    }
}

fn failure<'a>(lifecycle: &'a Lifecycle, observed: &Observed, starts: &'a replica_set::Memory) -> Option<&'a str> {
    if lifecycle.wanted == Wanted::Inactive {
        return Some("it is deactivated");
    }
    if let Some(reason) = lifecycle.failure() {
        return Some(&reason.message);
    }
    if matches!(lifecycle.build, Build::Stopped { .. }) {
        return Some("its build was stopped");
    }
    let keeps_ending = starts.failures >= PATIENCE && observed.ready == 0;
    keeps_ending.then(|| starts.last_failure.as_deref().unwrap_or("its replicas keep ending"))
}
