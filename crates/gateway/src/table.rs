//! The routes in use: a published table, joined with what this gateway remembers of each deployment.

use std::{collections::HashMap, sync::Arc};

use api::{
    id::{DeploymentId, GatewayId},
    internal::routes::{Availability, ModelRoutes, Split, Table},
};
use tokio::sync::Notify;

use crate::{admission::Deployment, errors::Refusal, key_limits::KeyLimits, meter::Meters, route::Target};

/// What stands for the development deployment in paths and metadata, and may be the name of an environment.
const DEVELOPMENT: &str = "development";

/// A table that can be served from. Immutable; replaced whole.
pub(crate) struct Routes {
    pub(crate) table: Table,
    pub(crate) deployments: HashMap<DeploymentId, Arc<Deployment>>,
    pub(crate) limits: KeyLimits,
    pub(crate) meters: Meters,
}

impl Routes {
    /// Joins `table` with what `before` remembers. What serves has its replicas at once; [`Self::settle`] does the rest.
    pub(crate) fn follow(before: Option<&Routes>, table: Table, demand: &Arc<Notify>, own: &GatewayId) -> Self {
        let remembered = |id: &DeploymentId| before.and_then(|routes| routes.deployments.get(id));
        let deployments: HashMap<_, _> = table
            .deployments
            .iter()
            .map(|(id, route)| {
                let serves = route.availability == Availability::Serve;
                let deployment = remembered(id).cloned();
                deployment.iter().filter(|_| serves).for_each(|deployment| deployment.update(route));
                (id.clone(), deployment.unwrap_or_else(|| Arc::new(Deployment::new(route.clone(), demand.clone()))))
            })
            .collect();
        let limits = KeyLimits::follow(before.map(|routes| &routes.limits), &table.keys);
        let meters = Meters::follow(before.map(|routes| &routes.meters), &table, own);
        Self { table, deployments, limits, meters }
    }

    /// Ends the queues of what serves no more since `before`, and sends away who waits where an environment sends nobody any more.
    /// For routes that are in use already, so that who came by an environment finds the way that is right now.
    pub(crate) fn settle(&self, before: &Routes) {
        for (id, deployment) in &before.deployments {
            match self.table.deployments.get(id) {
                Some(route) => deployment.update(route),
                None => deployment.close(),
            }
        }
        self.send_away(before);
    }

    /// What a target means: `/development` is the environment of that name where there is no development deployment.
    pub(crate) fn meant<'t>(&self, model: &str, target: Target<'t>) -> Target<'t> {
        let is_environment =
            |routes: &ModelRoutes| routes.development.is_none() && routes.environments.contains_key(DEVELOPMENT);
        match target {
            Target::Development if self.table.models.get(model).is_some_and(is_environment) => {
                Target::Environment(DEVELOPMENT.into())
            }
            target => target,
        }
    }

    /// The deployment that `target` of `model` means. Where an environment divides its traffic, `chance` decides.
    pub(crate) fn resolve(&self, model: &str, target: &Target<'_>, chance: u64) -> Result<&Arc<Deployment>, Refusal> {
        let routes = self.table.models.get(model).ok_or_else(|| Refusal::UnknownModel(model.into()))?;
        let id = match target {
            Target::Development => {
                routes.development.as_ref().ok_or_else(|| Refusal::NoDevelopment(model.into()))?.as_str()
            }
            Target::Environment(name) => self.in_environment(routes, model, name, chance)?.as_str(),
            Target::Deployment(id) => id,
        };
        let unknown = || Refusal::UnknownDeployment { model: model.into(), deployment: id.into() };
        let deployment = self.deployments.get(id).ok_or_else(unknown)?;
        // Ids come from the path: one of another model is as unknown as none.
        let belongs = deployment.seats().route.model_id.as_str() == model;
        belongs.then_some(deployment).ok_or_else(unknown)
    }

    /// Whether a deployment takes requests by this table, whatever a newer one says.
    pub(crate) fn serves(&self, id: &DeploymentId) -> bool {
        self.table.deployments.get(id).is_some_and(|route| route.availability == Availability::Serve)
    }

    fn in_environment<'r>(
        &'r self,
        routes: &'r ModelRoutes,
        model: &str,
        name: &str,
        chance: u64,
    ) -> Result<&'r DeploymentId, Refusal> {
        let (model, environment) = (|| model.to_owned(), || name.to_owned());
        match routes.environments.get(name) {
            Some(Some(split)) => Ok(self.side(split, chance)),
            // A model that was never published is reached in production through its development deployment.
            _ if name == "production" && routes.development.is_some() => {
                Ok(routes.development.as_ref().expect("the guard has seen it"))
            }
            Some(None) => Err(Refusal::EmptyEnvironment { model: model(), environment: environment() }),
            None => Err(Refusal::UnknownEnvironment { model: model(), environment: environment() }),
        }
    }

    fn send_away(&self, before: &Routes) {
        for (model, routes) in &before.table.models {
            for (name, split) in &routes.environments {
                let after = self.table.models.get(model).and_then(|routes| routes.environments.get(name));
                let after: Vec<_> = after.into_iter().flatten().flat_map(sides).collect();
                let left = split.iter().flat_map(sides).filter(|side| !after.contains(side));
                left.filter_map(|side| self.deployments.get(side)).for_each(|deployment| deployment.send_away());
            }
        }
    }

    fn side<'r>(&self, split: &'r Split, chance: u64) -> &'r DeploymentId {
        match &split.candidate {
            Some((candidate, share))
                if chance % 100 < u64::from(*share) && self.deployments.contains_key(candidate) =>
            {
                candidate
            }
            _ => &split.stable,
        }
    }
}

