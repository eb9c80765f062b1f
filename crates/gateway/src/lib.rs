//! The data path: finds the deployment a request is for, waits with it for a free slot, and streams it to a replica and back.
//! Everything it knows arrives as one [`api::internal::routes::Table`]; the only thing it reports is what it has on its hands and has counted.
#![forbid(unsafe_code)]

mod access;
mod admission;
mod auth;
mod connection;
mod download;
mod errors;
mod front;
mod gateway;
mod grpc;
mod headers;
mod key_limits;
mod linger;
mod link;
mod measure;
mod meter;
mod proxy;
mod replica;
mod request_id;
mod route;
mod scan;
mod search;
mod seldom;
mod serve;
mod settings;
mod sticky;
mod table;
mod timing;
mod trace;
mod upgrade;
mod upload;

pub use access::AccessLog;
pub use front::{Front, Tunnel};
pub use gateway::Gateway;
pub use serve::serve;
pub use settings::Settings;
pub use trace::Traces;
