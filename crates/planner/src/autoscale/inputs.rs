//! What the load asks for, and all that it is worked out from.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Load, Settings, history::History};
use crate::Timestamp;

/// All that a decision was worked out from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Replicas that there should have been until then.
    pub current: u32,
    /// Requests that were with replicas.
    pub in_flight: u32,
    /// Requests that were waiting.
    pub queued: u32,
    /// The average of both over the window, in thousandths.
    pub average_milli: u64,
    /// The time that is averaged over, in milliseconds; shorter than the window when less is known.
    pub averaged_ms: u64,
    /// Requests that one replica is meant to have, in thousandths: the concurrency target with its head-room.
    pub per_replica_milli: u64,
    /// Replicas that the load asks for, whatever the bounds.
    pub asked: u32,
    /// The fewest there may be.
    pub min_replica: u32,
    /// The most there may be.
    pub max_replica: u32,
}

impl fmt::Display for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = |milli: u64| format!("{}.{}", milli / 1_000, milli % 1_000 / 100);
        write!(
            f,
            "{} requests on average over {} s, and {} that wait now, at {} for each replica ask for {}; allowed are {} to {}",
            tenths(self.average_milli),
            self.averaged_ms / 1_000,
            self.queued,
            tenths(self.per_replica_milli),
            self.asked,
            self.min_replica,
            self.max_replica,
        )
    }
}

/// What the load asks for: what its average needs with head-room, and what has waited for more than a moment without.
pub(super) fn inputs(now: Timestamp, current: u32, load: Load, history: &History, settings: &Settings) -> Inputs {
    let average = history.average(now, u64::from(settings.autoscaling_window_s.max(1)) * 1_000);
    let target_milli = u64::from(settings.concurrency_target.max(1)) * 1_000;
    let per_replica_milli = (target_milli * u64::from(settings.target_utilization_percent) / 100).max(1);
    let by_average = match current {
        // What was before a deployment came to rest is no reason to start it again.
        0 => average.milli.min((u64::from(load.in_flight) + u64::from(load.queued)) * 1_000),
        _ => average.milli,
    };
    let by_average = needed(by_average, per_replica_milli);
    // Where nothing runs, nothing drains a queue.
    let waiting = if current == 0 { load.queued } else { history.waiting() };
    let by_queue = needed(u64::from(waiting) * 1_000, target_milli);
    let asked = match by_average.max(by_queue) {
        // An average that has not yet forgotten does not keep the last replica.
        // Where nothing runs, a request that has ended is no reason to start: a long one may end after its deployment came to rest.
        0 | 1 if current == 0 => u32::from(!Load { finished: 0, ..load }.is_none()),
        0 | 1 => u32::from(!load.is_none()),
        asked => asked,
    };
    Inputs {
        current,
        in_flight: load.in_flight,
        queued: load.queued,
        average_milli: average.milli,
        averaged_ms: average.over_ms,
        per_replica_milli,
        asked,
        min_replica: settings.min_replica,
        max_replica: settings.max_replica,
    }
}

/// Replicas for so many requests, both in thousandths.
pub(super) fn needed(milli: u64, per_replica_milli: u64) -> u32 {
    u32::try_from(milli.div_ceil(per_replica_milli)).unwrap_or(u32::MAX)
}
