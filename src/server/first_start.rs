//! What a server needs before anything else: its folder, and at the very first start a key for its administrator.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use control_plane::ops::{self, KeyText};
use planner::Timestamp;
use store::Store;

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

/// Makes the installation at the very first start. Returns the admin API key then, and only then.
///
/// The key is on disk before the installation is made with it, so that a crash in between leaves no installation without a key.
pub async fn admin_key(store: &Store, data_dir: &Path, preset: Option<&str>, now: Timestamp) -> Result<Option<String>> {
    if is_installed(store).await? {
        return Ok(None);
    }
    let path = key_file(data_dir);
    let key = match preset {
        Some(preset) => KeyText::preset(preset).map_err(|error| {
            Failure::new(Kind::Usage, error.to_string())
                .hint("correct GREENROOM_API_KEY or `api_key`, or unset it: then the server makes a key of its own")
        })?,
        None => left_by_a_crash(&path).unwrap_or_else(KeyText::random),
    };
    let key = key.into_plaintext();
    write_private(&path, format!("{key}\n").as_bytes())
        .map_err(while_doing(format!("cannot write {}", path.display())))?;
    ops::bootstrap(store, now, Some(&key)).await.map_err(|error| cannot_set_up(&error))
}

/// The key of a first start that went no further, unless that is not even a key.
fn left_by_a_crash(path: &Path) -> Option<KeyText> {
    KeyText::preset(fs::read_to_string(path).ok()?.trim()).ok()
}

pub(super) async fn is_installed(store: &Store) -> Result<bool> {
    let organization = store.organization().await.map_err(|error| cannot_set_up(&error))?;
    Ok(organization.is_some())
}

fn cannot_set_up(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Failed, format!("cannot set up the server: {error}"))
}

/// Writes a file that only this user may read, whole or not at all.
pub(super) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
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
    use store::SecretKey;

    use super::*;

    const NOW: Timestamp = Timestamp(1);

    /// What a start does before it serves.
    async fn start(folder: &Path, preset: Option<&str>) -> Result<Option<String>> {
        let url = store::sqlite_url(&folder.join("greenroom.db"));
        let options = store::Options { url, secret_key: SecretKey::new([7; 32]) };
        let store = Store::open(&options).await.expect("opened");
        admin_key(&store, folder, preset, NOW).await
    }

    #[tokio::test]
    async fn a_key_is_shown_once() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(start(folder.path(), None).await.expect("set up").is_some());
        assert!(start(folder.path(), None).await.expect("started").is_none());
    }

    #[tokio::test]
    async fn a_preset_key_that_is_none_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let failure = start(folder.path(), Some("hunter2")).await.expect_err("refused");
        assert_eq!(failure.kind, Kind::Usage);
        assert!(!failure.message.contains("hunter2"), "{}", failure.message);
        assert!(!key_file(folder.path()).exists());
        let key = start(folder.path(), Some("admin.0123456789")).await.expect("set up");
        assert_eq!(key.as_deref(), Some("admin.0123456789"));
    }

    #[tokio::test]
    async fn what_an_unfinished_start_left_is_taken_up_if_it_is_a_key() {
        for (left, is_taken) in [("admin.0123456789\n", true), ("", false), ("hunter2\n", false)] {
            let folder = tempfile::tempdir().expect("a folder");
            fs::write(key_file(folder.path()), left).expect("written");
            let key = start(folder.path(), None).await.expect("set up");
            let key = key.expect("made now");
            assert_eq!(key == left.trim(), is_taken, "{left:?}");
            let kept = fs::read_to_string(key_file(folder.path())).expect("kept");
            assert_eq!(kept.trim(), key);
        }
    }
}
