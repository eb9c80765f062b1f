//! Why an operation was refused, in words for whoever asked. A refused operation has changed nothing.

/// What went wrong, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Change the request, or the state that refuses it.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing.
    #[error("there is no {kind} {id}")]
    NotFound {
        /// What kind of thing.
        kind: &'static str,
        /// Its id or name, as asked for.
        id: String,
    },
    /// Bring a valid key.
    #[error("no valid API key: send `Authorization: Api-Key PREFIX.SECRET`, or `Bearer` in place of `Api-Key`")]
    Unauthenticated,
    /// Bring another key.
    #[error("{0}")]
    Forbidden(String),
    /// Read again what it builds on.
    #[error("{0}")]
    Stale(String),
    /// Change the policies, or what there is to run on.
    #[error("{0}")]
    NoPlace(String),
    /// Name something that is there.
    #[error("{0}")]
    Unprocessable(String),
    /// Ask again: it is on its way.
    #[error("{0}: ask again")]
    NotYet(String),
    /// Let go of what refers to it.
    #[error("{kind} {id} is in use")]
    InUse {
        /// What kind of thing.
        kind: &'static str,
        /// Its id or name.
        id: String,
    },
    /// Try again later.
    #[error("too many clients listen to this server, or with this key, at this moment: try again later")]
    Crowded,
    /// Try again.
    #[error("the server is busy with another change to the same thing: try again")]
    Busy,
    /// Ours to mend. Only the log sees the cause.
    #[error("cannot {what}")]
    Internal {
        /// What was being done.
        what: &'static str,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// How often a change is tried that others are faster with.
const TRIES: usize = 16;

/// Makes a change that may lose a race with others', such as the end of a promotion: it is tried again on what is there then.
pub(super) async fn persistently<T, F>(change: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    for _ in 1..TRIES {
        match change().await {
            Err(Error::Busy) => {}
            done => return done,
        }
    }
    change().await
}

impl Error {
    /// There is no such thing.
    pub(super) fn not_found(kind: &'static str, id: impl std::fmt::Display) -> Self {
        Self::NotFound { kind, id: id.to_string() }
    }

    /// Ours to mend.
    pub(super) fn internal(what: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal { what, source: source.into() }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NotFound { kind, id } => Self::NotFound { kind, id },
            store::Error::NameTaken { kind, name } => {
                Self::Invalid(format!("another {kind} is named {name:?} already: choose another name"))
            }
            store::Error::InUse { kind, id } => Self::InUse { kind, id },
            store::Error::Conflict { .. } => Self::Busy,
            other => Self::internal("reach the store", other),
        }
    }
}
