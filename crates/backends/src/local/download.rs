//! Downloads what `external_data` lists, with limits on size and silence.

use std::{
    path::{Component, Path},
    time::Duration,
};

use api::truss_config::ExternalDataItem;
use nix::libc::O_NOFOLLOW;
use sha2::{Digest, Sha256};
use tokio::{fs, io::AsyncWriteExt};

use super::{Local, app::is_without_links, command::Say};
use crate::BuildError;

/// How long a connection may take, and how long it may be silent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// The log tells of progress each time so many bytes have arrived.
const TELL_BYTES: u64 = 64 << 20;

impl Local {
    /// Downloads each item into the app's data folder.
    pub(super) async fn download(&self, items: &[ExternalDataItem], data: &Path, say: &Say) -> Result<(), BuildError> {
        if items.is_empty() {
            return Ok(());
        }
        let client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build();
        let client = client.map_err(|error| BuildError::Machine(std::io::Error::other(error)))?;
        for (index, item) in items.iter().enumerate() {
            let failed = |problem: String| BuildError::Invalid {
                message: format!("external_data[{index}]: cannot download {}: {problem}", item.url),
                hint: Some("check the address, and that this machine can reach it without credentials".into()),
            };
            say.info(format!("Downloading {} to data/{}", item.url, item.local_data_path));
            self.download_one(&client, item, data, say).await.map_err(|error| match error {
                Failure::Theirs(problem) => failed(problem),
                Failure::Ours(error) => BuildError::Machine(error),
            })?;
        }
        Ok(())
    }

    async fn download_one(
        &self,
        client: &reqwest::Client,
        item: &ExternalDataItem,
        data: &Path,
        say: &Say,
    ) -> Result<(), Failure> {
        if item.backend != "http_public" {
            return Err(Failure::Theirs(format!("the backend {:?} is not offered, only http_public", item.backend)));
        }
        let path = data.join(&item.local_data_path);
        if !Path::new(&item.local_data_path)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        {
            return Err(Failure::Theirs("local_data_path leads out of the data folder".into()));
        }
        if !is_without_links(data, item.local_data_path.as_ref()) {
            return Err(Failure::Theirs("local_data_path leads through a symbolic link of the archive".into()));
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).await.map_err(Failure::Ours)?;
        }
        let response = client.get(&item.url).send().await.and_then(reqwest::Response::error_for_status);
        let mut response = response.map_err(|error| Failure::Theirs(described(error)))?;
        let file = fs::OpenOptions::new().write(true).create_new(true).custom_flags(O_NOFOLLOW).open(&path).await;
        let mut file = file.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Failure::Theirs(format!(
                "data/{} is there already, from the archive or another item",
                item.local_data_path
            )),
            _ => Failure::Ours(error),
        })?;
        let (mut received, mut told) = (0_u64, 0);
        let limit = self.settings.download_bytes;
        let mut hasher = Sha256::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Failure::Theirs(described(error)))? {
            received += chunk.len() as u64;
            if received > limit {
                return Err(Failure::Theirs(format!("it has more than {limit} bytes, which is the limit")));
            }
            hasher.update(&chunk);
            file.write_all(&chunk).await.map_err(Failure::Ours)?;
            if received - told >= TELL_BYTES {
                told = received;
                say.info(format!("  {} MiB", received >> 20));
            }
        }
        file.flush().await.map_err(Failure::Ours)?;
        let digest = hex::encode(hasher.finalize());
        match item.extra.get("sha256").and_then(serde_json::Value::as_str) {
            Some(expected) if !expected.eq_ignore_ascii_case(&digest) => {
                Err(Failure::Theirs(format!("its SHA-256 is {digest}, not {expected}")))
            }
            _ => Ok(()),
        }
    }
}

enum Failure {
    Theirs(String),
    Ours(std::io::Error),
}

/// The error with its causes, without the address, which the message has already.
fn described(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
