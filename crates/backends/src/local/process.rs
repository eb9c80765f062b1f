//! Processes as the kernel shows them. A recorded process id alone proves nothing, because ids are used again: a replica is known
//! by its command line, which names the folder that it was started in, and what it started by the session that it leads.

use std::{collections::HashMap, fs, os::unix::ffi::OsStrExt, path::Path};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::{Pid, SysconfVar, sysconf},
};

use crate::Usage;

/// Whether process `pid` is the replica that was started in a folder of this name, and lives.
pub(super) fn serves(pid: u32, folder: &str) -> bool {
    let Some(state) = state(pid).filter(|state| !is_dead(state.letter)) else {
        return false;
    };
    match fs::read(format!("/proc/{pid}/cmdline")) {
        // While a process replaces its program it has no command line; one that leads its session is about to be a replica.
        Ok(command_line) if command_line.is_empty() => state.session == pid,
        Ok(command_line) => names_folder(&command_line, folder).is_some(),
        Err(_) => false,
    }
}

/// The process that was started as the replica in `folder`, looked for among all.
pub(super) fn find(folder: &Path) -> Option<u32> {
    let folder = folder.canonicalize().ok()?;
    let name = folder.file_name()?.to_str()?;
    let is_ours = |pid: &u32| {
        let Ok(command_line) = fs::read(format!("/proc/{pid}/cmdline")) else {
            return false;
        };
        let named = names_folder(&command_line, name).and_then(|named| Path::new(named).canonicalize().ok());
        named.is_some_and(|named| named == folder)
    };
    all().find(is_ours)
}

/// Kills everything in the session that process `pid` leads or led, which was started in a folder of this name.
///
/// While any process of the session lives, the kernel gives its id to no new process. So when `pid` names a process that is not
/// the replica, nothing of the old session is left, and nothing is killed.
pub(super) fn kill_session(pid: u32, folder: &str) {
    if state(pid).is_some_and(|state| !is_dead(state.letter)) && !serves(pid, folder) {
        return;
    }
    for member in all().filter(|member| state(*member).is_some_and(|state| state.session == pid)) {
        signal(member, Signal::SIGKILL);
    }
}

/// What each of these processes uses together with all that it has started, directly or not.
pub(super) fn usage_of(roots: &[u32]) -> HashMap<u32, Usage> {
    let tick_ms = 1000 / sysconf(SysconfVar::CLK_TCK).ok().flatten().map_or(100, i64::unsigned_abs).max(1);
    let living = all().filter_map(|pid| Some((pid, state(pid).filter(|state| !is_dead(state.letter))?)));
    let living: HashMap<u32, State> = living.collect();
    let parent = |pid: &u32| living.get(pid).map(|state| state.parent);
    let mut usage: HashMap<u32, Usage> = HashMap::new();
    for (pid, state) in &living {
        // As many steps as there can be, should the table have changed while it was read.
        let mut line = std::iter::successors(Some(*pid), parent).take(living.len());
        if let Some(root) = line.find(|ancestor| roots.contains(ancestor)) {
            let usage = usage.entry(root).or_default();
            usage.cpu_ms += state.cpu_ticks * tick_ms;
            usage.memory_bytes += memory(*pid).unwrap_or(0);
        }
    }
    usage
}

/// A process's share of the memory that it uses; without that, all that it has in memory.
fn memory(pid: u32) -> Option<u64> {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
    };
    field("smaps_rollup", "Pss:").or_else(|| field("status", "VmRSS:"))
}

/// Sends a signal; a process that is gone does not mind.
pub(super) fn signal(pid: u32, signal: Signal) {
    let Ok(id) = i32::try_from(pid) else { return };
    match kill(Pid::from_raw(id), signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::warn!(pid, %error, "cannot send {signal}"),
    }
}

/// The argument that ends in the folder's name.
fn names_folder<'a>(command_line: &'a [u8], folder: &str) -> Option<&'a std::ffi::OsStr> {
    command_line
        .split(|byte| *byte == 0)
        .map(std::ffi::OsStr::from_bytes)
        .find(|argument| Path::new(argument).file_name().is_some_and(|name| name == folder))
}

struct State {
    letter: u8,
    parent: u32,
    session: u32,
    /// Of it, and of those of its children that have ended and been waited for, in ticks of the kernel's clock.
    cpu_ticks: u64,
}

/// Fields of `/proc/<pid>/stat` behind the command's name, which may itself hold anything.
fn state(pid: u32) -> Option<State> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let letter = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    // utime, stime, cutime, cstime
    let cpu_ticks = fields.skip(7).take(4).map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Some(State { letter, parent, session, cpu_ticks })
}

fn is_dead(letter: u8) -> bool {
    matches!(letter, b'Z' | b'X')
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
