//! Model archives: packing a folder on the way up, looking into an archive, and unpacking it where nothing can escape.
//! What the files mean is for others; this room knows names, sizes and the ways an archive can do harm.
#![forbid(unsafe_code)]

mod compression;
mod contents;
mod error;
mod folder;
mod pack;
mod path;
mod rewrite;
mod stream;
mod unpack;

pub use compression::Compression;
pub use contents::{ContentHashes, content, content_hashes, hash_of_all};
pub use error::{Error, Limit, Refusal};
pub use folder::{Folder, Snapshot};
pub use pack::{Pack, PackError, Packed, Progress, pack};
pub use rewrite::{Changes, rewrite};
pub use unpack::{inspect, unpack};

/// What an archive may ask of us. An archive over a limit is refused by the name of the entry that goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All files together, unpacked.
    pub total_bytes: u64,
    /// One file, unpacked.
    pub file_bytes: u64,
    /// Files, folders and links together.
    pub entries: u64,
    /// The path of one entry.
    pub path_bytes: u64,
    /// Unpacked bytes for each compressed byte, once past [`Limits::RATIO_FREE_BYTES`].
    pub ratio: u64,
}

impl Limits {
    /// So much may come out of an archive before its compression ratio is judged: small archives of zeros are harmless.
    pub const RATIO_FREE_BYTES: u64 = 64 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self { total_bytes: 64 << 30, file_bytes: 32 << 30, entries: 100_000, path_bytes: 1024, ratio: 200 }
    }
}

/// What is in an archive. Every path in it is relative, clean (no `.`, no `..`) and occurs once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// How the archive is compressed.
    pub compression: Compression,
    /// In the order of the archive.
    pub entries: Vec<Entry>,
    /// All files together, unpacked.
    pub total_bytes: u64,
}

impl Listing {
    /// Whether there is a file, or a link that stands for one, at a path like `model/model.py`.
    pub fn has_file(&self, path: &str) -> bool {
        self.entries.iter().any(|entry| entry.path == path && entry.kind != Kind::Folder)
    }

    /// Whether anything lies in a folder, be it an entry of its own or only part of others' paths.
    pub fn has_folder(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        self.entries
            .iter()
            .any(|entry| entry.path.starts_with(&prefix) || (entry.path == path && entry.kind == Kind::Folder))
    }
}

/// One thing in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative, clean, with `/` between its parts.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Size of a file in bytes, 0 for anything else.
    pub size: u64,
}

/// What an entry is. Anything else (devices, pipes) is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A plain file.
    File {
        /// Whether it may be run. No other permission is kept.
        executable: bool,
    },
    /// A folder.
    Folder,
    /// A symbolic link that stays inside.
    Symlink {
        /// Where it points, relative to the folder it is in.
        target: String,
    },
    /// A second name for a file that came earlier.
    Hardlink {
        /// The first name.
        target: String,
    },
}
