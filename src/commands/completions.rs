//! `greenroom completions SHELL`.

use clap::CommandFactory as _;

use super::Context;
use crate::{cli::Cli, failure::Result};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which shell
    shell: clap_complete::Shell,
}

pub fn run(args: Args, context: &Context) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "greenroom", &mut script);
    context.printer.bytes(&script)
}
