//! All that a promotion is decided on, read from the store: what is asked for, what is there, what is in use.

use std::collections::HashMap;

use api::id::{DeploymentId, ModelId};
use planner::{
    capacity::{Amount, Capacity},
    lifecycle::Build,
    placement::InstanceType,
    promotion::Side,
};
use store::domain::{Deployment, Environment, Model, Promotion, Replica};

use super::in_progress;
use crate::ops::{Caller, ControlPlane, Error, deployments, deployments::Target, environments, observed};

/// What is there when a promotion is asked for.
pub struct Scene {
    /// The model.
    pub model: Model,
    /// What is asked to be promoted.
    pub deployment: Deployment,
    /// Where it is to go.
    pub environment: Environment,
    /// Every environment of the model.
    pub environments: Vec<Environment>,
    /// Every deployment of the model.
    pub siblings: Vec<Deployment>,
    /// The promotions of the model that are in progress.
    pub promotions: Vec<Promotion>,
    /// What replicas use: all of them, and those of the deployment that the environment serves.
    pub used: Used,
    replicas: HashMap<DeploymentId, Vec<Replica>>,
}

/// What replicas use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Used {
    /// All that have not been cleared away.
    pub by_all: Amount,
    /// Those of the deployment that the environment serves.
    pub by_current: Amount,
}

impl Scene {
    /// Reads it.
    pub async fn load(
        control_plane: &ControlPlane,
        caller: &Caller,
        model: &ModelId,
        target: &Target,
        environment: &str,
    ) -> Result<Self, Error> {
        let (model, environment) = environments::find_to_change(control_plane, caller, model, environment).await?;
        let (_, deployment) = deployments::find(control_plane, caller, &model.id, target).await?;
        let store = control_plane.store();
        let mut replicas: HashMap<DeploymentId, Vec<Replica>> = HashMap::new();
        for replica in store.replicas(None).await? {
            replicas.entry(replica.deployment_id.clone()).or_default().push(replica);
        }
        let settings = control_plane.settings();
        let used = if settings.capacity == Capacity::default() {
            Used::default()
        } else {
            used(&store.all_deployments().await?, &replicas, &settings.instance_types, environment.current.as_ref())
        };
        Ok(Self {
            environments: store.environments(Some(&model.id)).await?,
            siblings: store.deployments(&model.id, None).await?,
            promotions: in_progress(control_plane, &model.id).await?,
            model,
            deployment,
            environment,
            used,
            replicas,
        })
    }

    /// The replicas of a deployment.
    pub fn replicas(&self, deployment: &Deployment) -> &[Replica] {
        self.replicas.get(&deployment.id).map_or(&[], Vec::as_slice)
    }

    /// What the environment serves.
    pub fn current(&self) -> Option<&Deployment> {
        let current = self.environment.current.as_ref()?;
        self.siblings.iter().find(|one| one.id == *current)
    }

    /// An environment that serves the deployment: this one where it serves several.
    pub fn serves(&self) -> Option<&str> {
        let serves = |one: &&Environment| one.current.as_ref() == Some(&self.deployment.id);
        let here = Some(&self.environment).filter(serves);
        here.or_else(|| self.environments.iter().find(serves)).map(|one| one.name.as_str())
    }

    /// The environment that a promotion in progress brings the deployment to.
    pub fn candidate_for(&self) -> Option<&str> {
        self.promotions.iter().find(|one| one.candidate == self.deployment.id).map(|one| one.environment.as_str())
    }

    /// Whether the environment has a promotion in progress.
    pub fn is_busy(&self) -> bool {
        self.promotions.iter().any(|one| one.environment == self.environment.name)
    }

    /// The deployment as a side of a promotion.
    pub fn side<'a>(&self, deployment: &'a Deployment) -> Side<'a> {
        let observed = observed::observe(self.replicas(deployment));
        Side::of(&deployment.lifecycle, &observed, deployment.target_replicas, &deployment.replica_memory)
    }
}

/// A copy that is to be made of the deployment, as a side of a promotion.
pub fn side_of_copy(source: &Deployment) -> Side<'static> {
    let is_built = matches!(source.lifecycle.build, Build::Succeeded { .. });
    Side { ready: 0, alive: 0, wanted: 0, is_built, has_been_ready: false, failure: None }
}

/// What a replica on this instance type uses; nothing that counts where the catalogue does not have it any more.
pub fn amount(instance_types: &[InstanceType], id: &str) -> Amount {
    instance_types.iter().find(|one| one.id == id).map(Amount::of).unwrap_or_default()
}

fn used(
    deployments: &[Deployment],
    replicas: &HashMap<DeploymentId, Vec<Replica>>,
    instance_types: &[InstanceType],
    current: Option<&DeploymentId>,
) -> Used {
    let mut used = Used::default();
    for deployment in deployments {
        let count = replicas.get(&deployment.id).map_or(0, Vec::len);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let all = amount(instance_types, &deployment.instance_type).times(count);
        if current == Some(&deployment.id) {
            used.by_current = all.clone();
        }
        used.by_all = used.by_all.plus(&all);
    }
    used
}
