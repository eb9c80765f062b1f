//! Packs a model's folder: files only, in a fixed order, with fixed times and owners, so that equal folders give equal archives.
//! What is left out is what the packaging format leaves out: the folder's own `.truss_ignore`, or the format's default list.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The file in which a folder says what to leave out.
const IGNORE_FILE: &str = ".truss_ignore";
/// The file that [`Pack::config`] replaces.
const CONFIG_FILE: &str = "config.yaml";

/// What is left out where the folder does not say: caches, build products, virtual environments, editors' and tools' leavings.
const DEFAULT_IGNORE: &str = include_str!("default_ignore.txt");

/// What to pack.
#[derive(Debug, Clone, Copy)]
pub struct Pack<'a> {
    /// The folder with `config.yaml`.
    pub folder: &'a Path,
    /// Stands in for `config.yaml`, where the caller changed it.
    pub config: Option<&'a [u8]>,
    /// Folders whose contents join [`Pack::packages_dir`]; relative ones start at `folder`. The caller clears their key in the config.
    pub external_package_dirs: &'a [PathBuf],
    /// Where bundled packages lie in the archive (`packages`).
    pub packages_dir: &'a str,
}

/// How far packing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of files packed.
    pub done_bytes: u64,
    /// Bytes of files in all.
    pub total_bytes: u64,
}

/// What was packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// Files in the archive.
    pub files: u64,
    /// Bytes of files, without the archive's own headers.
    pub bytes: u64,
}

/// Why a folder cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Not there, or not a folder.
    #[error("{0:?} is not a folder")]
    NotAFolder(PathBuf),
    /// A file or folder that cannot be read.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A link to nothing.
    #[error("{0:?} is a link to something that is not there: mend it, or add it to .truss_ignore")]
    BrokenLink(PathBuf),
    /// A link to a folder above itself.
    #[error("{0:?} is a link to a folder that it is in: remove it, or add it to .truss_ignore")]
    Loop(PathBuf),
    /// A socket, a pipe or a device.
    #[error("{0:?} is not a plain file: remove it, or add it to .truss_ignore")]
    Special(PathBuf),
    /// A name that an archive cannot carry portably.
    #[error("the name of {0:?} is not UTF-8: rename it, or add it to .truss_ignore")]
    Name(PathBuf),
    /// Two sources of one path.
    #[error("{first:?} and {second:?} would both become {path:?}: rename one")]
    Conflict {
        /// The path in the archive.
        path: String,
        /// Where one comes from.
        first: PathBuf,
        /// Where the other comes from.
        second: PathBuf,
    },
    /// A pattern of `.truss_ignore` that makes no sense.
    #[error("cannot use {IGNORE_FILE}: {0}")]
    Pattern(#[source] ignore::Error),
    /// It grew or shrank while it was read.
    #[error("{0:?} changed while it was packed: try again")]
    Changed(PathBuf),
    /// The archive could not be written.
    #[error("cannot write the archive: {0}")]
    Write(#[source] io::Error),
}

/// Packs a folder into a tar, uncompressed as the format has it.
pub fn pack(what: &Pack<'_>, output: impl Write, mut progress: impl FnMut(Progress)) -> Result<Packed, PackError> {
    let files = collect(what)?;
    let total_bytes = files.values().map(Source::size).sum();
    let mut done = Progress { done_bytes: 0, total_bytes };
    progress(done);
    let mut archive = tar::Builder::new(output);
    let mut on_read = |bytes| {
        done.done_bytes += bytes;
        progress(done);
    };
    for (path, source) in &files {
        let mut header = tar::Header::new_gnu();
        header.set_size(source.size());
        header.set_mode(source.mode());
        header.set_mtime(0);
        match source {
            Source::Bytes(bytes) => {
                archive.append_data(&mut header, path, *bytes).map_err(PackError::Write)?;
                on_read(bytes.len() as u64);
            }
            Source::File { at, size, .. } => {
                let file = File::open(at).map_err(|source| read_error(at, source))?;
                let mut data = Exactly { file, left: *size, failure: None, on_read: &mut on_read };
                let written = archive.append_data(&mut header, path, &mut data);
                match data.failure {
                    Some(Failure::Changed) => return Err(PackError::Changed(at.clone())),
                    Some(Failure::Read(source)) => return Err(read_error(at, source)),
                    None => written.map_err(PackError::Write)?,
                }
            }
        }
    }
    archive.into_inner().and_then(|mut output| output.flush()).map_err(PackError::Write)?;
    Ok(Packed { files: files.len() as u64, bytes: total_bytes })
}

/// Where the content of one path comes from.
pub(crate) enum Source<'a> {
    Bytes(&'a [u8]),
    File { at: PathBuf, size: u64, executable: bool },
}

impl Source<'_> {
    fn size(&self) -> u64 {
        match self {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::File { size, .. } => *size,
        }
    }

    fn mode(&self) -> u32 {
        match self {
            Source::File { executable: true, .. } => 0o755,
            Source::File { executable: false, .. } | Source::Bytes(_) => 0o644,
        }
    }
}

