//! The instance types there are: machines of some sizes without GPUs and, for each kind of GPU in a location, machines with some of these.

use std::{borrow::Cow, collections::BTreeMap};

use crate::policy::{Kind, Location, Name, Stock, gpu_flavor, gpu_kind};

/// CPUs and memory, in GiB, of machines without GPUs.
const SIZES: [(u64, u64); 6] = [(1, 2), (1, 4), (2, 8), (4, 16), (8, 32), (16, 64)];
/// CPUs and memory, in GiB, that come with each GPU.
const SHARES: [(u64, u64); 4] = [(4, 16), (8, 32), (16, 64), (16, 128)];
/// GPUs of one machine.
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

/// What a location with a kind of GPU has; a number that nobody has said is enough for anything.
struct Host {
    gpus: u32,
    cpus: Option<u64>,
    memory_gib: Option<u64>,
}

impl Catalogue {
    /// What these locations can offer. Machines with GPUs are listed where one of them is large enough. One that is smaller than all of
    /// those is a machine of its own size.
    pub fn of(locations: &[Location]) -> Self {
        let without = SIZES.map(|(cpus, memory_gib)| InstanceType::without_gpus(cpus, memory_gib));
        let mut stocks: BTreeMap<&Name, Vec<(&Stock, &Location)>> = BTreeMap::new();
        for location in locations {
            for stock in location.flavors.iter().filter(|stock| stock.flavor.kind == Kind::Gpu && stock.count > 0) {
                stocks.entry(&stock.flavor.name).or_default().push((stock, location));
            }
        }
        let with = stocks.into_iter().flat_map(|(name, stocks)| {
            let memory_mib = stocks.iter().filter_map(|(stock, _)| stock.memory_mib).min();
            let hosts: Vec<Host> = stocks.iter().map(|(stock, location)| Host::of(stock, location)).collect();
            let kind = gpu_kind(name);
            let sizes = COUNTS
                .into_iter()
                .flat_map(move |count| sizes(&hosts, count).into_iter().map(move |size| (count, size)));
            sizes.map(move |(count, size)| InstanceType {
                gpu_memory_mib: memory_mib,
                ..InstanceType::with_gpus(&kind, count, size)
            })
        });
        Self(without.into_iter().chain(with).collect())
    }

    /// All of them.
    pub fn types(&self) -> &[InstanceType] {
        &self.0
    }

    /// The one with this id. One with GPUs that no location offers any more is still known for what it was: what runs on it goes on, and
    /// nothing without its GPUs takes its place.
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
    fn of(stock: &Stock, location: &Location) -> Self {
        let cpus = || location.flavors.iter().filter(|stock| stock.flavor.kind == Kind::Cpu);
        let has_cpus = cpus().next().is_some();
        let memory_mib = cpus().map(|stock| stock.memory_mib).sum::<Option<u64>>();
        Self {
            gpus: stock.count,
            cpus: has_cpus.then(|| cpus().map(|stock| u64::from(stock.count)).sum()),
            memory_gib: memory_mib.filter(|_| has_cpus).map(|mib| mib >> 10),
        }
    }

    fn fits(&self, (cpus, memory_gib): (u64, u64)) -> bool {
        self.cpus.is_none_or(|has| has >= cpus) && self.memory_gib.is_none_or(|has| has >= memory_gib)
    }
}

/// CPUs and memory, in GiB, of machines with so many GPUs.
fn sizes(hosts: &[Host], count: u32) -> Vec<(u64, u64)> {
    let mut enough = hosts.iter().filter(|host| host.gpus >= count).peekable();
    if enough.peek().is_none() {
        return Vec::new();
    }
    let enough: Vec<&Host> = enough.collect();
    let all = SHARES.map(|(cpus, memory_gib)| (cpus * u64::from(count), memory_gib * u64::from(count)));
    let fitting: Vec<(u64, u64)> = all.into_iter().filter(|size| enough.iter().any(|host| host.fits(*size))).collect();
    if !fitting.is_empty() {
        return fitting;
    }
    let whole = |host: &&Host| {
        let cpus = host.cpus.unwrap_or(all[0].0).min(all[0].0);
        (cpus, host.memory_gib.unwrap_or(cpus * GIB_FOR_EACH_CPU).min(all[0].1))
    };
    enough.iter().map(whole).max().into_iter().collect()
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
        (gpu_flavor(kind).is_some() && count > 0 && parsed.id == id).then_some(parsed)
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
    fn a_machine_that_is_smaller_than_all_has_its_own_size() {
        let laptop = location(
            "laptop",
            json!([
                { "type": "cpu", "name": "x86", "count": 2, "memory_mib": 7_900 },
                { "type": "gpu", "name": "rtx-4090", "count": 1 },
            ]),
        );
        check(&[laptop], &["RTX_4090:2x7"]);
        let untold = location(
            "laptop",
            json!([
                { "type": "cpu", "name": "x86", "count": 2 }, { "type": "gpu", "name": "t4", "count": 1 },
            ]),
        );
        check(&[untold], &["T4:2x8"]);
    }

    #[test]
    fn one_that_is_offered_no_more_is_known_for_what_it_was() {
        let catalogue = Catalogue::default();
        let gone = catalogue.get("H100:8x32x128").expect("its id says all");
        assert_eq!((gone.gpu_type.as_deref(), gone.gpu_count, gone.millicpu), (Some("H100"), 8, 32_000));
        for unknown in ["1x2", "H100", "H100:", "H100:0x1x2", "H100:1x1x2", "H100:1", "H 100:1x2", ":1x2", "H100:01x2"]
        {
            assert_eq!(catalogue.get(unknown), None, "{unknown}");
        }
    }
}
