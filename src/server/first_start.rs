//! What a server needs before anything else: its folder, its secret, and at the very first start a key for its administrator.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use control_plane::ops;
use planner::Timestamp;
use store::{SecretKey, Store};

use crate::failure::{Failure, Kind, Result, while_doing};

/// Where the admin API key is kept.
pub fn key_file(data_dir: &Path) -> PathBuf {
    data_dir.join("admin-api-key")
}

/// Makes the data folder, for this user's eyes only, unless it is there.
pub fn data_dir(path: &Path) -> Result {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
        Failure::new(Kind::Failed, format!("cannot make the data folder {}: {error}", path.display()))
            .hint("choose another one with --data-dir")
    })
}

/// The server's secret, from which keys for single purposes are derived. Made when it is missing.
pub fn server_secret(data_dir: &Path) -> Result<SecretKey> {
    let path = data_dir.join("server-secret");
    let unusable = |error| while_doing(format!("cannot use {}", path.display()))(error);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let bytes = rand::random::<[u8; 32]>();
            write_private(&path, &bytes).map_err(unusable)?;
            bytes.to_vec()
        }
        Err(error) => return Err(unusable(error)),
    };
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| {
        Failure::new(Kind::Failed, format!("{} is damaged: it should hold 32 bytes", path.display()))
            .hint("restore it from a backup; without it stored secrets cannot be read")
    })?;
    Ok(SecretKey::new(bytes))
}

/// Makes the installation at the very first start. Returns the admin API key then, and only then.
///
/// The key is on disk before the installation is made with it, so that a crash in between leaves no installation without a key.
pub async fn admin_key(store: &Store, data_dir: &Path, preset: Option<&str>, now: Timestamp) -> Result<Option<String>> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::new(Kind::Failed, format!("cannot set up the server: {error}"));
    if store.organization().await.map_err(|error| failed(&error))?.is_some() {
        return Ok(None);
    }
    let path = key_file(data_dir);
    let key = match (preset, fs::read_to_string(&path)) {
        (Some(preset), _) => preset.to_owned(),
        (None, Ok(left_by_a_crash)) => left_by_a_crash.trim().to_owned(),
        (None, Err(_)) => format!("{:08x}.{:032x}", rand::random::<u32>(), rand::random::<u128>()),
    };
    write_private(&path, format!("{key}\n").as_bytes())
        .map_err(while_doing(format!("cannot write {}", path.display())))?;
    ops::bootstrap(store, now, Some(&key)).await.map_err(|error| failed(&error))
}

/// Writes a file that only this user may read, whole or not at all.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let _ = fs::remove_file(&unfinished);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    fs::File::open(path.parent().expect("a file stands in a folder"))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_secret_is_made_once_and_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = server_secret(folder.path()).expect("made");
        let again = server_secret(folder.path()).expect("read");
        assert_eq!(first.derive("test"), again.derive("test"));
        let mode = fs::metadata(folder.path().join("server-secret")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_secret_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("server-secret"), "short").expect("written");
        let failure = server_secret(folder.path()).expect_err("refused");
        assert!(failure.message.ends_with("is damaged: it should hold 32 bytes"), "{}", failure.message);
    }
}
