//! How much there is of machines, how much of it replicas use, and so what still fits.

use std::{collections::BTreeMap, fmt};

use api::id::DeploymentId;

use crate::{
    catalogue::{Catalogue, InstanceType},
    policy::{Kind, Location, gpu_kind},
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
    /// What a location has by its flavors: processors, and the memory that they share, where it says so, and GPUs.
    pub fn of(location: &Location) -> Self {
        let stocks = |kind: Kind| location.flavors.iter().filter(move |stock| stock.flavor.kind == kind);
        let has_cpus = stocks(Kind::Cpu).next().is_some();
        let millicpu = stocks(Kind::Cpu).map(|stock| u64::from(stock.count) * 1_000).sum();
        let memory_mib = stocks(Kind::Cpu).map(|stock| stock.memory_mib).sum::<Option<u64>>();
        let gpus = stocks(Kind::Gpu).map(|stock| (gpu_kind(&stock.flavor.name), stock.count));
        Self {
            millicpu: has_cpus.then_some(millicpu),
            memory_mib: memory_mib.filter(|_| has_cpus),
            gpus: Some(gpus.collect()),
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

    /// Whether the other is a part of it.
    pub fn covers(&self, other: &Amount) -> bool {
        let has = |(kind, count): (&String, &u32)| self.gpus.get(kind).is_some_and(|sum| sum >= count);
        self.millicpu >= other.millicpu && self.memory_mib >= other.memory_mib && other.gpus.iter().all(has)
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

/// What a replica on this instance type uses; nothing that counts where the catalogue does not know it.
pub fn amount(catalogue: &Catalogue, instance_type: &str) -> Amount {
    catalogue.get(instance_type).map(|kind| Amount::of(&kind)).unwrap_or_default()
}

/// A replica, as far as room is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Of what it is a replica.
    pub deployment: &'a DeploymentId,
    /// On what it runs.
    pub instance_type: &'a str,
    /// Where it is; none where it has not been placed.
    pub location: Option<&'a str>,
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
    pub fn of<'a>(catalogue: &Catalogue, claims: impl IntoIterator<Item = Claim<'a>>) -> Self {
        let mut usage = Self::default();
        claims.into_iter().filter(|claim| !claim.waits).for_each(|claim| usage.add(catalogue, claim));
        usage
    }

    /// Adds what one replica uses that does not wait.
    pub(crate) fn add(&mut self, catalogue: &Catalogue, claim: Claim<'_>) {
        let used = amount(catalogue, claim.instance_type);
        let (count, sum) = self.by_deployment.entry(claim.deployment.clone()).or_default();
        *count += 1;
        *sum = std::mem::take(sum).plus(&used);
        self.by_all = std::mem::take(&mut self.by_all).plus(&used);
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn amount(millicpu: u64, gpus: u32) -> Amount {
        Amount { millicpu, memory_mib: 1_024, gpus: BTreeMap::from([("H100".to_owned(), gpus)]) }
    }

    fn eight_gpus() -> Capacity {
        Capacity { gpus: Some(BTreeMap::from([("H100".to_owned(), 8)])), ..Capacity::default() }
    }

    /// A machine with so many GPUs.
    pub(crate) fn with_gpus(gpus: u32) -> InstanceType {
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

    #[test]
    fn a_location_has_what_its_flavors_say() {
        let location =
            |json: serde_json::Value| -> Location { serde_json::from_value(json).expect("a possible location") };
        let paris = location(serde_json::json!({ "name": "paris", "country": "fr", "continent": "eu", "flavors": [
            { "type": "cpu", "name": "x86", "count": 8, "memory_mib": 32_768 },
            { "type": "gpu", "name": "h100", "count": 2, "memory_mib": 81_920 },
        ] }));
        let oslo = location(serde_json::json!({ "name": "oslo", "country": "no", "continent": "eu", "flavors": [
            { "type": "gpu", "name": "t4", "count": 8 },
        ] }));
        let gpus = |kind: &str, count| Some(BTreeMap::from([(kind.to_owned(), count)]));
        let in_paris = Capacity { millicpu: Some(8_000), memory_mib: Some(32_768), gpus: gpus("H100", 2) };
        assert_eq!(Capacity::of(&paris), in_paris);
        let in_oslo = Capacity { gpus: gpus("T4", 8), ..Capacity::default() };
        assert_eq!(Capacity::of(&oslo), in_oslo, "its processors are nobody's count");
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
}
