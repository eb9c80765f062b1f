//! How full each location is while orders are given places, one after the other. Pure.

use std::collections::HashMap;

use api::id::DeploymentId;
use planner::{
    capacity::{Amount, Capacity},
    heartbeat::Health,
    location::{self, Fence, Room, place},
};
use store::domain::Replica;

use crate::sites::Sites;

/// The room in all locations, by position.
pub(crate) struct Rooms<'a> {
    sites: Vec<location::Site<'a>>,
    /// What each may use. Nothing starts where nothing is offered, so that bounds nobody.
    capacities: Vec<Capacity>,
    used: Vec<Amount>,
    /// What each has of the deployments that are looked at.
    own: HashMap<DeploymentId, Vec<Own>>,
}

/// What a location has of one deployment.
#[derive(Debug, Clone, Default)]
struct Own {
    /// Replicas that stay.
    staying: u32,
    /// What all of them use.
    used: Amount,
}

impl<'a> Rooms<'a> {
    /// Empty locations, where these deployments are looked at.
    pub fn new(sites: &'a Sites, health: &'a [Health], looked_at: impl Iterator<Item = DeploymentId>) -> Self {
        let capacity = |site: &crate::Site| site.offer.as_ref().map(|offer| offer.capacity.clone()).unwrap_or_default();
        Self {
            sites: sites.for_planner(health),
            capacities: sites.iter().map(capacity).collect(),
            used: vec![Amount::default(); sites.len()],
            own: looked_at.map(|id| (id, vec![Own::default(); sites.len()])).collect(),
        }
    }

    /// A replica uses this much in a location. One that goes does so until it has ended, and counts as none of its deployment.
    pub fn take(&mut self, at: usize, replica: &Replica, amount: &Amount) {
        self.add(at, &replica.deployment_id, amount, replica.stopping_since.is_none());
    }

    /// Finds a place for another replica, beside what is kept in each location for others, and takes it; the error says what it waits
    /// for.
    pub fn place(
        &mut self,
        deployment: &DeploymentId,
        fence: &Fence,
        asked: &Amount,
        kept: &[Amount],
    ) -> Result<usize, String> {
        let at = self.find(fence, asked, kept, &self.staying(deployment))?;
        self.add(at, deployment, asked, true);
        Ok(at)
    }

    /// What a deployment that is looked at uses where it may run. What it uses elsewhere has to move.
    pub fn held(&self, deployment: &DeploymentId, fence: &Fence) -> Amount {
        let own = self.own.get(deployment).map_or(&[][..], Vec::as_slice);
        let here = fence.places().into_iter().filter_map(|at| own.get(at));
        here.fold(Amount::default(), |sum, own| sum.plus(&own.used))
    }

    /// Where replicas of a deployment would go that use no more than `rest` together, beside what is kept for others: what they would
    /// use of each location. Those that there is no place for yet are left out.
    pub fn spare(
        &self,
        deployment: &DeploymentId,
        fence: &Fence,
        each: &Amount,
        mut rest: Amount,
        kept: &[Amount],
    ) -> Vec<Amount> {
        let mut kept = kept.to_vec();
        kept.resize(self.sites.len(), Amount::default());
        let mut spare = vec![Amount::default(); self.sites.len()];
        let mut staying = self.staying(deployment);
        while *each != Amount::default() && rest.covers(each) {
            let Ok(at) = self.find(fence, each, &kept, &staying) else { break };
            for sum in [&mut kept[at], &mut spare[at]] {
                *sum = std::mem::take(sum).plus(each);
            }
            staying[at] += 1;
            rest = rest.minus(each);
        }
        spare
    }

    fn add(&mut self, at: usize, deployment: &DeploymentId, amount: &Amount, stays: bool) {
        self.used[at] = std::mem::take(&mut self.used[at]).plus(amount);
        if let Some(own) = self.own.get_mut(deployment) {
            let own = &mut own[at];
            own.staying += u32::from(stays);
            own.used = std::mem::take(&mut own.used).plus(amount);
        }
    }

    fn staying(&self, deployment: &DeploymentId) -> Vec<u32> {
        let own = self.own.get(deployment);
        own.map_or_else(|| vec![0; self.sites.len()], |own| own.iter().map(|own| own.staying).collect())
    }

