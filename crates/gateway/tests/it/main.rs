//! The gateway from outside: real sockets, fake replicas, one story a test.
#![expect(clippy::unwrap_used, reason = "a story ends at its first surprise")]

mod access;
mod errors;
mod front;
mod grpc;
mod lifecycle;
mod links;
mod protocols;
mod splits;
mod streaming;
mod support;
mod tokens;
mod upgrades;
