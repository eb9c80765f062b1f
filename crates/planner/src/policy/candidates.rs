//! Which pairs of a location and a flavor remain, and at which step each of the others fell out.

use std::{collections::BTreeSet, num::NonZeroU32};

use super::{
    Candidate, Explained, Flavor, Inventory, Kind, Level, Location, Name, StepName, Stock, explained::Removed,
};
use crate::catalogue::Catalogue;

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
    /// What a replica on this instance type needs. One with GPUs needs those, of their kind. One without needs processors, of
    /// whatever kind there is; where no location says which it has, every one is taken to have some.
    pub fn of(catalogue: &Catalogue, instance_type: &str, inventory: &Inventory) -> Self {
        let Some(kind) = catalogue.get(instance_type) else { return Self::default() };
        let count = NonZeroU32::new(kind.gpu_count).unwrap_or(NonZeroU32::MIN);
        if let Some(name) = kind.gpu_type.as_deref().and_then(gpu_flavor) {
            let asked = Asked::OneOf { kind: Kind::Gpu, names: BTreeSet::from([name]) };
            return Self { asked, count, memory_mib: kind.gpu_memory_mib.unwrap_or(0) };
        }
        let stocks = inventory.locations().iter().flat_map(|location| &location.flavors);
        let names: BTreeSet<Name> =
            stocks.filter(|stock| stock.flavor.kind == Kind::Cpu).map(|stock| stock.flavor.name.clone()).collect();
        if names.is_empty() {
            return Self::default();
        }
        Self { asked: Asked::OneOf { kind: Kind::Cpu, names }, count, memory_mib: kind.memory_mib }
    }

    /// The same under these policies. Where none of them restricts places, memory is the operator's affair: what a location lacks of
    /// it shows in its capacity, where that is said.
    #[must_use]
    pub fn under(self, levels: &[&Level<'_>]) -> Self {
        let is_restricted = levels.iter().any(|level| level.restricts_places());
        if is_restricted { self } else { Self { memory_mib: 0, ..self } }
    }

    /// Whether a location that has this much of a flavor has enough.
    fn fits(&self, stock: &Stock) -> bool {
        stock.count >= self.count.get() && stock.memory_mib.is_none_or(|memory_mib| memory_mib >= self.memory_mib)
    }
}

/// A kind of GPU as the catalogue writes it, and clients in their configs: the flavor `a100-40gb` is an `A100_40GB`.
pub fn gpu_kind(flavor: &Name) -> String {
    flavor.as_str().to_uppercase().replace('-', "_")
}

/// The flavor that a catalogue's kind of GPU is.
pub fn gpu_flavor(kind: &str) -> Option<Name> {
    Name::parse("gpu_type", &kind.to_lowercase().replace('_', "-")).ok()
}

/// What a location is for a deployment, as far as policies and its hardware say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suits {
    /// It has a flavor that is allowed and has what is needed.
    Yes,
    /// It is allowed, and what is needed is not there, or not enough of it.
    Lacks,
    /// Policies do not allow it, or nothing of what was asked for that is there.
    No,
}

/// What a location is for a deployment that is in several environments: the question of [`candidates`] about one location, without the
/// reasons. Health is left to the one who asks.
pub fn suits(levels: &[&Level<'_>], location: &Location, request: &Request) -> Suits {
    if !levels.iter().all(|level| level.allows_location(location)) {
        return Suits::No;
    }
    let is_allowed = |flavor: &Flavor| levels.iter().all(|level| level.allows_flavor(flavor));
    let asked = || location.flavors.iter().filter(|stock| request.asked.includes(&stock.flavor));
    if asked().any(|stock| is_allowed(&stock.flavor) && request.fits(stock)) {
        return Suits::Yes;
    }
    let is_lacking = match (asked().next(), &request.asked) {
        (Some(_), _) => asked().any(|stock| is_allowed(&stock.flavor)),
        (None, Asked::OneOf { kind, names }) => {
            names.iter().any(|name| is_allowed(&Flavor { kind: *kind, name: name.clone() }))
        }
        (None, Asked::Anything) => false,
    };
    if is_lacking { Suits::Lacks } else { Suits::No }
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
