//! The one place that asks what time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use planner::Timestamp;

/// Now, by the machine's clock.
pub fn now() -> Timestamp {
    Timestamp(u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX))
}

/// The same in nanoseconds since the Unix epoch.
pub fn now_ns() -> u64 {
    u64::try_from(since_epoch().as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this module is the one that reads the clock")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
