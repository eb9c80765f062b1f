//! Processes on this machine: one virtual environment for each distinct set of requirements, one unpacked app for each archive
//! and config, one `greenroom-replica` for each replica, and some that stand by. All state is on disk below one folder, so that a server that was killed
//! finds what it left: finished builds, running replicas, logs.
//!
//! The folder: `environments/<hash>/`, `artifacts/<hash>/`, `replicas/<id>/`, `replicas/standby-<id>/`, `cache/`, `tools/`, `locks/`, `tmp/`.
//! Several can share one folder, and all that is built there, and have replicas of their own in `locations/<name>/`.

mod app;
mod asking;
mod build;
mod check;
mod command;
mod download;
mod ending;
mod environment;
mod fence;
mod gpus;
mod handover;
mod log;
mod machine;
mod place;
mod process;
mod python;
mod replicas;
mod requirements;
mod runfolder;
mod settings;
mod standby;
mod system;
mod uv;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Weak},
};

use api::{id::ReplicaId, internal::replica::Secrets};
use async_trait::async_trait;
use nix::{
    errno::Errno,
    unistd::{AccessFlags, access},
};
use planner::policy::{Location, Name};
use tokio::sync::{OnceCell, watch as tokio_watch};

pub use self::settings::{PythonChoice, Settings};
use self::{machine::Gpu, python::Interpreter, standby::Standbys};
use crate::{
    Artifact, Backend, BackendError, BuildError, BuildOutput, BuildRequest, Likely, LogChunk, Observed, StartError,
    StartReplica, SwapError, Usage,
};

/// The backend.
pub struct Local {
    /// For tasks that may not keep the backend alive.
    me: Weak<Local>,
    settings: Settings,
    /// The replicas' folder.
    replicas: PathBuf,
    /// Where replicas are reached: their folder, or a short link to it, because socket addresses are short.
    run_folder: PathBuf,
    /// What is one for all locations.
    shared: Arc<Shared>,
    /// What is ready for starts that may come.
    standbys: Standbys,
    /// Replicas that a task of ours is ending, and by when at the latest.
    stopping: Mutex<BTreeMap<ReplicaId, tokio::time::Instant>>,
    /// Counts changes; see [`Backend::changed`].
    changes: tokio_watch::Sender<u64>,
}

/// What all locations on this machine have together.
struct Shared {
    /// `uv`, once it was found or installed.
    uv: OnceCell<PathBuf>,
    /// Interpreters found so far, by the name they were found under.
    interpreters: tokio::sync::Mutex<BTreeMap<PathBuf, Interpreter>>,
    /// The GPUs of this machine.
    gpus: Vec<Gpu>,
    /// Held by who chooses some of them.
    choosing: tokio::sync::Mutex<()>,
    /// Replicas whose process is being started right now: not there yet, and not lost.
    starting: Mutex<BTreeSet<ReplicaId>>,
    /// Held for as long as this server lives: two on one folder would end each other's replicas.
    _lock: File,
}

/// The folder that has a folder of replicas for each location that is not alone.
const LOCATIONS: &str = "locations";

impl Local {
    /// Opens the folder, making it where it is missing, and begins to watch the replicas in it. Needs a tokio runtime.
    pub fn open(mut settings: Settings) -> Result<Arc<Self>, BackendError> {
        let what = format!("cannot use {:?}", settings.root);
        let failed = |source| BackendError { what: what.clone(), source };
        // Processes that start elsewhere are told these paths.
        let folders = [&mut settings.root, &mut settings.tools, &mut settings.cache];
        for path in folders
            .into_iter()
            .chain(&mut settings.uv)
            .chain([&mut settings.replica_program])
            .chain(&mut settings.hidden)
        {
            *path = std::path::absolute(&path).map_err(failed)?;
        }
        for folder in ["environments", "artifacts", "locks"] {
            make_private_folder(&settings.root.join(folder)).map_err(failed)?;
        }
        let lock = lock_root(&settings).map_err(failed)?;
        let temporary = settings.root.join("tmp");
        if temporary.exists() {
            remove_folder(&temporary).map_err(failed)?;
        }
        make_private_folder(&temporary).map_err(failed)?;
        let replicas = settings.root.join("replicas");
        let shared = Shared {
            uv: OnceCell::new(),
            interpreters: tokio::sync::Mutex::default(),
            gpus: machine::gpus(settings.variables.get("CUDA_VISIBLE_DEVICES").map(String::as_str)),
            choosing: tokio::sync::Mutex::default(),
            starting: Mutex::default(),
            _lock: lock,
        };
        Self::begin_watching(settings, replicas, Arc::new(shared)).map_err(failed)
    }

    /// This machine as a location of this name, as it is found.
    pub fn this_machine(&self, name: Name) -> Location {
        machine::location(name, &self.shared.gpus)
    }

