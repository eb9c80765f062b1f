//! Finds `uv`, or installs one of our own with what every Python 3 brings, and runs it.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::process::Command;

use super::{
    Local,
    command::{Finished, Say, run},
    fence::Fence,
    make_private_folder,
    place::{Claim, Place},
    python::find_program,
};
use crate::BuildError;

/// Words in `uv`'s output that mean that an index could not be reached.
const NETWORK_TROUBLE: &[&str] =
    &["failed to fetch", "error sending request", "dns error", "could not connect", "connection refused", "timed out"];

/// Where machines keep the certificates they trust. `uv` brings its own, which know nothing of a company's proxy.
const CERTIFICATES: &[&str] =
    &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// The longest explanation that goes into an error; the log has all of it.
const REASON_CHARACTERS: usize = 400;

impl Local {
    /// The `uv` program. The first call on a machine without one installs it.
    pub(super) async fn uv(&self, say: &Say) -> Result<&Path, BuildError> {
        self.shared.uv.get_or_try_init(|| self.find_or_install_uv(say)).await.map(PathBuf::as_path)
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
            // What is on the PATH may be a stand-in of a version manager that has no uv to run.
            let asked = self.tool(&found, ["--version"]).output().await;
            if asked.is_ok_and(|output| output.status.success()) {
                return Ok(found);
            }
        }
        let tools = Place::at(&settings.tools, "installed");
        if let Some(parent) = settings.tools.parent() {
            make_private_folder(parent).map_err(BuildError::Machine)?;
        }
        let own = settings.tools.join("bin/uv");
        if let Claim::Mine(work) = tools.claim(say, "tools", |_| own.is_file()).await.map_err(BuildError::Machine)? {
            say.info(format!("Installing uv into {} (once)", settings.tools.display()));
            self.install_uv(say).await?;
            work.finish(b"").map_err(BuildError::Machine)?;
        }
        Ok(own)
    }

    async fn install_uv(&self, say: &Say) -> Result<(), BuildError> {
        let settings = &self.settings;
        let advice = "install uv, or Python's venv module (python3-venv), or set the path of uv in the configuration";
        let python = find_program(settings.path_folders(), "python3")
            .ok_or_else(|| machine(format!("neither uv nor python3 is on the PATH: {advice}")))?;
        let venv = self.tool(&python, [OsStr::new("-m"), "venv".as_ref(), settings.tools.as_os_str()]);
        require(run(venv, say).await, &format!("cannot make a virtual environment for uv: {advice}"))?;
        let pip = self
            .tool(&settings.tools.join("bin/python"), ["-m", "pip", "install", "--disable-pip-version-check", "uv"]);
        require(run(pip, say).await, &format!("cannot install uv: {advice}"))
    }

    /// Runs `uv` in a folder. When an index cannot be reached, tries once more with what the cache has.
    pub(super) async fn run_uv<'a>(
        &self,
        arguments: impl IntoIterator<Item = &'a OsStr> + Clone,
        folder: &Path,
        fence: Option<&Arc<Fence>>,
        say: &Say,
    ) -> Result<Finished, BuildError> {
        let uv = self.uv(say).await?;
        let command = |more: &[&str]| {
            let mut command = self.tool(uv, arguments.clone());
            command.args(more).current_dir(folder);
            command.env("UV_CACHE_DIR", self.settings.cache.join("uv"));
            command.env("UV_PYTHON_DOWNLOADS", "never").env("UV_NO_PROGRESS", "1");
            if CERTIFICATES.iter().any(|file| Path::new(file).is_file()) {
                // Under its present and its earlier name.
                command.env("UV_SYSTEM_CERTS", "true").env("UV_NATIVE_TLS", "true");
            }
            fence.map_or(Ok(()), |fence| fence.put_around(&mut command, folder)).map_err(BuildError::Machine)?;
            Ok(command)
        };
        let first = run(command(&[])?, say).await.map_err(BuildError::Machine)?;
        if first.status.success() || !is_network_trouble(&first.last_lines) {
            return Ok(first);
        }
        say.warning("The package index cannot be reached; trying with the packages that are here already");
        let second = run(command(&["--offline"])?, say).await.map_err(BuildError::Machine)?;
        if second.status.success() {
            return Ok(second);
        }
        Err(machine(format!("the package index cannot be reached: {}", reason(&first.last_lines))))
    }

    /// A command with nothing in its environment but what tools may see.
    pub(super) fn tool<S: AsRef<OsStr>>(&self, program: &Path, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(&self.settings.variables).env("NO_COLOR", "1");
        command
    }
}

fn is_network_trouble(lines: &[String]) -> bool {
    lines.iter().any(|line| {
        let line = line.to_ascii_lowercase();
        NETWORK_TROUBLE.iter().any(|words| line.contains(words))
    })
}

/// What a tool says about why it failed, as far as one can tell: the explanation where there is one, else the complaint.
pub(super) fn reason(lines: &[String]) -> String {
    let starts = |line: &String, words: &[&str]| words.iter().any(|word| line.trim_start().starts_with(word));
    let explanation = lines.iter().position(|line| starts(line, &["cause:", "╰─▶"]));
    let complaint = lines.iter().position(|line| starts(line, &["error", "ERROR", "×"]));
    let first = explanation.or(complaint).unwrap_or(lines.len().saturating_sub(1));
    let words = lines[first.min(lines.len())..].iter().flat_map(|line| line.split_whitespace());
    let text = words.filter(|word| !["cause:", "╰─▶", "×"].contains(word)).collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(REASON_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
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

#[cfg(test)]
mod tests {
    use super::{is_network_trouble, reason};

    fn check(output: &str, expected: &str) {
        let lines: Vec<String> = output.lines().map(str::to_owned).collect();
        assert_eq!(reason(&lines), expected);
    }

    #[test]
    fn an_index_out_of_reach_is_told_from_a_package_that_is_not_there() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert!(is_network_trouble(&lines(
            "error: Request failed after 3 retries\n  cause: Failed to fetch: http://x/simple"
        )));
        assert!(!is_network_trouble(&lines(
            "error: No solution found\n  cause: Because x was not found in the registry"
        )));
    }

    #[test]
    fn the_reason_is_the_explanation_or_the_complaint_or_the_last_word() {
        check("Using x\nerror: No solution\n  cause: Because a\n    and b\n  cause: c", "Because a and b c");
        check("  × No solution:\n  ╰─▶ Because a", "Because a");
        check("ok\nerror: bad", "error: bad");
        check("one\ntwo", "two");
        check("", "");
    }
}
