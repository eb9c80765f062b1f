//! Which Python runs a model: the configured minor version where it is installed, else the nearest one.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use api::truss_config::PythonVersion;
use serde::{Deserialize, Serialize};

use super::{Local, PythonChoice, command::Say};
use crate::BuildError;

/// Minor versions that the format knows.
const MINORS: std::ops::RangeInclusive<u8> = 9..=14;
/// An interpreter that does not answer in this time is passed over.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// What an interpreter says of itself; part of every environment's address.
const PROBE: &str = r#"
import json, os, sys, sysconfig
print(json.dumps({
    "path": os.path.realpath(sys.executable),
    "minor": sys.version_info[1] if sys.version_info[0] == 3 else 0,
    "version": "%d.%d.%d" % sys.version_info[:3],
    "facts": [sys.implementation.name, sysconfig.get_config_var("SOABI"), sysconfig.get_platform(),
              os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None],
}))
"#;

/// An installed Python.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Interpreter {
    pub path: PathBuf,
    pub minor: u8,
    pub version: String,
    /// Implementation, binary interface, platform and C library.
    pub facts: Vec<Option<String>>,
}

impl Local {
    /// The Python to build with.
    pub(super) async fn interpreter(&self, wanted: PythonVersion, say: &Say) -> Result<Interpreter, BuildError> {
        let choices = match self.settings.python {
            PythonChoice::Exact => vec![wanted.minor],
            PythonChoice::Nearest => nearest_first(wanted.minor),
        };
        for minor in choices {
            let Some(found) = self.installed(minor).await else {
                continue;
            };
            if minor != wanted.minor {
                say.warning(format!(
                    "Python 3.{} is not installed on this machine; using the nearest one, {}",
                    wanted.minor, found.version
                ));
            }
            return Ok(found);
        }
        Err(BuildError::Invalid {
            message: format!("python_version: Python 3.{} is not installed on this machine", wanted.minor),
            hint: Some(
                "install it (uv python install, pyenv, or the system's packages), or configure another version".into(),
            ),
        })
    }

    async fn installed(&self, minor: u8) -> Option<Interpreter> {
        let candidates = self.candidates(minor);
        // One search at a time: builds that begin together find the same interpreter.
        let mut known = self.shared.interpreters.lock().await;
        known.retain(|_, found| found.path.is_file());
        // One that has served before is taken without asking those in front of it again: a version manager's stand-in takes a fifth
        // of a second to say that it has nothing to run.
        if let Some(found) = candidates.iter().filter_map(|path| known.get(path)).find(|found| found.minor == minor) {
            return Some(found.clone());
        }
        for candidate in candidates {
            if known.contains_key(&candidate) {
                continue;
            }
            let Some(found) = self.probe(&candidate).await else {
                continue;
            };
            known.insert(candidate, found.clone());
            if found.minor == minor {
                return Some(found);
            }
        }
        None
    }

    /// Programs that may be Python 3.`minor`, the likeliest first.
    fn candidates(&self, minor: u8) -> Vec<PathBuf> {
        let settings = &self.settings;
        let name = format!("python3.{minor}");
        let mut found: Vec<PathBuf> =
            settings.path_folders().map(|folder| folder.join(&name)).filter(|path| is_program(path)).collect();
        if let Some(home) = settings.variables.get("HOME").map(PathBuf::from) {
            let pyenv = settings.variables.get("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
            found.extend(versions_below(&pyenv.join("versions"), &format!("3.{minor}."), &name));
            let managed = home.join(".local/share/uv/python");
            found.extend(versions_below(&managed, &format!("cpython-3.{minor}."), &name));
        }
        found.extend(find_program(settings.path_folders(), "python3"));
        found
    }

    async fn probe(&self, program: &Path) -> Option<Interpreter> {
        let mut command = self.tool(program, ["-I", "-S", "-c", PROBE]);
        command.kill_on_drop(true);
        let output = tokio::time::timeout(PROBE_TIMEOUT, command.output()).await.ok()?.ok()?;
        output.status.success().then(|| serde_json::from_slice(&output.stdout).ok())?
    }
}

/// All minor versions, the nearest to `wanted` first; of two equally near the newer, because it runs more code.
fn nearest_first(wanted: u8) -> Vec<u8> {
    let mut minors: Vec<u8> = MINORS.chain((!MINORS.contains(&wanted)).then_some(wanted)).collect();
    minors.sort_by_key(|minor| (minor.abs_diff(wanted), std::cmp::Reverse(*minor)));
    minors
}

/// `<folder>/<version>/bin/<name>` for each version with this prefix, the newest name first.
fn versions_below(folder: &Path, prefix: &str, name: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join("bin").join(name))
        .filter(|path| is_program(path))
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found
}

/// The first program of this name in these folders.
pub(super) fn find_program(folders: impl IntoIterator<Item = PathBuf>, name: &str) -> Option<PathBuf> {
    folders.into_iter().map(|folder| folder.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::nearest_first;

    #[test]
    fn the_wanted_version_comes_first_and_the_newer_neighbour_next() {
        assert_eq!(nearest_first(13), [13, 14, 12, 11, 10, 9]);
        assert_eq!(nearest_first(9), [9, 10, 11, 12, 13, 14]);
        assert_eq!(nearest_first(15)[..2], [15, 14]);
    }
}
