//! `greenroom client-env`: what unmodified clients of the hosted service need in their environment to reach this server.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Context, ca};
use crate::{
    config::{self, ServerFlags},
    failure::{Failure, Kind, Result},
    server,
};

/// Print the environment that clients made for the hosted service need: eval "$(greenroom client-env)"
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The way to this server
    #[arg(long, value_enum, default_value_t = Recipe::Proxy)]
    recipe: Recipe,
    /// The certificate to trust, for `tls` [default: that of the server with this configuration]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    server: ServerFlags,
}

/// A way by which clients reach a server that is not where they expect one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Recipe {
    /// Through the server as an HTTP proxy: for truss, with nothing else to set up
    Proxy,
    /// With the line `127.0.0.1 api.localhost` in /etc/hosts; the port has to be 8000
    Hosts,
    /// Under the hosted service's own names, with TLS by this server's authority (`proxy.tls`): for every client
    Tls,
}

/// The port that clients know for a server on their own machine.
const LOCAL_PORT: u16 = 8000;
const LOCAL_URL: &str = "http://localhost:8000";
const HOSTED_URL: &str = "https://app.baseten.co";

#[derive(Serialize)]
struct Environment {
    recipe: Recipe,
    variables: Vec<(&'static str, String)>,
}

pub fn run(args: Args, context: &Context) -> Result {
    let client = config::Client::resolve(&context.client_flags)?;
    let key = client.api_key.ok_or_else(|| {
        Failure::new(Kind::Auth, format!("there is no API key for {}", client.url))
            .hint("log in with `greenroom login`, or set GREENROOM_API_KEY")
    })?;
    let recipe = args.recipe;
    if recipe == Recipe::Hosts && port(&client.url)? != LOCAL_PORT {
        return Err(Failure::new(
            Kind::Invalid,
            format!("this way needs a server on port {LOCAL_PORT}: clients look for one of their own machine there and nowhere else"),
        )
        .hint("start it with --listen 127.0.0.1:8000, or choose another --recipe"));
    }
    let certificate = match recipe {
        Recipe::Tls => Some(certificate(args.ca, &args.server)?),
        Recipe::Proxy | Recipe::Hosts => None,
    };
    let environment = Environment { recipe, variables: variables(recipe, &client.url, &key, certificate.as_deref()) };
    context.printer.answer(&environment, lines)
}

fn certificate(named: Option<PathBuf>, flags: &ServerFlags) -> Result<PathBuf> {
    let path = match named {
        Some(path) => std::path::absolute(&path).unwrap_or(path),
        None => server::certificate_file(&config::Server::resolve(flags)?.data_dir),
    };
    if path.is_file() { Ok(path) } else { Err(ca::missing(&path)) }
}

fn port(url: &str) -> Result<u16> {
    let known = reqwest::Url::parse(url).ok().and_then(|url| url.port_or_known_default());
    known.ok_or_else(|| Failure::new(Kind::Usage, format!("`{url}` is no URL of a server")))
}

fn variables(recipe: Recipe, url: &str, key: &str, certificate: Option<&Path>) -> Vec<(&'static str, String)> {
    let remote = if recipe == Recipe::Tls { HOSTED_URL } else { LOCAL_URL };
    let mut variables = vec![
        ("BASETEN_TRUSS_AUTH_REMOTE_URL", remote.to_owned()),
        ("BASETEN_TRUSS_AUTH_API_KEY", key.to_owned()),
        ("BASETEN_API_KEY", key.to_owned()),
    ];
    let proxies: &[&str] = match recipe {
        Recipe::Proxy => &["HTTP_PROXY", "http_proxy"],
        Recipe::Tls => &["HTTPS_PROXY", "https_proxy"],
        Recipe::Hosts => &[],
    };
    variables.extend(proxies.iter().map(|name| (*name, url.to_owned())));
    if recipe == Recipe::Proxy {
        // Clients that leave `localhost` out would leave `api.localhost` out, too.
        variables.extend(["NO_PROXY", "no_proxy"].map(|name| (name, String::new())));
    }
    if let Some(certificate) = certificate {
        let bundles = ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "AWS_CA_BUNDLE"];
        variables.extend(bundles.map(|name| (name, certificate.display().to_string())));
    }
    variables
}

/// For a shell.
fn lines(environment: &Environment) -> String {
    let quoted = |value: &str| format!("'{}'", value.replace('\'', r"'\''"));
    let line = |(name, value): &(&str, String)| format!("export {name}={}", quoted(value));
    environment.variables.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_the_lines_whatever_is_in_them() {
        let variables = vec![("A", "it's $HOME".to_owned()), ("B", String::new())];
        let text = lines(&Environment { recipe: Recipe::Hosts, variables });
        assert_eq!(text, "export A='it'\\''s $HOME'\nexport B=''");
    }

    #[test]
    fn each_way_has_what_its_clients_need() {
        let names = |recipe, certificate: Option<&Path>| -> Vec<&str> {
            variables(recipe, "http://127.0.0.1:8000", "a.b", certificate).into_iter().map(|(name, _)| name).collect()
        };
        assert!(names(Recipe::Proxy, None).contains(&"HTTP_PROXY"));
        assert!(!names(Recipe::Hosts, None).iter().any(|name| name.to_ascii_lowercase().contains("proxy")));
        let tls = names(Recipe::Tls, Some(Path::new("/ca.pem")));
        assert!(tls.contains(&"HTTPS_PROXY") && tls.contains(&"REQUESTS_CA_BUNDLE") && !tls.contains(&"HTTP_PROXY"));
    }
}
