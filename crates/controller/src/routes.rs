//! The route table as a pure function of what is stored and observed. Where a request goes is decided here and nowhere else;
//! carrying it out is the gateway's.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use api::{
    id::{DeploymentId, ModelId, TeamId},
    internal::routes::{Availability, DeploymentRoute, Endpoint, KeyGrant, ModelRoutes, RequestLimits, Split, Table},
};
use planner::lifecycle::Status;
use store::domain::{ApiKey, ApiKeyKind, Deployment, DeploymentKind, Environment, KeyOwner, Model, PRODUCTION};

/// Everything the table depends on, read together.
pub(crate) struct Picture<'a> {
    pub models: &'a [Model],
    pub environments: &'a [Environment],
    pub deployments: &'a [Deployed<'a>],
    pub keys: &'a [ApiKey],
}

/// One deployment with what is derived from its facts.
pub(crate) struct Deployed<'a> {
    pub deployment: &'a Deployment,
    pub status: Status,
    /// Of ready replicas that are not told to stop.
    pub endpoints: Vec<Endpoint>,
    pub slots_per_replica: u32,
    pub limits: RequestLimits,
}

/// The table for `picture`, or none when `published` says the same already. Unchanged deployments are shared with it.
pub(crate) fn table(picture: &Picture<'_>, published: Option<&Table>) -> Option<Table> {
    let next = Table {
        version: published.map_or(1, |table| table.version + 1),
        models: model_routes(picture),
        deployments: deployment_routes(picture, published),
        keys: key_grants(picture),
    };
    let is_same = published.is_some_and(|old| {
        old.models == next.models && old.deployments == next.deployments && old.keys == next.keys
    });
    (!is_same).then_some(next)
}

/// What a status means for a request (behaviour 2.4).
fn availability(status: Status) -> Availability {
    match status {
        Status::Building | Status::Deploying | Status::LoadingModel => Availability::NotReady,
        Status::Active | Status::Updating | Status::ScaledToZero | Status::WakingUp => Availability::Serve,
        Status::Deactivating | Status::Inactive => Availability::Inactive,
        Status::Unhealthy | Status::BuildFailed | Status::BuildStopped | Status::DeployFailed | Status::Failed => {
            Availability::Unhealthy
        }
    }
}

fn deployment_routes(
    picture: &Picture<'_>,
    published: Option<&Table>,
) -> HashMap<DeploymentId, Arc<DeploymentRoute>> {
    let route = |deployed: &Deployed<'_>| {
        let id = &deployed.deployment.id;
        let route = DeploymentRoute {
            id: id.clone(),
            model_id: deployed.deployment.model_id.clone(),
            availability: availability(deployed.status),
            replicas: deployed.endpoints.clone(),
            slots_per_replica: deployed.slots_per_replica,
            limits: deployed.limits,
        };
        let unchanged = published.and_then(|table| table.deployments.get(id)).filter(|old| ***old == route);
        (id.clone(), unchanged.cloned().unwrap_or_else(|| Arc::new(route)))
    };
    picture.deployments.iter().map(route).collect()
}

fn model_routes(picture: &Picture<'_>) -> HashMap<ModelId, ModelRoutes> {
    let mut models: HashMap<ModelId, ModelRoutes> =
        picture.models.iter().map(|model| (model.id.clone(), ModelRoutes::default())).collect();
    for environment in picture.environments {
        if let Some(routes) = models.get_mut(&environment.model_id) {
            let split = environment.current.clone().map(|stable| Split { stable, candidate: None });
            routes.environments.insert(environment.name.clone(), split);
        }
    }
    let mut bound_for_production: HashMap<&ModelId, Vec<&Deployed<'_>>> = HashMap::new();
    for deployed in picture.deployments {
        let deployment = deployed.deployment;
        match deployment.kind {
            DeploymentKind::Development => {
                if let Some(routes) = models.get_mut(&deployment.model_id) {
                    routes.development = Some(deployment.id.clone());
                }
            }
            DeploymentKind::Published => {
                if deployment.target_environment.as_deref().is_none_or(|target| target == PRODUCTION) {
                    bound_for_production.entry(&deployment.model_id).or_default().push(deployed);
                }
            }
        }
    }
    for (id, routes) in &mut models {
        let development = routes.development.clone();
        if let Some(production @ None) = routes.environments.get_mut(PRODUCTION) {
            let bound = bound_for_production.get(id).map_or(&[][..], Vec::as_slice);
            *production =
                stand_in_for_production(development, bound).map(|stable| Split { stable, candidate: None });
        }
    }
    models
}

/// Who answers for a production that has no current deployment yet: the development deployment (the contract's fallback), else the
/// first deployment on its way, so that callers hear "not ready" and not "unknown", else the newest that did not get there.
fn stand_in_for_production(development: Option<DeploymentId>, bound: &[&Deployed<'_>]) -> Option<DeploymentId> {
    let newest = |deployed: &&&Deployed<'_>| {
        let is_on_its_way = availability(deployed.status) == Availability::NotReady;
        (is_on_its_way, deployed.deployment.created_at, deployed.deployment.id.clone())
    };
    development.or_else(|| bound.iter().max_by_key(newest).map(|deployed| deployed.deployment.id.clone()))
}

fn key_grants(picture: &Picture<'_>) -> HashMap<[u8; 32], KeyGrant> {
    let mut models_of_team: BTreeMap<&TeamId, Vec<ModelId>> = BTreeMap::new();
    for model in picture.models {
        models_of_team.entry(&model.team_id).or_default().push(model.id.clone());
    }
    let has_one_team = models_of_team.len() <= 1;
    let models_of_team: BTreeMap<&TeamId, Arc<[ModelId]>> =
        models_of_team.into_iter().map(|(team, models)| (team, models.into())).collect();
    let models = |key: &ApiKey| -> Option<Arc<[ModelId]>> {
        match (&key.owner, &key.model_ids) {
            (KeyOwner::User(_), None) => None,
            (KeyOwner::User(_), Some(models)) => Some(models.as_slice().into()),
            (KeyOwner::Team(team), None) => {
                let of_team = models_of_team.get(team);
                let is_all = has_one_team && of_team.is_some();
                (!is_all).then(|| of_team.cloned().unwrap_or_default())
            }
            (KeyOwner::Team(team), Some(models)) => {
                let of_team = models_of_team.get(team).map_or(&[][..], |of_team| of_team);
                Some(models.iter().filter(|model| of_team.contains(model)).cloned().collect())
            }
        }
    };
    let grant = |key: &ApiKey| {
        let grant =
            KeyGrant { prefix: key.prefix.as_str().into(), models: models(key), may_invoke: may_invoke(key.kind) };
        (key.hash, grant)
    };
    picture.keys.iter().map(grant).collect()
}

fn may_invoke(kind: ApiKeyKind) -> bool {
    match kind {
        ApiKeyKind::Personal | ApiKeyKind::WorkspaceManageAll | ApiKeyKind::WorkspaceInvoke => true,
        ApiKeyKind::WorkspaceExportMetrics | ApiKeyKind::WorkspaceManageApiKeys => false,
    }
}
