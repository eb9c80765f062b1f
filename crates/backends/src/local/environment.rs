//! Virtual environments: one for each distinct set of Python, requirements and system facts, shared by all that ask for the same.

use std::{ffi::OsStr, fs, io, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc, time::Instant};

use serde::Serialize;

use super::{
    Local,
    build::blocking,
    command::{Finished, Say},
    fence::Fence,
    handover,
    place::{Claim, Hold, Place, Work, replace},
    python::Interpreter,
    requirements::{self, Wanted},
    uv::reason,
};
use crate::BuildError;

/// Raised when environments are made differently, so that older ones are not taken for what is wanted now.
const RECIPE: u32 = 2;
/// The marker of a finished environment.
const MARKER: &str = "greenroom.json";

/// What an environment is made of. Equal plans have equal keys.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    recipe: u32,
    interpreter: Interpreter,
    wanted: String,
    /// Whether what the reference server offers is added. Not for servers of the user's own.
    adds_offered: bool,
    /// Whether `pip` itself is installed, for commands that call it.
    adds_pip: bool,
    /// The artifact that has it for itself, where it may not be shared.
    private_to: Option<String>,
    #[serde(skip)]
    source: Wanted,
}

impl Plan {
    /// Plans an environment. `artifact` names the artifact that wants it, `has_commands` whether commands will change it.
    pub fn new(
        interpreter: Interpreter,
        source: Wanted,
        adds_offered: bool,
        has_commands: bool,
        is_fresh: bool,
        artifact: &str,
    ) -> Self {
        let is_private = has_commands || is_fresh || source.depends_on_archive();
        Self {
            recipe: RECIPE,
            interpreter,
            wanted: source.normalised(),
            adds_offered,
            adds_pip: has_commands,
            private_to: is_private.then(|| artifact.to_owned()),
            source,
        }
    }

    /// Whether commands will change the environment.
    pub fn has_commands(&self) -> bool {
        self.adds_pip
    }

    /// The environment's address.
    pub fn key(&self) -> String {
        let plan = serde_json::to_vec(self).expect("a plan is plain data");
        blake3::hash(&plan).to_hex()[..32].to_owned()
    }
}

/// An environment that a build may count on: nobody removes it meanwhile.
pub(super) enum Environment {
    /// Finished.
    There(Hold),
    /// To be finished when commands have changed it.
    Made(Work),
}

impl Local {
    /// The place of an environment.
    pub(super) fn environment(&self, key: &str) -> Place {
        Place::new(&self.settings.root, "environments", key, MARKER)
    }

    /// Makes an environment, unless it is there. `app` is the unpacked archive, where requirements may lead to.
    pub(super) async fn make_environment(
        &self,
        plan: &Plan,
        app: &Path,
        fence: Option<&Arc<Fence>>,
        say: &Say,
    ) -> Result<Environment, BuildError> {
        let place = self.environment(&plan.key());
        loop {
            match place.claim(say, "environment", |_| true).await.map_err(BuildError::Machine)? {
                Claim::Done => {
                    say.info(format!("Using an environment that is there (Python {})", plan.interpreter.version));
                    if plan.has_commands() {
                        self.lend(&place, fence).await?;
                    }
                }
                Claim::Mine(work) => {
                    let begun = Instant::now();
                    say.info(format!("Making an environment (Python {})", plan.interpreter.version));
                    self.lend(&place, fence).await?;
                    self.create(plan, &place.folder, fence, say).await?;
                    self.install(plan, &place.folder, app, fence, say).await?;
                    say.info(format!("The environment is ready after {:.1} s", begun.elapsed().as_secs_f64()));
                    let made = Environment::Made(work);
                    if plan.has_commands() {
                        return Ok(made);
                    }
                    self.finish_environment(plan, made).await?;
                }
            }
            if let Some(hold) = place.hold().await.map_err(BuildError::Machine)? {
                place.touch((self.settings.clock)()).map_err(BuildError::Machine)?;
                return Ok(Environment::There(hold));
            }
        }
    }

    /// All that changes the environment has run: it is closed, and counts from now on.
    pub(super) async fn finish_environment(&self, plan: &Plan, environment: Environment) -> Result<(), BuildError> {
        let place = self.environment(&plan.key());
        if self.settings.model_user.is_some() {
            blocking(move || handover::take_back(&place.folder)).await.map_err(BuildError::Machine)?;
        }
        match environment {
            Environment::There(_hold) => Ok(()),
            Environment::Made(work) => {
                let marker = serde_json::to_vec(plan).expect("a plan is plain data");
                work.finish(&marker).map_err(BuildError::Machine)
            }
        }
    }

    /// Lets what runs behind the fence change the environment.
    async fn lend(&self, place: &Place, fence: Option<&Arc<Fence>>) -> Result<(), BuildError> {
        let Some(user) = fence.map(|fence| fence.user) else {
            return Ok(());
        };
        let folder = place.folder.clone();
        blocking(move || handover::give(&folder, user)).await.map_err(BuildError::Machine)
    }

