//! Finds `uv`, or installs one of our own with what every Python 3 brings, and runs it.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use super::{
    Local,
    command::{Finished, Say, run},
    make_private_folder,
    python::find_program,
};
use crate::BuildError;

/// Words in `uv`'s output that mean that an index could not be reached.
const NETWORK_TROUBLE: &[&str] = &[
    "failed to fetch",
    "error sending request",
    "dns error",
    "could not connect",
    "connection refused",
    "timed out",
];

impl Local {
    /// The `uv` program. The first call on a machine without one installs it.
    pub(super) async fn uv(&self, say: &Say) -> Result<&Path, BuildError> {
        self.uv
            .get_or_try_init(|| self.find_or_install_uv(say))
            .await
            .map(PathBuf::as_path)
    }

    async fn find_or_install_uv(&self, say: &Say) -> Result<PathBuf, BuildError> {
        let settings = &self.settings;
        if let Some(configured) = &settings.uv {
            return if configured.is_file() {
                Ok(configured.clone())
            } else {
                Err(machine(format!("the configured uv {configured:?} is not there")))
            };
        }
        if let Some(found) = find_program(settings.path_folders(), "uv") {
            return Ok(found);
        }
        let own = settings.tools.join("bin/uv");
        if own.is_file() {
            return Ok(own);
        }
        say.info(format!("Installing uv into {} (once)", settings.tools.display()));
        make_private_folder(&settings.tools).map_err(BuildError::Machine)?;
        let python = find_program(settings.path_folders(), "python3")
            .ok_or_else(|| machine("neither uv nor python3 is on the PATH: install Python 3".into()))?;
        let venv = self.tool(&python, [OsStr::new("-m"), "venv".as_ref(), settings.tools.as_os_str()]);
        let advice = "install uv, or Python's venv module (python3-venv), or set the path of uv in the configuration";
        require(
            run(venv, say).await,
            &format!("cannot make a virtual environment for uv: {advice}"),
        )?;
        let pip = self.tool(
            &settings.tools.join("bin/python"),
            ["-m", "pip", "install", "--disable-pip-version-check", "uv"],
        );
        require(run(pip, say).await, &format!("cannot install uv: {advice}"))?;
        Ok(own)
    }

    /// Runs `uv` in a folder. When an index cannot be reached, tries once more with what the cache has.
    pub(super) async fn run_uv<'a>(
        &self,
        arguments: impl IntoIterator<Item = &'a OsStr> + Clone,
        folder: &Path,
        say: &Say,
    ) -> Result<Finished, BuildError> {
        let uv = self.uv(say).await?;
        let command = |more: &[&str]| {
            let mut command = self.tool(uv, arguments.clone());
            command.args(more).current_dir(folder);
            command.env("UV_CACHE_DIR", self.settings.cache.join("uv"));
            command.env("UV_PYTHON_DOWNLOADS", "never").env("UV_NO_PROGRESS", "1");
            command
        };
        let first = run(command(&[]), say).await.map_err(BuildError::Machine)?;
        if first.status.success() || !is_network_trouble(&first.last_lines) {
            return Ok(first);
        }
        say.warning("The package index cannot be reached; trying with the packages that are here already");
        let second = run(command(&["--offline"]), say).await.map_err(BuildError::Machine)?;
        if second.status.success() {
            return Ok(second);
        }
        Err(machine(format!(
            "the package index cannot be reached: {}",
            reason(&first.last_lines)
        )))
    }

    /// A command with nothing in its environment but what tools may see.
    pub(super) fn tool<S: AsRef<OsStr>>(&self, program: &Path, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(&self.settings.variables)
            .env("NO_COLOR", "1");
        command
    }
}

fn is_network_trouble(lines: &[String]) -> bool {
    lines.iter().any(|line| {
        let line = line.to_ascii_lowercase();
        NETWORK_TROUBLE.iter().any(|words| line.contains(words))
    })
}

/// The line in which a tool says why it failed, as far as one can tell.
pub(super) fn reason(lines: &[String]) -> String {
    let explains = |line: &&String| line.contains("╰─▶");
    let complains = |line: &&String| {
        let start = line.trim_start();
        start.starts_with("error") || start.starts_with("ERROR") || start.starts_with('×')
    };
    let line = lines
        .iter()
        .rfind(explains)
        .or_else(|| lines.iter().find(complains))
        .or_else(|| lines.last());
    line.map(|line| line.trim_matches([' ', '╰', '─', '▶', '×']).to_owned())
        .unwrap_or_default()
}

fn require(result: io::Result<Finished>, what: &str) -> Result<(), BuildError> {
    match result {
        Ok(finished) if finished.status.success() => Ok(()),
        Ok(finished) => Err(machine(format!("{what} ({})", reason(&finished.last_lines)))),
        Err(error) => Err(machine(format!("{what} ({error})"))),
    }
}

pub(super) fn machine(message: String) -> BuildError {
    BuildError::Machine(io::Error::other(message))
}
