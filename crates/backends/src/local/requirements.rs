//! What a model requires, as text: where the list comes from, which packages it names, and what the platform adds. Pure, except
//! for reading the files that the config names.

use std::{collections::BTreeSet, fs, io, path::Path};

use api::truss_config::TrussConfig;

use crate::BuildError;

/// What the reference server offers to models that do not list it, with its bounds. A model's own pin wins.
const OFFERED: &[(&str, &str)] = &[
    ("fastapi", ">=0.114,<0.125"),
    ("starlette", ""),
    ("pydantic", ">=2"),
    ("httpx", ""),
    ("msgpack", ">=1.1"),
    ("requests", ">=2.31"),
    ("pyyaml", ">=6"),
    ("aiohttp", ">=3.10"),
    ("joblib", ">=1.2"),
    ("psutil", ">=5.9"),
];
/// The same for numpy, whose first major version has no builds for newer Pythons.
const OFFERED_NUMPY: &str = ">=1.23.5,<2";
const OFFERED_NUMPY_NEWER: &str = ">=2.1,<3";
const NEWER_PYTHON_MINOR: u8 = 13;

/// What a model requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Lines in pip's format, from the config or from a file in the archive.
    Pip {
        /// The file, where there is one.
        file: Option<String>,
        /// Its lines.
        text: String,
    },
    /// The dependencies of a `pyproject.toml`.
    Pyproject {
        /// The file.
        file: String,
        /// Its content.
        text: String,
    },
    /// Exactly what a `uv.lock` says.
    Lock {
        /// The folder of the lock and its `pyproject.toml`.
        folder: String,
        /// The lock's content.
        text: String,
        /// The project's content.
        project: String,
    },
}

impl Wanted {
    /// What the config asks for, with the files it names read from the unpacked app.
    pub fn read(config: &TrussConfig, app: &Path) -> Result<Self, BuildError> {
        let Some(file) = config.requirements_file.clone() else {
            return Ok(Wanted::Pip { file: None, text: config.requirements.join("\n") });
        };
        let text = read_file(app, &file)?;
        let (folder, name) = file.rsplit_once('/').unwrap_or((".", &file));
        Ok(match name {
            "pyproject.toml" => Wanted::Pyproject { file, text },
            "uv.lock" => {
                let project = read_file(app, &format!("{folder}/pyproject.toml"))?;
                Wanted::Lock { folder: folder.to_owned(), text, project }
            }
            _ => Wanted::Pip { file: Some(file), text },
        })
    }

    /// Whether the list leads to files of the archive, so that an equal list may mean something else in another archive.
    pub fn depends_on_archive(&self) -> bool {
        match self {
            Wanted::Pip { text, .. } => lines(text).any(is_local),
            Wanted::Pyproject { text, .. } => names_a_path(text),
            Wanted::Lock { text, project, .. } => names_a_path(text) || names_a_path(project),
        }
    }

    /// The list without what makes no difference: equal lists give equal environments.
    pub fn normalised(&self) -> String {
        match self {
            Wanted::Pip { text, .. } => {
                let mut lines: Vec<&str> = lines(text).collect();
                // Order can matter between options, not between packages.
                if !lines.iter().any(|line| line.starts_with('-')) {
                    lines.sort_unstable();
                    lines.dedup();
                }
                lines.join("\n")
            }
            Wanted::Pyproject { text, .. } => text.clone(),
            Wanted::Lock { text, project, .. } => format!("{text}\n{project}"),
        }
    }

    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        matches!(self, Wanted::Pip { text, .. } if lines(text).next().is_none())
    }
}

/// What the platform adds to a list in pip's format: packages that it does not name itself. Without `bounds` any version will do.
pub(super) fn offered(text: &str, python_minor: u8, bounds: bool) -> String {
    let named: BTreeSet<String> = lines(text).filter_map(package_name).collect();
    let numpy = if python_minor < NEWER_PYTHON_MINOR { OFFERED_NUMPY } else { OFFERED_NUMPY_NEWER };
    let all = OFFERED.iter().copied().chain([("numpy", numpy)]);
    let added = all.filter(|(name, _)| !named.contains(*name));
    added.map(|(name, bound)| format!("{name}{}\n", if bounds { bound } else { "" })).collect()
}

/// Whether a line of output speaks of something that the platform adds.
pub(super) fn mentions_offered(line: &str) -> bool {
    let names = OFFERED.iter().map(|(name, _)| *name).chain(["numpy"]);
    let words = || line.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_'));
    names.into_iter().any(|name| words().any(|word| word == name))
}

