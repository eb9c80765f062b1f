//! Random policies and places, decided twice: by the planner, and by sets of words put together as the rules are told.

use std::{collections::BTreeSet, num::NonZeroU32};

use planner::policy::{
    Explained, Inventory, Level, Location, Policy, Request, ResourceType, candidates, written as form,
};
use proptest::{
    collection::{btree_set, vec},
    prelude::*,
    sample::{select, subsequence},
};

use super::{asked, inventory, written};

const PLACES: [(&str, &str); 6] = [("us", "na"), ("ca", "na"), ("fr", "eu"), ("de", "eu"), ("jp", "as"), ("au", "oc")];
const ALLOWED_PLACES: [&str; 10] = [
    "country:us",
    "country:FR",
    "country:Jp",
    "country:br",
    "continent:na",
    "continent:EU",
    "continent:oc",
    "location:l0",
    "location:l2",
    "location:l9",
];
const FLAVORS: [&str; 4] = ["cpu:x86", "cpu:arm", "gpu:t4", "gpu:a100"];

/// A policy of one of the two types, for models or for something else.
fn any_policy() -> impl Strategy<Value = form::Policy> {
    let resource_types = select(vec![None, Some(vec!["model"]), Some(vec!["agent"]), Some(vec!["agent", "model"])]);
    let places = subsequence(ALLOWED_PLACES.to_vec(), 1..4).prop_map(|places| ("location", places.join(" ")));
    let flavors = subsequence(FLAVORS.to_vec(), 1..4).prop_map(|flavors| ("flavor", flavors.join(" ")));
    (prop_oneof![places, flavors], resource_types).prop_map(|((kind, allowed), types)| form::Policy {
        resource_types: types.map(|types| types.into_iter().map(str::to_owned).collect()),
        ..written("p", kind, &allowed)
    })
}

fn any_location(number: usize) -> impl Strategy<Value = Location> {
    let stock = (select(FLAVORS.to_vec()), 0_u32..4, select(vec![None, Some(8_192), Some(16_384)]));
    let flavors = vec(stock, 1..4).prop_map(|stock| {
        let mut seen = BTreeSet::new();
        stock.into_iter().filter(|(flavor, ..)| seen.insert(*flavor)).collect::<Vec<_>>()
    });
    (select(PLACES.to_vec()), flavors, any::<bool>(), any::<bool>()).prop_map(
        move |((country, continent), flavors, one, other)| {
            let stock = |(flavor, count, memory_mib): (&str, u32, Option<u64>)| {
                let (kind, name) = flavor.split_once(':').expect("a flavor is written type:name");
                form::Stock { kind: kind.into(), name: name.into(), count, memory_mib }
            };
            let location = form::Location {
                name: format!("l{number}"),
                country: country.into(),
                continent: continent.into(),
                coordinates: None,
                flavors: flavors.into_iter().map(stock).collect(),
            };
            Location {
                is_healthy: one || other,
                ..Location::try_from(location).expect("the location is a possible one")
            }
        },
    )
}

fn any_inventory() -> impl Strategy<Value = Inventory> {
    (0..6_usize).prop_flat_map(|count| (0..count).map(any_location).collect::<Vec<_>>()).prop_map(inventory)
}

fn any_request() -> impl Strategy<Value = Request> {
    let one_kind = prop_oneof![
        Just(String::new()),
        btree_set(select(FLAVORS[..2].to_vec()), 1..3)
            .prop_map(|names| names.into_iter().collect::<Vec<_>>().join(" ")),
        btree_set(select(FLAVORS[2..].to_vec()), 1..3)
            .prop_map(|names| names.into_iter().collect::<Vec<_>>().join(" ")),
    ];
    (one_kind, 1_u32..3, select(vec![0, 8_192, 10_000])).prop_map(|(flavors, count, memory_mib)| Request {
        asked: asked(&flavors),
        count: NonZeroU32::new(count).expect("it is at least 1"),
        memory_mib,
    })
}

/// `kind:name` of all entries that policies of a type list for models; none where there is no such policy.
fn listed(policies: &[form::Policy], kind: &str) -> Option<BTreeSet<String>> {
    let is_for_models = |one: &&form::Policy| {
        one.kind == kind && one.resource_types.as_ref().is_none_or(|types| types.contains(&"model".to_owned()))
    };
    let entry = |entry: &form::Entry| format!("{}:{}", entry.kind.as_deref().unwrap_or_default(), entry.name);
    let mut hits = policies.iter().filter(is_for_models).peekable();
    hits.peek()?;
    Some(hits.flat_map(|one| [&one.locations, &one.flavors]).flatten().map(|one| entry(one).to_lowercase()).collect())
}

