//! An archive once more, with some of its files changed: what a patch makes of what was pushed. Everything else is copied as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
};

use crate::{Entry, Error, Kind, Limits, path, stream};

/// New contents by path; none for a file that goes.
pub type Changes = BTreeMap<String, Option<Vec<u8>>>;

/// Copies an archive into an uncompressed one with `changes` made. Removing what is not there changes nothing. What comes of it is a
/// whole archive, but may be one that [`crate::inspect`] refuses: a file may stand where another needs a folder.
pub fn rewrite(archive: impl Read, changes: &Changes, limits: &Limits, output: impl Write) -> Result<(), Error> {
    check_paths(changes)?;
    let mut builder = tar::Builder::new(output);
    let mut written: BTreeSet<&str> = BTreeSet::new();
    stream::walk(archive, limits, |entry, data| {
        let change = changes.get_key_value(&entry.path).filter(|_| entry.kind != Kind::Folder);
        let copied = match change {
            None => copy(&mut builder, entry, data),
            Some((_, None)) => Ok(()),
            // In its old place: hard links to it come later.
            Some((path, Some(content))) => {
                written.insert(path);
                let executable = entry.kind == Kind::File { executable: true };
                put(&mut builder, path, executable, content)
            }
        };
        copied.map_err(|source| Error::Write { path: entry.path.clone(), source })
    })?;
    for (path, content) in changes.iter().filter(|(path, _)| !written.contains(path.as_str())) {
        if let Some(content) = content {
            put(&mut builder, path, false, content).map_err(|source| Error::Write { path: path.clone(), source })?;
        }
    }
    let finished = builder.into_inner().and_then(|mut output| output.flush());
    finished.map_err(|source| Error::Write { path: "its end".into(), source })
}

/// Paths stay inside, as those of an archive must.
fn check_paths(changes: &Changes) -> Result<(), Error> {
    for path in changes.keys() {
        let clean = path::clean(path.as_bytes());
        let clean = clean.map_err(|problem| Error::Refused { path: path.clone(), problem })?;
        if clean != *path {
            return Err(Error::Refused { path: path.clone(), problem: crate::Refusal::Unclean });
        }
    }
    Ok(())
}

fn put(builder: &mut tar::Builder<impl Write>, path: &str, executable: bool, content: &[u8]) -> io::Result<()> {
    let mut header = header(content.len() as u64, executable);
    builder.append_data(&mut header, path, content)
}

fn copy(builder: &mut tar::Builder<impl Write>, entry: &Entry, data: &mut dyn Read) -> io::Result<()> {
    let mut header = header(entry.size, entry.kind != Kind::File { executable: false });
    match &entry.kind {
        Kind::File { .. } => builder.append_data(&mut header, &entry.path, data),
        Kind::Folder => {
            header.set_entry_type(tar::EntryType::Directory);
            builder.append_data(&mut header, &entry.path, io::empty())
        }
        Kind::Symlink { target } => {
            header.set_entry_type(tar::EntryType::Symlink);
            builder.append_link(&mut header, &entry.path, target)
        }
        Kind::Hardlink { target } => {
            header.set_entry_type(tar::EntryType::Link);
            builder.append_link(&mut header, &entry.path, target)
        }
    }
}

fn header(size: u64, executable: bool) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(if executable { 0o755 } else { 0o644 });
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Refusal, contents::tests::archive, inspect};

    fn changes(changes: &[(&str, Option<&str>)]) -> Changes {
        changes.iter().map(|(path, content)| ((*path).to_owned(), content.map(|text| text.into()))).collect()
    }

    fn rewritten(archive: &[u8], changes: &Changes) -> Result<Vec<u8>, Error> {
        let mut output = Vec::new();
        rewrite(archive, changes, &Limits::default(), &mut output)?;
        Ok(output)
    }

    #[test]
    fn files_are_replaced_added_and_removed_and_the_rest_stays() {
        let before = archive(&[("model/model.py", b"old"), ("model/gone.py", b"x"), ("data/a", b"a")]);
        let changes = changes(&[
            ("model/model.py", Some("new")),
            ("model/gone.py", None),
            ("model/b/c.py", Some("c")),
            ("no", None),
        ]);
        let after = rewritten(&before, &changes).unwrap();
        let expected = archive(&[("model/model.py", b"new"), ("data/a", b"a"), ("model/b/c.py", b"c")]);
        let hashes = |bytes: &[u8]| crate::content_hashes(bytes, &Limits::default()).unwrap();
        assert_eq!(hashes(&after), hashes(&expected));
    }

    #[test]
    fn links_folders_and_rights_survive() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut executable = header(1, true);
        builder.append_data(&mut executable, "run", &b"1"[..]).unwrap();
        for (kind, path) in [(tar::EntryType::Link, "hard"), (tar::EntryType::Symlink, "soft")] {
            let mut link = header(0, false);
            link.set_entry_type(kind);
            builder.append_link(&mut link, path, "run").unwrap();
        }
        let mut folder = header(0, true);
        folder.set_entry_type(tar::EntryType::Directory);
        builder.append_data(&mut folder, "empty/", io::empty()).unwrap();
        let before = builder.into_inner().unwrap();
        let after = rewritten(&before, &changes(&[("run", Some("2"))])).unwrap();
        let listing = |bytes: &[u8]| inspect(bytes, &Limits::default()).unwrap().entries;
        assert_eq!(listing(&after), listing(&before));
    }

    #[test]
    fn no_path_leads_out() {
        for (path, problem) in [("../a", Refusal::GoesUp), ("/a", Refusal::Absolute), ("a/./b", Refusal::Unclean)] {
            let error = rewritten(&archive(&[]), &changes(&[(path, Some(""))])).unwrap_err();
            assert!(matches!(error, Error::Refused { problem: found, .. } if found == problem), "{path}");
        }
    }
}
