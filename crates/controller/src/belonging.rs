//! Which environment a deployment belongs to, as its model is told. Pure.

use std::collections::HashMap;

use api::id::DeploymentId;
use store::domain::{Deployment, Environment, PRODUCTION, Promotion};

/// The environments of all deployments.
pub(crate) struct Belonging<'a> {
    served: HashMap<&'a DeploymentId, &'a str>,
    promoted: HashMap<&'a DeploymentId, &'a str>,
}

impl<'a> Belonging<'a> {
    pub fn new(promotions: &'a [Promotion], environments: &'a [Environment]) -> Self {
        let mut served: HashMap<&DeploymentId, &str> = HashMap::new();
        for environment in environments {
            let Some(current) = &environment.current else { continue };
            let known = served.entry(current).or_insert(&environment.name);
            if environment.name == PRODUCTION {
                *known = PRODUCTION;
            }
        }
        let promoted = promotions.iter().map(|promotion| (&promotion.candidate, promotion.environment.as_str()));
        Self { served, promoted: promoted.collect() }
    }

    /// The environment that a deployment serves, else the one it is being promoted to, else the one it was pushed for.
    pub fn of<'d>(&self, deployment: &'d Deployment) -> Option<&'d str>
    where
        'a: 'd,
    {
        let known = self.served.get(&deployment.id).or_else(|| self.promoted.get(&deployment.id)).copied();
        known.or(deployment.target_environment.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use store::domain::DeploymentKind;

    use super::*;
    use crate::fixtures::{deployment, production, promotion};

    #[test]
    fn what_is_served_goes_before_what_is_promoted_and_that_before_what_was_asked() {
        let staging = |current| Environment { name: "staging".into(), ..production(current) };
        let pushed = deployment(1, DeploymentKind::Published, Some("asked"));
        let check = |promotions: &[Promotion], environments: &[Environment], expected: &str| {
            assert_eq!(Belonging::new(promotions, environments).of(&pushed), Some(expected));
        };
        check(&[], &[production(Some(2)), staging(None)], "asked");
        check(&[promotion(1, Some(2))], &[production(Some(2)), staging(None)], PRODUCTION);
        check(&[promotion(1, Some(2))], &[production(Some(2)), staging(Some(1))], "staging");
        check(&[], &[production(Some(1)), staging(Some(1))], PRODUCTION);
    }
}
