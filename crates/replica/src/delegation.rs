//! A place for limited groups in the one hierarchy of version 2, where a group either holds processes or limits groups below it.
//!
//! A service manager, or a container, gives us a part of the hierarchy to arrange. If our processes lie at its top, they are moved
//! into a group of their own; then it can limit others. From then on nobody can start a process at that top, so a manager whose
//! service leaves processes behind has to start it below (systemd: `DelegateSubgroup=`). What is not ours is left as it is.
#![allow(unsafe_code)] // a system call that no library of ours wraps

use std::{ffi::CString, fs, io, os::unix::ffi::OsStrExt as _, path::Path, path::PathBuf};

use nix::errno::Errno;

use crate::groups::explain;

/// The group that our processes are moved into.
const LEAF: &str = "server";

/// How often processes are moved that were started while others were moved.
const ROUNDS: usize = 100;

/// How systemd marks a group that is its service's to arrange: the first for root's eyes, the other, since version 251, for all.
const MARKS: [&std::ffi::CStr; 2] = [c"trusted.delegate", c"user.delegate"];

/// The group below which `controller` can limit groups of ours, for a process in the group `own` of the hierarchy at `root`.
pub fn parent(root: &Path, own: &Path, controller: &str) -> io::Result<PathBuf> {
    let parent = match own.parent().filter(|above| above.starts_with(root)) {
        _ if is_machines(own) => own,
        Some(above) if is_ours(root, above) && processes(above)?.is_empty() => above,
        _ if is_ours(root, own) => {
            move_aside(own)?;
            own
        }
        _ => {
            let reason =
                "has processes, and is not delegated to the server (systemd: Delegate=yes, DelegateSubgroup=server)";
            return Err(io::Error::other(format!("the control group {} {reason}", own.display())));
        }
    };
    offer(parent, controller)?;
    Ok(parent.to_owned())
}

/// Whether this is the top of the machine's own hierarchy, which may hold processes and limit groups.
fn is_machines(group: &Path) -> bool {
    !group.join("cgroup.type").exists()
}

/// Whether a group is ours to arrange: the top of what a container sees, or marked so by the service manager.
fn is_ours(root: &Path, group: &Path) -> bool {
    !is_machines(group) && (group == root || MARKS.iter().any(|mark| is_marked(group, mark)))
}

fn is_marked(group: &Path, mark: &std::ffi::CStr) -> bool {
    let Ok(path) = CString::new(group.as_os_str().as_bytes()) else { return false };
    let mut value = [0u8; 8];
    // SAFETY: both strings end with a zero, and no more is written than there is room for.
    let length = unsafe { libc::getxattr(path.as_ptr(), mark.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    length == 1 && value[0] == b'1'
}

fn processes(group: &Path) -> io::Result<String> {
    let list = group.join("cgroup.procs");
    fs::read_to_string(&list)
        .map_err(|error| explain("the processes of a control group cannot be listed", &list, &error))
}

/// Moves the processes of a group into one below it.
fn move_aside(group: &Path) -> io::Result<()> {
    let leaf = group.join(LEAF);
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(explain("a control group cannot be made", &leaf, &error));
        }
        _ => {}
    }
    for _ in 0..ROUNDS {
        let processes = processes(group)?;
        if processes.is_empty() {
            return Ok(());
        }
        for process in processes.lines() {
            match fs::write(leaf.join("cgroup.procs"), process) {
                Err(error) if error.raw_os_error() != Some(Errno::ESRCH as i32) => {
                    return Err(explain("processes cannot be moved", &leaf, &error));
                }
                _ => {} // moved, or ended meanwhile
            }
        }
    }
    Err(io::Error::other(format!("processes of the control group {} cannot be moved", group.display())))
}

