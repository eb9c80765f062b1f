//! Control groups for models: where this machine lets us make one, and whose those are that lie there.
//!
//! A replica holds a lock on each of its groups, which ends with it, however that comes about. A group that nobody holds was left
//! behind by a replica that was killed, and the next that makes one beside it removes it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::delegation;

/// Where control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// What the names of our groups begin with.
const PREFIX: &str = "greenroom-";

/// Which files a group is limited by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each controller.
    One,
    /// One hierarchy for all.
    Two,
}

/// The control groups of this machine, seen from a process.
pub struct Tree {
    root: PathBuf,
    own: String,
}

impl Tree {
    /// Seen from this process.
    pub fn here() -> Self {
        Self { root: ROOT.into(), own: fs::read_to_string("/proc/self/cgroup").unwrap_or_default() }
    }

    /// The group below which `controller` can limit groups of ours, made ready for that.
    pub fn parent(&self, controller: &str) -> io::Result<(PathBuf, Version)> {
        if let Some(own) = self.own_of_version_one(controller) {
            return Ok((own, Version::One));
        }
        Ok((delegation::parent(&self.root, &self.own_of_version_two()?, controller)?, Version::Two))
    }

    /// Our own group in the hierarchy of one controller.
    fn own_of_version_one(&self, controller: &str) -> Option<PathBuf> {
        let path = self.own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let is_ours = fields.nth(1)?.split(',').any(|name| name == controller);
            is_ours.then(|| fields.next())?
        })?;
        Some(mounted(self.root.join(controller), path))
    }

    /// Our own group where there is one hierarchy for all.
    fn own_of_version_two(&self) -> io::Result<PathBuf> {
        let path = self.own.lines().find_map(|line| line.strip_prefix("0::"));
        let path = path.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "this machine has no control groups"))?;
        Ok(mounted(self.root.clone(), path))
    }
}

/// A group below its mount. In a container the path may be that of the machine outside; then the mount itself is our group.
fn mounted(mount: PathBuf, path: &str) -> PathBuf {
    let relative = path.trim_start_matches('/');
    let group = mount.join(relative);
    if !relative.is_empty() && group.is_dir() { group } else { mount }
}

/// A control group of ours. Dropping it removes it.
pub struct Group {
    path: PathBuf,
    /// Locked for as long as the group is somebody's.
    _held: File,
}

impl Group {
    /// Makes the group called `name` below `parent`, and removes those there that nobody holds.
    pub fn make(parent: &Path, name: &str) -> io::Result<Self> {
        sweep(parent);
        let path = parent.join(format!("{PREFIX}{name}"));
        loop {
            match fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(explain("a control group cannot be made", &path, &error));
                }
                _ => {}
            }
            if let Some(held) = hold(&path)? {
                return Ok(Self { path, _held: held });
            }
        }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            tracing::debug!(%error, group = %self.path.display(), "a control group stays behind");
        }
    }
}

/// Holds a group. Gives nothing where somebody took it for one left behind before we held it.
fn hold(path: &Path) -> io::Result<Option<File>> {
    let folder = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    folder.lock_shared()?;
    Ok(is_at(&folder, path).then_some(folder))
}

/// Whether an open folder is still the one at `path`.
fn is_at(folder: &File, path: &Path) -> bool {
    let inode = |metadata: io::Result<fs::Metadata>| metadata.ok().map(|metadata| metadata.ino());
    inode(folder.metadata()).is_some_and(|open| inode(fs::metadata(path)) == Some(open))
}

/// Removes the groups below `parent` that nobody holds. The kernel keeps those that still have processes.
fn sweep(parent: &Path) {
    let ours = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
    for group in fs::read_dir(parent).into_iter().flatten().flatten().filter(ours) {
        let Ok(folder) = File::open(group.path()) else { continue };
        // Another may have taken its place since it was opened.
        if folder.try_lock().is_ok() && is_at(&folder, &group.path()) {
            let _ = fs::remove_dir(group.path()); // one with processes still is there next time
        }
    }
}

/// An error of a file that says which and what it means.
pub fn explain(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} ({}: {error})", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(root: &str, own: &str) -> Tree {
        Tree { root: root.into(), own: own.into() }
    }

    #[test]
    fn our_group_is_found_in_either_kind_of_hierarchy() {
        let here = tree(ROOT, "4:memory:/nowhere/abc\n2:cpu,cpuacct:/\n0::/nowhere\n");
        assert_eq!(here.own_of_version_one("memory"), Some("/sys/fs/cgroup/memory".into()));
        assert_eq!(here.own_of_version_one("cpu"), Some("/sys/fs/cgroup/cpu".into()));
        let here = tree(ROOT, "0::/\n");
        assert_eq!(here.own_of_version_one("memory"), None);
        assert_eq!(here.own_of_version_two().unwrap(), PathBuf::from(ROOT));
        assert!(tree(ROOT, "").own_of_version_two().is_err());
    }

    #[test]
    fn groups_that_a_killed_replica_left_behind_are_removed_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("not-of-ours");
        let left_behind = folder.path().join("greenroom-killed");
        let in_use = folder.path().join("greenroom-killed-but-its-model-ends-just-now");
        for group in [&other, &left_behind, &in_use, &in_use.join("keeps it from being removed")] {
            fs::create_dir(group).unwrap();
        }
        let first = Group::make(folder.path(), "first").unwrap();
        assert!(!left_behind.exists());
        assert!(other.exists() && in_use.exists());

        let second = Group::make(folder.path(), "second").unwrap();
        assert!(first.path().exists(), "a group without processes is somebody's while its replica lives");
        let path = second.path().to_owned();
        drop(second);
        assert!(!path.exists() && first.path().exists());
    }

    #[test]
    fn a_group_just_made_is_not_taken_for_one_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let parent = folder.path();
                scope.spawn(move || {
                    for _ in 0..300 {
                        let group = Group::make(parent, name).unwrap();
                        sweep(parent);
                        assert!(group.path().is_dir(), "{name}");
                    }
                });
            }
        });
    }
}
