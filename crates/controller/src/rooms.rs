//! How full each location is while orders are given places, one after the other. Pure.

use std::collections::HashMap;

use api::id::DeploymentId;
use planner::{
    capacity::{Amount, Capacity},
    heartbeat::Health,
    location::{self, Fence, Room, place},
};
use store::domain::{Deployment, Replica};

use crate::sites::Sites;

/// The room in all locations, by position.
pub(crate) struct Rooms<'a> {
    sites: Vec<location::Site<'a>>,
    /// What each may use. Nothing starts where nothing is offered, so that bounds nobody.
    capacities: Vec<Capacity>,
    used: Vec<Amount>,
    /// How many replicas are in each, and stay: of the deployments that are to be placed.
    own: HashMap<DeploymentId, Vec<u32>>,
}

impl<'a> Rooms<'a> {
    /// Empty locations, for orders of these deployments.
    pub fn new(sites: &'a Sites, health: &'a [Health], placed: impl Iterator<Item = DeploymentId>) -> Self {
        let capacity = |site: &crate::Site| site.offer.as_ref().map(|offer| offer.capacity.clone()).unwrap_or_default();
        Self {
            sites: sites.for_planner(health),
            capacities: sites.iter().map(capacity).collect(),
            used: vec![Amount::default(); sites.len()],
            own: placed.map(|id| (id, vec![0; sites.len()])).collect(),
        }
    }

    /// A replica uses this much in a location. One that goes does so until it has ended, and counts as none of its deployment.
    pub fn take(&mut self, at: usize, replica: &Replica, amount: &Amount) {
        self.used[at] = std::mem::take(&mut self.used[at]).plus(amount);
        if replica.stopping_since.is_none() {
            self.count(at, &replica.deployment_id);
        }
    }

    fn count(&mut self, at: usize, deployment: &DeploymentId) {
        if let Some(own) = self.own.get_mut(deployment) {
            own[at] += 1;
        }
    }

    /// Finds a place for another replica, beside what is kept in each location for others, and takes it; the error says what it waits
    /// for.
    pub fn place(
        &mut self,
        deployment: &Deployment,
        fence: &Fence,
        asked: &Amount,
        kept: &[Amount],
    ) -> Result<usize, String> {
        let at = self.find(&deployment.id, fence, asked, kept)?;
        self.used[at] = std::mem::take(&mut self.used[at]).plus(asked);
        self.count(at, &deployment.id);
        Ok(at)
    }

    /// Where replicas of a deployment could go that use no more than `rest` together, beside what is kept for others: what they would
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
        while *each != Amount::default() && rest.covers(each) {
            let Ok(at) = self.find(deployment, fence, each, &kept) else { break };
            for sum in [&mut kept[at], &mut spare[at]] {
                *sum = std::mem::take(sum).plus(each);
            }
            rest = rest.minus(each);
        }
        spare
    }

    fn find(&self, deployment: &DeploymentId, fence: &Fence, asked: &Amount, kept: &[Amount]) -> Result<usize, String> {
        let nothing = Amount::default();
        let taken = |(at, used): (usize, &Amount)| used.clone().plus(kept.get(at).unwrap_or(&nothing));
        let taken: Vec<Amount> = self.used.iter().enumerate().map(taken).collect();
        let own = self.own.get(deployment);
        let room =
            |at: usize| Room { capacity: &self.capacities[at], used: &taken[at], own: own.map_or(0, |own| own[at]) };
        let rooms: Vec<Room<'_>> = (0..self.sites.len()).map(room).collect();
        place(&self.sites, fence, &rooms, asked)
    }
}
