//! Policies, seen from outside: what can be written, where a deployment may run, and how many tokens it may take.

mod against_naive;
mod placement;
mod tokens;
mod written;

use planner::policy::{Asked, Inventory, Location, Policy, written as form};

/// `gpu:t4` or `country:us` as they are written in a policy.
fn entry(text: &str) -> form::Entry {
    let (kind, name) = text.split_once(':').expect("an entry is written type:name");
    form::Entry { kind: Some(kind.into()), name: name.into() }
}

fn entries(text: &str) -> Vec<form::Entry> {
    text.split_whitespace().map(entry).collect()
}

/// A policy that is only called what it allows.
fn written(name: &str, kind: &str, allowed: &str) -> form::Policy {
    let policy = form::Policy { name: name.into(), kind: kind.into(), ..form::Policy::default() };
    match kind {
        "location" => form::Policy { locations: entries(allowed), ..policy },
        _ => form::Policy { flavors: entries(allowed), ..policy },
    }
}

fn policy(name: &str, kind: &str, allowed: &str) -> Policy {
    Policy::try_from(written(name, kind, allowed)).expect("the policy is a possible one")
}

fn asked(text: &str) -> Asked {
    Asked::parse("flavors", &entries(text)).expect("the flavors can be asked for")
}

/// A location from `name country continent`, with one of each flavor, 16 GiB of memory each.
fn location(place: &str, flavors: &str) -> Location {
    let mut words = place.split(' ').map(str::to_owned);
    let mut word = || words.next().expect("a place is written name country continent");
    let stock = |one: form::Entry| form::Stock {
        kind: one.kind.unwrap_or_default(),
        name: one.name,
        count: 1,
        memory_mib: Some(16_384),
    };
    let flavors = entries(flavors).into_iter().map(stock).collect();
    let (name, country, continent) = (word(), word(), word());
    Location::try_from(form::Location { name, country, continent, coordinates: None, flavors })
        .expect("the location is a possible one")
}

fn inventory(locations: Vec<Location>) -> Inventory {
    Inventory::new(locations).expect("the inventory is a possible one")
}
