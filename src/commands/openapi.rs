//! `greenroom openapi`.

use super::Context;
use crate::failure::Result;

/// Print the OpenAPI description of the management API
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_: Args, context: &Context) -> Result {
    context.printer.document(&control_plane::openapi())
}
