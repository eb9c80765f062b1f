//! What holds for the whole workspace, as it is stored.

/// What holds for the whole workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkspaceSettings {
    /// The environment of a push that names none; without one, the first deployment that works goes to production.
    pub default_environment: Option<String>,
    /// The environments that a new model has beside production.
    pub initial_environments: Vec<String>,
    /// Grows with every change; a save with an older one is refused.
    pub generation: u64,
}
