//! What differs between the code of two builds of one model, for a worker that goes on with the other one.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// More than this much code is not passed through a control socket.
const MOST_BYTES: u64 = 16 << 20;

/// Files by their path below the model's folder, in Base64; none for one that is gone.
pub type Changes = BTreeMap<String, Option<String>>;

/// The files that differ between two folders of code.
pub fn changes(before: &Path, after: &Path) -> io::Result<Changes> {
    let (mut old, mut changes, mut size) = (files(before)?, Changes::new(), 0);
    for (name, path) in files(after)? {
        let length = fs::metadata(&path)?.len();
        if let Some(known) = old.remove(&name)
            && fs::metadata(&known)?.len() == length
            && fs::read(&known)? == fs::read(&path)?
        {
            continue;
        }
        size += length;
        if size > MOST_BYTES {
            return Err(io::Error::other(format!("more than {MOST_BYTES} bytes of code have changed")));
        }
        changes.insert(name, Some(BASE64_STANDARD.encode(fs::read(&path)?)));
    }
    changes.extend(old.into_keys().map(|gone| (gone, None)));
    Ok(changes)
}

/// Every file below a folder by its path from there. What Python has compiled is none.
fn files(root: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "__pycache__") {
                    folders.push(path);
                }
                continue;
            }
            let name = path.strip_prefix(root).ok().and_then(Path::to_str);
            let name = name.ok_or_else(|| io::Error::other(format!("{} is no name", path.display())))?;
            found.insert(name.to_owned(), path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_passed_on() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        for (name, content) in [("a/same.py", "1"), ("a/other.py", "1"), ("a/gone.py", "1"), ("a/__pycache__/x", "1")] {
            write(name, content);
        }
        for (name, content) in [("b/same.py", "1"), ("b/other.py", "2"), ("b/deep/new.py", "3")] {
            write(name, content);
        }
        let changes = changes(&folder.path().join("a"), &folder.path().join("b")).unwrap();
        let encoded = |content: &str| Some(BASE64_STANDARD.encode(content));
        let expected = [("deep/new.py", encoded("3")), ("gone.py", None), ("other.py", encoded("2"))]
            .map(|(name, content)| (name.to_owned(), content));
        assert_eq!(changes, Changes::from(expected));
    }
}
