//! The composition root: makes every room from the configuration and ties them together.

use crate::{config, failure::Result, printer::Printer};

/// Runs until told to stop.
pub async fn run(_: config::Server, _: Printer) -> Result {
    Ok(())
}
