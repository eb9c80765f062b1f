//! Whether a promotion's two sides can run beside each other: in the locations where the candidate may run, and in what the operator
//! lets all replicas use together.

use std::collections::BTreeMap;

use api::id::DeploymentId;

use crate::{
    capacity::{Amount, Capacity, Claim, Usage, room_for, shortage},
    catalogue::Catalogue,
    location::some_of,
};

/// What replicas use, all together and in each location.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Occupancy {
    all: Usage,
    /// Those that have been placed, by the names of their locations.
    by_location: BTreeMap<String, Usage>,
}

impl Occupancy {
    /// What these replicas use.
    pub fn of<'a>(catalogue: &Catalogue, claims: impl IntoIterator<Item = Claim<'a>>) -> Self {
        let mut occupancy = Self::default();
        for claim in claims.into_iter().filter(|claim| !claim.waits) {
            occupancy.all.add(catalogue, claim);
            if let Some(location) = claim.location {
                occupancy.by_location.entry(location.to_owned()).or_default().add(catalogue, claim);
            }
        }
        occupancy
    }
}

/// A location where the candidate may run.
#[derive(Debug, Clone, Copy)]
pub struct Lot<'a> {
    /// Its name.
    pub name: &'a str,
    /// What replicas there may use together.
    pub capacity: &'a Capacity,
}

/// What there is for a candidate.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// What replicas may use together, wherever they are.
    pub capacity: &'a Capacity,
    /// Where it may run: what it has elsewhere has to move. Without any, it is not for lack of room that it waits, and only `capacity`
    /// counts.
    pub lots: &'a [Lot<'a>],
    /// What is in use.
    pub occupancy: &'a Occupancy,
}

/// A candidate, and what it needs.
#[derive(Debug, Clone)]
pub struct Need<'a> {
    /// The candidate; none when it is a copy that is still to be made. What it holds already it need not find.
    pub candidate: Option<&'a DeploymentId>,
    /// What one of its replicas uses.
    pub each: Amount,
    /// The deployment that it replaces.
    pub previous: Option<&'a DeploymentId>,
    /// More replicas than there are now, while both sides run; see [`crate::promotion::replicas_beside`].
    pub beside: u32,
    /// Replicas when it runs alone.
    pub alone: u32,
}

/// Whether a candidate fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// Beside the previous deployment.
    Beside,
    /// Only where the previous deployment is now.
    InPlace {
        /// What is missing for both, in words.
        reason: String,
    },
    /// Not at all.
    No {
        /// What is missing, in words.
        reason: String,
    },
}

/// Whether a candidate fits beside what is used, or in the place of the deployment that it replaces.
pub fn fit(ground: Ground<'_>, need: &Need<'_>) -> Fit {
    let Some(beside) = ground.lacks(need, need.beside, None) else {
        return Fit::Beside;
    };
    match ground.lacks(need, need.alone, need.previous) {
        None => Fit::InPlace { reason: format!("no room beside the previous deployment: {beside}") },
        Some(alone) => Fit::No { reason: format!("no room, not even without the previous deployment: {alone}") },
    }
}

