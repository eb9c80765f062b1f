//! The server's locations with the backends that stand for them, and where among them a replica is.

use std::{collections::HashMap, sync::Arc};

use backends::Backend;
use planner::{
    capacity::Capacity,
    fit::Lot,
    heartbeat::Health,
    location,
    policy::{Inventory, Location},
};
use store::domain::Replica;

use crate::{Error, shared::Observation};

/// A location of this server.
#[derive(Clone)]
pub struct Site {
    /// Unique among them.
    pub name: String,
    /// What runs replicas there.
    pub backend: Arc<dyn Backend>,
    /// What is to be had there. None when it is not configured any more: what it still runs is moved, or ended.
    pub offer: Option<Offer>,
}

/// What a location offers.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// What policies choose by.
    pub location: Location,
    /// What replicas there may use together.
    pub capacity: Capacity,
}

/// All of them, in the order of preference. A position in it stands for a location for as long as the process lives.
pub(crate) struct Sites {
    list: Vec<Site>,
    positions: HashMap<String, usize>,
    inventory: Inventory,
}

impl Sites {
    /// Takes them, in this order. An error when two have one name.
    pub fn new(list: Vec<Site>) -> Result<Self, Error> {
        let locations = list.iter().filter_map(|site| Some(site.offer.as_ref()?.location.clone())).collect();
        let inventory = Inventory::new(locations).map_err(|invalid| Error::Locations(invalid.to_string()))?;
        let positions: HashMap<_, _> = list.iter().enumerate().map(|(at, site)| (site.name.clone(), at)).collect();
        if positions.len() < list.len() {
            return Err(Error::Locations("two of them have one name: give each its own".into()));
        }
        Ok(Self { list, positions, inventory })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Site> {
        self.list.iter()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn name(&self, at: usize) -> &str {
        &self.list[at].name
    }

    pub fn backend(&self, at: usize) -> &Arc<dyn Backend> {
        &self.list[at].backend
    }

    /// The location at this position, as far as room is concerned; none when it offers nothing.
    pub fn lot(&self, at: usize) -> Option<Lot<'_>> {
        let site = &self.list[at];
        Some(Lot { name: &site.name, capacity: &site.offer.as_ref()?.capacity })
    }

    /// All locations that are configured.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Where this name is.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }

    /// The name of the one there is; none when there are several. What is ordered is sent there as it is stored, without a second write.
    pub fn only(&self) -> Option<&str> {
        match self.list.as_slice() {
            [only] => Some(&only.name),
            _ => None,
        }
    }

    /// Where a replica is: where it was seen, else where it was sent. None for one that has no place yet, or whose location is gone.
    pub fn position_of(&self, replica: &Replica, observation: &Observation) -> Option<usize> {
        let seen = observation.get(&replica.id).map(|seen| seen.at);
        seen.or_else(|| self.position(replica.location.as_deref()?))
    }

    /// The backend of the location where a replica is.
    pub fn backend_of(&self, replica: &Replica, observation: &Observation) -> Option<&Arc<dyn Backend>> {
        Some(self.backend(self.position_of(replica, observation)?))
    }

    /// The locations as decisions see them, with their health by position.
    pub fn for_planner<'a>(&'a self, health: &'a [Health]) -> Vec<location::Site<'a>> {
        let site = |(site, health): (&'a Site, &'a Health)| location::Site {
            name: &site.name,
            location: site.offer.as_ref().map(|offer| &offer.location),
            unhealthy: match health {
                Health::Healthy { .. } => None,
                Health::Unhealthy { reason, .. } => Some(reason),
            },
        };
        self.list.iter().zip(health).map(site).collect()
    }
}
