//! The program around the library: arguments, the log, and an exit code.

use std::{io, os::fd::AsFd as _, path::PathBuf, process::ExitCode};

use crate::{Error, Readiness};

/// The argument that makes a replica stand by.
const STANDBY: &str = "standby";

/// `greenroom-replica DIRECTORY [standby]`: runs the replica described in DIRECTORY, with its secrets on standard input.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(first), second, None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return usage();
    };
    if first == crate::guard::ARGUMENT {
        let descriptor = second.and_then(|argument| argument.to_str()?.parse().ok());
        return descriptor.map_or_else(usage, crate::guard::run);
    }
    let readiness = match second {
        None => Readiness::Ordered,
        Some(word) if word == STANDBY => Readiness::Standby,
        Some(_) => return usage(),
    };
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).init();
    // A broken promise inside the replica ends it, so that its successor can take over: half a replica serves nobody.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    let input = io::stdin().as_fd().try_clone_to_owned();
    let input = input.map_err(|source| Error::Machine { what: "standard input", source });
    match input.and_then(|input| crate::run(&PathBuf::from(first), input, readiness)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::error!(%cause, "{error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).init();
    tracing::error!("usage: greenroom-replica DIRECTORY [standby], with secrets as JSON on standard input");
    ExitCode::from(2)
}
