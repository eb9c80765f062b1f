//! The tasks that make intent true. Each looks at what is stored and what is observed, decides with `planner`, saves, and acts
//! through a backend; the store's notifications, the backend's changes and the gateways' activity wake them. Nothing here is
//! asked to do a thing: it finds out.
#![forbid(unsafe_code)]

mod accesses;
mod allowances;
mod belonging;
mod build_log;
mod builds;
mod capacity;
mod controller;
mod deployments;
mod driver;
mod error;
mod export;
mod facts;
mod fences;
#[cfg(test)]
mod fixtures;
mod garbage;
mod gateways;
mod grants;
mod heartbeat;
mod holds;
mod loads;
mod logs;
mod measure;
mod mirror;
mod observe;
mod orders;
mod promotions;
mod publish;
mod pushes;
mod reloads;
mod rooms;
mod routes;
mod settings;
mod shared;
mod sites;
mod splits;
mod standby;
mod tell;
mod tell_secrets;
mod template;

pub use controller::{Controller, Handle, Shutdown};
pub use driver::TaskStatus;
pub use error::{BoxError, Error};
pub use export::{LogExport, NotExported};
pub use gateways::Gateways;
pub use settings::{Entropy, Parts, Settings};
pub use sites::{Offer, Site};
