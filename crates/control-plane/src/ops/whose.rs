//! Whose history is asked for.

use api::id::ModelId;

use super::deployments::Target;

/// Whose history.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    /// A deployment's.
    Deployment(&'a ModelId, &'a Target),
    /// That of whatever was in an environment at the time.
    Environment(&'a ModelId, &'a str),
}
