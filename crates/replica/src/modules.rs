//! Which modules of the environment a model needed when it was loaded, so that one that waits ahead has imported them.
//!
//! The names come from a worker that has run the deployment's own code, and go to workers of the same deployment only: a list
//! that lies makes its own models slow, and nobody else's.

use std::{fs, io, path::Path};

/// More names than this are not noted down; the largest frameworks load some three thousand.
const MOST_NAMES: usize = 10_000;

/// The longest name.
const LONGEST_NAME: usize = 200;

/// The list at `path`; empty where there is none that can be read.
pub fn read(path: &Path) -> Vec<String> {
    let names: Option<Vec<String>> = fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    names.unwrap_or_default()
}

/// Notes a list down, unless it says the same already.
pub fn note(path: &Path, names: &[String]) -> io::Result<()> {
    let names: Vec<&String> = names.iter().filter(|name| is_module(name)).take(MOST_NAMES).collect();
    if path.exists() && read(path).iter().eq(names.iter().copied()) {
        return Ok(());
    }
    let new = path.with_extension(format!("new-{}", std::process::id()));
    fs::write(&new, serde_json::to_vec(&names)?)?;
    fs::rename(new, path)
}

fn is_module(name: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && part.chars().all(|character| character.is_alphanumeric() || character == '_');
    name.len() <= LONGEST_NAME && name.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_kept_without_what_is_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("modules.json");
        assert!(read(&path).is_empty());
        note(&path, &["numpy", "a.b_c", "", "a..b", "os; x", "../x"].map(str::to_owned)).unwrap();
        assert_eq!(read(&path), ["numpy", "a.b_c"]);
        note(&path, &[]).unwrap();
        assert!(read(&path).is_empty());
    }
}
