//! What this machine has: processors, memory, and GPUs by what their vendor's library says. A library that is not there means that
//! there are none.

use std::{collections::BTreeMap, fs, thread};

use api::internal::replica::Device;
use nvml_wrapper::{Nvml, error::NvmlError};
use planner::policy::{Flavor, Kind, Location, Name, Stock};

/// Words of a GPU's name that do not tell which it is.
const VENDOR: &[&str] = &["nvidia", "tesla", "geforce", "quadro"];
/// How words begin that tell of its memory or its socket, and end the name.
const BUILT_AS: &[&str] = &["sxm", "pcie", "nvl", "hbm", "mig"];
/// GPUs that are sold with less memory than their name stands for in clients' configs.
const SMALLER: &[(&str, &str)] = &[("a100", "40gb"), ("h100", "40gb")];
const MIB: u64 = 1 << 20;

/// A GPU of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gpu {
    /// Which one it is.
    pub device: Device,
    /// Which kind it is.
    pub flavor: Name,
    /// How much memory it has, in MiB, where it says so.
    pub memory_mib: Option<u64>,
}

/// This machine, with these GPUs, as a location of this name. Where on the globe it is, nobody has said.
pub(super) fn location(name: Name, gpus: &[Gpu]) -> Location {
    let flavors = processors().into_iter().chain(counted(gpus)).collect();
    Location { name, country: None, continent: None, coordinates: None, flavors, is_healthy: true }
}

/// The GPUs of this machine or, where `visible` names some as `CUDA_VISIBLE_DEVICES` does, of those.
pub(super) fn gpus(visible: Option<&str>) -> Vec<Gpu> {
    let found = ask_for_gpus().unwrap_or_else(|error| {
        match error {
            NvmlError::LibloadingError(_) => tracing::debug!(%error, "no GPUs were found"),
            _ => tracing::warn!(%error, "the GPUs of this machine cannot be asked for: none is used until the server starts again"),
        }
        Vec::new()
    });
    let is_visible = |gpu: &Gpu| visible.is_none_or(|names| is_named(&gpu.device, names));
    found.into_iter().filter(is_visible).collect()
}

/// Whether a GPU is one of these, given by numbers or by ids, which may be cut short.
fn is_named(device: &Device, names: &str) -> bool {
    let is_it =
        |name: &str| name.parse() == Ok(device.number) || (name.starts_with("GPU-") && device.id.starts_with(name));
    names.split(',').any(|name| is_it(name.trim()))
}

fn processors() -> Option<Stock> {
    let name = match std::env::consts::ARCH {
        "x86_64" | "x86" => "x86".to_owned(),
        "aarch64" | "arm" => "arm".to_owned(),
        other => other.replace('_', "-"),
    };
    let name = Name::parse("cpu", &name).ok()?;
    let count = thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX));
    let memory_mib = total_memory_mib(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
    Some(Stock { flavor: Flavor { kind: Kind::Cpu, name }, count, memory_mib })
}

/// All memory, as the kernel's table of it says.
fn total_memory_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1_024)
}

/// Each GPU that can be used. One that has fallen off the bus hides no other.
fn ask_for_gpus() -> Result<Vec<Gpu>, NvmlError> {
    let library = Nvml::init()?;
    let gpu = |number: u32| {
        let device = library.device_by_index(number)?;
        let flavor = flavor_name(&device.name()?).ok_or(NvmlError::NotFound)?;
        let memory_mib = device.memory_info().ok().map(|memory| memory.total / MIB);
        Ok(Gpu { device: Device { id: device.uuid()?, number }, flavor, memory_mib })
    };
    let found = |index: u32| {
        let tell =
            |error: &NvmlError| tracing::warn!(index, %error, "a GPU does not say what it is, and is not counted");
        gpu(index).inspect_err(tell).ok()
    };
    Ok((0..library.device_count()?).filter_map(found).collect())
}

