//! A log line on its way to where an organization keeps its logs.

use crate::{
    id::{DeploymentId, ModelId, ReplicaId},
    internal::replica::LogLine,
};

/// One line, with what it is about by the names of that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingLine {
    /// The line.
    pub line: LogLine,
    /// What wrote it: `build`, `deploy`, `model` or `access`.
    pub component: &'static str,
    /// The model; none, like its name, where it is deleted.
    pub model_id: Option<ModelId>,
    /// Its name.
    pub model_name: Option<String>,
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The environment that the deployment serves, or is on its way to.
    pub environment: Option<String>,
    /// The replica, where one wrote it.
    pub replica_id: Option<ReplicaId>,
}
