//! Which instance type a deployment gets. Behaviour 1.3.

use std::{collections::BTreeMap, fmt};

use crate::{
    catalogue::{Catalogue, InstanceType},
    policy::gpu_flavor,
};

/// What a config asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// A type by id or name; nothing else counts then.
    pub instance_type: Option<String>,
    /// Processor time, in thousandths of a CPU.
    pub millicpu: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// GPUs by kind and count.
    pub accelerator: Option<(String, u32)>,
}

/// Why no instance type will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// None has this name.
    Unknown {
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// None has these GPUs.
    NoAccelerator {
        /// Their kind.
        kind: String,
        /// How many.
        count: u32,
        /// The kinds there are, with the most of each in one instance type.
        known: BTreeMap<String, u32>,
    },
    /// None is large enough.
    TooLarge {
        /// Processor time, in thousandths of a CPU.
        millicpu: u64,
        /// Memory, in MiB.
        memory_mib: u64,
        /// The largest there is.
        largest: Option<String>,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unknown { name, known } => {
                write!(f, "there is no instance type {name:?}, choose one of {}", known.join(", "))
            }
            Refusal::NoAccelerator { kind, count, known } => {
                write!(f, "no instance type here has {count} x {kind}, ")?;
                if known.is_empty() {
                    return f.write_str("no location has GPUs");
                }
                let known: Vec<String> = known.iter().map(|(kind, most)| format!("{most} x {kind}")).collect();
                write!(f, "the most there are is {}", known.join(", "))
            }
            Refusal::TooLarge { millicpu, memory_mib, largest } => {
                write!(f, "no instance type here has {millicpu} millicpu and {memory_mib} MiB of memory")?;
                largest.as_ref().map_or(Ok(()), |largest| write!(f, ", the largest is {largest}"))
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// The smallest type that satisfies a request; fewest GPUs first, then processors, then memory.
pub fn choose<'c>(catalogue: &'c Catalogue, request: &Request) -> Result<&'c InstanceType, Refusal> {
    let types = catalogue.types();
    if let Some(name) = &request.instance_type {
        let named = types.iter().find(|kind| kind.id == *name || kind.name == *name);
        let known = || types.iter().map(|kind| kind.id.clone()).collect();
        return named.ok_or_else(|| Refusal::Unknown { name: name.clone(), known: known() });
    }
    let size = |kind: &&InstanceType| (kind.gpu_count, kind.millicpu, kind.memory_mib);
    let is_wanted = |kind: &&InstanceType| match &request.accelerator {
        // However it is written: clients write A100_40GB, policies a100-40gb.
        Some((wanted, count)) => {
            let flavor = kind.gpu_type.as_deref().and_then(gpu_flavor);
            flavor.is_some() && flavor == gpu_flavor(wanted) && kind.gpu_count >= *count
        }
        None => kind.gpu_count == 0,
    };
    let with_gpus: Vec<&InstanceType> = types.iter().filter(is_wanted).collect();
    let memory_mib = request.memory_bytes.div_ceil(1 << 20);
    let fits = |kind: &&&InstanceType| kind.millicpu >= request.millicpu && kind.memory_mib >= memory_mib;
    match (with_gpus.iter().filter(fits).min_by_key(|kind| size(kind)), &request.accelerator) {
        (Some(kind), _) => Ok(kind),
        (None, Some((kind, count))) if with_gpus.is_empty() => {
            let mut known = BTreeMap::new();
            for (kind, count) in types.iter().filter_map(|kind| Some((kind.gpu_type.clone()?, kind.gpu_count))) {
                let most = known.entry(kind).or_insert(count);
                *most = count.max(*most);
            }
            Err(Refusal::NoAccelerator { kind: kind.clone(), count: *count, known })
        }
        (None, _) => {
            let largest = with_gpus.iter().max_by_key(|kind| size(kind)).map(|kind| kind.id.clone());
            Err(Refusal::TooLarge { millicpu: request.millicpu, memory_mib, largest })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Location;

    /// Of a location with three T4, and sixteen CPUs.
    fn with_gpus() -> Catalogue {
        let flavors = serde_json::json!([
            { "type": "cpu", "name": "x86", "count": 16, "memory_mib": 65_536 },
            { "type": "gpu", "name": "t4", "count": 3 },
            { "type": "gpu", "name": "a100-40gb", "count": 1 },
        ]);
        let location = serde_json::json!({ "name": "paris", "country": "fr", "continent": "eu", "flavors": flavors });
        let location: Location = serde_json::from_value(location).expect("a possible location");
        Catalogue::of(&[location])
    }

    #[track_caller]
    fn check(millicpu: u64, memory_mib: u64, expected: Result<&str, &str>) {
        let catalogue = Catalogue::of(&[]);
        let request = Request { millicpu, memory_bytes: memory_mib << 20, ..Request::default() };
        let chosen = choose(&catalogue, &request).map(|kind| kind.id.as_str()).map_err(|refusal| refusal.to_string());
        assert_eq!(chosen, expected.map_err(str::to_owned));
    }

    #[test]
    fn the_smallest_type_that_fits_is_chosen() {
        check(1_000, 2_048, Ok("1x2"));
        check(500, 100, Ok("1x2"));
        check(1_000, 2_049, Ok("1x4"));
        check(1_001, 100, Ok("2x8"));
        check(16_000, 65_536, Ok("16x64"));
    }

    #[test]
    fn a_request_beyond_every_type_is_refused_with_the_largest() {
        let reason = "no instance type here has 17000 millicpu and 100 MiB of memory, the largest is 16x64";
        check(17_000, 100, Err(reason));
    }

    #[test]
    fn a_named_type_wins_over_resources() {
        let catalogue = Catalogue::of(&[]);
        let named = |name: &str| Request { instance_type: Some(name.into()), millicpu: 99_000, ..Request::default() };
        assert_eq!(choose(&catalogue, &named("4x16")).map(|kind| kind.id.as_str()), Ok("4x16"));
        let refusal = choose(&catalogue, &named("5x5")).unwrap_err().to_string();
        assert_eq!(refusal, "there is no instance type \"5x5\", choose one of 1x2, 1x4, 2x8, 4x16, 8x32, 16x64");
    }

    #[track_caller]
    fn check_gpus(accelerator: (&str, u32), millicpu: u64, expected: Result<&str, &str>) {
        let (catalogue, accelerator) = (with_gpus(), Some((accelerator.0.to_owned(), accelerator.1)));
        let request = Request { accelerator, millicpu, memory_bytes: 2 << 30, ..Request::default() };
        let chosen = choose(&catalogue, &request).map(|kind| kind.id.as_str()).map_err(|refusal| refusal.to_string());
        assert_eq!(chosen, expected.map_err(str::to_owned));
    }

    #[test]
    fn gpus_are_asked_for_by_kind_and_count() {
        check_gpus(("T4", 1), 1_000, Ok("T4:4x16"));
        check_gpus(("T4", 1), 5_000, Ok("T4:5x21"));
        check_gpus(("T4", 2), 1_000, Ok("T4:2x8x32"));
        check_gpus(("T4", 3), 1_000, Ok("T4:3x12x48"));
        check_gpus(("A100_40GB", 1), 1_000, Ok("A100_40GB:4x16"));
    }

    #[test]
    fn gpus_that_are_not_there_are_refused_with_those_that_are() {
        let there = "the most there are is 1 x A100_40GB, 3 x T4";
        check_gpus(("T4", 4), 1_000, Err(&format!("no instance type here has 4 x T4, {there}")));
        check_gpus(("H100", 8), 1_000, Err(&format!("no instance type here has 8 x H100, {there}")));
        let large = "no instance type here has 99000 millicpu and 2048 MiB of memory, the largest is T4:3x16x64";
        check_gpus(("T4", 1), 99_000, Err(large));
    }

    #[test]
    fn without_gpus_none_can_be_asked_for() {
        let request = Request { accelerator: Some(("H100".into(), 8)), ..Request::default() };
        let refusal = choose(&Catalogue::of(&[]), &request).unwrap_err().to_string();
        assert_eq!(refusal, "no instance type here has 8 x H100, no location has GPUs");
    }
}