/// The lines that mean something, without comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split_once(" #").map_or(line, |(before, _)| before).trim())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The package a line names, in the form in which names are compared; none for options and bare addresses.
fn package_name(line: &str) -> Option<String> {
    let is_part_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let (name, rest) = line.split_at(line.find(|c| !is_part_of_name(c)).unwrap_or(line.len()));
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && !rest.starts_with([':', '/', '+']);
    is_name.then(|| name.to_ascii_lowercase().replace(['_', '.'], "-"))
}

/// Whether a line leads to a file of the archive.
fn is_local(line: &str) -> bool {
    let includes = ["-r", "--requirement", "-c", "--constraint", "-e", "--editable", "-f", "--find-links"];
    let is_include = includes.iter().any(|option| line.starts_with(option));
    let is_path = line.starts_with(['.', '/'])
        || (package_name(line).is_none() && !line.starts_with('-') && !line.contains("://"));
    is_include || is_path || line.contains("file:")
}

/// Whether a `pyproject.toml` or `uv.lock` takes a package from a folder other than its own.
fn names_a_path(text: &str) -> bool {
    let keys = ["path", "directory", "editable", "workspace"];
    let compact: String = text.chars().filter(|c| !matches!(c, ' ' | '\t')).collect();
    keys.iter().any(|key| {
        compact.match_indices(&format!("{key}=")).any(|(at, found)| {
            let value = &compact[at + found.len()..];
            let is_whole_key = !compact[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-'));
            is_whole_key && !value.starts_with("\".\"") && !value.starts_with("false")
        })
    })
}

fn read_file(app: &Path, file: &str) -> Result<String, BuildError> {
    match fs::read_to_string(app.join(file)) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BuildError::Invalid {
            message: format!("requirements_file: {file} is not in the archive"),
            hint: Some("check its path, and that .truss_ignore does not leave it out".into()),
        }),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(BuildError::Invalid { message: format!("requirements_file: {file} is not UTF-8 text"), hint: None })
        }
        Err(error) => Err(BuildError::Machine(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pip(text: &str) -> Wanted {
        Wanted::Pip { file: None, text: text.into() }
    }

    #[test]
    fn a_line_names_its_package_whatever_follows() {
        let check = |line, expected: Option<&str>| assert_eq!(package_name(line).as_deref(), expected, "{line}");
        check("numpy", Some("numpy"));
        check("NumPy==1.26", Some("numpy"));
        check("scikit_learn[x]>=1 ; python_version<'3.13'", Some("scikit-learn"));
        check("torch @ https://example.com/torch.whl", Some("torch"));
        check("--extra-index-url https://example.com", None);
        check("https://example.com/x.whl", None);
        check("git+https://example.com/x", None);
        check("./packages/mine", None);
    }

    #[test]
    fn what_a_model_names_itself_is_not_added() {
        let added = offered("NumPy==2.1\n# pydantic\nfastapi", 12, true);
        assert!(!added.contains("numpy") && !added.contains("fastapi"), "{added}");
        assert!(added.contains("pydantic>=2\n") && added.contains("httpx\n"), "{added}");
        assert!(offered("", 12, true).contains("numpy>=1.23.5,<2\n"));
        assert!(offered("", 13, true).contains("numpy>=2.1,<3\n"));
        assert!(offered("", 13, false).contains("numpy\n"));
    }

    #[test]
    fn order_and_comments_make_no_difference() {
        assert_eq!(pip("b\na # why\n\n# c\na").normalised(), pip("a\nb").normalised());
        assert_ne!(pip("--pre\na").normalised(), pip("a\n--pre").normalised());
        assert!(pip(" \n# nothing").is_empty());
    }

    #[test]
    fn a_list_that_leads_into_the_archive_is_told_from_one_that_does_not() {
        for local in ["./wheels/a.whl", "-r more.txt", "-e .", "x @ file:./x", "wheels/a.whl", "/opt/x", "-c pins.txt"]
        {
            assert!(pip(local).depends_on_archive(), "{local}");
        }
        for plain in ["numpy", "x @ https://e.com/x.whl", "git+https://e.com/x@v1", "--extra-index-url https://e.com"] {
            assert!(!pip(plain).depends_on_archive(), "{plain}");
        }
        let lock = |text: &str| Wanted::Lock { folder: ".".into(), text: text.into(), project: String::new() };
        assert!(!lock("source = { editable = \".\" }\nsource = { virtual = \".\" }").depends_on_archive());
        assert!(lock("source = { directory = \"libs/x\" }").depends_on_archive());
    }

    #[test]
    fn what_the_platform_adds_is_recognised_in_output() {
        assert!(mentions_offered("Because foo==1 depends on numpy>=2 and you require numpy<2"));
        assert!(!mentions_offered("Because numpydoc was not found in the package registry"));
    }
}
