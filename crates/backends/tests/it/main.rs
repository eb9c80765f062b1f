//! The backends through their public doors: one suite for all of them, and what only the local one does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;
mod local_build;
mod local_replicas;
mod suite;
mod support;
