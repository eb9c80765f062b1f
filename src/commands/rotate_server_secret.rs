//! `greenroom rotate-server-secret`: a new secret in the data folder, for the next start to seal everything with.

use super::Context;
use crate::{
    config::{Server, ServerFlags},
    failure::Result,
    server,
};

/// Replace the secret that stored secrets are sealed with; run on the server's machine, then start the server again
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: ServerFlags,
}

pub fn run(args: Args, context: &Context) -> Result {
    let settings = Server::resolve(&args.flags)?;
    let rotated = server::rotate_secret(&settings.secrets, &settings.data_dir)?;
    context.printer.answer(&rotated, |server::Rotated { file, previous_file }| {
        format!(
            "{} holds a new secret, {} the one before\nstart the server again: it seals every stored secret anew, and says when the \
             one before is not needed any more",
            file.display(),
            previous_file.display(),
        )
    })
}
