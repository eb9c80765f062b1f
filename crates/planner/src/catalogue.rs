//! The instance types there are: machines of some sizes without GPUs and, for each kind of GPU in a location, machines with some of these.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    capacity::Capacity,
    policy::{Kind, Location, Name, Stock, gpu_flavor, gpu_kind},
};

/// CPUs and memory, in GiB, of machines without GPUs.
const SIZES: [(u64, u64); 6] = [(1, 2), (1, 4), (2, 8), (4, 16), (8, 32), (16, 64)];
/// CPUs and memory, in GiB, that come with each GPU.
const SHARES: [(u64, u64); 4] = [(4, 16), (8, 32), (16, 64), (16, 128)];
/// GPUs of one machine, besides all that a location has.
const COUNTS: [u32; 4] = [1, 2, 4, 8];
/// Memory for each CPU, in GiB, of a machine that says only how many of these it has.
const GIB_FOR_EACH_CPU: u64 = 4;

/// A kind of machine that a replica can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceType {
    /// Unique; opaque to those who use it, names are not uniform.
    pub id: String,
    /// For people.
    pub name: String,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// Processor time, in thousandths of a CPU.
    pub millicpu: u64,
    /// GPUs.
    pub gpu_count: u32,
    /// Their kind.
    pub gpu_type: Option<String>,
    /// Memory of one of them, in MiB.
    pub gpu_memory_mib: Option<u64>,
}

/// All instance types that can be asked for: those without GPUs first, each sort from the smallest on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue(Vec<InstanceType>);

/// A location with GPUs of one kind, and what it has besides.
struct Host {
    gpus: u32,
    capacity: Capacity,
}

impl Catalogue {
    /// What these locations can offer. Machines with GPUs have a share of CPUs and memory that one of the locations has room for, or a
    /// location's own, by the share that they are of its GPUs.
    pub fn of(locations: &[Location]) -> Self {
        let without = SIZES.map(|(cpus, memory_gib)| InstanceType::without_gpus(cpus, memory_gib));
        let mut stocks: BTreeMap<&Name, Vec<(&Stock, &Location)>> = BTreeMap::new();
        for location in locations {
            for stock in location.flavors.iter().filter(|stock| stock.flavor.kind == Kind::Gpu && stock.count > 0) {
                stocks.entry(&stock.flavor.name).or_default().push((stock, location));
            }
        }
        let with = stocks.into_iter().flat_map(|(name, stocks)| {
            let kind = gpu_kind(name);
            let gpu_memory_mib = stocks.iter().filter_map(|(stock, _)| stock.memory_mib).min();
            let host =
                |(stock, location): &(&Stock, &Location)| Host { gpus: stock.count, capacity: Capacity::of(location) };
            let hosts: Vec<Host> = stocks.iter().map(host).collect();
            let sizes = sizes(&hosts).into_iter();
            sizes.map(move |(count, size)| InstanceType {
                gpu_memory_mib,
                ..InstanceType::with_gpus(&kind, count, size)
            })
        });
        Self(without.into_iter().chain(with).collect())
    }

    /// All of them.
    pub fn types(&self) -> &[InstanceType] {
        &self.0
    }

    /// The one with this id. One with GPUs that no location offers any more is still known for what it was: what runs on it counts for
    /// that, and nothing without its GPUs takes its place.
    pub fn get(&self, id: &str) -> Option<Cow<'_, InstanceType>> {
        let known = self.0.iter().find(|kind| kind.id == id).map(Cow::Borrowed);
        known.or_else(|| InstanceType::parse(id).map(Cow::Owned))
    }
}

impl From<Vec<InstanceType>> for Catalogue {
    fn from(types: Vec<InstanceType>) -> Self {
        Self(types)
    }
}

impl Host {
    fn fits(&self, count: u32, (cpus, memory_gib): (u64, u64)) -> bool {
        let is_enough = |has: Option<u64>, needed: u64| has.is_none_or(|has| has >= needed);
        self.gpus >= count
            && is_enough(self.capacity.millicpu, cpus * 1_000)
            && is_enough(self.capacity.memory_mib, memory_gib << 10)
    }

    /// What comes with so many of its GPUs when each has as much.
    fn share(&self, count: u32) -> Option<(u64, u64)> {
        let of = |all: u64| (all * u64::from(count) / u64::from(self.gpus)).max(1);
        let cpus = of(self.capacity.millicpu? / 1_000);
        let memory_gib = self.capacity.memory_mib.map_or(cpus * GIB_FOR_EACH_CPU, |mib| of(mib >> 10));
        (count <= self.gpus).then_some((cpus, memory_gib))
    }
}

/// GPUs, with CPUs and memory in GiB, of the machines that these can be.
fn sizes(hosts: &[Host]) -> BTreeSet<(u32, (u64, u64))> {
    let counts: BTreeSet<u32> = hosts.iter().map(|host| host.gpus).chain(COUNTS).collect();
    let of_count = |count: u32| {
        let shares = SHARES.map(|(cpus, memory_gib)| (cpus * u64::from(count), memory_gib * u64::from(count)));
        let fitting = shares.into_iter().filter(move |size| hosts.iter().any(|host| host.fits(count, *size)));
        let own = hosts.iter().filter_map(move |host| host.share(count));
        fitting.chain(own).map(move |size| (count, size))
    };
    counts.into_iter().flat_map(of_count).collect()
}

