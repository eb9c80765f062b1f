//! Wall-clock time as a value. Decisions outlive a restart, so they cannot hold a monotonic clock's readings; clocks step back,
//! so differences saturate.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

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
}
