//! What promotions that are under way mean for the scaling of a deployment: within which bounds it stays, and whose settings it
//! follows. Pure.

use std::collections::{HashMap, HashSet};

use api::id::DeploymentId;
use planner::{autoscale, promotion::Hold};
use store::domain::{Deployment, Environment, Promotion};

/// How a deployment scales now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InForce {
    /// Its own settings, or those of the environment that it is being promoted to.
    pub settings: autoscale::Settings,
    /// Bounds in place of the settings' own.
    pub hold: Option<Hold>,
}

impl InForce {
    /// The most replicas that it may have.
    pub fn most(&self) -> u32 {
        self.hold.map_or(self.settings.max_replica, |hold| hold.max)
    }
}

/// The holds of all promotions.
pub(crate) struct Holds<'a> {
    by_deployment: HashMap<&'a DeploymentId, Vec<Hold>>,
    /// The settings that candidates follow.
    lent: HashMap<&'a DeploymentId, &'a autoscale::Settings>,
    /// Deployments that serve an environment in which no promotion holds them.
    free: HashSet<&'a DeploymentId>,
}

impl<'a> Holds<'a> {
    pub fn new(promotions: &'a [Promotion], environments: &'a [Environment]) -> Self {
        let mut holds = Holds { by_deployment: HashMap::new(), lent: HashMap::new(), free: HashSet::new() };
        for promotion in promotions {
            holds.by_deployment.entry(&promotion.candidate).or_default().push(promotion.targets.candidate);
        }
        for environment in environments {
            let promotion = promotions.iter().find(|promotion| is_into(promotion, environment));
            if let Some(promotion) = promotion {
                holds.lent.insert(&promotion.candidate, &environment.autoscaling);
            }
            let Some(current) = &environment.current else { continue };
            match promotion.and_then(|promotion| promotion.targets.previous) {
                Some(hold) => holds.by_deployment.entry(current).or_default().push(hold),
                None => {
                    holds.free.insert(current);
                }
            }
        }
        holds
    }

    /// How a deployment scales. One that several count on has room for each of them.
    pub fn of(&self, deployment: &Deployment) -> InForce {
        let own = &deployment.autoscaling;
        let settings = self.lent.get(&deployment.id).map_or(own, |lent| lent).clone();
        let holds = self.by_deployment.get(&deployment.id).map_or(&[][..], Vec::as_slice);
        let as_it_is = Hold { min: own.min_replica, max: own.max_replica };
        let others = self.free.contains(&deployment.id).then_some(as_it_is);
        let wider = |one: Hold, other: Hold| Hold { min: one.min.max(other.min), max: one.max.max(other.max) };
        let hold = holds.iter().copied().reduce(wider);
        InForce { settings, hold: hold.map(|hold| others.map_or(hold, |others| wider(hold, others))) }
    }
}

/// Whether a promotion goes into an environment.
pub(crate) fn is_into(promotion: &Promotion, environment: &Environment) -> bool {
    promotion.model_id == environment.model_id && promotion.environment == environment.name
}

#[cfg(test)]
mod tests {
    use store::domain::DeploymentKind;

    use super::*;
    use crate::fixtures::{deployment, production, promotion};

    fn exactly(replicas: u32) -> Hold {
        Hold { min: replicas, max: replicas }
    }

    /// A promotion from the first to the second deployment, of which production wants up to nine replicas.
    fn under_way() -> (Promotion, Environment) {
        let mut promotion = promotion(2, Some(1));
        promotion.targets.candidate = exactly(3);
        promotion.targets.previous = Some(exactly(1));
        let mut production = production(Some(1));
        production.autoscaling.max_replica = 9;
        (promotion, production)
    }

    #[test]
    fn both_sides_are_held_and_the_candidate_follows_the_settings_of_its_environment() {
        let (promotion, production) = under_way();
        let (promotions, environments) = ([promotion], [production]);
        let holds = Holds::new(&promotions, &environments);
        let of = |n| holds.of(&deployment(n, DeploymentKind::Published, None));
        assert_eq!((of(1).hold, of(2).hold, of(3).hold), (Some(exactly(1)), Some(exactly(3)), None));
        assert_eq!((of(2).settings.max_replica, of(2).most()), (9, 3));
        assert_eq!((of(3).settings.max_replica, of(3).most()), (1, 1));
    }

    #[test]
    fn a_deployment_that_another_environment_counts_on_keeps_room_for_it() {
        let (promotion, production) = under_way();
        let staging = Environment { name: "staging".into(), ..production.clone() };
        let (promotions, environments) = ([promotion], [production, staging]);
        let mut first = deployment(1, DeploymentKind::Published, None);
        (first.autoscaling.min_replica, first.autoscaling.max_replica) = (2, 4);
        assert_eq!(Holds::new(&promotions, &environments).of(&first).hold, Some(Hold { min: 2, max: 4 }));
    }
}
