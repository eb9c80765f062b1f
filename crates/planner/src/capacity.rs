//! What still fits on the machines, and so whether a promotion's two sides can run beside each other.

use std::{collections::BTreeMap, fmt};

use api::id::DeploymentId;

use crate::{
    placement::InstanceType,
    policy::{Kind, Location, Stock, gpu_flavor},
};

/// What replicas may use together. What is not said is unbounded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Processor time, in thousandths of a CPU.
    pub millicpu: Option<u64>,
    /// Memory, in MiB.
    pub memory_mib: Option<u64>,
    /// GPUs by kind; there is none of a kind that is not named.
    pub gpus: Option<BTreeMap<String, u32>>,
}

impl Capacity {
    /// What a location has by its flavors: processors, and the memory that they share, where it says so. GPUs count by the catalogue's
    /// kinds; of one that it does not name it has none.
    pub fn of(location: &Location, catalogue: &[InstanceType]) -> Self {
        let stocks = |kind: Kind| location.flavors.iter().filter(move |stock| stock.flavor.kind == kind);
        let has_cpus = stocks(Kind::Cpu).next().is_some();
        let millicpu = stocks(Kind::Cpu).map(|stock| u64::from(stock.count) * 1_000).sum();
        let memory_mib = stocks(Kind::Cpu).map(|stock| stock.memory_mib).sum::<Option<u64>>();
        let gpus = catalogue.iter().filter_map(|kind| kind.gpu_type.as_ref()).map(|kind| {
            let named = |stock: &&Stock| Some(&stock.flavor.name) == gpu_flavor(kind).as_ref();
            (kind.clone(), stocks(Kind::Gpu).find(named).map_or(0, |stock| stock.count))
        });
        Self {
            millicpu: has_cpus.then_some(millicpu),
            memory_mib: memory_mib.filter(|_| has_cpus),
            gpus: Some(gpus.collect()),
        }
    }

    /// Both together; unbounded where one of them is.
    #[must_use]
    pub fn plus(self, other: &Capacity) -> Self {
        let gpus = self.gpus.zip(other.gpus.as_ref()).map(|(mut sum, other)| {
            for (kind, count) in other {
                let sum = sum.entry(kind.clone()).or_default();
                *sum = sum.saturating_add(*count);
            }
            sum
        });
        let sum = |one: Option<u64>, other: Option<u64>| Some(one?.saturating_add(other?));
        Self { millicpu: sum(self.millicpu, other.millicpu), memory_mib: sum(self.memory_mib, other.memory_mib), gpus }
    }

    /// What keeps both bounds. GPUs keep their own where they have some.
    #[must_use]
    pub fn within(self, other: Capacity) -> Self {
        let least = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        Self {
            millicpu: least(self.millicpu, other.millicpu),
            memory_mib: least(self.memory_mib, other.memory_mib),
            gpus: self.gpus.or(other.gpus),
        }
    }
}

/// What replicas use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amount {
    /// Processor time, in thousandths of a CPU.
    pub millicpu: u64,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// GPUs by kind.
    pub gpus: BTreeMap<String, u32>,
}

impl Amount {
    /// What one replica on such a machine uses.
    pub fn of(instance_type: &InstanceType) -> Self {
        let gpus = instance_type.gpu_type.iter().map(|kind| (kind.clone(), instance_type.gpu_count));
        let gpus = gpus.filter(|(_, count)| *count > 0).collect();
        Self { millicpu: instance_type.millicpu, memory_mib: instance_type.memory_mib, gpus }
    }

    /// Both together.
    #[must_use]
    pub fn plus(mut self, other: &Amount) -> Self {
        self.millicpu = self.millicpu.saturating_add(other.millicpu);
        self.memory_mib = self.memory_mib.saturating_add(other.memory_mib);
        for (kind, count) in &other.gpus {
            let sum = self.gpus.entry(kind.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
        self
    }

    /// What is left without the other.
    #[must_use]
    pub fn minus(mut self, other: &Amount) -> Self {
        self.millicpu = self.millicpu.saturating_sub(other.millicpu);
        self.memory_mib = self.memory_mib.saturating_sub(other.memory_mib);
        for (kind, count) in &other.gpus {
            if let Some(sum) = self.gpus.get_mut(kind) {
                *sum = sum.saturating_sub(*count);
            }
        }
        self
    }

    /// So many of it.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.millicpu = self.millicpu.saturating_mul(u64::from(count));
        self.memory_mib = self.memory_mib.saturating_mul(u64::from(count));
        for sum in self.gpus.values_mut() {
            *sum = sum.saturating_mul(count);
        }
        self
    }
}

/// What a replica on this instance type uses; nothing that counts where the catalogue does not have it any more.
pub fn amount(catalogue: &[InstanceType], instance_type: &str) -> Amount {
    catalogue.iter().find(|one| one.id == instance_type).map(Amount::of).unwrap_or_default()
}

/// A replica, as far as room is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Of what it is a replica.
    pub deployment: &'a DeploymentId,
    /// On what it runs.
    pub instance_type: &'a str,
    /// Whether it is an order that waits for room: it holds none.
    pub waits: bool,
}

