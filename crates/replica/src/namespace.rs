//! The kernel namespaces that a sandbox stands in: mounts of its own and, where the machine allows, processes of its own.

use std::{fs, io};

use nix::{
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid},
};
use serde::{Deserialize, Serialize};

/// How far a model process is set apart from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// A file system and processes of its own: it sees, and can signal, nobody else.
    Whole,
    /// A file system of its own.
    Files,
    /// Nothing; it still has no capabilities.
    None,
}

/// What was entered.
#[derive(Debug, Clone, Copy)]
pub struct Namespace {
    /// Whether it belongs to a user namespace of ours, because we are not root: there is one user in it, ourselves.
    pub is_users: bool,
    /// Whether the next process we start is the first one in a namespace of processes.
    pub has_own_processes: bool,
}

impl Namespace {
    /// Leaves the machine's namespaces: plainly where we may, else inside a user namespace in which we stay who we are. The
    /// calling process must have one thread.
    pub fn enter(isolation: Isolation) -> io::Result<Self> {
        let has_own_processes = isolation == Isolation::Whole;
        let mut wanted = CloneFlags::CLONE_NEWNS;
        wanted.set(CloneFlags::CLONE_NEWPID, has_own_processes);
        let is_users = unshare(wanted).is_err();
        if is_users {
            let (user, group) = (geteuid(), getegid());
            unshare(wanted | CloneFlags::CLONE_NEWUSER)?;
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
            fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
        }
        Ok(Self { is_users, has_own_processes })
    }
}
