//! The Python worker travels inside this binary and is laid out once for each version, where all replicas of a machine share
//! it. Models cannot write there, so its compiled form is made here.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use include_dir::{Dir, DirEntry, include_dir};
use tokio::process::Command;

static WORKER: Dir = include_dir!("$CARGO_MANIFEST_DIR/../../python/greenroom_worker");

/// The folder that holds the package `greenroom_worker`, below `shared`. Safe to call from many replicas at once.
pub fn lay_out(shared: &Path) -> io::Result<PathBuf> {
    let folder = shared.join(format!("greenroom-worker-{}", version()));
    if folder.is_dir() {
        return Ok(folder);
    }
    let unfinished = shared.join(format!(".greenroom-worker-{}-{}", version(), std::process::id()));
    let package = unfinished.join("greenroom_worker");
    std::fs::create_dir_all(&package)?;
    for file in sources() {
        std::fs::write(package.join(file.path()), file.contents())?;
    }
    match std::fs::rename(&unfinished, &folder) {
        Ok(()) => Ok(folder),
        // Another replica was faster: what it laid out is the same.
        Err(_) if folder.is_dir() => std::fs::remove_dir_all(&unfinished).map(|()| folder),
        Err(error) => Err(error),
    }
}

/// Makes the compiled form for one interpreter, unless it is there. Without it models start all the same, a little later.
pub async fn compile(folder: PathBuf, python: PathBuf) {
    let Ok(python) = python.canonicalize() else { return };
    let digest = blake3::hash(python.as_os_str().as_encoded_bytes()).to_hex();
    let marker = folder.join(format!("compiled-{}", &digest[..16]));
    if marker.exists() {
        return;
    }
    let compiled = Command::new(python)
        .args(["-I", "-S", "-m", "compileall", "-q"]) // nothing of any environment runs here
        .arg(folder.join("greenroom_worker"))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await;
    if compiled.is_ok_and(|status| status.success())
        && let Err(error) = std::fs::write(&marker, "")
    {
        tracing::warn!(%error, "cannot note down that the worker is compiled");
    }
}

fn sources() -> impl Iterator<Item = &'static include_dir::File<'static>> {
    let files = WORKER.entries().iter().filter_map(DirEntry::as_file);
    files.filter(|file| file.path().extension().is_some_and(|extension| extension == "py"))
}

/// A digest of all sources.
fn version() -> String {
    let mut hasher = blake3::Hasher::new();
    for file in sources() {
        hasher.update(file.path().to_string_lossy().as_bytes());
        hasher.update(&(file.contents().len() as u64).to_le_bytes());
        hasher.update(file.contents());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_share_one_copy() {
        let shared = tempfile::tempdir().unwrap();
        let first = lay_out(shared.path()).unwrap();
        let marker = first.join("greenroom_worker/__pycache__");
        std::fs::create_dir(&marker).unwrap();
        assert_eq!(lay_out(shared.path()).unwrap(), first);
        assert!(marker.is_dir());
        assert!(first.join("greenroom_worker/main.py").is_file());
    }
}
