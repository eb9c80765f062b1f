//! Which names clients may reach through this server when they take it for a proxy, and the certificate authority for those of the
//! hosted service whose clients it serves.

use std::path::{Path, PathBuf};

use gateway::{Front, Tunnel};
use tls::{Authority, Names};

use super::unusable;
use crate::{config, failure::Result};

/// The names by which clients of the hosted service know it.
const HOSTED: [&str; 4] = ["app.baseten.co", "*.app.baseten.co", "api.baseten.co", "*.api.baseten.co"];

/// What clients may ask of this server as their proxy. Makes the certificate authority where it is asked for.
pub fn open(settings: &config::Server) -> Result<Front> {
    let public_host = settings.public_url.as_deref().and_then(host_of);
    let own = settings.proxy_names.iter().cloned().chain(public_host.into_iter().flat_map(with_all_below));
    let own: Vec<String> = own.collect();
    let names = Names::new(own.iter().map(String::as_str));
    if !settings.proxy_tls {
        return Ok(Front { names, tunnel: None });
    }
    let buckets = bucket_hosts();
    let stands_in = Names::new(HOSTED.into_iter().chain(buckets.iter().map(String::as_str)));
    let authority = Authority::open(&authority_folder(&settings.data_dir), stands_in.clone()).map_err(unusable)?;
    Ok(Front { names, tunnel: Some(Tunnel { names: stands_in, tls: authority.acceptor() }) })
}

/// The certificate that clients have to trust.
pub fn certificate_file(data_dir: &Path) -> PathBuf {
    Authority::certificate_file(&authority_folder(data_dir))
}

fn authority_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("ca")
}

/// Where clients that know no address for uploads take the bucket to be.
fn bucket_hosts() -> [String; 2] {
    let bucket = uploads::BUCKET;
    [format!("{bucket}.s3.amazonaws.com"), format!("{bucket}.s3.{}.amazonaws.com", uploads::REGION)]
}

fn host_of(url: &str) -> Option<String> {
    Some(url.parse::<http::Uri>().ok()?.host()?.to_owned())
}

fn with_all_below(host: String) -> [String; 2] {
    let below = format!("*.{host}");
    [host, below]
}
