//! The management API: `http` translates between the public contract and operations, `ops` checks and records intent. Neither
//! starts or stops anything: tasks elsewhere hear of a change from the store, and act.
#![forbid(unsafe_code)]

mod http;
pub mod ops;
mod settings;

pub use http::{openapi, router};
pub use ops::ControlPlane;
pub use settings::{RateLimits, Settings};
