//! Notices that something happened to a replica. The kernel tells of new statuses and log lines as they are written; a slow look
//! at everything finds what it cannot tell: processes that vanished, and changes on file systems without notification.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd, AsRawFd, RawFd},
    path::Path,
    sync::Weak,
    time::{Duration, SystemTime},
};

use api::internal::replica::file;
use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, MissedTickBehavior},
};

use super::Local;

/// The slow look, with the kernel's help and without.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_WITHOUT_HELP: Duration = Duration::from_millis(200);
/// A chatty model wakes log readers at most this often.
const LOG_GAP: Duration = Duration::from_millis(100);

/// Watches until the backend is dropped.
pub(super) async fn run(local: Weak<Local>) {
    let mut kernel = Kernel::open();
    let mut tick = tokio::time::interval(if kernel.is_some() { LOOK } else { LOOK_WITHOUT_HELP });
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = BTreeMap::new();
    let mut next_log_wake = None;
    let Some(mut changes) = local.upgrade().map(|local| local.changes.subscribe()) else {
        return;
    };
    loop {
        let log_wake = async {
            match next_log_wake {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let heard = tokio::select! {
            heard = hear(kernel.as_ref()) => heard,
            () = log_wake => {
                next_log_wake = None;
                Heard::Nothing
            }
            // A replica that was just started must be watched from the first moment.
            _ = changes.changed() => Heard::Nothing,
            _ = tick.tick() => Heard::Nothing,
        };
        let Some(local) = local.upgrade() else { return };
        if heard == Heard::Log {
            next_log_wake.get_or_insert_with(|| Instant::now() + LOG_GAP);
            continue;
        }
        // Marked before looking: what happens from here on leads to another look.
        changes.mark_unchanged();
        let now = look(&local, kernel.as_mut());
        if heard == Heard::Status || now != seen {
            seen = now;
            local.bump();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Status,
    Log,
    Nothing,
}

/// What can be seen of each replica without asking it.
type Seen = BTreeMap<String, (bool, Option<SystemTime>, u64)>;

fn look(local: &Local, kernel: Option<&mut Kernel>) -> Seen {
    if let Err(error) = super::runfolder::restore(&local.run_folder, &local.replicas) {
        tracing::warn!(%error, "replicas cannot be reached");
    }
    let ids = local.replica_ids().unwrap_or_default();
    if let Some(kernel) = kernel {
        for id in &ids {
            kernel.watch(&local.replica_folder(id));
        }
    }
    let seen = ids.into_iter().map(|id| {
        let folder = local.replica_folder(&id);
        let status = fs::metadata(folder.join(file::STATUS)).and_then(|metadata| metadata.modified()).ok();
        let log = fs::metadata(folder.join(file::LOG)).map_or(0, |metadata| metadata.len());
        (id.to_string(), (local.is_alive(&id), status, log))
    });
    seen.collect()
}

/// The kernel's notifications.
struct Kernel(AsyncFd<Descriptor>);

struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Kernel {
    fn open() -> Option<Self> {
        let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
        let opened = Inotify::init(flags).map_err(std::io::Error::from);
        let registered = opened.and_then(|inotify| {
            // SAFETY: the descriptor owns its inotify instance and always answers with the same, open one.
            let registered = unsafe { AsyncFd::register_with_interest(Descriptor(inotify), Interest::READABLE) };
            registered.map_err(std::io::Error::from)
        });
        match registered {
            Ok(descriptor) => Some(Self(descriptor)),
            Err(error) => {
                tracing::warn!(%error, "no file notifications here; looking at replicas several times a second instead");
                None
            }
        }
    }

    /// Watching a folder twice is watching it once; a folder that goes takes its watch along.
    fn watch(&mut self, folder: &Path) {
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO;
        match self.0.get_ref().0.add_watch(folder, flags) {
            Ok(_) | Err(Errno::ENOENT) => {}
            Err(error) => tracing::warn!(%error, folder = %folder.display(), "cannot watch a replica"),
        }
    }
}

/// Waits for the kernel to tell something.
async fn hear(kernel: Option<&Kernel>) -> Heard {
    let Some(Kernel(descriptor)) = kernel else {
        return std::future::pending().await;
    };
    loop {
        let Ok(mut ready) = descriptor.readable().await else {
            return std::future::pending().await;
        };
        let events = match descriptor.get_ref().0.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN) => {
                ready.clear_ready();
                continue;
            }
            Err(_) => return Heard::Nothing,
        };
        let names = || events.iter().filter_map(|event| event.name.as_deref());
        if names().any(|name| name == file::STATUS) {
            return Heard::Status;
        }
        if names().any(|name| name == file::LOG) {
            return Heard::Log;
        }
    }
}