impl InstanceType {
    fn without_gpus(cpus: u64, memory_gib: u64) -> Self {
        let id = format!("{cpus}x{memory_gib}");
        Self {
            name: id.clone(),
            id,
            memory_mib: memory_gib * 1_024,
            millicpu: cpus * 1_000,
            gpu_count: 0,
            gpu_type: None,
            gpu_memory_mib: None,
        }
    }

    fn with_gpus(kind: &str, count: u32, (cpus, memory_gib): (u64, u64)) -> Self {
        let without = Self::without_gpus(cpus, memory_gib);
        let id = match count {
            1 => format!("{kind}:{}", without.id),
            _ => format!("{kind}:{count}x{}", without.id),
        };
        Self { name: id.clone(), id, gpu_count: count, gpu_type: Some(kind.to_owned()), ..without }
    }

    /// One with GPUs, by its id.
    fn parse(id: &str) -> Option<Self> {
        let (kind, size) = id.split_once(':')?;
        let numbers: Vec<u32> = size.split('x').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let (count, cpus, memory_gib) = match numbers[..] {
            [cpus, memory_gib] => (1, cpus, memory_gib),
            [count, cpus, memory_gib] => (count, cpus, memory_gib),
            _ => return None,
        };
        let parsed = Self::with_gpus(kind, count, (cpus.into(), memory_gib.into()));
        let is_kind = gpu_flavor(kind).is_some_and(|flavor| gpu_kind(&flavor) == kind);
        (is_kind && count > 0 && parsed.id == id).then_some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn location(name: &str, flavors: Value) -> Location {
        let written = json!({ "name": name, "country": "fr", "continent": "eu", "flavors": flavors });
        serde_json::from_value(written).expect("a possible location")
    }

    #[track_caller]
    fn check(locations: &[Location], expected: &[&str]) {
        let catalogue = Catalogue::of(locations);
        let ids: Vec<&str> = catalogue.types().iter().map(|kind| kind.id.as_str()).collect();
        assert_eq!(ids[..SIZES.len()], ["1x2", "1x4", "2x8", "4x16", "8x32", "16x64"]);
        assert_eq!(ids[SIZES.len()..], *expected);
        for kind in catalogue.types() {
            let gpus = InstanceType { gpu_memory_mib: None, ..kind.clone() };
            assert_eq!(InstanceType::parse(&kind.id), (kind.gpu_count > 0).then_some(gpus));
        }
    }

    #[test]
    fn machines_have_the_gpus_that_locations_have_and_fit_in_one() {
        check(&[], &[]);
        let paris = location(
            "paris",
            json!([
                { "type": "cpu", "name": "x86", "count": 16, "memory_mib": 65_536 },
                { "type": "gpu", "name": "t4", "count": 2, "memory_mib": 15_360 },
            ]),
        );
        let oslo = location(
            "oslo",
            json!([
                { "type": "gpu", "name": "t4", "count": 1, "memory_mib": 16_384 },
                { "type": "gpu", "name": "a100-40gb", "count": 0 },
            ]),
        );
        let of_paris = ["T4:4x16", "T4:8x32", "T4:16x64", "T4:2x8x32", "T4:2x16x64"];
        check(std::slice::from_ref(&paris), &of_paris);
        let of_both = ["T4:4x16", "T4:8x32", "T4:16x64", "T4:16x128", "T4:2x8x32", "T4:2x16x64"];
        check(&[paris.clone(), oslo.clone()], &of_both);
        let catalogue = Catalogue::of(&[paris, oslo]);
        let pair = catalogue.get("T4:2x8x32").expect("it is there");
        assert_eq!((pair.gpu_type.as_deref(), pair.gpu_count, pair.gpu_memory_mib), (Some("T4"), 2, Some(15_360)));
        assert_eq!((pair.millicpu, pair.memory_mib), (8_000, 32_768));
    }

    #[test]
    fn each_location_can_be_used_whole_and_in_equal_shares() {
        let cpus = |count: u32, memory_mib: u32| json!({ "type": "cpu", "name": "x86", "count": count, "memory_mib": memory_mib });
        let gpus = |name: &str, count: u32| json!({ "type": "gpu", "name": name, "count": count });
        let laptop = location("laptop", json!([cpus(2, 7_900), gpus("rtx-4090", 1)]));
        check(std::slice::from_ref(&laptop), &["RTX_4090:2x7"]);
        let larger = location("larger", json!([cpus(8, 31_600), gpus("rtx-4090", 1)]));
        check(&[laptop, larger], &["RTX_4090:2x7", "RTX_4090:4x16", "RTX_4090:8x30"]);
        let three = location("three", json!([cpus(12, 49_152), gpus("t4", 3)]));
        let own = ["T4:4x16", "T4:8x32", "T4:2x8x32", "T4:3x12x48"];
        check(&[three], &own);
        let untold = location("untold", json!([{ "type": "cpu", "name": "x86", "count": 2 }, gpus("t4", 1)]));
        check(&[untold], &["T4:2x8"]);
    }

    #[test]
    fn one_that_is_offered_no_more_is_known_for_what_it_was() {
        let catalogue = Catalogue::default();
        let gone = catalogue.get("H100:8x32x128").expect("its id says all");
        assert_eq!((gone.gpu_type.as_deref(), gone.gpu_count, gone.millicpu), (Some("H100"), 8, 32_000));
        for unknown in
            ["1x2", "H100", "H100:", "H100:0x1x2", "H100:1x1x2", "H100:1", "H 100:1x2", ":1x2", "H100:01x2", "h100:1x2"]
        {
            assert_eq!(catalogue.get(unknown), None, "{unknown}");
        }
    }
}
