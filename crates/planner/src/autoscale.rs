//! How many replicas a deployment should have. Behaviour 4.

use serde::{Deserialize, Serialize};

/// The settings of one deployment or environment. Parsed at the door: every value is within its range here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Never fewer.
    pub min_replica: u32,
    /// Never more.
    pub max_replica: u32,
    /// The load is averaged over this many seconds.
    pub autoscaling_window_s: u32,
    /// The load must stay low for this many seconds before each step down.
    pub scale_down_delay_s: u32,
    /// Requests in flight that one replica is meant to have.
    pub concurrency_target: u32,
    /// Head-room: the part of the target to plan with, in percent.
    pub target_utilization_percent: u32,
    /// The largest step down, in percent of what runs.
    pub max_scale_down_rate_percent: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_replica: 0,
            max_replica: 1,
            autoscaling_window_s: 60,
            scale_down_delay_s: 900,
            concurrency_target: 1,
            target_utilization_percent: 70,
            max_scale_down_rate_percent: 50,
        }
    }
}
