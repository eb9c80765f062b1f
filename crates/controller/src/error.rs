//! What can keep a pass from ending well. Every one of them is answered the same way: the next pass looks again.

/// Why somebody else has not done as asked.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not do as asked.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The backend did not answer.
    #[error(transparent)]
    Backend(#[from] backends::BackendError),
    /// A file of ours could not be written or read.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// What the machine says.
        #[source]
        source: std::io::Error,
    },
    /// The locations cannot be used together.
    #[error("the locations cannot be used: {0}")]
    Locations(String),
    /// The pass panicked: a bug. What it had saved is saved, and the next pass looks again.
    #[error("the pass panicked: {0}")]
    Panic(String),
}

impl Error {
    /// Whether somebody else was merely faster, which is no failure: look again at once.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Error::Store(store::Error::Conflict { .. }))
    }
}
