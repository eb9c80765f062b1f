//! Where replicas are reached. The address of a Unix socket has room for 107 bytes of path, and data folders can lie deep. Where
//! `replicas/<id>/replica.sock` would be too long, a short symbolic link in the user's run folder, or in `/tmp`, leads to
//! `replicas`, and everybody uses the path through it: the replica that binds and the gateway that connects.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;

use super::Settings;

/// The longest path that a socket's address takes, without its end mark.
const ADDRESS_BYTES: usize = 107;
/// `/<replica id>/replica.sock`.
const REST_BYTES: usize = "/abcde/replica.sock".len();

/// The path of the replicas' folder by which sockets in it can be reached.
pub(super) fn prepare(replicas: &Path, settings: &Settings) -> io::Result<PathBuf> {
    let replicas = replicas.canonicalize()?;
    if fits(&replicas) {
        return Ok(replicas);
    }
    let name =
        format!("greenroom-{}-{}", geteuid(), &blake3::hash(replicas.as_os_str().as_encoded_bytes()).to_hex()[..12]);
    let own = settings.variables.get("XDG_RUNTIME_DIR").map(PathBuf::from);
    let mut folders =
        own.into_iter().chain([PathBuf::from("/tmp")]).filter(|folder| folder.is_dir() && fits(&folder.join(&name)));
    let folder = folders.next().ok_or_else(|| io::Error::other("no folder has a path short enough for sockets"))?;
    let link = folder.join(name);
    make_link(&link, &replicas)?;
    Ok(link)
}

/// Makes the link again where something removed it: `/tmp` is cleaned now and then.
pub(super) fn restore(run_folder: &Path, replicas: &Path) -> io::Result<()> {
    let replicas = replicas.canonicalize()?;
    if run_folder == replicas { Ok(()) } else { make_link(run_folder, &replicas) }
}

/// Removes the link, where there is one. Replicas live on without it; the next server makes it again.
pub(super) fn remove(run_folder: &Path) {
    if run_folder.is_symlink() {
        // Nothing depends on it being gone.
        let _ = fs::remove_file(run_folder);
    }
}

fn fits(folder: &Path) -> bool {
    folder.as_os_str().len() + REST_BYTES <= ADDRESS_BYTES
}

/// A link that another user made would let them answer for our models, so it must be ours.
fn make_link(link: &Path, target: &Path) -> io::Result<()> {
    match fs::symlink_metadata(link) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => symlink(target, link),
        Err(error) => Err(error),
        Ok(found) if found.uid() != geteuid().as_raw() || !found.is_symlink() => {
            Err(io::Error::other(format!("{} is in the way: remove it", link.display())))
        }
        Ok(_) if fs::read_link(link)? == target => Ok(()),
        Ok(_) => {
            fs::remove_file(link)?;
            symlink(target, link)
        }
    }
}