/// What each step leaves, as the rules are told: one list of pairs, filtered again and again.
fn naive(
    environment: &[form::Policy],
    deployment: &[form::Policy],
    inventory: &Inventory,
    request: &Request,
) -> Vec<Vec<(String, String)>> {
    let written: Vec<form::Location> = inventory.locations().iter().cloned().map(Into::into).collect();
    let healthy: BTreeSet<String> =
        inventory.locations().iter().filter(|one| one.is_healthy).map(|one| one.name.to_string()).collect();
    let place = |listed: &Option<BTreeSet<String>>, one: &form::Location| {
        let words = [
            format!("location:{}", one.name),
            format!("country:{}", one.country),
            format!("continent:{}", one.continent),
        ];
        listed.as_ref().is_none_or(|listed| words.iter().any(|word| listed.contains(word)))
    };
    let flavor = |listed: &Option<BTreeSet<String>>, one: &form::Stock| {
        listed.as_ref().is_none_or(|listed| listed.contains(&format!("{}:{}", one.kind, one.name)))
    };
    let levels = [environment, deployment].map(|level| (listed(level, "location"), listed(level, "flavor")));
    let [(environment_places, environment_flavors), (deployment_places, deployment_flavors)] = levels;
    let is_asked = |one: &form::Stock| match &request.asked {
        planner::policy::Asked::Anything => true,
        planner::policy::Asked::OneOf { kind, names } => {
            kind.as_str() == one.kind && names.iter().any(|name| name.as_str() == one.name)
        }
    };
    type Passes<'p> = Box<dyn Fn(&form::Location, &form::Stock) -> bool + 'p>;
    let steps: [Passes<'_>; 8] = [
        Box::new(|_, _| true),
        Box::new(|location, _| healthy.contains(&location.name)),
        Box::new(|location, _| place(&environment_places, location)),
        Box::new(|_, stock| flavor(&environment_flavors, stock)),
        Box::new(|location, _| place(&deployment_places, location)),
        Box::new(|_, stock| flavor(&deployment_flavors, stock)),
        Box::new(|_, stock| is_asked(stock)),
        Box::new(|_, stock| {
            stock.count >= request.count.get() && stock.memory_mib.unwrap_or(u64::MAX) >= request.memory_mib
        }),
    ];
    let mut left: Vec<_> = written.iter().flat_map(|one| one.flavors.iter().map(move |stock| (one, stock))).collect();
    let mut after = Vec::new();
    for passes in steps {
        left.retain(|(location, stock)| passes(location, stock));
        after.push(
            left.iter().map(|(one, stock)| (one.name.clone(), format!("{} {}", stock.kind, stock.name))).collect(),
        );
    }
    after
}

fn parsed(written: &[form::Policy]) -> Vec<Policy> {
    written.iter().map(|one| Policy::try_from(one.clone()).expect("the policy is a possible one")).collect()
}

fn pairs(explained: &Explained<'_>) -> Vec<(String, String)> {
    explained.candidates.iter().map(|one| (one.location.name.to_string(), one.flavor.to_string())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn every_step_leaves_what_the_rules_leave(
        environment in vec(any_policy(), 0..5),
        deployment in vec(any_policy(), 0..5),
        inventory in any_inventory(),
        request in any_request(),
    ) {
        let expected = naive(&environment, &deployment, &inventory, &request);
        let policies = [parsed(&environment), parsed(&deployment)];
        let [environment, deployment] = policies.each_ref().map(|level| Level::new(level, ResourceType::Model));
        let explained = candidates(&environment, &deployment, &inventory, &request);
        prop_assert_eq!(&pairs(&explained), expected.last().expect("there are steps"));
        let all: usize = inventory.locations().iter().map(|one| one.flavors.len()).sum();
        let mut before = all;
        prop_assert_eq!(explained.steps.len(), expected.len());
        for (step, expected) in explained.steps.iter().zip(&expected) {
            prop_assert_eq!(step.left, expected.len());
            prop_assert_eq!(step.removed.len(), before - step.left);
            for gone in &step.removed {
                let gone = (gone.location.name.to_string(), gone.flavor.to_string());
                prop_assert!(!expected.contains(&gone), "{gone:?} fell out at {:?} and is there after it", step.name);
            }
            before = step.left;
        }
        prop_assert_eq!(explained.refusal().is_some(), explained.candidates.is_empty());
    }

    #[test]
    fn a_policy_of_a_deployment_never_adds_a_candidate(
        environment in vec(any_policy(), 0..5),
        deployment in vec(any_policy(), 0..5),
        inventory in any_inventory(),
    ) {
        let policies = [parsed(&environment), parsed(&deployment)];
        let [environment, deployment] = policies.each_ref().map(|level| Level::new(level, ResourceType::Model));
        let request = Request::default();
        let wide = pairs(&candidates(&environment, &Level::default(), &inventory, &request));
        let narrow = pairs(&candidates(&environment, &deployment, &inventory, &request));
        prop_assert!(narrow.iter().all(|pair| wide.contains(pair)));
    }

    #[test]
    fn a_policy_reads_back_from_what_it_is_stored_as(written in any_policy()) {
        let policy = Policy::try_from(written).expect("the policy is a possible one");
        let stored = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(serde_json::from_str::<Policy>(&stored).unwrap(), policy);
    }
}
