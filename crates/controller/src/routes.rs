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
    let is_same = published
        .is_some_and(|old| old.models == next.models && old.deployments == next.deployments && old.keys == next.keys);
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

fn deployment_routes(picture: &Picture<'_>, published: Option<&Table>) -> HashMap<DeploymentId, Arc<DeploymentRoute>> {
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
            *production = stand_in_for_production(development, bound).map(|stable| Split { stable, candidate: None });
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

#[cfg(test)]
mod tests {
    use api::id::UserId;
    use planner::{Timestamp, autoscale, lifecycle::Lifecycle, replica_set};
    use store::domain::Archive;

    use super::*;

    const MODEL: u128 = 1;

    fn model(n: u128, team: u128) -> Model {
        Model {
            id: ModelId::from_entropy(n),
            team_id: TeamId::from_entropy(team),
            name: format!("model-{n}"),
            created_at: Timestamp(1),
            archive_download_disabled: false,
        }
    }

    fn deployment(n: u64, kind: DeploymentKind, target: Option<&str>) -> Deployment {
        Deployment {
            id: DeploymentId::from_entropy(n.into()),
            model_id: ModelId::from_entropy(MODEL),
            name: format!("deployment-{n}"),
            created_at: Timestamp(n),
            kind,
            labels: None,
            config: serde_json::json!({}),
            raw_config: None,
            user_env: None,
            archive: Archive { key: "archives/a".into(), bytes: 1 },
            deploy_timeout_ms: 1,
            instance_type: "1x2".into(),
            autoscaling: autoscale::Settings::default(),
            target_environment: target.map(Into::into),
            lifecycle: Lifecycle::pushed(Timestamp(n)),
            target_replicas: 0,
            replica_memory: replica_set::Memory::default(),
            generation: 1,
        }
    }

    fn production(current: Option<u64>) -> Environment {
        Environment {
            model_id: ModelId::from_entropy(MODEL),
            name: PRODUCTION.into(),
            created_at: Timestamp(1),
            current: current.map(|n| DeploymentId::from_entropy(n.into())),
            autoscaling: autoscale::Settings::default(),
            promotion_settings: serde_json::json!({}),
            generation: 1,
        }
    }

    fn deployed(deployment: &Deployment, status: Status) -> Deployed<'_> {
        let limits = RequestLimits { queue_ms: 1, first_byte_ms: 1, idle_ms: 1, max_body_bytes: 1, max_queued: 1 };
        Deployed { deployment, status, endpoints: Vec::new(), slots_per_replica: 1, limits }
    }

    /// Who answers for production, given its current deployment and others as (number, kind, target, status).
    #[track_caller]
    fn check_production(
        current: Option<u64>,
        others: &[(u64, DeploymentKind, Option<&str>, Status)],
        expected: Option<u64>,
    ) {
        let stored: Vec<Deployment> =
            others.iter().map(|(n, kind, target, _)| deployment(*n, *kind, *target)).collect();
        let deployments: Vec<Deployed<'_>> =
            stored.iter().zip(others).map(|(stored, (.., status))| deployed(stored, *status)).collect();
        let models = [model(MODEL, 1)];
        let environments = [production(current)];
        let picture = Picture { models: &models, environments: &environments, deployments: &deployments, keys: &[] };
        let table = table(&picture, None).expect("a first table is always new");
        let split = table.models[&models[0].id].environments[PRODUCTION].clone();
        let expected = expected.map(|n| DeploymentId::from_entropy(n.into()));
        assert_eq!(split.map(|split| split.stable), expected);
    }

    #[test]
    fn production_is_answered_by_its_current_deployment_or_by_the_best_stand_in() {
        use DeploymentKind::{Development, Published};
        const FOR_PRODUCTION: Option<&str> = Some(PRODUCTION);
        check_production(None, &[], None);
        check_production(
            Some(1),
            &[(1, Published, None, Status::Active), (2, Published, None, Status::Building)],
            Some(1),
        );
        check_production(None, &[(1, Published, FOR_PRODUCTION, Status::LoadingModel)], Some(1));
        check_production(
            None,
            &[(1, Published, None, Status::Building), (2, Development, None, Status::Active)],
            Some(2),
        );
        check_production(None, &[(1, Published, Some("staging"), Status::Active)], None);
        check_production(
            None,
            &[(1, Published, FOR_PRODUCTION, Status::Building), (2, Published, FOR_PRODUCTION, Status::BuildFailed)],
            Some(1),
        );
        check_production(
            None,
            &[
                (1, Published, FOR_PRODUCTION, Status::BuildFailed),
                (2, Published, FOR_PRODUCTION, Status::DeployFailed),
            ],
            Some(2),
        );
    }

    #[test]
    fn an_unchanged_picture_is_no_new_table_and_unchanged_deployments_are_shared() {
        let (first, second) =
            (deployment(1, DeploymentKind::Published, None), deployment(2, DeploymentKind::Published, None));
        let models = [model(MODEL, 1)];
        let of = |status| [deployed(&first, Status::Active), deployed(&second, status)];
        let (before, after) = (of(Status::Building), of(Status::Active));
        let picture = |deployments| Picture { models: &models, environments: &[], deployments, keys: &[] };
        let published = table(&picture(&before), None).unwrap();
        assert!(table(&picture(&before), Some(&published)).is_none());

        let next = table(&picture(&after), Some(&published)).unwrap();
        assert_eq!(next.version, published.version + 1);
        assert!(Arc::ptr_eq(&next.deployments[&first.id], &published.deployments[&first.id]));
        assert_eq!(next.deployments[&second.id].availability, Availability::Serve);
    }

    fn key(owner: KeyOwner, kind: ApiKeyKind, models: Option<&[u128]>) -> ApiKey {
        ApiKey {
            prefix: "prefix".into(),
            hash: [1; 32],
            name: None,
            kind,
            owner,
            model_ids: models.map(|models| models.iter().map(|n| ModelId::from_entropy(*n)).collect()),
            created_at: Timestamp(1),
        }
    }

    #[track_caller]
    fn check_grant(models: &[Model], key: ApiKey, expected: Option<&[u128]>, may_invoke: bool) {
        let keys = [key];
        let picture = Picture { models, environments: &[], deployments: &[], keys: &keys };
        let grant = table(&picture, None).unwrap().keys.remove(&keys[0].hash).unwrap();
        let expected: Option<Vec<ModelId>> =
            expected.map(|models| models.iter().map(|n| ModelId::from_entropy(*n)).collect());
        assert_eq!((grant.models.map(|models| models.to_vec()), grant.may_invoke), (expected, may_invoke));
    }

    #[test]
    fn a_key_calls_the_models_it_names_and_a_teams_key_only_those_of_its_team() {
        use ApiKeyKind::{Personal, WorkspaceExportMetrics, WorkspaceInvoke, WorkspaceManageApiKeys};
        let user = || KeyOwner::User(UserId::from_entropy(1));
        let team = |n| KeyOwner::Team(TeamId::from_entropy(n));
        let one_team = [model(1, 1), model(2, 1)];
        let two_teams = [model(1, 1), model(2, 2), model(3, 1)];
        check_grant(&two_teams, key(user(), Personal, None), None, true);
        check_grant(&one_team, key(team(1), WorkspaceInvoke, None), None, true);
        check_grant(&two_teams, key(team(1), WorkspaceInvoke, None), Some(&[1, 3]), true);
        check_grant(&two_teams, key(team(1), WorkspaceInvoke, Some(&[2, 3])), Some(&[3]), true);
        check_grant(&two_teams, key(team(9), WorkspaceInvoke, None), Some(&[]), true);
        check_grant(&one_team, key(team(9), WorkspaceInvoke, None), Some(&[]), true);
        check_grant(&one_team, key(team(1), WorkspaceExportMetrics, None), None, false);
        check_grant(&one_team, key(team(1), WorkspaceManageApiKeys, None), None, false);
    }
}
