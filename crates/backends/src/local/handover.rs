//! A server run by root runs models as a user of their own. What is built for them is theirs to read and, where it is their
//! app, to change; the private folders around it keep everybody else out.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::Path,
};

/// Makes all below a folder, and itself, readable to every user that can reach it.
pub(super) fn open(folder: &Path) -> io::Result<()> {
    each(folder, &|path, metadata| {
        let is_program = metadata.is_dir() || metadata.mode() & 0o100 != 0;
        let wanted = metadata.mode() | if is_program { 0o555 } else { 0o444 };
        if wanted == metadata.mode() || metadata.is_symlink() {
            return Ok(());
        }
        fs::set_permissions(path, Permissions::from_mode(wanted & 0o777))
    })
}

/// Gives a folder with all below it to a user.
pub(super) fn give(folder: &Path, user: u32) -> io::Result<()> {
    open(folder)?;
    each(folder, &|path, _| lchown(path, Some(user), Some(user)))
}

/// Takes a folder with all below it back from a user: readable to all from now on, and nobody's to change.
pub(super) fn take_back(folder: &Path) -> io::Result<()> {
    each(folder, &|path, _| lchown(path, Some(0), Some(0)))?;
    open(folder)?;
    each(folder, &|path, metadata| match metadata.mode() {
        _ if metadata.is_symlink() => Ok(()),
        mode if mode & 0o022 == 0 => Ok(()),
        mode => fs::set_permissions(path, Permissions::from_mode(mode & 0o755)),
    })
}

/// Does something to a folder and all below it. Links are not followed.
fn each(path: &Path, act: &impl Fn(&Path, &fs::Metadata) -> io::Result<()>) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    act(path, &metadata)?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            each(&entry?.path(), act)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_can_be_read_by_all_and_changed_by_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().mode() & 0o777;
        let make = |name: &str, mode: u32| {
            fs::write(folder.path().join(name), "").unwrap();
            fs::set_permissions(folder.path().join(name), Permissions::from_mode(mode)).unwrap();
        };
        make("text", 0o600);
        make("program", 0o700);
        std::os::unix::fs::symlink("/nowhere", folder.path().join("link")).unwrap();
        open(folder.path()).unwrap();
        assert_eq!((mode("text"), mode("program"), mode("")), (0o644, 0o755, 0o755));
    }
}
