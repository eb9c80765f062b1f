//! The server's secret: where it comes from, how it is made and replaced, and what follows for the secrets that are stored.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use store::{SecretKey, Store};

use super::{
    first_start::{is_installed, write_private},
    secret_command,
};
use crate::{
    config::{SecretBytes, SecretPlace, SecretSource, SecretSources, secrets_in},
    failure::{Failure, Kind, Result, while_doing},
};

/// More than any file of secrets holds.
const MOST_BYTES: u64 = 64 << 10;
/// Secrets that may be named as previous ones. Each that is wrong costs a try for what is not sealed anew yet.
const MOST_PREVIOUS: usize = 16;
/// Secrets that a log line names.
const NAMED: usize = 10;

/// Where the secret is unless the configuration says otherwise.
fn own_file(data_dir: &Path) -> PathBuf {
    data_dir.join("server-secret")
}

/// Where a rotation leaves the ones before.
fn previous_file(data_dir: &Path) -> PathBuf {
    data_dir.join("server-secret.previous")
}

/// The server's secret, from which keys for single purposes are derived.
pub struct ServerSecret {
    /// What the database is opened with.
    pub key: SecretKey,
    /// Where the ones before come from, if there are any.
    previous: Option<String>,
    /// The file to be, and its bytes, while they are not in it yet.
    new: Option<(PathBuf, SecretBytes)>,
}

impl ServerSecret {
    /// Reads the secret from where the configuration says, or from its file in the data folder; where there is none, draws one,
    /// which lasts when it is kept.
    pub async fn read_or_draw(sources: &SecretSources, data_dir: &Path) -> Result<Self> {
        let (bytes, new) = match &sources.present {
            Some(source) => (one(source).await?, None),
            None => {
                let path = own_file(data_dir);
                match read(&path) {
                    Ok(content) => (content.as_slice().try_into().map_err(|_| damaged(&path))?, None),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        let bytes = rand::random();
                        (bytes, Some((path, bytes)))
                    }
                    Err(error) => return Err(while_doing(format!("cannot use {}", path.display()))(error)),
                }
            }
        };
        let (left, left_in) = match sources.present {
            None => left_by_rotations(data_dir)?,
            Some(_) => (Vec::new(), None),
        };
        let (previous, from) = match &sources.previous {
            Some(source) => ([all(source).await?, left].concat(), Some(named(source))),
            None => (left, left_in),
        };
        Ok(Self { key: SecretKey::new(bytes).after(previous), previous: from, new })
    }

    /// Writes a new secret to its file. Refuses to where the installation is older than the secret: what is stored in it was sealed
    /// with another one, and would be lost without a word.
    pub async fn keep(&mut self, store: &Store) -> Result {
        if let Some((path, bytes)) = self.new.take() {
            if is_installed(store).await? {
                let message = format!("{} is missing, and the database is already in use with it", path.display());
                return Err(Failure::new(Kind::Failed, message).hint(
                    "restore it from a backup, or copy it from another server of this database, or name where it is now as \
                     `server_secret.file`; if it is lost for good, put 32 new random bytes there and set every secret again",
                ));
            }
            write_private(&path, &bytes).map_err(while_doing(format!("cannot write {}", path.display())))?;
        }
        Ok(())
    }

    /// Seals with this secret what the store has sealed with an earlier one, and says in the log what that means for who rotates.
    pub async fn reseal(&self, store: &Store) -> std::result::Result<(), store::Error> {
        let resealed = store.reseal_secrets().await?;
        if resealed.count > 0 {
            tracing::info!(
                count = resealed.count,
                "stored secrets have been sealed anew with the server's present secret"
            );
        }
        if !resealed.unreadable.is_empty() {
            let names: Vec<_> = resealed.unreadable.iter().take(NAMED).map(|secret| secret.name.as_str()).collect();
            tracing::error!(
                count = resealed.unreadable.len(),
                names = names.join(", "),
                "stored secrets were sealed with another server secret than this server's and its previous ones, and models that \
                 declare them cannot start; they are kept: name the server secret they were sealed with as \
                 `server_secret.previous_file` (or GREENROOM_SERVER_SECRET_PREVIOUS) and start again, or set them anew"
            );
        } else if let Some(previous) = &self.previous {
            tracing::info!(
                previous,
                "no stored secret needs the previous server secret any more: remove it when an hour has passed, in which uploads \
                 and download links from before may still come, and every server of this database has the present one"
            );
        }
        Ok(())
    }
}

