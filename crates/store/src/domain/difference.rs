//! What a promotion changes about what an environment serves.

use api::id::DeploymentId;
use serde::{Deserialize, Serialize};

/// What will be served, compared with what is served when the promotion is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What will be served, or what a copy of it is made from.
    pub source: DeploymentId,
    /// What is served; none when that is nothing.
    pub compared_with: Option<DeploymentId>,
    /// One after the other.
    pub changes: Vec<Change>,
    /// How many more there are than these.
    pub left_out: u32,
}

/// One thing that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Of which part.
    pub part: Part,
    /// Which: a path with dots, or a name.
    pub field: String,
    /// What becomes of it.
    pub kind: ChangeKind,
    /// What it was, in JSON, cut where it is long; none where it was not there or is nobody's business.
    pub old: Option<String>,
    /// What it will be, likewise.
    pub new: Option<String>,
}

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What was built: code and dependencies.
    Artifact,
    /// `config.yaml`.
    Config,
    /// Names of environment variables and secrets, never their values.
    EnvironmentVariables,
    /// How it scales.
    Scaling,
    /// The instance type.
    InstanceType,
    /// Where it may run.
    Placement,
}

/// What becomes of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// It is another.
    Changed,
}
