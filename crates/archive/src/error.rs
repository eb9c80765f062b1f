//! Why an archive is refused, in sentences that name the entry.

use std::io;

/// Why an archive cannot be listed or unpacked. All but [`Error::Read`] and [`Error::Write`] are the archive's own fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a tar nor a compressed tar.
    #[error("the upload is not a tar archive, plain or compressed with gzip or zstd")]
    NotAnArchive,
    /// A known compression that is not offered.
    #[error("the archive is compressed with {0}; use plain tar, gzip or zstd")]
    UnknownCompression(&'static str),
    /// It stops too early.
    #[error("the archive is cut short {0}; upload it again")]
    Truncated(Place),
    /// Its structure or its compressed data make no sense.
    #[error("the archive is damaged {place}: {problem}; pack it again")]
    Damaged {
        /// Where.
        place: Place,
        /// What is wrong there.
        problem: String,
    },
    /// An entry does something that an archive must not do.
    #[error("the archive's entry {path:?} {problem}")]
    Refused {
        /// The entry, as the archive names it.
        path: String,
        /// What it does.
        problem: Refusal,
    },
    /// Over a limit.
    #[error("the archive is too large at {path:?}: {limit} ({allowed} allowed)")]
    TooLarge {
        /// The entry that goes over.
        path: String,
        /// Which limit.
        limit: Limit,
        /// Its value.
        allowed: u64,
    },
    /// The archive's bytes could not be read.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// An unpacked file could not be written.
    #[error("cannot write {path:?}")]
    Write {
        /// Which one.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A place in an archive, by the last entry that was whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Before the first entry.
    AtStart,
    /// Inside an entry's data.
    Inside(String),
    /// Behind an entry.
    After(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::AtStart => f.write_str("at its start"),
            Place::Inside(path) => write!(f, "inside {path:?}"),
            Place::After(path) => write!(f, "after {path:?}"),
        }
    }
}

/// What an entry must not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Starts at the root.
    #[error("has an absolute path")]
    Absolute,
    /// Goes up.
    #[error("has \"..\" in its path")]
    GoesUp,
    /// Not text.
    #[error("has a name that is not UTF-8 or holds control characters")]
    Unprintable,
    /// With parts that mean nothing.
    #[error("has a path that is not in its shortest form")]
    Unclean,
    /// A part of the path is over 255 bytes.
    #[error("has a name of more than 255 bytes")]
    LongName,
    /// A link to outside.
    #[error("is a link to {0:?}, which may lead out of the archive")]
    LinkEscapes(String),
    /// A hard link to nothing.
    #[error("is a hard link to {0:?}, which is no file that came before it")]
    LinkToNothing(String),
    /// A second entry of the same path.
    #[error("is there twice")]
    Duplicate,
    /// Something that is not a folder is used as one.
    #[error("lies below {0:?}, which is not a folder")]
    BelowFile(String),
    /// A device, a pipe, a sparse file, or something unknown.
    #[error("is a {0}; only files, folders and links are accepted")]
    Special(&'static str),
    /// A folder or a link that carries bytes.
    #[error("carries data, but is not a file")]
    UnexpectedData,
}

/// A limit of [`crate::Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// [`crate::Limits::total_bytes`].
    #[error("its files are over the limit for bytes in all")]
    TotalBytes,
    /// [`crate::Limits::file_bytes`].
    #[error("the file is over the limit for bytes in one file")]
    FileBytes,
    /// [`crate::Limits::entries`].
    #[error("over the limit for the number of entries")]
    Entries,
    /// [`crate::Limits::path_bytes`].
    #[error("its path or its header is over the limit for bytes")]
    PathBytes,
    /// [`crate::Limits::ratio`].
    #[error("over the limit for unpacked bytes for each compressed one")]
    Ratio,
}
