//! Which instance type a deployment gets. Behaviour 1.3.

use std::fmt;

/// A kind of machine that a replica can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceType {
    /// Unique; opaque, names are not uniform.
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
            Refusal::NoAccelerator { kind, count } => write!(f, "no instance type here has {count} x {kind}"),
            Refusal::TooLarge { millicpu, memory_mib, largest } => {
                write!(f, "no instance type here has {millicpu} millicpu and {memory_mib} MiB of memory")?;
                largest.as_ref().map_or(Ok(()), |largest| write!(f, ", the largest is {largest}"))
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// The default types, for machines without GPUs, smallest first.
pub fn cpu_catalogue() -> Vec<InstanceType> {
    [(1, 2), (1, 4), (2, 8), (4, 16), (8, 32), (16, 64)]
        .map(|(cpus, memory_gib)| InstanceType {
            id: format!("{cpus}x{memory_gib}"),
            name: format!("{cpus}x{memory_gib}"),
            memory_mib: memory_gib * 1_024,
            millicpu: cpus * 1_000,
            gpu_count: 0,
            gpu_type: None,
            gpu_memory_mib: None,
        })
        .into()
}

/// The smallest type that satisfies a request; fewest GPUs first, then processors, then memory.
pub fn choose<'c>(catalogue: &'c [InstanceType], request: &Request) -> Result<&'c InstanceType, Refusal> {
    if let Some(name) = &request.instance_type {
        let named = catalogue.iter().find(|kind| kind.id == *name || kind.name == *name);
        let known = || catalogue.iter().map(|kind| kind.id.clone()).collect();
        return named.ok_or_else(|| Refusal::Unknown { name: name.clone(), known: known() });
    }
    let size = |kind: &&InstanceType| (kind.gpu_count, kind.millicpu, kind.memory_mib);
    let with_gpus: Vec<&InstanceType> = catalogue
        .iter()
        .filter(|kind| match &request.accelerator {
            Some((wanted, count)) => kind.gpu_type.as_ref() == Some(wanted) && kind.gpu_count >= *count,
            None => kind.gpu_count == 0,
        })
        .collect();
    let memory_mib = request.memory_bytes.div_ceil(1 << 20);
    let fits = |kind: &&&InstanceType| kind.millicpu >= request.millicpu && kind.memory_mib >= memory_mib;
    match (with_gpus.iter().filter(fits).min_by_key(|kind| size(kind)), &request.accelerator) {
        (Some(kind), _) => Ok(kind),
        (None, Some((kind, count))) if with_gpus.is_empty() => {
            Err(Refusal::NoAccelerator { kind: kind.clone(), count: *count })
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

    #[track_caller]
    fn check(millicpu: u64, memory_mib: u64, expected: Result<&str, &str>) {
        let catalogue = cpu_catalogue();
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
        let catalogue = cpu_catalogue();
        let named = |name: &str| Request { instance_type: Some(name.into()), millicpu: 99_000, ..Request::default() };
        assert_eq!(choose(&catalogue, &named("4x16")).map(|kind| kind.id.as_str()), Ok("4x16"));
        let refusal = choose(&catalogue, &named("5x5")).unwrap_err().to_string();
        assert_eq!(refusal, "there is no instance type \"5x5\", choose one of 1x2, 1x4, 2x8, 4x16, 8x32, 16x64");
    }

    #[test]
    fn an_accelerator_that_is_not_there_is_refused_by_name() {
        let request = Request { accelerator: Some(("H100".into(), 8)), ..Request::default() };
        assert_eq!(choose(&cpu_catalogue(), &request).unwrap_err().to_string(), "no instance type here has 8 x H100");
    }
}
