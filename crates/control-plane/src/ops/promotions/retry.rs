//! Where a deployment goes that failed and is tried again.

use planner::promotion::Ending;
use store::domain::Deployment;

use super::of_environment;
use crate::ops::{ControlPlane, Error};

/// How many promotions of an environment are looked through.
const HISTORY: u32 = 50;

/// The environment that a failed deployment was on its way to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MeantFor {
    /// Its name, where it still waits for a deployment.
    pub waiting: Option<String>,
    /// Its name, where it does not.
    pub taken: Option<String>,
}

/// Finds the environment that a failed deployment was on its way to, and whether it still waits for one: it serves nothing, and nothing
/// is being promoted to it.
pub async fn meant_for(control_plane: &ControlPlane, deployment: &Deployment) -> Result<MeantFor, Error> {
    let store = control_plane.store();
    let environments = store.environments(Some(&deployment.model_id)).await?;
    let mut newest = None;
    for environment in &environments {
        let failed = of_environment(control_plane, environment, HISTORY)
            .await?
            .into_iter()
            .find(|one| one.candidate == deployment.id && matches!(one.state.ending(), Some(Ending::Failed { .. })));
        newest = newest.max(failed.map(|one| (one.id, one.environment)));
    }
    let Some(name) = deployment.target_environment.clone().or(newest.map(|(_, name)| name)) else {
        return Ok(MeantFor::default());
    };
    let is_empty = environments.iter().any(|one| one.name == name && one.current.is_none());
    let is_free = store.active_promotion(&deployment.model_id, &name).await?.is_none();
    Ok(if is_empty && is_free {
        MeantFor { waiting: Some(name), taken: None }
    } else {
        MeantFor { waiting: None, taken: Some(name) }
    })
}