    fn find(&self, fence: &Fence, asked: &Amount, kept: &[Amount], staying: &[u32]) -> Result<usize, String> {
        let nothing = Amount::default();
        let taken = |(at, used): (usize, &Amount)| used.clone().plus(kept.get(at).unwrap_or(&nothing));
        let taken: Vec<Amount> = self.used.iter().enumerate().map(taken).collect();
        let room = |at: usize| Room { capacity: &self.capacities[at], used: &taken[at], own: staying[at] };
        let rooms: Vec<Room<'_>> = (0..self.sites.len()).map(room).collect();
        place(&self.sites, fence, &rooms, asked)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use planner::{
        capacity::{Claim, Usage, amount},
        catalogue::Catalogue,
        policy::{Location, Request},
        promotion,
    };
    use serde_json::json;
    use store::domain::Promotion;

    use super::*;
    use crate::{
        capacity::{Reserved, kept, set_aside},
        fixtures,
    };

    const CANDIDATE: u64 = 2;
    const PREVIOUS: u64 = 1;

    fn in_place(number: u64, candidate: u64, total: u32) -> Promotion {
        let mut promotion = fixtures::promotion(candidate, Some(PREVIOUS));
        promotion.id = number;
        promotion.settings.room = promotion::Room::InPlace;
        promotion.state.total = total;
        promotion
    }

    /// How many thousandths of a CPU are kept in each of these locations, by name and CPUs, for these promotions, each of whose candidates
    /// has replicas on an instance type; `held` are replicas of the previous deployment, by location and instance type.
    fn kept_in(sites: &[(&str, u64)], promotions: &[(Promotion, &str)], held: &[(usize, &str)]) -> Vec<u64> {
        let catalogue = Catalogue::of(&[]);
        let location = |(name, cpus): &(&str, u64)| -> Location {
            let flavors = json!([{ "type": "cpu", "name": "x86", "count": cpus }]);
            let written = json!({ "name": name, "country": "fr", "continent": "eu", "flavors": flavors });
            serde_json::from_value(written).unwrap()
        };
        let locations: Vec<Location> = sites.iter().map(location).collect();
        let seen: Vec<location::Site<'_>> = locations
            .iter()
            .map(|location| location::Site { name: location.name.as_str(), location: Some(location), unhealthy: None })
            .collect();
        let fence = Arc::new(Fence::new(&seen, &[], &Request::default(), || None));
        let previous = DeploymentId::from_entropy(PREVIOUS.into());
        let looked_at = promotions.iter().map(|(one, _)| &one.candidate).chain([&previous]);
        let mut rooms = Rooms {
            capacities: locations.iter().map(Capacity::of).collect(),
            used: vec![Amount::default(); seen.len()],
            own: looked_at.map(|id| (id.clone(), vec![Own::default(); seen.len()])).collect(),
            sites: seen,
        };
        held.iter().for_each(|(at, kind)| rooms.add(*at, &previous, &amount(&catalogue, kind), false));
        let claims = held.iter().map(|(_, kind)| Claim {
            deployment: &previous,
            instance_type: kind,
            location: None,
            waits: false,
        });
        let usage = Usage::of(&catalogue, claims);
        let each = |id: &DeploymentId| match promotions.iter().find(|(one, _)| one.candidate == *id) {
            Some((_, kind)) => amount(&catalogue, kind),
            None => amount(&catalogue, held[0].1),
        };
        let mut reserved: Vec<Reserved<'_>> =
            promotions.iter().map(|(promotion, _)| Reserved::new(promotion, &usage, each)).collect();
        set_aside(&mut reserved, &rooms, |side| Some((fence.clone(), each(side))));
        kept(&reserved).into_iter().map(|amount| amount.millicpu).collect()
    }

    #[test]
    fn what_is_too_little_for_the_candidate_is_kept_all_the_same() {
        let promotion = || [(in_place(1, CANDIDATE, 2), "4x16")];
        assert_eq!(kept_in(&[("paris", 8)], &promotion(), &[(0, "2x8"), (0, "2x8")]), [4_000]);
        assert_eq!(kept_in(&[("paris", 8)], &promotion(), &[(0, "2x8")]), [6_000]);
    }

    #[test]
    fn room_is_kept_where_replicas_will_go() {
        let promotion = [(in_place(1, CANDIDATE, 3), "1x2")];
        assert_eq!(kept_in(&[("paris", 3), ("oslo", 2)], &promotion, &[(0, "1x2")]), [1_000, 1_000]);
    }

    #[test]
    fn of_two_promotions_each_has_its_room() {
        let promotions = [(in_place(1, CANDIDATE, 2), "1x2"), (in_place(2, 3, 2), "1x2")];
        assert_eq!(kept_in(&[("paris", 2), ("oslo", 2)], &promotions, &[(0, "1x2")]), [1_000, 1_000]);
    }
}
