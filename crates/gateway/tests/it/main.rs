//! The gateway from outside: real sockets, fake replicas, one story a test.

mod errors;
mod lifecycle;
mod protocols;
mod streaming;
mod support;
mod upgrades;
