//! One replica of one deployment: HTTP on a Unix socket in front of one model process, and the life of that process.
//! The contract with the backend that starts it is in [`api::internal::replica`]; nothing else of Greenroom is known here.
//!
//! [`run`] is the replica; [`guard::run`] is the small process it starts its model through.

mod arena;
mod asked;
mod body;
mod calls;
mod channel;
mod command;
mod confine;
mod control;
mod delegation;
mod ending;
mod groups;
mod grpc;
pub mod guard;
mod health;
mod http;
mod launch;
mod life;
mod limits;
mod link;
mod log;
mod modules;
mod mounts;
mod namespace;
mod order;
mod payload;
mod process;
mod program;
mod protocol;
mod sandbox;
mod server;
mod start;
mod status;
mod swap;
mod truss;
mod veil;
mod websocket;

pub use command::main;

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// Why a replica could not run at all. Everything that happens to its model is told in its status instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder of the replica.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// What the backend passed is not what was agreed.
    #[error("cannot read {what}")]
    Input {
        /// What was passed.
        what: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The machine refused.
    #[error("cannot get {what}: {source}")]
    Machine {
        /// What was asked of it.
        what: &'static str,
        /// Its answer.
        source: io::Error,
    },
}

impl Error {
    fn file(path: PathBuf, source: io::Error) -> Self {
        Error::File { path, source }
    }
}

/// Whether the replica is started for an order that is given with it, or long ahead of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The order follows at once. Whatever goes wrong is told in the status.
    Ordered,
    /// There may never be an order. One that cannot be made ready ends.
    Standby,
}

/// Runs the replica in `directory` from its start to its end. The order, with its secrets, comes through `input`, a pipe.
pub fn run(directory: &Path, input: OwnedFd, readiness: Readiness) -> Result<(), Error> {
    // Who may look is decided by the folders around ours; the model's user, who may be another, looks only at what it is shown.
    nix::sys::stat::umask(nix::sys::stat::Mode::S_IWGRP | nix::sys::stat::Mode::S_IWOTH);
    // A session of its own, so that the end of whoever started it is not its end. Refused only where that is so already.
    let _ = nix::unistd::setsid();
    let directory = directory.canonicalize().map_err(|source| Error::file(directory.to_owned(), source))?;
    // The folder may be given another name while we are in it, so its files are found from here.
    std::env::set_current_dir(&directory).map_err(|source| Error::file(directory.clone(), source))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Error::Machine { what: "an event loop", source })?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, life::run(&directory, input, readiness))
}
