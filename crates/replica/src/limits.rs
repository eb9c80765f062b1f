//! Memory and CPU of the model's processes: a control group where this machine lets us make one, else a watch over memory.

use std::{fs, io, path::PathBuf, time::Duration};

use api::internal::replica::Limits;
use nix::unistd::Pid;

use crate::groups::{Group, Tree, Version};

/// How often memory is looked at where no control group limits it.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// Length of the period over which CPU time is shared out, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;

/// What could be enforced. Dropping it removes its control groups.
pub struct Enforced {
    groups: Vec<Group>,
    /// The group that limits memory, and the file in it that counts kills.
    memory: Option<PathBuf>,
    /// What could not be enforced, for the log.
    pub notes: Vec<String>,
}

impl Enforced {
    /// Makes control groups called `name` for what `limits` asks.
    pub fn new(name: &str, limits: &Limits) -> Self {
        let tree = Tree::here();
        let mut enforced = Self { groups: Vec::new(), memory: None, notes: Vec::new() };
        if let Some(bytes) = limits.memory_bytes {
            let settings = [("memory.max", bytes.to_string()), ("memory.oom.group", "1".into())];
            let legacy = [("memory.limit_in_bytes", bytes.to_string())];
            match enforced.limit(&tree, name, "memory", &settings, &legacy) {
                Ok(group) => enforced.memory = Some(group),
                Err(error) => enforced.notes.push(format!("memory is watched, not enforced by the kernel: {error}")),
            }
        }
        if let Some(millicpu) = limits.millicpu {
            let quota = millicpu * CPU_PERIOD_US / 1000;
            let settings = [("cpu.max", format!("{quota} {CPU_PERIOD_US}"))];
            let legacy = [("cpu.cfs_period_us", CPU_PERIOD_US.to_string()), ("cpu.cfs_quota_us", quota.to_string())];
            if let Err(error) = enforced.limit(&tree, name, "cpu", &settings, &legacy) {
                enforced.notes.push(format!("the CPU limit is not enforced: {error}"));
            }
        }
        enforced
    }

    fn limit(
        &mut self,
        tree: &Tree,
        name: &str,
        controller: &str,
        settings: &[(&str, String)],
        legacy: &[(&str, String)],
    ) -> io::Result<PathBuf> {
        let (parent, version) = tree.parent(controller)?;
        let settings = if version == Version::One { legacy } else { settings };
        let path = match self.groups.iter().find(|group| group.path().parent() == Some(&parent)) {
            Some(group) => group.path().to_owned(),
            None => {
                self.groups.push(Group::make(&parent, name)?);
                self.groups[self.groups.len() - 1].path().to_owned()
            }
        };
        for (index, (file, value)) in settings.iter().enumerate() {
            let written = fs::write(path.join(file), value);
            if index == 0 || file.starts_with("cpu.cfs") {
                written?; // the rest refines the limit, and older kernels lack it
            }
        }
        Ok(path)
    }

    /// Puts a process, and what it will start, under the limits.
    pub fn take_in(&self, process: Pid) -> io::Result<()> {
        self.groups.iter().try_for_each(|group| fs::write(group.path().join("cgroup.procs"), process.to_string()))
    }

    /// Whether the kernel has killed for memory.
    pub fn ran_out_of_memory(&self) -> bool {
        let Some(group) = &self.memory else { return false };
        ["memory.events", "memory.oom_control"].iter().any(|file| {
            let counts = fs::read_to_string(group.join(file)).unwrap_or_default();
            counts.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
        })
    }

    /// Whether the kernel limits memory, so that nobody has to watch it.
    pub fn limits_memory(&self) -> bool {
        self.memory.is_some()
    }
}

/// Completes with the bytes in use when a process and its descendants hold more memory than `limit_bytes`.
pub async fn exceeded(process: Pid, limit_bytes: u64) -> u64 {
    let mut ticks = tokio::time::interval(WATCH_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let used = resident_bytes(process.as_raw());
        if used > limit_bytes {
            return used;
        }
    }
}

/// Resident memory of a process and its descendants.
fn resident_bytes(process: i32) -> u64 {
    let folder = PathBuf::from(format!("/proc/{process}"));
    let pages = fs::read_to_string(folder.join("statm")).unwrap_or_default();
    let own = pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * page_bytes();
    let threads = fs::read_dir(folder.join("task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<i32> =
        children.flat_map(|list| list.split(' ').filter_map(|id| id.trim().parse().ok()).collect::<Vec<_>>()).collect();
    own + children.into_iter().map(resident_bytes).sum::<u64>()
}

fn page_bytes() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |size| size as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_process_counts_its_children() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let own_pages = fs::read_to_string("/proc/self/statm").unwrap();
        let own: u64 = own_pages.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(resident_bytes(std::process::id() as i32) > own * page_bytes());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
