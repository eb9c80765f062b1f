//! The built binary, from outside: HTTP in, status and log files out.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod contract;
mod life;
mod link;
mod model;
mod sandbox;
mod server;
mod standby;
mod support;
mod swap;
mod websocket;
mod worker;