impl Ground<'_> {
    /// What is missing for so many replicas, in words, where one deployment has gone; none when they fit.
    fn lacks(&self, need: &Need<'_>, replicas: u32, without: Option<&DeploymentId>) -> Option<String> {
        let each = &need.each;
        let has = |usage: &Usage| need.candidate.map_or(0, |candidate| usage.replicas_of(candidate));
        let left = |usage: &Usage| {
            let gone = without.map(|gone| usage.by(gone)).unwrap_or_default();
            usage.by_all().clone().minus(&gone)
        };
        let all = &self.occupancy.all;
        let more = replicas.saturating_sub(has(all));
        if let Some(lacks) = shortage(self.capacity, &left(all), &each.clone().times(more)) {
            return Some(lacks.to_string());
        }
        if self.lots.is_empty() {
            return None;
        }
        let here = |lot: &Lot<'_>| self.occupancy.by_location.get(lot.name);
        let used = |lot: &Lot<'_>| here(lot).map(left).unwrap_or_default();
        let more = replicas.saturating_sub(self.lots.iter().filter_map(here).map(has).sum());
        let rooms: Vec<u32> = self.lots.iter().map(|lot| room_for(lot.capacity, &used(lot), each)).collect();
        let fitting = rooms.iter().fold(0_u32, |sum, room| sum.saturating_add(*room));
        if fitting >= more {
            return None;
        }
        let lots = self.lots.iter().zip(&rooms);
        let lacks = |(lot, room): (&Lot<'_>, &u32)| {
            let full = used(lot).plus(&each.clone().times(*room));
            Some(format!("{} in {}", shortage(lot.capacity, &full, each)?, lot.name))
        };
        let told = some_of(lots.filter_map(lacks).collect());
        Some(if more == 1 { told } else { format!("{fitting} of {more} replicas fit; for another, {told}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::tests::with_gpus as kind;

    fn id(number: u128) -> DeploymentId {
        DeploymentId::from_entropy(number)
    }

    const CANDIDATE: u128 = 1;
    const PREVIOUS: u128 = 2;
    const GONE: u128 = 3;

    fn gpus(count: u32) -> Capacity {
        Capacity { gpus: Some(BTreeMap::from([("H100".to_owned(), count)])), ..Capacity::default() }
    }

    /// Whether a candidate of two replicas fits, the previous one of which has four GPUs, beside replicas of one GPU each, given as
    /// their deployments and whether they wait.
    fn fits(each: u32, others: &[(u128, bool)]) -> Fit {
        let (catalogue, candidate, previous) = (Catalogue::from(vec![kind(1), kind(4)]), id(CANDIDATE), id(PREVIOUS));
        let ids: Vec<DeploymentId> = others.iter().map(|(of, _)| id(*of)).collect();
        let of = Claim { deployment: &previous, instance_type: "H100:4", location: None, waits: false };
        let others = ids.iter().zip(others).map(|(deployment, (_, waits))| Claim {
            deployment,
            instance_type: "H100:1",
            location: None,
            waits: *waits,
        });
        let occupancy = Occupancy::of(&catalogue, std::iter::once(of).chain(others));
        let need = Need {
            candidate: Some(&candidate),
            each: Amount::of(&kind(each)),
            previous: Some(&previous),
            beside: 1,
            alone: 2,
        };
        fit(Ground { capacity: &gpus(8), lots: &[], occupancy: &occupancy }, &need)
    }

    /// The same for one whose replicas need a GPU each, as many as it is told, in locations with so many GPUs; `held` are replicas with
    /// one GPU, by deployment and location.
    fn fits_in(open: &[(&str, u32)], held: &[(u128, &str)], [beside, alone]: [u32; 2]) -> Fit {
        let ids: Vec<DeploymentId> = held.iter().map(|(of, _)| id(*of)).collect();
        let claims = ids.iter().zip(held).map(|(deployment, (_, location))| Claim {
            deployment,
            instance_type: "H100:1",
            location: Some(location),
            waits: false,
        });
        let occupancy = Occupancy::of(&vec![kind(1)].into(), claims);
        let capacities: Vec<(&str, Capacity)> = open.iter().map(|(name, count)| (*name, gpus(*count))).collect();
        let lots: Vec<Lot<'_>> = capacities.iter().map(|(name, capacity)| Lot { name, capacity }).collect();
        let (candidate, previous) = (id(CANDIDATE), id(PREVIOUS));
        let each = Amount::of(&kind(1));
        let need = Need { candidate: Some(&candidate), each, previous: Some(&previous), beside, alone };
        fit(Ground { capacity: &Capacity::default(), lots: &lots, occupancy: &occupancy }, &need)
    }

    #[test]
    fn room_counts_where_the_candidate_may_run_and_nowhere_else() {
        let held = [(PREVIOUS, "paris"), (9, "paris")];
        assert_eq!(fits_in(&[("paris", 2), ("oslo", 1)], &held, [1, 1]), Fit::Beside, "in oslo");
        let beside = "no room beside the previous deployment: 1 H100 GPUs needed, 0 free in paris";
        assert_eq!(fits_in(&[("paris", 2)], &held, [1, 1]), Fit::InPlace { reason: beside.into() });
        let alone = "no room, not even without the previous deployment: 1 H100 GPUs needed, 0 free in oslo";
        assert_eq!(fits_in(&[("oslo", 0)], &held, [1, 1]), Fit::No { reason: alone.into() }, "that leaves it no room");
        assert_eq!(fits_in(&[], &held, [1, 1]), Fit::Beside, "it waits for a place, and not for room in one");
    }

    #[test]
    fn what_the_candidate_has_where_it_may_not_run_has_to_move() {
        let held = [(PREVIOUS, "paris"), (CANDIDATE, "virginia")];
        assert!(matches!(fits_in(&[("paris", 1)], &held, [1, 1]), Fit::InPlace { .. }));
        assert!(matches!(fits_in(&[("oslo", 0)], &held, [1, 1]), Fit::No { .. }));
        assert_eq!(fits_in(&[("paris", 1), ("virginia", 1)], &held, [1, 1]), Fit::Beside);
    }

    #[test]
    fn replicas_share_the_room_of_several_locations() {
        let held = [(PREVIOUS, "paris"), (PREVIOUS, "oslo"), (9, "oslo")];
        assert_eq!(fits_in(&[("paris", 2), ("oslo", 3)], &held, [2, 2]), Fit::Beside);
        let beside = "no room beside the previous deployment: 1 of 2 replicas fit; for another, 1 H100 GPUs needed, 0 free in paris, \
                      1 H100 GPUs needed, 0 free in oslo";
        assert_eq!(fits_in(&[("paris", 2), ("oslo", 2)], &held, [2, 2]), Fit::InPlace { reason: beside.into() });
        let held = [(CANDIDATE, "paris"), (PREVIOUS, "oslo")];
        assert_eq!(fits_in(&[("paris", 1), ("oslo", 1)], &held, [1, 2]), Fit::Beside, "what it holds it need not find");
    }

    #[test]
    fn a_candidate_fits_beside_or_in_place_or_not_at_all() {
        assert_eq!(fits(2, &[]), Fit::Beside);
        let reason = "no room beside the previous deployment: 2 H100 GPUs needed, 1 free".to_owned();
        assert_eq!(fits(2, &[(9, false); 3]), Fit::InPlace { reason });
        let reason = "no room, not even without the previous deployment: 8 H100 GPUs needed, 7 free".to_owned();
        assert_eq!(fits(4, &[(9, false)]), Fit::No { reason });
    }

    #[test]
    fn what_waits_holds_nothing_and_what_is_held_need_not_be_found() {
        assert_eq!(fits(2, &[(9, true); 3]), Fit::Beside);
        assert_eq!(fits(1, &[(CANDIDATE, false), (9, false), (9, false), (9, false)]), Fit::Beside);
        let in_place = |fit| matches!(fit, Fit::InPlace { .. });
        assert!(in_place(fits(1, &[(CANDIDATE, true), (9, false), (9, false), (9, false), (9, false)])));
    }

    #[test]
    fn a_deleted_deployment_uses_its_room_until_its_replicas_have_ended() {
        assert_eq!(fits(1, &[(GONE, false); 3]), Fit::Beside);
        assert!(matches!(fits(2, &[(GONE, false); 3]), Fit::InPlace { .. }));
    }
}