/// Has `controller` limit the groups below `group`.
fn offer(group: &Path, controller: &str) -> io::Result<()> {
    let has = |file| {
        fs::read_to_string(group.join(file)).is_ok_and(|list| list.split_whitespace().any(|name| name == controller))
    };
    let offered = "cgroup.subtree_control";
    if has(offered) {
        return Ok(());
    }
    if !has("cgroup.controllers") {
        let reason = format!("the control group {} was not given the controller {controller}", group.display());
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    let what = format!("the controller {controller} cannot be turned on");
    fs::write(group.join(offered), format!("+{controller}"))
        .map_err(|error| explain(&what, &group.join(offered), &error))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A folder that looks like a group with the controllers for memory and CPU.
    fn group(path: &Path, is_machines: bool, processes: &str) {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join("cgroup.controllers"), "cpuset cpu memory\n").unwrap();
        fs::write(path.join("cgroup.subtree_control"), "").unwrap();
        fs::write(path.join("cgroup.procs"), processes).unwrap();
        if !is_machines {
            fs::write(path.join("cgroup.type"), "domain\n").unwrap();
        }
    }

    fn offered(group: &Path) -> String {
        fs::read_to_string(group.join("cgroup.subtree_control")).unwrap()
    }

    #[test]
    fn the_machines_top_group_limits_others_whatever_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        group(folder.path(), true, "1\n2\n");
        assert_eq!(parent(folder.path(), folder.path(), "memory").unwrap(), folder.path());
        assert_eq!(offered(folder.path()), "+memory");
    }

    #[test]
    fn beside_a_group_of_ours_is_room_where_the_group_above_is_ours_and_holds_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("server");
        group(folder.path(), false, "");
        group(&own, false, "7\n");
        assert_eq!(parent(folder.path(), &own, "cpu").unwrap(), folder.path());
        assert_eq!(offered(folder.path()), "+cpu");
        assert_eq!(offered(&own), "");
    }

    #[test]
    fn what_is_not_delegated_to_us_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (above, own) = (folder.path().join("system.slice"), folder.path().join("system.slice/greenroom.service"));
        group(folder.path(), false, "");
        group(&above, false, "");
        group(&own, false, "7\n8\n");
        let error = parent(folder.path(), &own, "memory").unwrap_err().to_string();
        assert!(
            error.contains("system.slice/greenroom.service has processes") && error.contains("Delegate=yes"),
            "{error}"
        );
        assert!(!own.join(LEAF).exists());
        assert_eq!(offered(&above), "");
    }

    #[test]
    fn a_controller_that_a_group_was_not_given_is_named() {
        let folder = tempfile::tempdir().unwrap();
        group(folder.path(), false, "");
        let error = parent(folder.path(), folder.path(), "hugetlb").unwrap_err().to_string();
        assert!(error.ends_with("was not given the controller hugetlb"), "{error}");
    }

    /// Needs a kernel, so it looks for a hierarchy of version 2 that it may make groups in.
    #[test]
    fn processes_at_the_top_of_what_is_ours_are_moved_into_a_group_below() {
        let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let mount = mounts.iter().map(Path::new).find(|mount| mount.join("cgroup.controllers").exists());
        let Some(top) = mount.map(|mount| mount.join(format!("test-of-delegation-{}", std::process::id()))) else {
            return;
        };
        if fs::create_dir(&top).is_err() {
            return;
        }
        let mut children = [1, 2].map(|_| Command::new("sleep").arg("60").spawn().unwrap());
        let mut expected = children.each_ref().map(|child| child.id().to_string());
        expected.sort();
        for process in &expected {
            fs::write(top.join("cgroup.procs"), process).unwrap();
        }
        let moved = move_aside(&top);
        let left = processes(&top);
        let listed = processes(&top.join(LEAF)).unwrap_or_default();
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let _ = fs::remove_dir(top.join(LEAF));
        fs::remove_dir(&top).unwrap();
        moved.unwrap();
        assert_eq!(left.unwrap(), "");
        let mut listed: Vec<&str> = listed.lines().collect();
        listed.sort();
        assert_eq!(listed, expected);
    }
}