/// What a rotation has done.
#[derive(serde::Serialize)]
pub struct Rotated {
    /// Where the new secret is.
    pub file: PathBuf,
    /// Where the ones before are.
    pub previous_file: PathBuf,
}

/// Replaces the secret in the data folder by a new one, for the next start. The one before stands in the other file first: at every
/// moment each secret that anything may be sealed with is in one of the two.
pub fn rotate(sources: &SecretSources, data_dir: &Path) -> Result<Rotated> {
    if let Some(source) = &sources.present {
        let message = format!("the server's secret does not come from its data folder, but from {}", named(source));
        return Err(Failure::new(Kind::Invalid, message).hint(
            "make a new one there, name the present one as `server_secret.previous_file` or GREENROOM_SERVER_SECRET_PREVIOUS, and \
             start the server again",
        ));
    }
    let (file, previous_file) = (own_file(data_dir), previous_file(data_dir));
    let folder = fs::File::open(data_dir).map_err(|_| no_secret(&file))?;
    folder.try_lock().map_err(|_| {
        Failure::new(Kind::Failed, format!("another rotation of {} is under way", file.display()))
            .hint("wait until it has ended")
    })?;
    let present = match read(&file) {
        Ok(content) => content.as_slice().try_into().map_err(|_| damaged(&file))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_secret(&file)),
        Err(error) => return Err(while_doing(format!("cannot read {}", file.display()))(error)),
    };
    let mut previous: Vec<SecretBytes> = vec![present];
    previous.extend(left_by_rotations(data_dir)?.0.into_iter().filter(|bytes| *bytes != present));
    if previous.len() > MOST_PREVIOUS {
        let message = format!("{} holds {MOST_PREVIOUS} secrets already", previous_file.display());
        return Err(Failure::new(Kind::Invalid, message)
            .hint("start the server, which says when they are not needed any more; then remove that file"));
    }
    let lines: String = previous.iter().map(|bytes| hex::encode(bytes) + "\n").collect();
    let write = |path: &Path, content: &[u8]| {
        write_private(path, content).map_err(while_doing(format!("cannot write {}", path.display())))
    };
    write(&previous_file, lines.as_bytes())?;
    write(&file, &rand::random::<SecretBytes>())?;
    Ok(Rotated { file, previous_file })
}

/// The secrets before, and where they are, if rotations have left any in the data folder.
fn left_by_rotations(data_dir: &Path) -> Result<(Vec<SecretBytes>, Option<String>)> {
    let path = previous_file(data_dir);
    match read(&path) {
        Ok(content) => {
            let secrets = secrets_in(&content).ok_or_else(|| not_secrets(&path.display().to_string()))?;
            Ok((secrets, Some(path.display().to_string())))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Vec::new(), None)),
        Err(error) => Err(while_doing(format!("cannot read {}", path.display()))(error)),
    }
}

/// The one secret of a source.
async fn one(source: &SecretSource) -> Result<SecretBytes> {
    match all(source).await?.as_slice() {
        [secret] => Ok(*secret),
        _ => Err(Failure::new(Kind::Failed, format!("{} holds more than one secret", named(source)))
            .hint("name those before as `server_secret.previous_file` or by one of its neighbours")),
    }
}

/// The secrets of a source. What a source holds is never part of an error.
async fn all(source: &SecretSource) -> Result<Vec<SecretBytes>> {
    let content = match &source.place {
        SecretPlace::Here(secrets) => return Ok(secrets.clone()),
        SecretPlace::File(path) => read(path).map_err(|error| {
            Failure::new(Kind::Failed, format!("cannot read {}: {error}", named(source)))
                .hint(format!("put it there, for this user's eyes only; or correct `{}`", source.key))
        })?,
        SecretPlace::Command(words) => secret_command::output(source.key, words).await?,
    };
    let secrets = secrets_in(&content).ok_or_else(|| not_secrets(&named(source)))?;
    if secrets.len() > MOST_PREVIOUS {
        return Err(Failure::new(Kind::Failed, format!("{} holds more than {MOST_PREVIOUS} secrets", named(source)))
            .hint("keep those that something may still be sealed with: the server says when none is"));
    }
    Ok(secrets)
}