pub(crate) type Files<'a> = BTreeMap<String, Source<'a>>;

/// All files that are packed, by their paths in the archive.
pub(crate) fn collect<'a>(what: &Pack<'a>) -> Result<Files<'a>, PackError> {
    let own = what.folder.join(IGNORE_FILE);
    let own_rules = if own.is_file() { read_rules(&own)? } else { rules(DEFAULT_IGNORE)? };
    let mut files = Files::new();
    let is_left_out = |path: &str, is_dir| own_rules.matched(path, is_dir).is_ignore();
    gather(what.folder, "", &is_left_out, &mut Vec::new(), &mut files)?;
    if !what.external_package_dirs.is_empty() {
        // The format filters such folders by its own list first, and by the model's where they end up.
        let default_rules = rules(DEFAULT_IGNORE)?;
        let packages = what.packages_dir.trim_matches('/');
        let is_left_out = |path: &str, is_dir| {
            let inner = path[packages.len()..].trim_start_matches('/');
            default_rules.matched(inner, is_dir).is_ignore() || own_rules.matched(path, is_dir).is_ignore()
        };
        for folder in what.external_package_dirs {
            gather(&what.folder.join(folder), packages, &is_left_out, &mut Vec::new(), &mut files)?;
        }
    }
    if let Some(config) = what.config {
        files.insert(CONFIG_FILE.to_owned(), Source::Bytes(config));
    }
    Ok(files)
}

fn read_rules(file: &Path) -> Result<Gitignore, PackError> {
    let text = fs::read_to_string(file).map_err(|source| read_error(file, source))?;
    rules(&text)
}

/// The patterns see paths as the archive has them, whatever the folder is called.
fn rules(text: &str) -> Result<Gitignore, PackError> {
    let mut builder = GitignoreBuilder::new("");
    for line in text.lines() {
        builder.add_line(None, line.trim()).map_err(PackError::Pattern)?;
    }
    builder.build().map_err(PackError::Pattern)
}

/// Adds the files below `folder` under `prefix`. Links are followed: the archive carries what they stand for, because their
/// targets may not travel along.
fn gather(
    folder: &Path,
    prefix: &str,
    is_left_out: &dyn Fn(&str, bool) -> bool,
    above: &mut Vec<PathBuf>,
    files: &mut Files<'_>,
) -> Result<(), PackError> {
    if !folder.is_dir() {
        return Err(PackError::NotAFolder(folder.to_owned()));
    }
    let real = folder.canonicalize().map_err(|source| read_error(folder, source))?;
    if above.contains(&real) {
        return Err(PackError::Loop(folder.to_owned()));
    }
    above.push(real);
    for entry in fs::read_dir(folder).map_err(|source| read_error(folder, source))? {
        let entry = entry.map_err(|source| read_error(folder, source))?;
        let at = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            return Err(PackError::Name(at));
        };
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let metadata = fs::metadata(&at);
        if is_left_out(&path, metadata.as_ref().is_ok_and(fs::Metadata::is_dir)) {
            continue;
        }
        let metadata = match metadata {
            Err(_) if at.is_symlink() => return Err(PackError::BrokenLink(at)),
            other => other.map_err(|source| read_error(&at, source))?,
        };
        if metadata.is_dir() {
            gather(&at, &path, is_left_out, above, files)?;
        } else if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            let new = Source::File { at: at.clone(), size: metadata.len(), executable };
            if let Some(Source::File { at: first, .. }) = files.insert(path.clone(), new) {
                return Err(PackError::Conflict { path, first, second: at });
            }
        } else {
            return Err(PackError::Special(at));
        }
    }
    above.pop();
    Ok(())
}

pub(crate) fn read_error(path: &Path, source: io::Error) -> PackError {
    PackError::Read { path: path.to_owned(), source }
}

/// Reads exactly as many bytes as the header promised, or says that the file changed.
struct Exactly<'a> {
    file: File,
    left: u64,
    failure: Option<Failure>,
    on_read: &'a mut dyn FnMut(u64),
}

enum Failure {
    Changed,
    Read(io::Error),
}

impl Read for Exactly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stop = || io::Error::other("stopped");
        if self.left == 0 {
            let has_grown = self.file.read(&mut [0]).is_ok_and(|read| read > 0);
            if has_grown {
                self.failure = Some(Failure::Changed);
                return Err(stop());
            }
            return Ok(0);
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        match self.file.read(&mut buffer[..most]) {
            Ok(0) => {
                self.failure = Some(Failure::Changed);
                Err(stop())
            }
            Ok(read) => {
                self.left -= read as u64;
                (self.on_read)(read as u64);
                Ok(read)
            }
            Err(error) => {
                self.failure = Some(Failure::Read(error));
                Err(stop())
            }
        }
    }
}
