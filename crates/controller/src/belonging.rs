//! Which environment a deployment belongs to, as its model is told. Pure.

use store::domain::{Deployment, Environment, PRODUCTION, Promotion};

/// The environment that a deployment serves, else the one it is being promoted to, else the one it was pushed for.
pub(crate) fn environment_of<'a>(
    deployment: &'a Deployment,
    environments: &'a [Environment],
    promotions: &'a [Promotion],
) -> Option<&'a str> {
    let serving = environments.iter().filter(|environment| environment.current.as_ref() == Some(&deployment.id));
    let served = serving.map(|environment| environment.name.as_str()).max_by_key(|name| *name == PRODUCTION);
    let promoted = || {
        let promotion = promotions.iter().find(|promotion| promotion.candidate == deployment.id);
        promotion.map(|promotion| promotion.environment.as_str())
    };
    served.or_else(promoted).or(deployment.target_environment.as_deref())
}
