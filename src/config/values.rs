//! Values as people write them in a configuration, and what is said of one that cannot be. Pure.

use std::{collections::BTreeMap, time::Duration};

use bytesize::ByteSize;
use planner::{
    catalogue::Catalogue,
    policy::{Inventory, Location, gpu_flavor, gpu_kind, written},
};
use serde_json::Value;

/// The backend of locations that are this machine.
const LOCAL: &str = "local";

/// Time with units.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("`{text}`: {error}; write it like `30s` or `5m`"))
}

/// A size with units, in bytes.
pub fn bytes(text: &str) -> Result<u64, String> {
    let size: ByteSize = text.parse().map_err(|_| format!("`{text}` is not a size; write it like `100 MB`"))?;
    Ok(size.as_u64())
}

/// A switch.
pub fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(format!("`{other}` is neither `on` nor `off`")),
    }
}

/// What stands between commas.
pub fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// `NAME=VALUE, ...`. A mistake is told without the text, which holds secrets.
pub fn pairs(text: &str) -> Result<BTreeMap<String, String>, String> {
    let pair =
        |part: &String| part.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    let pairs: Option<BTreeMap<_, _>> = list(text).iter().map(pair).collect();
    pairs.ok_or_else(|| "it needs to be NAME=VALUE, ...".to_owned())
}

/// Locations, as JSON.
pub fn locations(text: &str) -> Result<Vec<Location>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let not_locations = |error: serde_json::Error| format!("these are not locations: {error}");
    let entries: Vec<serde_json::Map<String, Value>> = serde_json::from_str(text).map_err(not_locations)?;
    let mut locations = Vec::new();
    for (number, mut entry) in entries.into_iter().enumerate() {
        // What runs its replicas is ours to know, and nothing to decide by.
        match entry.remove("backend") {
            None => {}
            Some(Value::String(name)) if name == LOCAL => {}
            Some(other) => return Err(format!("[{number}].backend: there is no backend {other}: choose {LOCAL}")),
        }
        let written: written::Location = serde_json::from_value(entry.into()).map_err(not_locations)?;
        let location = Location::try_from(written).map_err(|invalid| invalid.within(&format!("[{number}]")));
        locations.push(location.map_err(|invalid| invalid.to_string())?);
    }
    let inventory = Inventory::new(locations).map_err(|invalid| invalid.to_string())?;
    Ok(inventory.locations().to_vec())
}

/// Prices of instance types. Which there are with GPUs is found out later, and may change with the machine.
pub fn prices(text: &str) -> Result<BTreeMap<String, f64>, String> {
    let without_gpus = Catalogue::of(&[]);
    let price = |part: String| {
        let pair = part.split_once('=').and_then(|(id, price)| Some((id.trim(), price.trim().parse::<f64>().ok()?)));
        let (id, price) = pair
            .filter(|(_, price)| (0.0..1e6).contains(price))
            .ok_or_else(|| format!("`{part}` is not TYPE=DOLLARS; write it like `1x2=0.0005`"))?;
        if without_gpus.get(id).is_some() {
            return Ok((id.to_owned(), price));
        }
        let known: Vec<&str> = without_gpus.types().iter().map(|kind| kind.id.as_str()).collect();
        Err(format!(
            "there is no instance type `{id}`: choose among {}, or those with GPUs, as T4:4x16",
            known.join(", ")
        ))
    };
    list(text).into_iter().map(price).collect()
}

/// CPUs in thousandths.
pub fn millicpu(text: &str) -> Result<u64, String> {
    match text.parse::<f64>() {
        Ok(cpus) if (0.0..1e9).contains(&cpus) => Ok((cpus * 1000.0).round() as u64),
        _ => Err(format!("`{text}` is not a number of CPUs; write it like `8` or `7.5`")),
    }
}

/// How many GPUs there are of each kind.
pub fn gpus(text: &str) -> Result<BTreeMap<String, u32>, String> {
    let kind = |part: &str| {
        let (kind, count) = part.split_once(':')?;
        Some((gpu_kind(&gpu_flavor(kind.trim())?), count.trim().parse().ok()?))
    };
    let invalid = |part: &str| format!("`{part}` is not KIND:COUNT; write it like `L4:2, H100:8`");
    text.split(',').map(|part| kind(part).ok_or_else(|| invalid(part.trim()))).collect()
}
