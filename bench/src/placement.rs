//! What placement costs: 1,000 deployments, each under policies of its own, over 1,000 locations and 100 policies. Every deployment asks a
//! question of its own, which is the worst there is: in the product those under the same policies share one answer. Prints the median
//! of some rounds in milliseconds, and how many found a place.

use std::time::Instant;

use anyhow::{Context as _, anyhow};
use planner::{
    capacity::{Amount, Capacity},
    location::{Fence, Room, Site, place},
    policy::{Country, Inventory, Level, Location, Policy, Request, ResourceType, written},
};

const DEPLOYMENTS: usize = 1_000;
const LOCATIONS: usize = 1_000;
const POLICIES: usize = 100;
const ROUNDS: usize = 5;

#[expect(clippy::print_stdout, reason = "its answer")]
fn main() -> anyhow::Result<()> {
    let inventory = inventory()?;
    let policies = policies()?;
    let sites: Vec<Site<'_>> = inventory
        .locations()
        .iter()
        .map(|location| Site { name: location.name.as_str(), location: Some(location), unhealthy: None })
        .collect();
    let mut rounds = Vec::new();
    let mut placed = 0;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        placed = (0..DEPLOYMENTS).filter(|number| is_placed(*number, &policies, &sites)).count();
        rounds.push(begun.elapsed());
    }
    rounds.sort();
    let median_ms = rounds[ROUNDS / 2].as_secs_f64() * 1e3;
    println!(
        "{DEPLOYMENTS} deployments over {LOCATIONS} locations and {POLICIES} policies: {median_ms:.0} ms, {placed} placed"
    );
    Ok(())
}

/// Places one replica, under two to four policies of its environment and one of its own.
fn is_placed(number: usize, policies: &[Policy], sites: &[Site<'_>]) -> bool {
    let pick = |nth: usize| &policies[(number * 31 + nth * 17) % POLICIES];
    let environment = Level::new((0..2 + number % 3).map(pick), ResourceType::Model);
    let own = Level::new([pick(9)], ResourceType::Model);
    let fence = Fence::new(sites, &[&environment, &own], &Request::default(), || None);
    let (capacity, used, asked) = (Capacity::default(), Amount::default(), Amount::default());
    let rooms: Vec<Room<'_>> = sites.iter().map(|_| Room { capacity: &capacity, used: &used, own: 0 }).collect();
    place(sites, &fence, &rooms, &asked).is_ok()
}

fn inventory() -> anyhow::Result<Inventory> {
    let countries: Vec<Country> = Country::all().collect();
    let location = |number: usize| {
        let flavor = |kind: &str, name: &str| written::Stock {
            kind: kind.to_owned(),
            name: name.to_owned(),
            count: 8,
            ..Default::default()
        };
        let written = written::Location {
            name: format!("location-{number}"),
            country: countries[number % countries.len()].as_str().to_owned(),
            continent: ["eu", "na", "as"][number % 3].to_owned(),
            flavors: vec![flavor("cpu", "x86"), flavor("gpu", ["t4", "a100", "h100"][number % 3])],
            ..Default::default()
        };
        Location::try_from(written).map_err(|error| anyhow!("{error}"))
    };
    let locations = (0..LOCATIONS).map(location).collect::<anyhow::Result<Vec<_>>>()?;
    Inventory::new(locations).map_err(|error| anyhow!("{error}")).context("the inventory")
}

/// Half of them about places, half about hardware.
fn policies() -> anyhow::Result<Vec<Policy>> {
    let countries: Vec<Country> = Country::all().collect();
    let entry = |kind: &str, name: &str| written::Entry { kind: Some(kind.to_owned()), name: name.to_owned() };
    let policy = |number: usize| {
        let name = format!("policy-{number}");
        let some = (0..20).map(|nth| entry("country", countries[(number * 7 + nth * 11) % countries.len()].as_str()));
        let written = match number % 2 {
            0 => written::Policy { name, kind: "location".into(), locations: some.collect(), ..Default::default() },
            _ => {
                let flavors = vec![entry("cpu", "x86"), entry("gpu", ["t4", "a100", "h100"][number % 3])];
                written::Policy { name, kind: "flavor".into(), flavors, ..Default::default() }
            }
        };
        Policy::try_from(written).map_err(|error| anyhow!("{error}"))
    };
    (0..POLICIES).map(policy).collect()
}
