//! All that a promotion is decided on, read from the store: what is asked for, what is there, what is in use.

use std::collections::HashMap;

use api::id::{DeploymentId, ModelId};
use planner::{
    Timestamp,
    fit::Occupancy,
    lifecycle::{Build, Wanted},
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
    /// What replicas use of the machines.
    pub occupancy: Occupancy,
    replicas: HashMap<DeploymentId, Vec<Replica>>,
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
        let all = store.replicas(None).await?;
        let claims = all.iter().filter_map(Replica::claim);
        let occupancy = Occupancy::of(&control_plane.settings().instance_types, claims);
        let mut replicas: HashMap<DeploymentId, Vec<Replica>> = HashMap::new();
        for replica in all {
            replicas.entry(replica.deployment_id.clone()).or_default().push(replica);
        }
        Ok(Self {
            environments: store.environments(Some(&model.id)).await?,
            siblings: store.deployments(&model.id, None).await?,
            promotions: in_progress(control_plane, &model.id).await?,
            model,
            deployment,
            environment,
            occupancy,
            replicas,
        })
    }

    /// Takes what is asked to be promoted as it will be once it is activated, and says whether it rests now.
    pub fn rouse(&mut self, now: Timestamp) -> bool {
        let lifecycle = &mut self.deployment.lifecycle;
        let rests = lifecycle.wanted == Wanted::Inactive;
        if let (true, Ok(roused)) = (rests, lifecycle.clone().activate(now)) {
            *lifecycle = roused;
        }
        rests
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