/// The deployments that get some of an environment's traffic.
pub(crate) fn sides(split: &Split) -> impl Iterator<Item = &DeploymentId> {
    let share = split.candidate.as_ref().map_or(0, |(_, share)| *share);
    let candidate = split.candidate.as_ref().filter(|_| share > 0).map(|(candidate, _)| candidate);
    let stable = (share < 100).then_some(&split.stable);
    stable.into_iter().chain(candidate)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use api::{
        id::ModelId,
        internal::routes::{DeploymentRoute, RequestLimits},
    };

    use super::*;

    const MODEL: &str = "00000001";

    fn deployment(number: u128, model: &str) -> Arc<DeploymentRoute> {
        Arc::new(DeploymentRoute {
            id: DeploymentId::from_entropy(number),
            model_id: model.parse().unwrap(),
            availability: Availability::Serve,
            protocol: Default::default(),
            replicas: vec![],
            slots_per_replica: 1,
            limits: RequestLimits {
                queue_ms: 1,
                first_byte_ms: 1,
                idle_ms: 1,
                max_body_bytes: 1,
                max_queued: 1,
                max_queued_bytes: u64::MAX,
                waits_when_full: true,
            },
        })
    }

    fn split(stable: u128, candidate: Option<(u128, u8)>) -> Option<Split> {
        let id = DeploymentId::from_entropy;
        Some(Split { stable: id(stable), candidate: candidate.map(|(candidate, share)| (id(candidate), share)) })
    }

    /// A model with the given environments and development deployment; deployments 1 to 4 exist, 4 belongs to another model.
    fn routes(development: Option<u128>, environments: &[(&str, Option<Split>)]) -> Routes {
        let environments: BTreeMap<_, _> =
            environments.iter().map(|(name, split)| ((*name).to_owned(), split.clone())).collect();
        let model = ModelRoutes { development: development.map(DeploymentId::from_entropy), environments };
        let deployments = (1..=3).map(|number| deployment(number, MODEL)).chain([deployment(4, "00000002")]);
        let table = Table {
            models: HashMap::from([(MODEL.parse::<ModelId>().unwrap(), model)]),
            deployments: deployments.map(|route| (route.id.clone(), route)).collect(),
            ..Table::default()
        };
        Routes::follow(None, table, &Arc::default(), &GatewayId::from_entropy(1))
    }

    fn resolves(routes: &Routes, target: Target<'_>, chance: u64) -> Result<DeploymentId, Refusal> {
        routes.resolve(MODEL, &routes.meant(MODEL, target), chance).map(|deployment| deployment.id().clone())
    }

    fn environment(name: &str) -> Target<'_> {
        Target::Environment(name.into())
    }

    #[test]
    fn production_falls_back_to_development_while_nothing_was_published() {
        let one = Ok(DeploymentId::from_entropy(1));
        let two = Ok(DeploymentId::from_entropy(2));
        assert_eq!(resolves(&routes(Some(1), &[("production", None)]), environment("production"), 0), one);
        assert_eq!(resolves(&routes(Some(1), &[("production", split(2, None))]), environment("production"), 0), two);
        let empty = routes(Some(1), &[("staging", None)]);
        assert!(matches!(resolves(&empty, environment("staging"), 0), Err(Refusal::EmptyEnvironment { .. })));
        assert!(matches!(resolves(&empty, environment("nowhere"), 0), Err(Refusal::UnknownEnvironment { .. })));
    }

    #[test]
    fn development_means_the_deployment_and_the_environment_of_that_name_only_where_there_is_none() {
        let (one, two) = (Ok(DeploymentId::from_entropy(1)), Ok(DeploymentId::from_entropy(2)));
        let both = routes(Some(1), &[("development", split(2, None))]);
        assert_eq!(resolves(&both, Target::Development, 0), one);
        assert_eq!(resolves(&both, environment("development"), 0), two, "it has a path of its own");
        assert_eq!(resolves(&routes(None, &[("development", split(2, None))]), Target::Development, 0), two);
        let empty = resolves(&routes(None, &[("development", None)]), Target::Development, 0);
        assert!(matches!(empty, Err(Refusal::EmptyEnvironment { .. })), "{empty:?}");
    }

    #[test]
    fn a_candidate_gets_its_share_and_no_more() {
        let routes = routes(None, &[("production", split(1, Some((2, 30))))]);
        let candidate = Ok(DeploymentId::from_entropy(2));
        let taken =
            (0..1000).filter(|chance| resolves(&routes, environment("production"), *chance) == candidate).count();
        assert_eq!(taken, 300);
    }

    #[test]
    fn a_deployment_of_another_model_is_unknown() {
        let routes = routes(None, &[]);
        let target = |number| DeploymentId::from_entropy(number).to_string();
        assert!(resolves(&routes, Target::Deployment(&target(3)), 0).is_ok());
        for number in [4, 5] {
            let found = resolves(&routes, Target::Deployment(&target(number)), 0);
            assert!(matches!(found, Err(Refusal::UnknownDeployment { .. })), "{found:?}");
        }
        assert!(matches!(resolves(&routes, Target::Development, 0), Err(Refusal::NoDevelopment(_))));
    }
}
