//! Looking into an archive and unpacking it. Files are only ever created anew, links are made when all files are written, and
//! permissions are ours: so no entry can write outside, replace what another wrote, or leave a set-uid program behind.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink},
    path::Path,
};

use crate::{Entry, Error, Kind, Limits, Listing, stream};

/// Lists an archive and checks all of it, as [`unpack`] would, without writing anything.
pub fn inspect(archive: impl Read, limits: &Limits) -> Result<Listing, Error> {
    stream::walk(archive, limits, |_, _| Ok(()))
}

/// Unpacks an archive into `folder`, which is made, or must be empty. On an error what was written so far stays: the caller
/// removes the folder, which is its own.
pub fn unpack(archive: impl Read, folder: &Path, limits: &Limits) -> Result<Listing, Error> {
    make_folder(folder).map_err(|source| write_error(&folder.to_string_lossy(), source))?;
    let is_empty = fs::read_dir(folder).map(|mut entries| entries.next().is_none());
    if !is_empty.map_err(|source| write_error(&folder.to_string_lossy(), source))? {
        let source = io::Error::new(io::ErrorKind::DirectoryNotEmpty, "the folder to unpack into is not empty");
        return Err(write_error(&folder.to_string_lossy(), source));
    }
    let listing = stream::walk(archive, limits, |entry, data| {
        write_entry(entry, data, folder).map_err(|source| write_error(&entry.path, source))
    })?;
    for entry in &listing.entries {
        if let Kind::Symlink { target } = &entry.kind {
            make_link(target, &folder.join(&entry.path)).map_err(|source| write_error(&entry.path, source))?;
        }
    }
    Ok(listing)
}

fn write_entry(entry: &Entry, data: &mut dyn Read, folder: &Path) -> io::Result<()> {
    let path = folder.join(&entry.path);
    match &entry.kind {
        Kind::Folder => make_folder(&path),
        Kind::File { executable } => {
            make_parent(&path)?;
            let mode = if *executable { 0o755 } else { 0o644 };
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
            io::copy(data, &mut file).map(drop)
        }
        Kind::Hardlink { target } => {
            make_parent(&path)?;
            fs::hard_link(folder.join(target), &path)
        }
        Kind::Symlink { .. } => Ok(()),
    }
}

fn make_link(target: &str, path: &Path) -> io::Result<()> {
    make_parent(path)?;
    symlink(target, path)
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), make_folder)
}

fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

fn write_error(path: &str, source: io::Error) -> Error {
    Error::Write { path: path.to_owned(), source }
}
