//! What promotions that are under way mean for the scaling of a deployment: within which bounds it stays, and whose settings it
//! follows. Pure.

use std::collections::HashMap;

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
    /// Deployments that serve an environment whose promotion does not hold them, if any is under way there at all.
    free: Vec<&'a DeploymentId>,
}

impl<'a> Holds<'a> {
    pub fn new(promotions: &'a [Promotion], environments: &'a [Environment]) -> Self {
        let mut holds = Holds { by_deployment: HashMap::new(), lent: HashMap::new(), free: Vec::new() };
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
                None => holds.free.push(current),
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
        let others = self.free.contains(&&deployment.id).then_some(as_it_is);
        let wider = |one: Hold, other: Hold| Hold { min: one.min.max(other.min), max: one.max.max(other.max) };
        let hold = holds.iter().copied().reduce(wider);
        InForce { settings, hold: hold.map(|hold| others.map_or(hold, |others| wider(hold, others))) }
    }
}

/// Whether a promotion goes into an environment.
pub(crate) fn is_into(promotion: &Promotion, environment: &Environment) -> bool {
    promotion.model_id == environment.model_id && promotion.environment == environment.name
}
