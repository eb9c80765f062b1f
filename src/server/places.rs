//! The server's locations with their backends: those of the configuration or, without any, this machine as it is found.

use std::{collections::BTreeMap, sync::Arc};

use backends::local::{self, Local};
use controller::{Offer, Site};
use planner::{
    capacity::Capacity,
    catalogue::Catalogue,
    policy::{Inventory, Name},
};

use crate::config;

/// The location that is there when none is configured.
const THIS_MACHINE: &str = "local";

/// Where things are built, and where they run.
pub struct Places {
    /// Makes what all of them can start.
    pub builder: Arc<Local>,
    /// In the order of preference; then those that are configured no more.
    pub sites: Vec<Site>,
}

impl Places {
    /// Opens the folder of the local backend, with a folder of replicas for each location.
    pub fn open(settings: &config::Server, local: local::Settings) -> Result<Self, backends::BackendError> {
        let builder = Local::open(local)?;
        let this_machine = Name::parse("name", THIS_MACHINE).expect("it is a name");
        let mut sites = Vec::new();
        if settings.locations.is_empty() {
            let location = builder.this_machine(this_machine.clone());
            // Whoever owns the machine may let more run on it than fits; nothing can have a GPU that is not there.
            let capacity = Capacity { gpus: Capacity::of(&location).gpus, ..Capacity::default() };
            let offer = Offer { location, capacity };
            sites.push(Site { name: THIS_MACHINE.into(), backend: builder.clone(), offer: Some(offer) });
        }
        for location in &settings.locations {
            let offer = Offer { location: location.clone(), capacity: Capacity::of(location) };
            let backend = open_one(&builder, &location.name)?;
            sites.push(Site { name: location.name.to_string(), backend, offer: Some(offer) });
        }
        for name in builder.known_locations().into_iter().chain([this_machine]) {
            if sites.iter().all(|site| site.name != name.as_str()) {
                sites.extend(left_behind(&builder, &name)?);
            }
        }
        Ok(Self { builder, sites })
    }

    /// The locations that policies choose among.
    pub fn inventory(&self) -> Inventory {
        let locations = self.offers().map(|offer| offer.location.clone()).collect();
        Inventory::new(locations).expect("the configuration has been read as one")
    }

    /// The instance types that they can offer.
    pub fn instance_types(&self) -> Catalogue {
        Catalogue::of(self.inventory().locations())
    }

    /// What replicas may use together in each location, by its name.
    pub fn capacities(&self) -> BTreeMap<String, Capacity> {
        self.offers().map(|offer| (offer.location.name.to_string(), offer.capacity.clone())).collect()
    }

    fn offers(&self) -> impl Iterator<Item = &Offer> {
        self.sites.iter().filter_map(|site| site.offer.as_ref())
    }
}

/// The backend of a location. The one that every data folder begins with goes by the name of this machine.
fn open_one(builder: &Arc<Local>, name: &Name) -> Result<Arc<Local>, backends::BackendError> {
    if name.as_str() == THIS_MACHINE { Ok(builder.clone()) } else { builder.beside(name) }
}

/// A location that is not configured any more, where it still has replicas.
fn left_behind(builder: &Arc<Local>, name: &Name) -> Result<Option<Site>, backends::BackendError> {
    let backend = open_one(builder, name)?;
    if !backend.has_replicas() {
        return Ok(None);
    }
    tracing::warn!(
        location = %name,
        "the location is not configured any more and has replicas: they are replaced in other locations and end, or end at once \
         where they may run nowhere else; to keep them there, put it back into the configuration and start again"
    );
    Ok(Some(Site { name: name.to_string(), backend, offer: None }))
}
