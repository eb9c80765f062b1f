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
        Failure::new(
            Kind::Usage,
            format!("`log.level`: `{level}` is not a tracing filter: {error}"),
        )
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
