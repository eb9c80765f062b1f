//! Folders that are made once, by whoever comes first, and are whole or do not count. A lock file says who is at work; a marker,
//! written last, says that the work is done. So a crash in the middle leaves nothing that anybody would take for finished, and
//! the folder can be made where it stays, which virtual environments need.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use planner::Timestamp;

use super::{command::Say, make_private_folder, remove_folder};

/// How often a waiting build looks whether the one at work has ended.
const POLL: Duration = Duration::from_millis(20);

/// A folder that is made once.
pub(super) struct Place {
    pub folder: PathBuf,
    lock: PathBuf,
    marker: &'static str,
}

/// What the first look at a place found.
pub(super) enum Claim {
    /// It is finished.
    Done,
    /// It is ours to make: an empty folder, and nobody else comes in until the work is dropped.
    Mine(Work),
}

/// The right to make a place.
pub(super) struct Work {
    _lock: File,
    marker: PathBuf,
}

/// Keeps a finished place from being removed.
pub(super) struct Hold {
    _lock: File,
}

impl Place {
    /// The place `root/kind/key`, with its lock among the others.
    pub fn new(root: &Path, kind: &str, key: &str, marker: &'static str) -> Self {
        let lock = root.join("locks").join(format!("{kind}-{key}"));
        Self { folder: root.join(kind).join(key), lock, marker }
    }

    /// A folder anywhere, with its lock beside it.
    pub fn at(folder: &Path, marker: &'static str) -> Self {
        Self { folder: folder.to_owned(), lock: folder.with_extension("lock"), marker }
    }

    /// The content of the marker, where the place is finished.
    pub fn finished(&self) -> Option<Vec<u8>> {
        fs::read(self.folder.join(self.marker)).ok()
    }

    /// Waits for whoever is at work, then answers what they left. A finished place that `is_usable` refuses is made again.
    pub async fn claim(&self, say: &Say, what: &str, is_usable: impl Fn(&[u8]) -> bool) -> io::Result<Claim> {
        let is_finished = || self.finished().is_some_and(|content| is_usable(&content));
        if is_finished() {
            return Ok(Claim::Done);
        }
        let mut told = false;
        let lock = loop {
            if let Some(lock) = self.try_lock()? {
                break lock;
            }
            if !told {
                say.info(format!("Waiting for another build to finish the same {what}"));
                told = true;
            }
            tokio::time::sleep(POLL).await;
        };
        if is_finished() {
            return Ok(Claim::Done);
        }
        if self.folder.exists() {
            remove_folder(&self.folder)?;
        }
        make_private_folder(&self.folder)?;
        Ok(Claim::Mine(Work { _lock: lock, marker: self.folder.join(self.marker) }))
    }

    /// Keeps the place from being removed. None where it is not finished, or has just been removed.
    pub async fn hold(&self) -> io::Result<Option<Hold>> {
        loop {
            let lock = File::create(&self.lock)?;
            match lock.try_lock_shared() {
                Ok(()) if self.is_current(&lock) => return Ok(self.finished().map(|_| Hold { _lock: lock })),
                Ok(()) | Err(TryLockError::WouldBlock) => tokio::time::sleep(POLL).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// Says that the place was needed just now.
    pub fn touch(&self, now: Timestamp) -> io::Result<()> {
        let time = UNIX_EPOCH + Duration::from_millis(now.0);
        File::options().write(true).open(self.folder.join(self.marker))?.set_modified(time)
    }

    /// Removes the place unless somebody is at work in it, or it was needed less than `age_ms` ago.
    pub fn remove_if_older(&self, age_ms: u64, now: Timestamp) -> io::Result<bool> {
        let Some(_lock) = self.try_lock()? else {
            return Ok(false);
        };
        let marker = self.folder.join(self.marker);
        if let Ok(metadata) = fs::metadata(&marker) {
            let needed = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            let needed = Timestamp(u64::try_from(needed.as_millis()).unwrap_or(u64::MAX));
            if now.since(needed) < age_ms {
                return Ok(false);
            }
            // First the marker: half a folder must not look whole.
            fs::remove_file(&marker)?;
        }
        if self.folder.exists() {
            remove_folder(&self.folder)?;
        }
        fs::remove_file(&self.lock)?;
        Ok(true)
    }

    /// The lock, unless another holds it. A lock file that was removed meanwhile does not count.
    fn try_lock(&self) -> io::Result<Option<File>> {
        loop {
            let file = File::create(&self.lock)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            if self.is_current(&file) {
                return Ok(Some(file));
            }
        }
    }

    fn is_current(&self, lock: &File) -> bool {
        fs::metadata(&self.lock).is_ok_and(|now| lock.metadata().is_ok_and(|then| now.ino() == then.ino()))
    }
}

impl Work {
    /// The work is done: from now on the place counts, with this in its marker.
    pub fn finish(self, content: &[u8]) -> io::Result<()> {
        let temporary = self.marker.with_extension("new");
        replace(&temporary, content)?;
        File::open(&temporary)?.sync_all()?;
        fs::rename(&temporary, &self.marker)
    }
}

/// Writes a file anew. What is there, a link of somebody's code perhaps, is not written through.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::options().write(true).create_new(true).open(path)?.write_all(content)
}
