//! What every command but `serve` needs to know: which server, and the key to it.

use std::{
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{Error, Key, Layers, config_dir, default_data_dir, variable, variables};

/// Every key of the client, in the order in which `config show` prints them.
const KEYS: &[Key] = &[
    Key { name: "url", doc: "base URL of the server", default: "http://127.0.0.1:8000", secret: false },
    Key { name: "api_key", doc: "key to the server, as `prefix.secret`", default: "", secret: true },
    Key {
        name: "team",
        doc: "team whose models, secrets and keys are meant; unset means your own",
        default: "",
        secret: false,
    },
];

/// Flags that every command takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// Base URL of the server [env: GREENROOM_URL] [default: that of `greenroom login`, or http://127.0.0.1:8000]
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    pub url: Option<String>,
    /// Team whose models, secrets and keys are meant, by name or id [env: GREENROOM_TEAM] [default: your own]
    #[arg(long, global = true, value_name = "TEAM", help_heading = "Global options")]
    pub team: Option<String>,
}

/// Which server, and the key to it. Has no `Debug`: it holds a secret.
pub struct Client {
    /// Without a trailing slash.
    pub url: String,
    /// None where nobody logged in.
    pub api_key: Option<String>,
    /// By name or id; none means that of the key.
    pub team: Option<String>,
}

impl Client {
    /// Resolves all layers.
    pub fn resolve(flags: &Flags) -> Result<Self, Error> {
        let layers = layers(flags)?;
        let url = layers.get::<String>("url")?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { url, api_key: layers.optional("api_key"), team: layers.optional("team") })
    }
}

/// Every layer on top of the other.
pub fn layers(flags: &Flags) -> Result<Layers, Error> {
    let mut layers = Layers::defaults(KEYS);
    if let Some(path) = login_file()
        && let Some(text) = read_if_there(&path)?
    {
        layers.add_file(&path, &text)?;
    }
    let login_url = layers.get::<String>("url")?;
    let own: Vec<String> = KEYS.iter().map(Key::variable).collect();
    layers.add_variables(variables().filter(|(name, _)| own.contains(name)), &[])?;
    layers.add_flag("url", flags.url.clone());
    layers.add_flag("team", flags.team.clone());
    let url = layers.get::<String>("url")?;
    if url != login_url && layers.comes_from_file("api_key") {
        // A key belongs to the server it was made by: it is not shown to another one.
        layers.set_default("api_key", String::new());
    }
    if layers.optional("api_key").is_none() && is_this_machine(&url) {
        add_own_servers_key(&mut layers)?;
    }
    Ok(layers)
}

/// On the machine of the server, its admin key is at hand for whoever may read it.
fn add_own_servers_key(layers: &mut Layers) -> Result<(), Error> {
    let data_dir = variable("GREENROOM_DATA_DIR").map_or_else(default_data_dir, PathBuf::from);
    let path = data_dir.join("admin-api-key");
    if let Ok(key) = std::fs::read_to_string(&path) {
        let document = toml::Table::from_iter([("api_key".to_owned(), key.trim().into())]);
        layers.add_file(&path, &document.to_string())?;
    }
    Ok(())
}

/// Remembers a server and the key to it for later commands. Returns where.
pub fn save_login(url: &str, api_key: &str) -> std::io::Result<PathBuf> {
    let path = login_file().ok_or_else(|| std::io::Error::other("this user has no home folder"))?;
    let folder = path.parent().expect("the file stands in a folder");
    std::fs::create_dir_all(folder)?;
    let document = toml::Table::from_iter([
        ("url".to_owned(), url.to_owned().into()),
        ("api_key".to_owned(), api_key.to_owned().into()),
    ]);
    let unfinished = path.with_extension("toml.new");
    let _ = std::fs::remove_file(&unfinished);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(document.to_string().as_bytes())?;
    std::fs::rename(&unfinished, &path)?;
    Ok(path)
}

fn login_file() -> Option<PathBuf> {
    config_dir().map(|folder| folder.join("client.toml"))
}

fn read_if_there(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::File { path: path.to_owned(), problem: error.to_string() }),
    }
}

/// Whether a URL can only mean this machine.
fn is_this_machine(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else {
        return false;
    };
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_mean_this_machine() {
        for url in ["http://127.0.0.1:8000", "http://localhost:9000", "http://[::1]:8000"] {
            assert!(is_this_machine(url), "{url}");
        }
        for url in ["https://example.com", "http://127.0.0.1.example.com", "http://10.0.0.1:8000", "nonsense"] {
            assert!(!is_this_machine(url), "{url}");
        }
    }
}
