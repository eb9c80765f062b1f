//! Which replicas to start and stop so that as many run as are wanted, without spinning when they keep dying.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What is remembered of failed starts between decisions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Replicas that ended on their own accord since one was last ready for a while.
    pub failures: u32,
    /// No start before this moment.
    pub not_before: Option<Timestamp>,
}
