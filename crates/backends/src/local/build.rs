//! From an archive to an artifact: unpack, check, make the environment, download, run the build commands, mark it done. And away
//! with what nobody needs.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use api::truss_config::TrussConfig;
use serde::{Deserialize, Serialize};

use super::{
    Local,
    app::{self, APP, PACKAGES},
    command::{Say, run},
    environment::Plan,
    fence::Fence,
    handover,
    place::{Claim, Place, Work},
    python::Interpreter,
    requirements::Wanted,
    uv::reason,
};
use crate::{Artifact, BackendError, BuildError, BuildOutput, BuildRequest};

/// Raised when artifacts are made differently.
const RECIPE: u32 = 2;
/// The marker of a finished artifact; its content is a [`Build`].
const MARKER: &str = "build.json";

/// What is remembered of a finished build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Build {
    /// The environment it runs in.
    pub environment: String,
}

impl Local {
    pub(super) async fn build_artifact(
        &self,
        request: BuildRequest,
        output: Arc<dyn BuildOutput>,
    ) -> Result<Artifact, BuildError> {
        let say = Say::new(output, self.settings.clock.clone());
        app::refuse_unsupported(&request.config, &say)?;
        self.require_system_packages(&request.config.system_packages).await?;
        let python = self.interpreter(request.config.python_version, &say).await?;
        let request = Arc::new(request);
        let key = {
            let (request, python) = (Arc::clone(&request), python.clone());
            blocking(move || artifact_key(&request, &python)).await.map_err(BuildError::Machine)?
        };
        let place = self.artifact_place(&key);
        let is_usable = |marker: &[u8]| self.build_of(marker).is_some();
        match place.claim(&say, "archive", is_usable).await.map_err(BuildError::Machine)? {
            Claim::Done => say.info("Nothing has changed since an earlier build; using that"),
            Claim::Mine(work) => self.make_artifact(&request, &key, &python, &place.folder, work, &say).await?,
        }
        self.touch_artifact(&place).map_err(BuildError::Machine)?;
        Ok(Artifact(key))
    }

    async fn make_artifact(
        &self,
        request: &Arc<BuildRequest>,
        key: &str,
        python: &Interpreter,
        folder: &Path,
        work: Work,
        say: &Say,
    ) -> Result<(), BuildError> {
        let work = {
            let (request, folder, limits) = (Arc::clone(request), folder.to_owned(), self.settings.archive_limits);
            // The work goes along: should this build be dropped now, nobody may come in before the last file is written.
            blocking(move || Self::unpack(&limits, &request, &folder).map(|()| work)).await?
        };
        let config = &request.config;
        let app = folder.join(APP);
        if config.docker_server.is_none() {
            self.check_model(config, &app, python).await?;
        }
        let wanted = Wanted::read(config, &app)?;
        let adds_offered = config.docker_server.is_none();
        let has_commands = !config.build_commands.is_empty();
        let plan = Plan::new(python.clone(), wanted, adds_offered, has_commands, config.build.no_cache, key);
        let environment = self.environment(&plan.key()).folder;
        let fence = self.fence(folder, &app, &environment, python, say).await?;
        self.hand_over(folder).await?;
        let held = self.make_environment(&plan, &app, fence.as_ref(), say).await?;
        self.download(config.external_data.as_deref().unwrap_or_default(), &app.join("data"), say).await?;
        self.hand_over(folder).await?;
        let _held = if has_commands {
            self.run_commands(config, &app, &environment, fence.as_ref(), say).await?;
            self.finish_environment(&plan, held).await?;
            None
        } else {
            Some(held)
        };
        self.hand_over(folder).await?;
        let build = serde_json::to_vec(&Build { environment: plan.key() }).expect("a build is plain data");
        work.finish(&build).map_err(BuildError::Machine)
    }

    /// Runs `build_commands` in the app, with the environment's programs first on the path.
    async fn run_commands(
        &self,
        config: &TrussConfig,
        app: &Path,
        environment: &Path,
        fence: Option<&Arc<Fence>>,
        say: &Say,
    ) -> Result<(), BuildError> {
        for (index, line) in config.build_commands.iter().enumerate() {
            say.info(format!("Running: {line}"));
            let mut command = self.tool(Path::new("/bin/sh"), ["-c", line]);
            command.current_dir(app);
            command.envs(config.allowed_environment_variables());
            command.env("PATH", self.path_with(&environment.join("bin")).map_err(BuildError::Machine)?);
            command.env("VIRTUAL_ENV", environment).env("UV_CACHE_DIR", self.settings.cache.join("uv"));
            fence.map_or(Ok(()), |fence| fence.put_around(&mut command, app)).map_err(BuildError::Machine)?;
            let finished = run(command, say).await.map_err(BuildError::Machine)?;
            if !finished.status.success() {
                let reason = reason(&finished.last_lines);
                return Err(BuildError::Invalid {
                    message: format!("build_commands[{index}] failed ({}): {line}", finished.status),
                    hint: (!reason.is_empty()).then(|| format!("its last words: {reason}")),
                });
            }
        }
        Ok(())
    }

