//! Where a deployment may run, and how many tokens it may take: policies on environments and on single deployments. A policy lists what
//! it allows of one thing. Two of the same type on one level add up, but for limits, which all hold; types, and the two levels, narrow
//! each other, so that a deployment never gets more than its environment. Who may write policies, and what follows from them, is left
//! to others.

mod calendar;
mod candidates;
mod counter;
mod explained;
mod inventory;
mod level;
mod name;
mod parse;
mod place;
pub mod tokens;
pub mod written;

use std::collections::BTreeSet;

use api::internal::tokens::MostTokens;
use serde::{Deserialize, Serialize};

pub use self::{
    candidates::{Asked, Request, Suits, candidates, gpu_flavor, gpu_kind, suits},
    counter::Counter,
    explained::{Candidate, Explained, Refusal, Step, StepName},
    inventory::{Coordinates, Flavor, Inventory, Kind, Location, Stock},
    level::Level,
    name::{Invalid, Name},
    place::{Continent, Country, Place},
};

/// One policy: all that it allows of one thing. Written and stored as [`written::Policy`]; what has been parsed from it lists
/// something, and nothing that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "written::Policy", into = "written::Policy")]
pub struct Policy {
    name: Name,
    rule: Rule,
    /// Empty: for every type.
    resource_types: BTreeSet<ResourceType>,
}

/// What a policy allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// These places, and no other; at least one.
    Locations(Vec<Place>),
    /// This hardware, and no other; at least one.
    Flavors(Vec<Flavor>),
    /// So many tokens in a window of time.
    MaxTokens(MostTokens),
}

/// What kind of thing a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceType {
    /// A model.
    Model,
    /// A function.
    Function,
    /// An agent.
    Agent,
}

impl Policy {
    /// Its name, which is unique.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What it allows.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Whether it has a say in where a thing of this type runs.
    pub fn restricts_places(&self, resource_type: ResourceType) -> bool {
        self.applies_to(resource_type) && matches!(self.rule, Rule::Locations(_) | Rule::Flavors(_))
    }

    /// Whether it says anything of things of this type.
    pub fn applies_to(&self, resource_type: ResourceType) -> bool {
        self.resource_types.is_empty() || self.resource_types.contains(&resource_type)
    }
}

impl ResourceType {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Model, Self::Function, Self::Agent];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Function => "function",
            Self::Agent => "agent",
        }
    }
}
