//! Builds what is pushed: several deployments at once, each at most once at a time. A build that nobody wants any more is dropped;
//! one that a restart interrupted begins again.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use api::{id::DeploymentId, internal::replica::Level};
use backends::{Artifact, BuildError, BuildRequest};
use futures::FutureExt;
use planner::{Timestamp, lifecycle::Reason};
use tokio::{task::AbortHandle, time::Instant};

use crate::{
    Error,
    build_log::BuildLog,
    driver::{Next, Task, chain},
    mirror::Entry,
    settings::millis,
    shared::Shared,
};

/// How temporary folders of builds begin.
const FOLDER_PREFIX: &str = "build-";

/// The task.
pub(crate) struct Builds {
    shared: Shared,
    running: BTreeMap<DeploymentId, Running>,
}

/// What is to be built of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// What was pushed.
    Push,
    /// What is staged.
    Patch,
}

/// What should be built of a deployment, and since when.
fn pending(entry: &Entry) -> Option<(Timestamp, Subject)> {
    let deployment = &entry.deployment;
    let push = deployment.lifecycle.pending_build().map(|since| (since, Subject::Push));
    push.or_else(|| Some((deployment.reload()?.pending_build()?, Subject::Patch)))
}

/// A build under way, and which push, retry or patch it is for.
struct Running {
    asked: (Timestamp, Subject),
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Builds {
    pub fn new(shared: Shared) -> Self {
        Self { shared, running: BTreeMap::new() }
    }

    fn begin(&mut self, entry: &Arc<Entry>, asked: (Timestamp, Subject)) {
        let subject = match asked.1 {
            Subject::Push => entry.clone(),
            Subject::Patch => entry.staged().map_or_else(|| entry.clone(), Arc::new),
        };
        let build = tokio::spawn(build(self.shared.clone(), subject, asked));
        let id = entry.deployment.id.clone();
        self.running.insert(id, Running { asked, task: build.abort_handle() });
        let bell = self.shared.bells.builds.clone();
        tokio::spawn(async move {
            // However it ended, its place is free now.
            build.await.ok();
            bell.ring();
        });
    }
}

impl Task for Builds {
    const NAME: &'static str = "builds";

    async fn pass(&mut self, _now: Timestamp) -> Result<Next, Error> {
        // Before reading: what ends while this reads still looks pending below, and keeps its place until the next pass.
        self.running.retain(|_, running| !running.task.is_finished());
        let entries = self.shared.mirror.look().await?.entries;
        self.running.retain(|id, running| entries.get(id).and_then(|entry| pending(entry)) == Some(running.asked));
        let mut waiting: Vec<((Timestamp, Subject), &Arc<Entry>)> = entries
            .values()
            .filter(|entry| !self.running.contains_key(&entry.deployment.id))
            .filter_map(|entry| Some((pending(entry)?, entry)))
            .collect();
        waiting.sort_by_key(|((since, _), entry)| (*since, entry.deployment.id.clone()));
        let free = self.shared.settings.builds_at_once.max(1).saturating_sub(self.running.len());
        for (asked, entry) in waiting.into_iter().take(free) {
            self.begin(entry, asked);
        }
        Ok(Next::IDLE)
    }
}

/// One build, from the archive to the recorded outcome.
async fn build(shared: Shared, entry: Arc<Entry>, (since, subject): (Timestamp, Subject)) {
    let _keeps_garbage = shared.building.read().await;
    let id = &entry.deployment.id;
    let began = Instant::now();
    let outcome = AssertUnwindSafe(make(&shared, &entry)).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(deployment.id = %id, "a build panicked");
        Err(Reason {
            message: "the builder failed for a reason of its own".into(),
            hint: Some(RETRY.into()),
            detail: None,
        })
    });
    let at = (shared.parts.clock)();
    // In this order: once it is recorded, this task is wanted no more.
    let counted = shared.parts.store.count_build(id, outcome.is_ok(), millis(began.elapsed()), at).await;
    if let Err(error) = counted {
        tracing::warn!(deployment.id = %id, error = chain(&error), "cannot count a build");
    }
    let recorded = shared.parts.store.change_deployment(id, None, |deployment| {
        let result = outcome.clone().map(|artifact| artifact.0);
        match subject {
            Subject::Push => {
                deployment.lifecycle = deployment.lifecycle.clone().build_finished(since, at, result);
            }
            Subject::Patch => deployment.change_reload(|reload| reload.build_finished(since, at, result)),
        }
        Ok::<(), store::Error>(())
    });
    match recorded.await {
        // Deleted in the meantime: there is nothing to record it on.
        Ok(_) | Err(store::Error::NotFound { .. }) => {}
        Err(error) => {
            tracing::warn!(deployment.id = %id, error = chain(&error), "cannot record a build; it will be built again");
        }
    }
}

