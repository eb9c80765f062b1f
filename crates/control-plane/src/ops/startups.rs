//! How starts of replicas went.

use std::collections::HashMap;

use api::id::DeploymentId;
use planner::Timestamp;
use store::{StartsOf, domain::Startup};

use super::{Caller, ControlPlane, Error, Whose, deployments, environments};

/// Starts, and the names of the deployments they are of.
pub struct Startups {
    /// Newest first, at most a thousand.
    pub startups: Vec<Startup>,
    /// By deployment.
    pub names: HashMap<DeploymentId, String>,
}

/// The starts that began within `from..=to`.
pub async fn list(
    control_plane: &ControlPlane,
    caller: &Caller,
    whose: Whose<'_>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Startups, Error> {
    if from >= to {
        return Err(Error::Invalid("end_epoch_millis: it needs to be after start_epoch_millis".into()));
    }
    let store = control_plane.store();
    match whose {
        Whose::Deployment(model, target) => {
            let (_, deployment) = deployments::find(control_plane, caller, model, target).await?;
            let startups = store.startups(StartsOf::Deployment(&deployment.id), from, to).await?;
            Ok(Startups { startups, names: HashMap::from([(deployment.id, deployment.name)]) })
        }
        Whose::Environment(model, name) => {
            let (model, _) = environments::find(control_plane, caller, model, name).await?;
            let startups = store.startups(StartsOf::Environment(&model.id, name), from, to).await?;
            let deployments = store.deployments(&model.id, None).await?;
            Ok(Startups { startups, names: deployments.into_iter().map(|one| (one.id, one.name)).collect() })
        }
    }
}