/// What replicas use, by their deployments. Those of deleted deployments count until they have ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    by_deployment: BTreeMap<DeploymentId, (u32, Amount)>,
    by_all: Amount,
}

impl Usage {
    /// What these replicas use.
    pub fn of<'a>(catalogue: &[InstanceType], claims: impl IntoIterator<Item = Claim<'a>>) -> Self {
        let mut usage = Self::default();
        for claim in claims.into_iter().filter(|claim| !claim.waits) {
            let used = amount(catalogue, claim.instance_type);
            let (count, sum) = usage.by_deployment.entry(claim.deployment.clone()).or_default();
            *count += 1;
            *sum = sum.clone().plus(&used);
            usage.by_all = usage.by_all.plus(&used);
        }
        usage
    }

    /// All of them together.
    pub fn by_all(&self) -> &Amount {
        &self.by_all
    }

    /// Those of one deployment.
    pub fn by(&self, deployment: &DeploymentId) -> Amount {
        self.by_deployment.get(deployment).map(|(_, amount)| amount.clone()).unwrap_or_default()
    }

    /// How many replicas of one deployment hold room.
    pub fn replicas_of(&self, deployment: &DeploymentId) -> u32 {
        self.by_deployment.get(deployment).map_or(0, |(count, _)| *count)
    }
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

/// What runs out first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// What, with its unit.
    what: String,
    needed: u64,
    free: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} needed, {} free", self.needed, self.what, self.free)
    }
}

/// What is missing for `asked` on top of `used`; none when it fits.
pub fn shortage(capacity: &Capacity, used: &Amount, asked: &Amount) -> Option<Shortage> {
    let lacks = |what: &str, limit: Option<u64>, used: u64, needed: u64| {
        let free = limit?.saturating_sub(used);
        (needed > free).then(|| Shortage { what: what.into(), needed, free })
    };
    lacks("millicpu", capacity.millicpu, used.millicpu, asked.millicpu)
        .or_else(|| lacks("MiB of memory", capacity.memory_mib, used.memory_mib, asked.memory_mib))
        .or_else(|| {
            let limits = capacity.gpus.as_ref()?;
            asked.gpus.iter().find_map(|(kind, count)| {
                let limit = limits.get(kind).copied().unwrap_or(0);
                let used = used.gpus.get(kind).copied().unwrap_or(0);
                lacks(&format!("{kind} GPUs"), Some(u64::from(limit)), u64::from(used), u64::from(*count))
            })
        })
}