/// A source, as errors call it.
fn named(source: &SecretSource) -> String {
    match &source.place {
        SecretPlace::Here(_) => format!("`{}`", source.key),
        SecretPlace::File(path) => format!("{} (`{}`)", path.display(), source.key),
        SecretPlace::Command(_) => format!("the output of `{}`", source.key),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    fs::File::open(path)?.take(MOST_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

fn damaged(path: &Path) -> Failure {
    Failure::new(Kind::Failed, format!("{} is damaged: it should hold 32 bytes", path.display()))
        .hint("restore it from a backup; without it stored secrets cannot be read")
}

fn not_secrets(what: &str) -> Failure {
    Failure::new(Kind::Failed, format!("{what} holds no server secret"))
        .hint("it takes 32 bytes, or their text: 64 hexadecimal digits or base64; `openssl rand -hex 32` makes one")
}

fn no_secret(path: &Path) -> Failure {
    Failure::new(Kind::NotFound, format!("there is no server secret: {} is missing", path.display()))
        .hint("it is made when a server first starts; with another data folder, say --data-dir")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const DEFAULT: SecretSources = SecretSources { present: None, previous: None };

    /// What a start does with its secret, at a database that is in use.
    async fn start(folder: &Path) -> Result<SecretKey> {
        let mut secret = ServerSecret::read_or_draw(&DEFAULT, folder).await?;
        let url = store::sqlite_url(&folder.join("greenroom.db"));
        let store = Store::open(&store::Options { url, secret_key: secret.key.clone() }).await.expect("opened");
        secret.keep(&store).await?;
        control_plane::ops::bootstrap(&store, planner::Timestamp(1), None).await.expect("installed");
        Ok(secret.key)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_secret_is_made_once_and_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = start(folder.path()).await.expect("set up");
        let again = start(folder.path()).await.expect("started");
        assert_eq!(first.derive("test"), again.derive("test"));
        assert_eq!(mode(&own_file(folder.path())), 0o600);
    }

    #[tokio::test]
    async fn a_damaged_secret_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(own_file(folder.path()), "short").expect("written");
        let failure = start(folder.path()).await.expect_err("refused");
        assert!(failure.message.ends_with("is damaged: it should hold 32 bytes"), "{}", failure.message);
    }

    #[tokio::test]
    async fn a_lost_secret_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        start(folder.path()).await.expect("set up");
        let path = own_file(folder.path());
        fs::remove_file(&path).expect("it was there");
        for _ in 0..2 {
            let failure = start(folder.path()).await.expect_err("refused");
            assert!(failure.message.contains("server-secret is missing"), "{}", failure.message);
            assert!(failure.hint.expect("a remedy").starts_with("restore it from a backup"));
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn a_rotation_keeps_every_secret_there_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = start(folder.path()).await.expect("set up");
        // The second as if the first had been interrupted: no server has started in between.
        rotate(&DEFAULT, folder.path()).expect("rotated");
        let rotated = rotate(&DEFAULT, folder.path()).expect("rotated");
        assert_eq!((mode(&rotated.file), mode(&rotated.previous_file)), (0o600, 0o600));
        let now = start(folder.path()).await.expect("started");
        assert_ne!(now.derive("test"), first.derive("test"));
        assert_eq!(now.derive_previous("test").count(), 2);
        assert!(now.derive_previous("test").any(|key| key == first.derive("test")));
    }

    #[tokio::test]
    async fn a_rotation_that_ended_half_way_has_lost_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = start(folder.path()).await.expect("set up");
        let present = fs::read(own_file(folder.path())).expect("read");
        fs::write(previous_file(folder.path()), hex::encode(&present)).expect("written");
        let now = start(folder.path()).await.expect("started");
        assert_eq!((now.derive("test"), now.derive_previous("test").count()), (first.derive("test"), 0));
        rotate(&DEFAULT, folder.path()).expect("gone on with");
        let now = start(folder.path()).await.expect("started");
        assert_eq!(now.derive_previous("test").collect::<Vec<_>>(), [first.derive("test")]);
    }

    #[test]
    fn only_the_data_folders_own_secret_is_rotated_for_its_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = rotate(&DEFAULT, folder.path()).err().expect("refused");
        assert_eq!(missing.kind, Kind::NotFound);
        let place = SecretPlace::Command(vec!["kms".into()]);
        let elsewhere =
            SecretSources { present: Some(SecretSource { key: "server_secret.command", place }), previous: None };
        let refused = rotate(&elsewhere, folder.path()).err().expect("refused");
        assert!(refused.message.ends_with("but from the output of `server_secret.command`"), "{}", refused.message);
    }
}
