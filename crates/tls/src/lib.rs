//! TLS by a certificate authority of our own, for clients that know a hosted service's names only and reach this server as their
//! proxy. The authority can speak for those names and no others: it says so itself, so that a client that trusts it trusts it
//! with nothing else.
#![forbid(unsafe_code)]

mod authority;
mod names;

pub use authority::{Authority, Error};
pub use names::Names;
