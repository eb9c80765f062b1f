//! Who is at the other end of a connection.

use std::net::IpAddr;

/// The address that a request came from, which the gateway attaches to each that it leaves to the management API. Behind a proxy it is
/// the proxy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);
