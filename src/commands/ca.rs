//! `greenroom ca`: the certificate that clients trust who reach this server by names of the hosted service.

use super::Context;
use crate::{
    config::{self, ServerFlags},
    failure::{Failure, Kind, Result, while_doing},
    server,
};

/// Print the certificate of this server's own authority, which clients trust that come by `proxy.tls`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: ServerFlags,
}

pub fn run(args: Args, context: &Context) -> Result {
    let path = server::certificate_file(&config::Server::resolve(&args.flags)?.data_dir);
    match std::fs::read(&path) {
        Ok(certificate) => context.printer.bytes(&certificate),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(missing(&path)),
        Err(error) => Err(while_doing(format!("cannot read {}", path.display()))(error)),
    }
}

/// What somebody hears who asks for a certificate that is not there.
pub fn missing(path: &std::path::Path) -> Failure {
    Failure::new(Kind::NotFound, format!("there is no certificate authority: {} is missing", path.display())).hint(
        "it is made when a server starts with `proxy.tls = \"on\"` (GREENROOM_PROXY_TLS=on); with another data folder, say --data-dir",
    )
}