    /// Another location on this machine: it shares what is built, and has replicas of its own.
    pub fn beside(&self, location: &Name) -> Result<Arc<Self>, BackendError> {
        let replicas = self.settings.root.join(LOCATIONS).join(location.as_str());
        let what = format!("cannot use {replicas:?}");
        Self::begin_watching(self.settings.clone(), replicas, self.shared.clone())
            .map_err(|source| BackendError { what, source })
    }

    /// Locations that have had replicas here.
    pub fn known_locations(&self) -> Vec<Name> {
        let entries = fs::read_dir(self.settings.root.join(LOCATIONS)).into_iter().flatten().flatten();
        entries.filter_map(|entry| Name::parse("location", entry.file_name().to_str()?).ok()).collect()
    }

    /// Whether there are replicas here, or what is left of some.
    pub fn has_replicas(&self) -> bool {
        // A folder that cannot be read is no reason to forget what may be in it.
        self.replica_ids().map_or(true, |ids| !ids.is_empty())
    }

    fn begin_watching(settings: Settings, replicas: PathBuf, shared: Arc<Shared>) -> io::Result<Arc<Self>> {
        make_private_folder(&replicas)?;
        standby::clear(&replicas)?;
        let run_folder = runfolder::prepare(&replicas, &settings)?;
        let local = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            replicas,
            run_folder,
            shared,
            standbys: Standbys::default(),
            stopping: Mutex::default(),
            changes: tokio_watch::Sender::new(1),
            settings,
        });
        tokio::spawn(watch::run(local.me.clone()));
        if local.settings.standby {
            tokio::spawn(standby::keep(local.me.clone()));
        }
        Ok(local)
    }

    /// Whether replicas can be started: their folder is there and can be written, and so is the program they run.
    fn check_machine(&self) -> io::Result<()> {
        let failed = |path: &Path, error: Errno| io::Error::other(format!("{}: {}", path.display(), error.desc()));
        access(&self.replicas, AccessFlags::W_OK).map_err(|error| failed(&self.replicas, error))?;
        let program = &self.settings.replica_program;
        access(program, AccessFlags::X_OK).map_err(|error| failed(program, error))
    }

    fn bump(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn replica_folder(&self, replica: &ReplicaId) -> PathBuf {
        self.replicas.join(replica.as_str())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        runfolder::remove(&self.run_folder);
    }
}

#[async_trait]
impl Backend for Local {
    async fn build(&self, request: BuildRequest, output: Arc<dyn BuildOutput>) -> Result<Artifact, BuildError> {
        self.build_artifact(request, output).await
    }

    async fn start(&self, start: StartReplica) -> Result<(), StartError> {
        self.start_replica(start).await
    }

    async fn stand_by(&self, likely: Vec<Likely>) {
        self.expect_starts(likely);
    }

    async fn stop(&self, replica: &ReplicaId, grace_ms: u64) {
        self.stop_replica(replica, grace_ms);
    }

    async fn set_environment(
        &self,
        replica: &ReplicaId,
        environment: Option<serde_json::Value>,
    ) -> Result<(), BackendError> {
        self.tell_environment(replica, environment).await
    }

    async fn set_secrets(&self, replica: &ReplicaId, secrets: Secrets) -> Result<(), BackendError> {
        self.tell_secrets(replica, &secrets).await
    }

    async fn swap_code(&self, replica: &ReplicaId, artifact: &Artifact) -> Result<(), SwapError> {
        self.swap_replica_code(replica, artifact).await
    }

    async fn list(&self) -> Result<Vec<Observed>, BackendError> {
        self.list_replicas()
    }

    async fn usage(&self) -> HashMap<ReplicaId, Usage> {
        self.replica_usage().await
    }

    async fn check(&self) -> Result<(), BackendError> {
        self.check_machine().map_err(|source| BackendError { what: "cannot run replicas".into(), source })
    }

    async fn forget(&self, replica: &ReplicaId) {
        self.forget_replica(replica);
    }

    async fn read_log(&self, replica: &ReplicaId, cursor: u64) -> Result<LogChunk, BackendError> {
        self.read_replica_log(replica, cursor)
    }

    async fn changed(&self, seen: u64) -> u64 {
        let mut changes = self.changes.subscribe();
        *changes.wait_for(|count| *count > seen).await.expect("the sender lives in self")
    }

    async fn collect_garbage(&self, keep: &BTreeSet<Artifact>) -> Result<(), BackendError> {
        self.remove_garbage(keep).await
    }
}

fn lock_root(settings: &Settings) -> io::Result<File> {
    let lock = File::create(settings.root.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::other("another server uses this folder: stop it, or use another"))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes a folder with all that is in it, folders included that its programs closed even to their owner.
fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(folder)?;
            fs::remove_dir_all(folder)
        }
        done => done,
    }
}

/// Gives the owner all rights to a folder and the folders in it. Links are not followed.
fn open_up(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

/// Makes a folder that only this user can look into: it holds other people's code and configs.
fn make_private_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