    /// Gives the unpacked app to the user that builds and models run as.
    async fn hand_over(&self, folder: &Path) -> Result<(), BuildError> {
        let Some(user) = self.settings.model_user else {
            return Ok(());
        };
        let folders = [folder.join(APP), folder.join(PACKAGES)];
        let given = blocking(move || {
            let mut there = folders.iter().filter(|folder| folder.exists());
            there.try_for_each(|folder| handover::give(folder, user))
        });
        given.await.map_err(BuildError::Machine)
    }

    fn path_with(&self, first: &Path) -> io::Result<OsString> {
        let uv = self.shared.uv.get().and_then(|uv| uv.parent()).map(Path::to_owned);
        let folders = [first.to_owned()].into_iter().chain(self.settings.path_folders()).chain(uv);
        std::env::join_paths(folders).map_err(io::Error::other)
    }

    pub(super) fn artifact_place(&self, key: &str) -> Place {
        Place::new(&self.settings.root, "artifacts", key, MARKER)
    }

    /// The build that an artifact's marker tells of, where its environment is still there.
    pub(super) fn build_of(&self, marker: &[u8]) -> Option<Build> {
        let build: Build = serde_json::from_slice(marker).ok()?;
        self.environment(&build.environment).finished()?;
        Some(build)
    }

    /// Says that an artifact and its environment were needed just now.
    fn touch_artifact(&self, place: &Place) -> io::Result<()> {
        let now = (self.settings.clock)();
        place.touch(now)?;
        let build = place.finished().and_then(|marker| self.build_of(&marker));
        let build = build.ok_or_else(|| io::Error::other("the build was removed while it was used: try again"))?;
        self.environment(&build.environment).touch(now)
    }

    /// Removes artifacts that none of `keep` and no replica needs, then environments that no artifact needs.
    pub(super) async fn remove_garbage(&self, keep: &BTreeSet<Artifact>) -> Result<(), BackendError> {
        let root = &self.settings.root;
        let failed = |source| BackendError { what: format!("cannot clean up {root:?}"), source };
        let now = (self.settings.clock)();
        let mut kept: BTreeSet<String> = keep.iter().map(|artifact| artifact.0.clone()).collect();
        kept.extend(self.artifacts_of_replicas());
        let mut needed = BTreeSet::new();
        for key in names_in(&root.join("artifacts")).map_err(failed)? {
            let place = self.artifact_place(&key);
            if kept.contains(&key) || !self.remove(place, now).await.map_err(failed)? {
                let marker = self.artifact_place(&key).finished();
                needed.extend(
                    marker
                        .and_then(|marker| serde_json::from_slice::<Build>(&marker).ok())
                        .map(|build| build.environment),
                );
            }
        }
        for key in names_in(&root.join("environments")).map_err(failed)? {
            if !needed.contains(&key) {
                self.remove(self.environment(&key), now).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn remove(&self, place: Place, now: planner::Timestamp) -> io::Result<bool> {
        let age_ms = self.settings.garbage_age_ms;
        blocking(move || place.remove_if_older(age_ms, now)).await
    }
}

/// An artifact's address: equal archives with equal configs, for the same Python, give equal artifacts.
fn artifact_key(request: &BuildRequest, python: &Interpreter) -> io::Result<String> {
    let mut archive = blake3::Hasher::new();
    archive.update_reader(fs::File::open(&request.archive)?)?;
    let is_fresh = request.config.build.no_cache;
    let parts = (
        RECIPE,
        archive.finalize().to_hex().to_string(),
        &request.raw_config,
        request.config.expanded(),
        python,
        is_fresh.then_some(&request.deployment_id),
    );
    let parts = serde_json::to_vec(&parts)?;
    Ok(blake3::hash(&parts).to_hex()[..32].to_owned())
}

fn names_in(folder: &PathBuf) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Runs something that blocks where it may.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
