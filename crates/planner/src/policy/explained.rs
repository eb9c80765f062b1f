//! An answer with its reasons: what each step took away, and a sentence for people when nothing is left.

use std::{collections::BTreeSet, fmt};

use api::internal::tokens::TokenLimit;

use super::{Asked, Flavor, Location, Name};

/// A place where something may run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'a> {
    /// Where.
    pub location: &'a Location,
    /// On what of it.
    pub flavor: &'a Flavor,
}

/// Where something may run, and why nowhere else.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained<'a> {
    /// Where it may run, in the order of the inventory.
    pub candidates: Vec<Candidate<'a>>,
    /// All of [`StepName::ALL`], in this order, also those that took nothing away.
    pub steps: Vec<Step<'a>>,
    /// How many tokens its environment may take; each of these holds.
    pub environment_limits: Vec<TokenLimit>,
    /// How many tokens it may take itself.
    pub deployment_limits: Vec<TokenLimit>,
}

/// One step on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<'a> {
    /// Which.
    pub name: StepName,
    /// The policies it went by, in the order they are attached; none where it went by none.
    pub policies: Vec<&'a Name>,
    /// What fell out, in the order of the inventory.
    pub removed: Vec<Candidate<'a>>,
    /// How many were left after it.
    pub left: usize,
}

/// What is looked at, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepName {
    /// Every location with every flavor in it; takes nothing away.
    Inventory,
    /// Takes away locations that are not healthy.
    Health,
    /// Takes away locations that no location policy of the environment lists.
    EnvironmentLocations,
    /// Takes away flavors that no flavor policy of the environment lists.
    EnvironmentFlavors,
    /// Takes away locations that no location policy of the deployment lists.
    DeploymentLocations,
    /// Takes away flavors that no flavor policy of the deployment lists.
    DeploymentFlavors,
    /// Takes away flavors that the deployment does not ask for.
    AskedFlavors,
    /// Takes away pairs with too few of the flavor, or with too little memory.
    Feasibility,
}

impl StepName {
    /// All there are, in order.
    pub const ALL: [Self; 8] = [
        Self::Inventory,
        Self::Health,
        Self::EnvironmentLocations,
        Self::EnvironmentFlavors,
        Self::DeploymentLocations,
        Self::DeploymentFlavors,
        Self::AskedFlavors,
        Self::Feasibility,
    ];

    /// A constant that a program can match.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::Health => "health",
            Self::EnvironmentLocations => "environment_locations",
            Self::EnvironmentFlavors => "environment_flavors",
            Self::DeploymentLocations => "deployment_locations",
            Self::DeploymentFlavors => "deployment_flavors",
            Self::AskedFlavors => "asked_flavors",
            Self::Feasibility => "feasibility",
        }
    }

    /// What took something away, in words; policies come after it by name.
    fn cause(self) -> &'static str {
        match self {
            Self::Inventory => "the inventory",
            Self::Health => "the health of locations",
            Self::EnvironmentLocations => "the environment's location",
            Self::EnvironmentFlavors => "the environment's flavor",
            Self::DeploymentLocations => "the deployment's location",
            Self::DeploymentFlavors => "the deployment's flavor",
            Self::AskedFlavors => "the flavors that the deployment asks for",
            Self::Feasibility => "the count and memory that a replica needs",
        }
    }

    /// What to do when this step has taken the last.
    fn remedy(self) -> &'static str {
        match self {
            Self::Inventory => "add locations and the flavors in them to the inventory",
            Self::Health => "bring a location back, or add one",
            Self::EnvironmentLocations | Self::DeploymentLocations => {
                "change these policies, or add a location that they allow"
            }
            Self::EnvironmentFlavors | Self::DeploymentFlavors => {
                "change these policies, or add a flavor that they allow to a location"
            }
            Self::AskedFlavors => "ask for other flavors, or add these where the policies allow them",
            Self::Feasibility => "ask for less, or add more to a location that the policies allow",
        }
    }
}

/// What has fallen out at each step, in the order of [`StepName::ALL`], which is that of its variants.
#[derive(Debug, Default)]
pub(super) struct Removed<'a>([Vec<Candidate<'a>>; StepName::ALL.len()]);

impl<'a> Removed<'a> {
    /// One more.
    pub(super) fn add(&mut self, step: StepName, candidate: Candidate<'a>) {
        self.0[step as usize].push(candidate);
    }
}

impl<'a> Explained<'a> {
    /// Put together from what is left, what has fallen out, and the policies that each step went by.
    pub(super) fn new(
        candidates: Vec<Candidate<'a>>,
        removed: Removed<'a>,
        policies: impl Fn(StepName) -> Vec<&'a Name>,
    ) -> Self {
        let mut left = candidates.len() + removed.0.iter().map(Vec::len).sum::<usize>();
        let steps = StepName::ALL.into_iter().zip(removed.0).map(|(name, removed)| {
            left -= removed.len();
            Step { name, policies: policies(name), removed, left }
        });
        Self { steps: steps.collect(), candidates, environment_limits: Vec::new(), deployment_limits: Vec::new() }
    }

    /// Whether any policy says where it may run. Where none does, it is not refused, whatever locations there are.
    pub fn is_restricted(&self) -> bool {
        self.steps.iter().any(|step| !step.policies.is_empty())
    }

    /// The locations whose room counts: those where it may run or, when nothing restricts it and none of them is healthy, those that have
    /// hardware that was asked for.
    pub fn locations(&self, asked: &Asked) -> BTreeSet<&'a Name> {
        let names = |candidates: &[Candidate<'a>]| candidates.iter().map(|one| &one.location.name).collect();
        if !self.candidates.is_empty() || self.is_restricted() {
            return names(&self.candidates);
        }
        let unhealthy = self.steps.iter().filter(|step| step.name == StepName::Health).flat_map(|step| &step.removed);
        names(&unhealthy.copied().filter(|one| asked.includes(one.flavor)).collect::<Vec<_>>())
    }

    /// Why it may run nowhere; none when it may run somewhere.
    pub fn refusal(&self) -> Option<Refusal<'_>> {
        let emptied = self.steps.iter().find(|step| step.left == 0)?;
        Some(Refusal { steps: &self.steps, emptied })
    }
}

/// Why something may run nowhere, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal<'e> {
    steps: &'e [Step<'e>],
    emptied: &'e Step<'e>,
}

impl<'e> Refusal<'e> {
    /// The step after which nothing was left.
    pub fn emptied(&self) -> &'e Step<'e> {
        self.emptied
    }
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remedy = self.emptied.name.remedy();
        let of = self.steps.iter().map(|step| step.removed.len()).sum::<usize>();
        if of == 0 {
            return write!(f, "no location has a flavor to run on: {remedy}");
        }
        write!(f, "none of {of} pairs of a location and a flavor remains: ")?;
        let mut separator = "";
        for step in self.steps.iter().filter(|step| !step.removed.is_empty()) {
            let last = if step.left == 0 { "the last " } else { "" };
            write!(f, "{separator}{step} removed {last}{}", step.removed.len())?;
            separator = ", ";
        }
        write!(f, ": {remedy}")
    }
}

impl std::error::Error for Refusal<'_> {}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.cause())?;
        match self.policies.as_slice() {
            [] => Ok(()),
            [policy] => write!(f, " policy {policy}"),
            [first, rest @ ..] => {
                write!(f, " policies {first}")?;
                rest.iter().try_for_each(|policy| write!(f, " and {policy}"))
            }
        }
    }
}
