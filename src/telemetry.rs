//! The server's own log: one line an event on standard error, for people or for machines.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::{
    config::LogFormat,
    failure::{Failure, Kind, Result},
};

/// Starts logging. `level` is a level or a tracing filter.
pub fn start(level: &str, format: LogFormat) -> Result {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        Failure::new(Kind::Usage, format!("`log.level`: `{level}` is not a tracing filter: {error}"))
    })?;
    // Below warnings the upload endpoint's library logs whole requests, their credentials included.
    let filter = filter.add_directive("s3s=warn".parse().expect("a valid directive"));
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal()).with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
