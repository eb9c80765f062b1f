//! Packages of the operating system. This backend cannot install them: it says which are missing.

use std::path::PathBuf;

use super::{Local, python::find_program};
use crate::BuildError;

/// A tool that knows what is installed, and how it is asked about one package.
const TOOLS: &[(&str, &[&str])] = &[
    ("dpkg-query", &["--show", "--showformat=${db:Status-Status}\n"]),
    ("rpm", &["--query", "--whatprovides"]),
    ("apk", &["info", "--installed"]),
];

impl Local {
    /// Fails, by name, when packages that the config lists are not installed on this machine.
    pub(super) async fn require_system_packages(&self, wanted: &[String]) -> Result<(), BuildError> {
        let names: Vec<&str> = wanted.iter().map(|name| plain_name(name)).filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let Some((tool, arguments)) = self.package_tool() else {
            return Err(BuildError::Invalid {
                message: format!("system_packages cannot be checked on this machine: {}", names.join(", ")),
                hint: Some("it has none of dpkg, rpm and apk; remove the key if what it lists is installed".into()),
            });
        };
        let mut missing = Vec::new();
        for name in names {
            let output = self.tool(&tool, arguments).arg(name).output().await.map_err(BuildError::Machine)?;
            let text = String::from_utf8_lossy(&output.stdout);
            // dpkg also knows packages that were removed; the others have no such state.
            let is_removed = tool.ends_with("dpkg-query") && !text.lines().any(|line| line == "installed");
            if !output.status.success() || is_removed {
                missing.push(name);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(BuildError::Invalid {
            message: format!("system_packages that are not installed on this machine: {}", missing.join(", ")),
            hint: Some("install them on the machine; this backend runs models as plain processes and cannot".into()),
        })
    }

    fn package_tool(&self) -> Option<(PathBuf, &'static [&'static str])> {
        TOOLS.iter().find_map(|(name, arguments)| Some((find_program(self.settings.path_folders(), name)?, *arguments)))
    }
}

/// The name without version or option: `libgl1=1.0` is `libgl1`. Something that looks like an option is never passed on.
fn plain_name(text: &str) -> &str {
    let name = text.trim().split(['=', ' ', '<', '>']).next().unwrap_or_default();
    name.trim_start_matches('-')
}

#[cfg(test)]
mod tests {
    use super::plain_name;

    #[test]
    fn a_package_is_asked_for_by_its_plain_name() {
        assert_eq!(plain_name(" libgl1=1.6 "), "libgl1");
        assert_eq!(plain_name("--admindir"), "admindir");
    }
}
