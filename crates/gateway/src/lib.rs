//! The data path: finds the deployment a request is for, waits with it for a free slot, and streams it to a replica and back.
//! Everything it knows arrives as one [`api::internal::routes::Table`]; the only thing it reports is load.
#![forbid(unsafe_code)]

mod gateway;
mod serve;
mod settings;

pub use gateway::Gateway;
pub use serve::{Error, serve};
pub use settings::Settings;
