//! What can go wrong with the store, by what the caller can do about it.

use std::path::PathBuf;

/// Why the store did not do as asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing.
    #[error("there is no {kind} {id:?}")]
    NotFound {
        /// What kind of thing.
        kind: &'static str,
        /// Its id or name, as asked for.
        id: String,
    },
    /// Choose another name.
    #[error("the {kind} name {name:?} is taken")]
    NameTaken {
        /// What kind of thing.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Somebody else was faster: read again, decide again.
    #[error("the {kind} {id:?} has changed in the meantime")]
    Conflict {
        /// What kind of thing.
        kind: &'static str,
        /// Its id or name.
        id: String,
    },
    /// Something else still refers to it.
    #[error("the {kind} {id:?} is in use")]
    InUse {
        /// What kind of thing.
        kind: &'static str,
        /// Its id or name.
        id: String,
    },
    /// An environment points only at what has been active.
    #[error("the deployment {id:?} has never been active: no environment can point at it")]
    NeverActive {
        /// Its id.
        id: String,
    },
    /// The database, or the blob store, does not answer; later it may.
    #[error("the {what} does not answer")]
    Unavailable {
        /// Which of them.
        what: &'static str,
        /// What it says.
        #[source]
        source: BoxError,
    },
    /// What is stored cannot be understood. A person has to look.
    #[error("stored {what} cannot be read")]
    Damaged {
        /// Which part.
        what: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// A newer server has used this database: start that version, or restore a backup.
    #[error(
        "the database is at version {found}, this program knows versions up to {known}: use the newer program, or restore a backup"
    )]
    NewerDatabase {
        /// The database's.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// Another server uses the same files.
    #[error("another server is using {}: stop it, or choose another data folder", .0.display())]
    Locked(PathBuf),
    /// The store cannot be opened as configured.
    #[error("cannot open the store at {url}: {reason}")]
    Configuration {
        /// Where, without a password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An upload is over its limit.
    #[error("the content is larger than the {limit_bytes} bytes allowed")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
}

/// Any cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    pub(crate) fn not_found(kind: &'static str, id: impl ToString) -> Self {
        Self::NotFound { kind, id: id.to_string() }
    }

    pub(crate) fn conflict(kind: &'static str, id: impl ToString) -> Self {
        Self::Conflict { kind, id: id.to_string() }
    }

    pub(crate) fn damaged(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Damaged { what: what.into(), source: source.into() }
    }
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        match source {
            sqlx::Error::ColumnDecode { index, source } => Self::Damaged { what: format!("column {index}"), source },
            other => Self::Unavailable { what: "database", source: Box::new(other) },
        }
    }
}
