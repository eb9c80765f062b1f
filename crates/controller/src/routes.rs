//! The route table as a pure function of what is stored and observed. Where a request goes is decided here and nowhere else;
//! carrying it out is the gateway's.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use api::{
    id::{DeploymentId, ModelId},
    internal::{
        replica::Protocol,
        routes::{Availability, DeploymentRoute, Endpoint, ModelRoutes, RequestLimits, Table},
        tokens::{Allowance, Metered},
    },
};
use planner::lifecycle::Status;
use store::domain::{ApiKey, Deployment, Environment, Model, Promotion, User};

use crate::{grants, splits};

/// Everything the table depends on, read together.
pub(crate) struct Picture<'a> {
    pub models: &'a [Model],
    pub environments: &'a [Environment],
    /// Those under way.
    pub promotions: &'a [Promotion],
    pub deployments: &'a [Deployed<'a>],
    /// Those that are worth something now.
    pub keys: &'a [&'a ApiKey],
    pub users: &'a [User],
    /// How many tokens may be taken, where that is limited.
    pub allowances: HashMap<Metered, Allowance>,
}

/// One deployment with what is derived from its facts.
pub(crate) struct Deployed<'a> {
    pub deployment: &'a Deployment,
    pub status: Status,
    /// Whether it will soon have a ready replica again.
    pub recovers: bool,
    /// Of ready replicas that are not told to stop.
    pub endpoints: Vec<Endpoint>,
    pub slots_per_replica: u32,
    pub limits: RequestLimits,
    pub protocol: Protocol,
}

/// The table for `picture`, or none when `published` says the same already. Unchanged deployments are shared with it.
pub(crate) fn table(picture: &Picture<'_>, published: Option<&Table>) -> Option<Table> {
    let models = splits::of_models(picture);
    let next = Table {
        version: published.map_or(1, |table| table.version + 1),
        deployments: deployment_routes(picture, &models, published),
        keys: grants::by_hash(picture),
        models,
        allowances: picture.allowances.clone(),
    };
    let is_same = published.is_some_and(|old| {
        (&old.models, &old.deployments) == (&next.models, &next.deployments)
            && (&old.keys, &old.allowances) == (&next.keys, &next.allowances)
    });
    (!is_same).then_some(next)
}

/// What a status means for a request (behaviour 2.4).
pub(crate) fn availability(status: Status) -> Availability {
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
    models: &HashMap<ModelId, ModelRoutes>,
    published: Option<&Table>,
) -> HashMap<DeploymentId, Arc<DeploymentRoute>> {
    let awaited = awaited(models);
    let route = |deployed: &Deployed<'_>| {
        let Deployed { deployment, status, recovers, endpoints, slots_per_replica, limits, protocol } = deployed;
        let id = &deployment.id;
        let availability = match availability(*status) {
            Availability::NotReady | Availability::Unhealthy if awaited.contains(id) => Availability::Serve,
            Availability::Unhealthy if *recovers => Availability::Serve,
            availability => availability,
        };
        let is_same = |old: &&Arc<DeploymentRoute>| {
            (old.availability, old.slots_per_replica, old.limits) == (availability, *slots_per_replica, *limits)
                && (&old.replicas, old.protocol) == (endpoints, *protocol)
        };
        let unchanged = published.and_then(|table| table.deployments.get(id)).filter(is_same);
        let changed = || DeploymentRoute {
            id: id.clone(),
            model_id: deployment.model_id.clone(),
            availability,
            protocol: *protocol,
            replicas: endpoints.clone(),
            slots_per_replica: *slots_per_replica,
            limits: *limits,
        };
        (id.clone(), unchanged.cloned().unwrap_or_else(|| Arc::new(changed())))
    };
    picture.deployments.iter().map(route).collect()
}

/// Candidates that are given traffic of an environment which has been served before: their callers wait instead of hearing that
/// they are not ready, or that they have failed. The promotion then takes the traffic back, and whoever waits goes with it.
fn awaited(models: &HashMap<ModelId, ModelRoutes>) -> HashSet<&DeploymentId> {
    let splits = models.values().flat_map(|routes| routes.environments.values().flatten());
    splits.filter_map(|split| split.candidate.as_ref()).filter(|(_, share)| *share > 0).map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use store::domain::DeploymentKind;

    use super::*;
    use crate::fixtures::{MODEL, deployed, deployment, model, production, promotion};

    #[test]
    fn an_unchanged_picture_is_no_new_table_and_unchanged_deployments_are_shared() {
        let (first, second) =
            (deployment(1, DeploymentKind::Published, None), deployment(2, DeploymentKind::Published, None));
        let models = [model(MODEL, 1)];
        let of = |status| [deployed(&first, Status::Active), deployed(&second, status)];
        let (before, after) = (of(Status::Building), of(Status::Active));
        let picture = |deployments| Picture {
            models: &models,
            environments: &[],
            promotions: &[],
            deployments,
            keys: &[],
            users: &[],
            allowances: HashMap::new(),
        };
        let published = table(&picture(&before), None).unwrap();
        assert!(table(&picture(&before), Some(&published)).is_none());

        let next = table(&picture(&after), Some(&published)).unwrap();
        assert_eq!(next.version, published.version + 1);
        assert!(Arc::ptr_eq(&next.deployments[&first.id], &published.deployments[&first.id]));
        assert_eq!(next.deployments[&second.id].availability, Availability::Serve);

        let allowances = HashMap::from([(Metered::Deployment(first.id.clone()), Allowance::default())]);
        let limited = Picture { allowances, ..picture(&after) };
        let last = table(&limited, Some(&next)).unwrap();
        assert!(table(&limited, Some(&last)).is_none());
    }

    #[test]
    fn a_candidate_that_is_to_have_traffic_lets_its_callers_wait_whatever_becomes_of_it() {
        let stored = [1, 2].map(|n| deployment(n, DeploymentKind::Published, None));
        let (models, environments) = ([model(MODEL, 1)], [production(Some(1))]);
        let availability = |status: Status, percent: u8| {
            let deployments = [deployed(&stored[0], Status::ScaledToZero), deployed(&stored[1], status)];
            let mut promotion = promotion(2, Some(1));
            promotion.state.percent = percent;
            let promotions = [promotion];
            let picture = Picture {
                models: &models,
                environments: &environments,
                promotions: &promotions,
                deployments: &deployments,
                keys: &[],
                users: &[],
                allowances: HashMap::new(),
            };
            table(&picture, None).unwrap().deployments[&stored[1].id].availability
        };
        for (status, closed) in [
            (Status::LoadingModel, Availability::NotReady),
            (Status::DeployFailed, Availability::Unhealthy),
            (Status::Unhealthy, Availability::Unhealthy),
        ] {
            assert_eq!((availability(status, 0), availability(status, 100)), (closed, Availability::Serve), "{status}");
        }
    }
}
