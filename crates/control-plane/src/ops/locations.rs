//! The locations of this server, and whether they answer.

use std::collections::BTreeMap;

use planner::{
    heartbeat::Health,
    policy::{Inventory, Location},
};

use super::{ControlPlane, Error};

/// Every location with its health, in the order of preference.
pub async fn list(control_plane: &ControlPlane) -> Result<Vec<(Location, Health)>, Error> {
    let mut health: BTreeMap<String, Health> = control_plane.store().location_health().await?.into_iter().collect();
    let locations = control_plane.settings().inventory.locations().iter().cloned();
    let with_health = |location: Location| {
        let health = health.remove(location.name.as_str()).unwrap_or_default();
        (location, health)
    };
    Ok(locations.map(with_health).collect())
}

/// The locations as policies choose among them now.
pub(super) async fn inventory(control_plane: &ControlPlane) -> Result<Inventory, Error> {
    let locations = list(control_plane).await?.into_iter();
    let locations = locations.map(|(location, health)| Location { is_healthy: health.is_healthy(), ..location });
    Ok(Inventory::new(locations.collect()).expect("they were an inventory before"))
}