/// The same, as kinds with counts; a kind has the memory of the smallest of its GPUs.
fn counted(gpus: &[Gpu]) -> impl Iterator<Item = Stock> {
    let mut kinds: BTreeMap<Name, (u32, Option<u64>)> = BTreeMap::new();
    for gpu in gpus {
        let (count, least) = kinds.entry(gpu.flavor.clone()).or_default();
        *count += 1;
        *least = gpu.memory_mib.into_iter().chain(*least).min();
    }
    kinds.into_iter().map(|(name, (count, memory_mib))| Stock {
        flavor: Flavor { kind: Kind::Gpu, name },
        count,
        memory_mib,
    })
}

/// A GPU's name as policies write it: `NVIDIA A100-SXM4-80GB` is an `a100`.
fn flavor_name(product: &str) -> Option<Name> {
    let lower = product.to_lowercase();
    let words = lower.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let tells_size = |word: &str| word.ends_with("gb") && word.starts_with(|letter: char| letter.is_ascii_digit());
    let telling: Vec<&str> = words
        .skip_while(|word| VENDOR.contains(word))
        .take_while(|word| !BUILT_AS.iter().any(|built| word.starts_with(built)) && !tells_size(word))
        .collect();
    let name = telling.join("-");
    // The same name for half the memory: clients tell the smaller one apart.
    let size = SMALLER.iter().find(|(known, size)| *known == name && lower.contains(size));
    let name = size.map_or_else(|| name.clone(), |(_, size)| format!("{name}-{size}"));
    Name::parse("gpu", &name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(product: &str, expected: &str) {
        assert_eq!(flavor_name(product).map(|name| name.to_string()).as_deref(), Some(expected));
    }

    #[test]
    fn gpus_go_by_the_names_that_people_give_them() {
        check("NVIDIA H200", "h200");
        check("Tesla T4", "t4");
        check("NVIDIA A100-SXM4-80GB", "a100");
        check("NVIDIA A100-PCIE-40GB", "a100-40gb");
        check("NVIDIA H100 80GB HBM3", "h100");
        check("NVIDIA L40S", "l40s");
        check("NVIDIA GeForce RTX 4090", "rtx-4090");
        check("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada-generation");
    }

    #[test]
    fn some_gpus_may_be_left_to_others() {
        let named = |names: &str| {
            [(0, "GPU-aa"), (1, "GPU-ab"), (2, "GPU-b")]
                .map(|(number, id)| is_named(&Device { id: id.into(), number }, names))
        };
        assert_eq!(named("0, 2"), [true, false, true]);
        assert_eq!(named("GPU-b,GPU-aa"), [true, false, true]);
        assert_eq!(named("GPU-a"), [true, true, false]);
        assert_eq!((named(""), named("-1"), named("a")), ([false; 3], [false; 3], [false; 3]));
    }

    #[test]
    fn equal_gpus_are_one_flavor_with_a_count() {
        let found = [("NVIDIA A10G", Some(23_028)), ("Tesla T4", None), ("NVIDIA A10G", Some(22_000))];
        let found = found.map(|(name, memory_mib)| Gpu {
            device: Device { id: "GPU-1".into(), number: 1 },
            flavor: flavor_name(name).expect("it has a name"),
            memory_mib,
        });
        let told: Vec<_> =
            counted(&found).map(|stock| (stock.flavor.to_string(), stock.count, stock.memory_mib)).collect();
        assert_eq!(told, [("gpu a10g".into(), 2, Some(22_000)), ("gpu t4".into(), 1, None)]);
    }

    #[test]
    fn this_machine_has_processors_and_memory_and_is_nowhere_in_particular() {
        let here = location(Name::parse("name", "local").expect("a name"), &[]);
        let cpu = here.flavors.first().expect("a machine has processors");
        assert_eq!((cpu.flavor.kind, here.country), (Kind::Cpu, None));
        assert!(cpu.count > 0 && cpu.memory_mib.is_some_and(|mib| mib > 0));
        assert_eq!(total_memory_mib("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16));
    }
}