const RETRY: &str = "retry the deployment; if it fails again, the server's log says more";

/// Fetches the archive and lets the backend build, with everything that is said in the deployment's log.
async fn make(shared: &Shared, entry: &Entry) -> Result<Artifact, Reason> {
    let parts = &shared.parts;
    let began = Instant::now();
    let (log, writer) = BuildLog::open(parts.store.clone(), entry.deployment.id.clone());
    let say = |level: Level, text: String| log.say((parts.clock)(), level, text);
    let work = async {
        say(Level::Info, "build started".into());
        let folder = tempfile::Builder::new().prefix(FOLDER_PREFIX).tempdir_in(&shared.settings.work_dir);
        let folder = folder.map_err(|source| machine("cannot make a temporary folder", &source))?;
        let archive = folder.path().join("archive");
        let fetching = Instant::now();
        let key = &entry.deployment.archive.key;
        match parts.blobs.copy_to_file(key, &archive).await {
            Ok(()) => {}
            Err(store::Error::NotFound { .. }) => {
                return Err(Reason {
                    message: "the uploaded archive is no longer there".into(),
                    hint: Some("push the model again".into()),
                    detail: None,
                });
            }
            Err(error) => return Err(machine("cannot fetch the archive", &error)),
        }
        say(
            Level::Info,
            format!("archive of {} bytes fetched in {}", entry.deployment.archive.bytes, Took(fetching.elapsed())),
        );
        let request = BuildRequest {
            deployment_id: entry.deployment.id.clone(),
            archive,
            config: entry.config.clone(),
            raw_config: entry.deployment.raw_config.clone(),
        };
        parts.builder.build(request, log.clone()).await.map_err(|error| match error {
            BuildError::Invalid { message, hint } => Reason { message, hint, detail: None },
            machine_error @ BuildError::Machine(_) => machine("the build did not run to its end", &machine_error),
        })
    };
    let said = async {
        let outcome = work.await;
        match &outcome {
            Ok(_) => say(Level::Info, format!("build finished in {}", Took(began.elapsed()))),
            Err(reason) => {
                say(Level::Error, format!("build failed after {}: {}", Took(began.elapsed()), reason.message));
                if let Some(hint) = &reason.hint {
                    say(Level::Info, format!("hint: {hint}"));
                }
            }
        }
        log.close();
        outcome
    };
    let (outcome, ()) = futures::join!(said, writer.run());
    outcome.map_err(|reason| Reason { detail: reason.detail.or_else(|| log.last_lines()), ..reason })
}

/// The reason of a failure that is not the user's to mend.
fn machine(what: &str, error: &dyn std::error::Error) -> Reason {
    Reason { message: format!("{what}: {}", chain(error)), hint: Some(RETRY.into()), detail: None }
}

/// Removes what builds of a process that was killed have left behind.
pub(crate) fn clean(work_dir: &std::path::Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(work_dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(FOLDER_PREFIX) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A duration as people write it: `35 ms`, `1.2 s`.
struct Took(Duration);

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < Duration::from_secs(1) {
            write!(f, "{} ms", self.0.as_millis())
        } else {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        }
    }
}
