//! Who answers for each environment, and with which share of its requests. Pure.

use std::collections::HashMap;

use api::{
    id::{DeploymentId, ModelId},
    internal::routes::{Availability, ModelRoutes, Split, Table},
};
use store::domain::{DeploymentKind, Environment, PRODUCTION, Promotion};

use crate::{
    holds::is_into,
    routes::{Deployed, Picture, availability},
};

/// The targets of every model.
pub(crate) fn of_models(picture: &Picture<'_>) -> HashMap<ModelId, ModelRoutes> {
    let mut models: HashMap<ModelId, ModelRoutes> =
        picture.models.iter().map(|model| (model.id.clone(), ModelRoutes::default())).collect();
    let deployed: HashMap<&DeploymentId, &Deployed<'_>> =
        picture.deployments.iter().map(|deployed| (&deployed.deployment.id, deployed)).collect();
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
    for environment in picture.environments {
        let Some(routes) = models.get_mut(&environment.model_id) else { continue };
        let promotion = picture.promotions.iter().find(|promotion| is_into(promotion, environment));
        let mut split = split(environment, promotion, &deployed);
        if environment.name == PRODUCTION && environment.current.is_none() {
            let candidate = split.as_ref().and_then(|split| deployed.get(&split.stable).copied());
            let bound = bound_for_production.get(&environment.model_id).map_or(&[][..], Vec::as_slice);
            let stand_in = stand_in_for_production(candidate, routes.development.clone(), bound);
            split = stand_in.map(|stable| Split { stable, candidate: None });
        }
        routes.environments.insert(environment.name.clone(), split);
    }
    models
}

/// How an environment's traffic is divided. Where it has nothing to serve yet, what is being promoted to it answers: callers hear
/// that it is not ready, and not that there is nothing.
fn split(
    environment: &Environment,
    promotion: Option<&Promotion>,
    deployed: &HashMap<&DeploymentId, &Deployed<'_>>,
) -> Option<Split> {
    let ready = |id: &DeploymentId| {
        deployed.get(id).map_or(0, |deployed| u32::try_from(deployed.endpoints.len()).unwrap_or(u32::MAX))
    };
    match (&environment.current, promotion) {
        (Some(current), Some(promotion)) if promotion.candidate != *current => {
            let share = promotion.state.share(ready(&promotion.candidate), Some(ready(current)));
            Some(Split { stable: current.clone(), candidate: Some((promotion.candidate.clone(), share)) })
        }
        (Some(current), _) => Some(Split { stable: current.clone(), candidate: None }),
        (None, Some(promotion)) => Some(Split { stable: promotion.candidate.clone(), candidate: None }),
        (None, None) => None,
    }
}

/// Who answers for a production that has no current deployment yet: a candidate that can; the development deployment (the
/// contract's fallback); a candidate or the first deployment on its way, so that callers hear "not ready" and not "unknown"; else
/// the newest that did not get there.
fn stand_in_for_production(
    candidate: Option<&Deployed<'_>>,
    development: Option<DeploymentId>,
    bound: &[&Deployed<'_>],
) -> Option<DeploymentId> {
    let id = |deployed: &Deployed<'_>| deployed.deployment.id.clone();
    let newest = |deployed: &&&Deployed<'_>| {
        let is_on_its_way = availability(deployed.status) == Availability::NotReady;
        (is_on_its_way, deployed.deployment.created_at, deployed.deployment.id.clone())
    };
    candidate
        .filter(|candidate| availability(candidate.status) == Availability::Serve)
        .map(id)
        .or(development)
        .or_else(|| candidate.map(id))
        .or_else(|| bound.iter().max_by_key(newest).map(|deployed| id(deployed)))
}

