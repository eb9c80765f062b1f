//! What is hidden from models, and the few things behind it that they need.
//!
//! A hidden folder gets an empty one put over it, a hidden file nothing; what is needed is mounted back at its own path, read-only. A
//! folder that the model's user may not pass through, with something needed in it, counts as hidden.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
};

use crate::{
    mounts::{cover, graft, lock, lock_all},
    sandbox::{MACHINE_ETC, Plan},
};

/// A path with more links than this leads nowhere, as for the kernel.
const LINKS: usize = 40;

/// Hides what `plan` hides in the sandbox whose root is being built at `root`.
pub fn draw(plan: &Plan, root: &Path) -> io::Result<()> {
    let needed = needed(plan);
    let barred = needed.iter().filter_map(|path| barrier(path, plan.user?));
    let mut covers: Vec<PathBuf> = plan.hidden.iter().filter_map(|path| path.canonicalize().ok()).collect();
    covers.extend(barred);
    covers.retain(|path| path.parent().is_some());
    // Outer before inner, and a cover before what is shown through it.
    let mut steps: Vec<(usize, bool, &PathBuf)> = Vec::new();
    steps.extend(covers.iter().map(|path| (path.components().count(), false, path)));
    steps.extend(needed.iter().map(|path| (path.components().count(), true, path)));
    steps.sort();
    steps.dedup();
    let mut covered = Vec::new();
    for (_, is_needed, path) in steps {
        let target = inside(root, path);
        if !is_needed {
            if target.is_dir() {
                cover(&target, "size=1m,mode=0755")?;
                covered.push(path);
            } else if target.is_file() {
                graft(Path::new("/dev/null"), &target)?;
            }
        } else if covered.iter().any(|cover| path.starts_with(cover)) || path.starts_with("/tmp") {
            show(path, &target)?;
        }
    }
    // One that was shown again inside another is locked already, or not there to be.
    covered.into_iter().try_for_each(|path| lock(&inside(root, path)))
}

/// Whether the model's user can read the things themselves, wherever they lie.
pub fn is_readable(plan: &Plan, user: u32) -> bool {
    let is_open = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|metadata| metadata.uid() == user || metadata.mode() & 0o005 == 0o005)
    };
    needed(plan).iter().filter(|path| path.is_dir()).all(is_open) && is_open(&plan.app)
}

/// The needed paths with every link on the way there, as they lie in a file system without links.
fn needed(plan: &Plan) -> Vec<PathBuf> {
    // The deployment's folders at their own paths, too: an environment may refer to them.
    let folders = plan.packages.iter().chain([&plan.app]);
    let mut found = Vec::new();
    for path in plan.needed.iter().chain(folders) {
        follow(path, &mut found);
    }
    found.retain(|path| fs::symlink_metadata(path).is_ok());
    found
}

/// Adds each link that leads to `path`, and what it leads to.
fn follow(path: &Path, found: &mut Vec<PathBuf>) {
    let parts = |path: &Path| path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
    let mut ahead = parts(path);
    let mut place = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        if part == ".." {
            place.pop();
            continue;
        }
        place.push(&part); // a root replaces all
        if let Ok(target) = fs::read_link(&place) {
            links += 1;
            if links > LINKS {
                return;
            }
            found.push(place.clone());
            place.pop();
            ahead.extend(parts(&target));
        }
    }
    found.push(place);
}

/// The outermost folder above `path` that `user` may not pass through.
fn barrier(path: &Path, user: u32) -> Option<PathBuf> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    let is_barred = |folder: &&&Path| {
        fs::metadata(folder).is_ok_and(|metadata| metadata.uid() != user && metadata.mode() & 0o001 == 0)
    };
    above.iter().find(is_barred).map(|folder| folder.to_path_buf())
}

fn show(path: &Path, target: &Path) -> io::Result<()> {
    if fs::symlink_metadata(target).is_ok_and(|present| !present.is_dir()) {
        return Ok(()); // shown already, with what is around it
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if let Ok(link) = fs::read_link(path) {
        return symlink(link, target);
    }
    graft(path, target)?;
    lock_all(target)
}

/// Where a path of the machine is below `root`.
fn inside(root: &Path, path: &Path) -> PathBuf {
    if let Ok(rest) = path.strip_prefix("/etc") {
        return root.join(&MACHINE_ETC[1..]).join(rest);
    }
    root.join(path.strip_prefix("/").unwrap_or(path))
}
