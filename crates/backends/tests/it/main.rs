//! The backends through their public doors: one suite for all of them, and what only the local one does.

mod fake;
mod local_build;
mod local_replicas;
mod suite;
mod support;
