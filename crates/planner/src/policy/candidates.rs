//! Which pairs of a location and a flavor remain, and at which step each of the others fell out.

use std::{collections::BTreeSet, num::NonZeroU32};

use super::{Candidate, Explained, Flavor, Inventory, Kind, Level, Name, StepName, Stock, explained::Removed};

/// What a deployment needs of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The hardware it asks for.
    pub asked: Asked,
    /// How many of a flavor one replica takes.
    pub count: NonZeroU32,
    /// The memory that each of these must have, in MiB; 0 where any will do.
    pub memory_mib: u64,
}

/// The hardware that a deployment asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Asked {
    /// Any that its policies allow.
    #[default]
    Anything,
    /// Only these, all of one kind.
    OneOf {
        /// What they are.
        kind: Kind,
        /// Which.
        names: BTreeSet<Name>,
    },
}

impl Default for Request {
    /// One of anything.
    fn default() -> Self {
        Self { asked: Asked::default(), count: NonZeroU32::MIN, memory_mib: 0 }
    }
}

impl Asked {
    /// Whether this is hardware that was asked for.
    pub fn includes(&self, flavor: &Flavor) -> bool {
        match self {
            Self::Anything => true,
            Self::OneOf { kind, names } => *kind == flavor.kind && names.contains(&flavor.name),
        }
    }
}

impl Request {
    /// Whether a location that has this much of a flavor has enough.
    fn fits(&self, stock: &Stock) -> bool {
        stock.count >= self.count.get() && stock.memory_mib.is_none_or(|memory_mib| memory_mib >= self.memory_mib)
    }
}

/// Where a deployment may run: all pairs in the inventory that the policies of its environment and its own allow, and that have what
/// it needs. In the order of the inventory. A pair is one place: "T4" and "US" are met by a T4 in the US, not by one of each.
pub fn candidates<'a>(
    environment: &Level<'a>,
    deployment: &Level<'a>,
    inventory: &'a Inventory,
    request: &Request,
) -> Explained<'a> {
    let mut left = Vec::new();
    let mut removed = Removed::default();
    for location in inventory.locations() {
        let is_in_environment = environment.allows_location(location);
        let is_in_deployment = deployment.allows_location(location);
        for stock in &location.flavors {
            let flavor = &stock.flavor;
            let candidate = Candidate { location, flavor };
            // In the order of the steps: a pair falls out once, at the first that it does not pass.
            let fails_at = if !location.is_healthy {
                Some(StepName::Health)
            } else if !is_in_environment {
                Some(StepName::EnvironmentLocations)
            } else if !environment.allows_flavor(flavor) {
                Some(StepName::EnvironmentFlavors)
            } else if !is_in_deployment {
                Some(StepName::DeploymentLocations)
            } else if !deployment.allows_flavor(flavor) {
                Some(StepName::DeploymentFlavors)
            } else if !request.asked.includes(flavor) {
                Some(StepName::AskedFlavors)
            } else if !request.fits(stock) {
                Some(StepName::Feasibility)
            } else {
                None
            };
            match fails_at {
                Some(step) => removed.add(step, candidate),
                None => left.push(candidate),
            }
        }
    }
    let explained = Explained::new(left, removed, |step| match step {
        StepName::EnvironmentLocations => environment.location_policies(),
        StepName::EnvironmentFlavors => environment.flavor_policies(),
        StepName::DeploymentLocations => deployment.location_policies(),
        StepName::DeploymentFlavors => deployment.flavor_policies(),
        StepName::Inventory | StepName::Health | StepName::AskedFlavors | StepName::Feasibility => Vec::new(),
    });
    Explained {
        environment_limits: environment.token_limits().to_vec(),
        deployment_limits: deployment.token_limits().to_vec(),
        ..explained
    }
}
