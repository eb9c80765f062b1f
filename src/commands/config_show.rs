//! `greenroom config show`: what is in force, and where each value came from.

use serde::Serialize;

use super::Context;
use crate::{
    config::{self, Layers},
    failure::Result,
};

/// Look at the configuration
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print what is in force for `serve` and for the other commands, and where each value came from
    Show(config::ServerFlags),
}

#[derive(Serialize)]
struct Shown {
    server: Vec<Setting>,
    client: Vec<Setting>,
}

#[derive(Serialize)]
struct Setting {
    key: &'static str,
    value: Option<String>,
    source: String,
    variable: String,
    description: &'static str,
}

pub fn run(args: Args, context: &Context) -> Result {
    let Action::Show(flags) = args.action;
    let layers = config::show(&flags, &context.client_flags)?;
    let shown = Shown { server: settings(&layers.server), client: settings(&layers.client) };
    let row = |role: &str, setting: &Setting| {
        let Setting { key, value, source, description, .. } = setting;
        let value = value.as_deref().unwrap_or("-").to_owned();
        vec![role.to_owned(), (*key).to_owned(), value, source.clone(), (*description).to_owned()]
    };
    let server = shown.server.iter().map(|setting| row("server", setting));
    let rows = server.chain(shown.client.iter().map(|setting| row("client", setting))).collect();
    context.printer.table(&shown, &["role", "key", "value", "from", "what it is"], rows)
}

fn settings(layers: &Layers) -> Vec<Setting> {
    let shown = |key: &config::Key, value: &str| match (key.secret, value.is_empty()) {
        (_, true) => None,
        (true, false) => Some("(hidden)".to_owned()),
        (false, false) => Some(value.to_owned()),
    };
    layers
        .entries()
        .map(|(key, value, source)| Setting {
            key: key.name,
            value: shown(key, value),
            source: source.to_string(),
            variable: key.variable(),
            description: key.doc,
        })
        .collect()
}
