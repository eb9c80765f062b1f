//! Configuration, resolved once: defaults < file < environment < flags, into one struct per role.
//! The only place that reads the environment and the user's configuration folder.

mod client;
mod layers;
mod secret_source;
mod server;
mod values;

use std::path::PathBuf;

use etcetera::BaseStrategy as _;

pub use client::{Client, Flags as ClientFlags, save_login};
pub use layers::{Error, Key, Layers};
pub use secret_source::{SecretBytes, SecretPlace, SecretSource, SecretSources, secrets_in};
pub use server::{BlobStore, Flags as ServerFlags, LogFormat, Oidc, Otlp, Server};

/// Variables that are read outside the key tables: where the server's file is, and the client's address.
const OTHER_VARIABLES: &[&str] = &["GREENROOM_CONFIG", "GREENROOM_URL"];

/// The layers of both roles, as `config show` prints them.
pub struct Shown {
    /// What `serve` would use.
    pub server: Layers,
    /// What every other command would use.
    pub client: Layers,
}

/// Resolves the layers of both roles.
pub fn show(flags: &ServerFlags, client_flags: &ClientFlags) -> Result<Shown, Error> {
    Ok(Shown { server: server::layers(flags)?, client: client::layers(client_flags)? })
}

/// A variable that is set and not empty.
#[expect(clippy::disallowed_methods, reason = "this module is the one that reads the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Every variable that can be read as text. An empty one counts as unset.
pub fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(_, value)| !value.is_empty())
}

/// The variables that a program of the user's configuration runs with: all but ours, some of which are secrets.
pub fn variables_of_others() -> impl Iterator<Item = (String, String)> {
    variables().filter(|(name, _)| !name.starts_with(layers::PREFIX))
}

/// Where the user's configuration files are, by the XDG rules.
fn config_dir() -> Option<PathBuf> {
    etcetera::choose_base_strategy().ok().map(|folders| folders.config_dir().join("greenroom"))
}

/// Where a server keeps its data unless told otherwise, by the XDG rules; the working folder for a user without a home.
fn default_data_dir() -> PathBuf {
    match etcetera::choose_base_strategy() {
        Ok(folders) => folders.data_dir().join("greenroom"),
        Err(_) => PathBuf::from(".greenroom"),
    }
}
