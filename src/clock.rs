//! The one place that asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use planner::Timestamp;

/// Now, by the machine's clock.
#[expect(clippy::disallowed_methods, reason = "this module is the one that reads the clock")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
