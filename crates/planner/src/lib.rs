//! Pure decisions. No clock, no runtime, no I/O, no randomness: every function takes `now` and a picture of the world, and says
//! what should be true next, and why.
#![forbid(unsafe_code)]

pub mod autoscale;
pub mod capacity;
pub mod catalogue;
pub mod deployment;
pub mod fit;
pub mod heartbeat;
pub mod invariants;
pub mod lifecycle;
pub mod location;
pub mod placement;
pub mod policy;
pub mod promotion;
pub mod reload;
pub mod replica_set;
#[cfg(feature = "sim")]
pub mod sim;
pub mod time;

pub use time::{Clock, Timestamp};

/// The outcome of one decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<State, Output, Why> {
    /// The state to save; equal to the one given when nothing changed.
    pub next: State,
    /// What should now be true. The shell carries it out and chooses nothing.
    pub output: Output,
    /// When to decide again even if nothing is observed before then.
    pub wake_at: Option<Timestamp>,
    /// Why this and not something else: shown in the API, the command line, the dashboard and the logs.
    pub why: Why,
}