    async fn create(
        &self,
        plan: &Plan,
        folder: &Path,
        fence: Option<&Arc<Fence>>,
        say: &Say,
    ) -> Result<(), BuildError> {
        let mut arguments: Vec<&OsStr> = vec!["venv".as_ref(), "--quiet".as_ref(), "--python".as_ref()];
        arguments.extend([plan.interpreter.path.as_os_str(), folder.as_os_str()]);
        if plan.adds_pip {
            arguments.push("--seed".as_ref());
        }
        let finished = self.run_uv(arguments, folder, fence, say).await?;
        if finished.status.success() {
            return Ok(());
        }
        Err(super::uv::machine(format!("cannot make a virtual environment: {}", reason(&finished.last_lines))))
    }

    async fn install(
        &self,
        plan: &Plan,
        folder: &Path,
        app: &Path,
        fence: Option<&Arc<Fence>>,
        say: &Say,
    ) -> Result<(), BuildError> {
        if plan.source.is_empty() && !plan.adds_offered {
            return Ok(());
        }
        let own = folder.join("greenroom-requirements.txt");
        let (file, text, base) = match &plan.source {
            Wanted::Pip { file: Some(file), text } => (app.join(file), text.clone(), app.to_owned()),
            Wanted::Pip { file: None, text } => {
                replace(&own, text.as_bytes()).map_err(BuildError::Machine)?;
                (own, text.clone(), app.to_owned())
            }
            Wanted::Pyproject { file, .. } => (app.join(file), String::new(), app.to_owned()),
            Wanted::Lock { folder: project, .. } => {
                let project = app.join(project);
                self.export_lock(&project, &own, fence, say).await?;
                let text = read_own(&own).map_err(BuildError::Machine)?;
                (own, text, project)
            }
        };
        let first = self.install_with(plan, folder, &base, &file, &text, true, fence, say).await?;
        let conflicts = |lines: &[String]| {
            lines.iter().any(|line| line.contains("No solution found"))
                && lines.iter().any(|line| requirements::mentions_offered(line))
        };
        let last = if plan.adds_offered && !first.status.success() && conflicts(&first.last_lines) {
            say.warning(
                "The requirements do not agree with the versions the platform offers; trying with any versions that do",
            );
            self.install_with(plan, folder, &base, &file, &text, false, fence, say).await?
        } else {
            first
        };
        if last.status.success() {
            return Ok(());
        }
        Err(BuildError::Invalid {
            message: format!("cannot install the requirements: {}", reason(&last.last_lines)),
            hint: Some("the build log has the whole story; check names and versions, and that they have builds for this Python".into()),
        })
    }

    /// One try: the model's own list, and what the platform adds.
    #[expect(clippy::too_many_arguments, reason = "a list of what one command line is made of")]
    async fn install_with(
        &self,
        plan: &Plan,
        folder: &Path,
        base: &Path,
        file: &Path,
        text: &str,
        bounds: bool,
        fence: Option<&Arc<Fence>>,
        say: &Say,
    ) -> Result<Finished, BuildError> {
        let python = folder.join("bin/python");
        let offered = folder.join("greenroom-offered.txt");
        let mut arguments: Vec<&OsStr> = Vec::new();
        // Several indexes are searched like the reference does: the best version of any of them.
        let options = ["pip", "install", "--compile-bytecode", "--index-strategy", "unsafe-best-match", "--python"];
        arguments.extend(options.map(OsStr::new));
        arguments.push(python.as_os_str());
        if !plan.source.is_empty() {
            arguments.extend(["-r".as_ref(), file.as_os_str()]);
        }
        if plan.adds_offered {
            let lines = requirements::offered(text, plan.interpreter.minor, bounds);
            replace(&offered, lines.as_bytes()).map_err(BuildError::Machine)?;
            arguments.extend(["-r".as_ref(), offered.as_os_str()]);
        }
        self.run_uv(arguments, base, fence, say).await
    }

    /// Writes what a `uv.lock` pins, hashes included, in pip's format.
    async fn export_lock(
        &self,
        project: &Path,
        output: &Path,
        fence: Option<&Arc<Fence>>,
        say: &Say,
    ) -> Result<(), BuildError> {
        let mut arguments: Vec<&OsStr> =
            ["export", "--quiet", "--frozen", "--no-emit-project", "--format", "requirements-txt", "-o"]
                .map(OsStr::new)
                .to_vec();
        arguments.push(output.as_os_str());
        let finished = self.run_uv(arguments, project, fence, say).await?;
        if finished.status.success() {
            return Ok(());
        }
        Err(BuildError::Invalid {
            message: format!("requirements_file: cannot read uv.lock: {}", reason(&finished.last_lines)),
            hint: Some("run `uv lock` in its folder and push again".into()),
        })
    }
}

/// Reads what a tool has written. A link in its place is not followed, and a pipe not waited for.
fn read_own(path: &Path) -> io::Result<String> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    io::read_to_string(fs::File::options().read(true).custom_flags(flags).open(path)?)
}