/// The share of an environment's requests that a table gives to a candidate; none when it knows neither the candidate nor an
/// environment without one.
pub(crate) fn share_in(table: &Table, promotion: &Promotion) -> Option<u8> {
    let split = table.models.get(&promotion.model_id)?.environments.get(&promotion.environment)?.as_ref()?;
    match &split.candidate {
        Some((candidate, share)) => (*candidate == promotion.candidate).then_some(*share),
        None if split.stable == promotion.candidate => Some(100),
        None => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use planner::lifecycle::Status;
    use store::domain::Deployment;

    use super::*;
    use crate::fixtures::{MODEL, deployed, deployment, model, production, promotion};

    /// Who answers for production, given its current deployment, the candidate of a promotion to it, and others as (number, kind,
    /// target, status).
    #[track_caller]
    fn check_production(
        (current, candidate): (Option<u64>, Option<u64>),
        others: &[(u64, DeploymentKind, Option<&str>, Status)],
        expected: Option<u64>,
    ) {
        let stored: Vec<Deployment> =
            others.iter().map(|(n, kind, target, _)| deployment(*n, *kind, *target)).collect();
        let deployments: Vec<Deployed<'_>> =
            stored.iter().zip(others).map(|(stored, (.., status))| deployed(stored, *status)).collect();
        let models = [model(MODEL, 1)];
        let environments = [production(current)];
        let promotions: Vec<Promotion> = candidate.map(|n| promotion(n, current)).into_iter().collect();
        let picture = Picture {
            models: &models,
            environments: &environments,
            promotions: &promotions,
            deployments: &deployments,
            keys: &[],
            users: &[],
            allowances: HashMap::new(),
        };
        let split = of_models(&picture)[&models[0].id].environments[PRODUCTION].clone();
        let expected = expected.map(|n| DeploymentId::from_entropy(n.into()));
        assert_eq!(split.map(|split| split.stable), expected);
    }

    #[test]
    fn production_is_answered_by_its_current_deployment_or_by_the_best_stand_in() {
        use DeploymentKind::{Development, Published};
        const FOR_PRODUCTION: Option<&str> = Some(PRODUCTION);
        const NOTHING: (Option<u64>, Option<u64>) = (None, None);
        check_production(NOTHING, &[], None);
        check_production(
            (Some(1), None),
            &[(1, Published, None, Status::Active), (2, Published, None, Status::Building)],
            Some(1),
        );
        check_production(NOTHING, &[(1, Published, FOR_PRODUCTION, Status::LoadingModel)], Some(1));
        check_production(
            NOTHING,
            &[(1, Published, None, Status::Building), (2, Development, None, Status::Active)],
            Some(2),
        );
        check_production(NOTHING, &[(1, Published, Some("staging"), Status::Active)], None);
        check_production(
            NOTHING,
            &[(1, Published, FOR_PRODUCTION, Status::Building), (2, Published, FOR_PRODUCTION, Status::BuildFailed)],
            Some(1),
        );
        check_production(
            NOTHING,
            &[
                (1, Published, FOR_PRODUCTION, Status::BuildFailed),
                (2, Published, FOR_PRODUCTION, Status::DeployFailed),
            ],
            Some(2),
        );
    }

    #[test]
    fn a_candidate_answers_where_there_is_nothing_and_a_development_deployment_until_it_can() {
        use DeploymentKind::{Development, Published};
        let first = (None, Some(1));
        check_production(
            first,
            &[(1, Published, None, Status::Building), (2, Published, None, Status::Building)],
            Some(1),
        );
        let beside_development = |status| [(1, Published, None, status), (2, Development, None, Status::Active)];
        check_production(first, &beside_development(Status::LoadingModel), Some(2));
        check_production(first, &beside_development(Status::Active), Some(1));
    }

    /// The candidate's share when so many replicas of each side are ready and half is decided.
    #[track_caller]
    fn check_share(candidate: usize, previous: usize, expected: u8) {
        let stored = [1, 2].map(|n| deployment(n, DeploymentKind::Published, None));
        let [mut one, mut two] = [&stored[0], &stored[1]].map(|stored| deployed(stored, Status::Active));
        one.endpoints = crate::fixtures::endpoints(previous);
        two.endpoints = crate::fixtures::endpoints(candidate);
        let mut promotion = promotion(2, Some(1));
        promotion.state.percent = 50;
        let (models, environments) = ([model(MODEL, 1)], [production(Some(1))]);
        let picture = Picture {
            models: &models,
            environments: &environments,
            promotions: std::slice::from_ref(&promotion),
            deployments: &[one, two],
            keys: &[],
            users: &[],
            allowances: HashMap::new(),
        };
        let table = Table { models: of_models(&picture), ..Table::default() };
        assert_eq!(share_in(&table, &promotion), Some(expected));
        let split = table.models[&models[0].id].environments[PRODUCTION].clone().unwrap();
        assert_eq!((split.stable, split.candidate), (stored[0].id.clone(), Some((stored[1].id.clone(), expected))));
    }

    #[test]
    fn no_traffic_goes_where_nothing_is_ready_while_the_other_side_is() {
        check_share(1, 1, 50);
        check_share(0, 1, 0);
        check_share(1, 0, 100);
        check_share(0, 0, 50);
    }
}