/// How many more replicas of this size fit; [`u32::MAX`] when nothing bounds them.
pub fn room_for(capacity: &Capacity, used: &Amount, each: &Amount) -> u32 {
    let (mut fits, mut too_many) = (0_u32, u32::MAX);
    while fits + 1 < too_many {
        let middle = fits + (too_many - fits) / 2;
        match shortage(capacity, used, &each.clone().times(middle)) {
            None => fits = middle,
            Some(_) => too_many = middle,
        }
    }
    if fits + 1 == u32::MAX { u32::MAX } else { fits }
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

/// Whether a candidate fits beside what is used, or in the place of the deployment that it replaces.
pub fn fit(capacity: &Capacity, usage: &Usage, need: &Need<'_>) -> Fit {
    let has = need.candidate.map_or(0, |candidate| usage.replicas_of(candidate));
    let more = |replicas: u32| need.each.clone().times(replicas.saturating_sub(has));
    let Some(beside) = shortage(capacity, usage.by_all(), &more(need.beside)) else {
        return Fit::Beside;
    };
    let previous = need.previous.map(|previous| usage.by(previous)).unwrap_or_default();
    match shortage(capacity, &usage.by_all().clone().minus(&previous), &more(need.alone)) {
        None => Fit::InPlace { reason: format!("no room beside the previous deployment: {beside}") },
        Some(alone) => Fit::No { reason: format!("no room, not even without the previous deployment: {alone}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(millicpu: u64, gpus: u32) -> Amount {
        Amount { millicpu, memory_mib: 1_024, gpus: BTreeMap::from([("H100".to_owned(), gpus)]) }
    }

    fn eight_gpus() -> Capacity {
        Capacity { gpus: Some(BTreeMap::from([("H100".to_owned(), 8)])), ..Capacity::default() }
    }

    #[test]
    fn a_location_has_what_its_flavors_say_and_several_have_it_together() {
        let location =
            |json: serde_json::Value| -> Location { serde_json::from_value(json).expect("a possible location") };
        let paris = location(serde_json::json!({ "name": "paris", "country": "fr", "continent": "eu", "flavors": [
            { "type": "cpu", "name": "x86", "count": 8, "memory_mib": 32_768 },
            { "type": "gpu", "name": "h100", "count": 2, "memory_mib": 81_920 },
        ] }));
        let oslo = location(serde_json::json!({ "name": "oslo", "country": "no", "continent": "eu", "flavors": [
            { "type": "gpu", "name": "t4", "count": 8 },
        ] }));
        let catalogue = [kind(1)];
        let gpus = |count| Some(BTreeMap::from([("H100".to_owned(), count)]));
        let of = |location| Capacity::of(location, &catalogue);
        let in_paris = Capacity { millicpu: Some(8_000), memory_mib: Some(32_768), gpus: gpus(2) };
        assert_eq!(of(&paris), in_paris);
        assert_eq!(of(&oslo), Capacity { gpus: gpus(0), ..Capacity::default() }, "its processors are nobody's count");
        assert_eq!(of(&paris).plus(&of(&oslo)), Capacity { gpus: gpus(2), ..Capacity::default() });
        let operator = Capacity { millicpu: Some(4_000), ..Capacity::default() };
        assert_eq!(operator.within(in_paris.clone()), Capacity { millicpu: Some(4_000), ..in_paris });
    }

    #[test]
    fn without_bounds_everything_fits() {
        assert_eq!(room_for(&Capacity::default(), &amount(1, 1), &amount(1_000, 8)), u32::MAX);
    }

    #[test]
    fn the_scarcest_thing_bounds_the_room() {
        let capacity = Capacity { millicpu: Some(10_000), ..eight_gpus() };
        assert_eq!(room_for(&capacity, &amount(1_000, 2), &amount(1_000, 2)), 3);
        assert_eq!(room_for(&capacity, &amount(8_000, 0), &amount(1_000, 1)), 2);
        assert_eq!(room_for(&capacity, &amount(20_000, 9), &amount(1_000, 1)), 0);
    }

    #[test]
    fn a_kind_of_gpu_that_is_not_there_never_fits() {
        let other = Amount { gpus: BTreeMap::from([("B200".to_owned(), 1)]), ..Amount::default() };
        assert_eq!(room_for(&eight_gpus(), &Amount::default(), &other), 0);
        assert_eq!(
            shortage(&eight_gpus(), &Amount::default(), &other).map(|it| it.to_string()).as_deref(),
            Some("1 B200 GPUs needed, 0 free")
        );
    }

    fn id(number: u128) -> DeploymentId {
        DeploymentId::from_entropy(number)
    }

    fn kind(gpus: u32) -> InstanceType {
        InstanceType {
            id: format!("H100:{gpus}"),
            name: String::new(),
            memory_mib: 0,
            millicpu: 0,
            gpu_count: gpus,
            gpu_type: Some("H100".into()),
            gpu_memory_mib: None,
        }
    }

    const CANDIDATE: u128 = 1;
    const PREVIOUS: u128 = 2;
    const GONE: u128 = 3;

    /// Whether a candidate of two replicas fits, the previous one of which has four GPUs, beside replicas of one GPU each, given as
    /// their deployments and whether they wait.
    fn fits(each: u32, others: &[(u128, bool)]) -> Fit {
        let (catalogue, candidate, previous) = ([kind(1), kind(4)], id(CANDIDATE), id(PREVIOUS));
        let ids: Vec<DeploymentId> = others.iter().map(|(of, _)| id(*of)).collect();
        let of = Claim { deployment: &previous, instance_type: "H100:4", waits: false };
        let others = ids.iter().zip(others).map(|(deployment, (_, waits))| Claim {
            deployment,
            instance_type: "H100:1",
            waits: *waits,
        });
        let usage = Usage::of(&catalogue, std::iter::once(of).chain(others));
        let need = Need {
            candidate: Some(&candidate),
            each: Amount::of(&kind(each)),
            previous: Some(&previous),
            beside: 1,
            alone: 2,
        };
        fit(&eight_gpus(), &usage, &need)
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
