//! The policies of one level, an environment's or a deployment's, as predicates. Places stay words and are not turned into lists of
//! locations, so that a location which comes later is found without another deploy.

use std::collections::BTreeSet;

use api::internal::tokens::TokenLimit;

use super::{Continent, Country, Flavor, Location, Name, Place, Policy, ResourceType, Rule};

/// What the policies of one level allow for things of one type. Made once for each distinct set of policies; with one policy of a
/// type, only what some policy of that type lists is allowed, and without one, everything.
#[derive(Debug, Clone, Default)]
pub struct Level<'a> {
    locations: Option<Places<'a>>,
    flavors: Option<Flavors<'a>>,
    token_limits: Vec<TokenLimit>,
}

/// What the location policies list together.
#[derive(Debug, Clone, Default)]
struct Places<'a> {
    policies: Vec<&'a Name>,
    locations: BTreeSet<&'a Name>,
    countries: BTreeSet<Country>,
    continents: BTreeSet<Continent>,
}

/// What the flavor policies list together.
#[derive(Debug, Clone, Default)]
struct Flavors<'a> {
    policies: Vec<&'a Name>,
    flavors: BTreeSet<&'a Flavor>,
}

impl<'a> Level<'a> {
    /// What these policies allow for things of this type. Those for other types count for nothing.
    pub fn new(policies: impl IntoIterator<Item = &'a Policy>, resource_type: ResourceType) -> Self {
        let mut level = Self::default();
        for policy in policies.into_iter().filter(|policy| policy.applies_to(resource_type)) {
            match policy.rule() {
                Rule::Locations(places) => level.locations.get_or_insert_default().add(policy.name(), places),
                Rule::Flavors(flavors) => {
                    let allowed = level.flavors.get_or_insert_default();
                    allowed.policies.push(policy.name());
                    allowed.flavors.extend(flavors);
                }
                Rule::MaxTokens(most) => {
                    let policy = policy.name().as_str().into();
                    level.token_limits.push(TokenLimit { policy, most: most.clone() });
                }
            }
        }
        level
    }

    /// Whether any of its policies says where something may run.
    pub fn restricts_places(&self) -> bool {
        self.locations.is_some() || self.flavors.is_some()
    }

    /// Whether something may run in this location.
    pub fn allows_location(&self, location: &Location) -> bool {
        self.locations.as_ref().is_none_or(|places| {
            location.continent.is_some_and(|continent| places.continents.contains(&continent))
                || location.country.is_some_and(|country| places.countries.contains(&country))
                || places.locations.contains(&location.name)
        })
    }

    /// Whether something may run on this hardware.
    pub fn allows_flavor(&self, flavor: &Flavor) -> bool {
        self.flavors.as_ref().is_none_or(|allowed| allowed.flavors.contains(flavor))
    }

    /// How many tokens may be taken: each of these holds, and not only the loosest.
    pub fn token_limits(&self) -> &[TokenLimit] {
        &self.token_limits
    }

    /// The location policies that count.
    pub(super) fn location_policies(&self) -> Vec<&'a Name> {
        self.locations.as_ref().map(|places| places.policies.clone()).unwrap_or_default()
    }

    /// The flavor policies that count.
    pub(super) fn flavor_policies(&self) -> Vec<&'a Name> {
        self.flavors.as_ref().map(|allowed| allowed.policies.clone()).unwrap_or_default()
    }
}

impl<'a> Places<'a> {
    fn add(&mut self, policy: &'a Name, places: &'a [Place]) {
        self.policies.push(policy);
        for place in places {
            match place {
                Place::Location(name) => {
                    self.locations.insert(name);
                }
                Place::Country(country) => {
                    self.countries.insert(*country);
                }
                Place::Continent(continent) => {
                    self.continents.insert(*continent);
                }
            }
        }
    }
}
