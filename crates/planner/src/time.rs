//! Wall-clock time as a value. Decisions outlive a restart, so they cannot hold a monotonic clock's readings; clocks step back,
//! so differences saturate.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// Where a long-lived shell gets the time from. Made at the composition root; nothing in this room calls one.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

impl Timestamp {
    /// Milliseconds elapsed since `earlier`; zero when the clock stepped back.
    pub fn since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment plus `millis` milliseconds.
    #[must_use]
    pub fn plus(self, millis: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(millis))
    }

    /// The same moment in nanoseconds since the epoch, as log lines count.
    pub fn as_nanos(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX).saturating_mul(1_000_000)
    }
}
