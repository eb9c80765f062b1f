//! `greenroom serve`: everything in one process.

use super::Context;
use crate::{
    config::{Server, ServerFlags},
    failure::Result,
    server, telemetry,
};

/// Run a server: management API, inference gateway, uploads and controller on one port
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: ServerFlags,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let settings = Server::resolve(&args.flags)?;
    telemetry::start(&settings.log_level, settings.log_format)?;
    server::run(settings, context.printer).await
}
