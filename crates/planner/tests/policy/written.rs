//! What can be written, and what is said of what cannot.

use planner::policy::{Asked, Country, Inventory, Location, Policy, ResourceType, Rule, written as form};

use super::{entries, location, policy};

/// A policy in JSON is stored as `stored`.
#[track_caller]
fn check_stored(json: &str, stored: &str) {
    let policy: Policy = serde_json::from_str(json).expect("the JSON is a policy that can be");
    assert_eq!(serde_json::to_string(&policy).expect("the JSON is a policy that can be"), stored);
    assert_eq!(serde_json::from_str::<Policy>(stored).expect("the JSON is a policy that can be"), policy);
}

/// A policy in JSON is refused with these words.
#[track_caller]
fn check_refused(json: &str, expected: &str) {
    let written: form::Policy = serde_json::from_str(json).expect("the JSON has the shape of a policy");
    assert_eq!(Policy::try_from(written).map_err(|invalid| invalid.to_string()), Err(expected.to_owned()));
    // A policy that cannot be is not read back from a store either.
    assert!(serde_json::from_str::<Policy>(json).is_err());
}

#[test]
fn a_policy_reads_back_from_the_store_as_it_is() {
    check_stored(
        r#"{"name":"us-only","type":"location","locations":[{"type":"country","name":"US"},{"type":"country","name":"us"},
            {"type":"location","name":"lab-1"}],"flavors":[],"resource_types":["model"]}"#,
        r#"{"name":"us-only","type":"location","locations":[{"type":"country","name":"us"},{"type":"location","name":"lab-1"}],"resource_types":["model"]}"#,
    );
    check_stored(
        r#"{"name":"free","type":"maxToken","max_tokens":{"granularity":"day","input":0,"total":1000}}"#,
        r#"{"name":"free","type":"maxToken","max_tokens":{"granularity":"day","step":1,"total":1000}}"#,
    );
}

#[test]
fn a_type_may_have_another_word() {
    let stored = r#"{"name":"t4-only","type":"flavor","flavors":[{"type":"gpu","name":"t4"}]}"#;
    check_stored(r#"{"name":"t4-only","type":"gpu","flavors":[{"type":"gpu","name":"t4"}]}"#, stored);
    check_stored(r#"{"name":"t4-only","type":"gpu","flavors":[{"name":"t4"}]}"#, stored);
    check_stored(
        r#"{"name":"free","type":"max_token","max_tokens":{"granularity":"day","total":9}}"#,
        r#"{"name":"free","type":"maxToken","max_tokens":{"granularity":"day","step":1,"total":9}}"#,
    );
    check_refused(
        r#"{"name":"t4-only","type":"cpu","flavors":[{"type":"gpu","name":"t4"}]}"#,
        "flavors[0].type is gpu in a policy of type cpu: give the policy the type flavor",
    );
}

#[test]
fn an_empty_list_is_refused() {
    check_refused(
        r#"{"name":"x","type":"location","locations":[]}"#,
        "locations is empty: name what is allowed; without any policy, everything is",
    );
    check_refused(
        r#"{"name":"x","type":"flavor"}"#,
        "flavors is empty: name what is allowed; without any policy, everything is",
    );
    check_refused(
        r#"{"name":"x","type":"cpu","flavors":[{"name":"x86"}],"resource_types":[]}"#,
        "resource_types is empty: leave it out where the policy is for everything",
    );
}

#[test]
fn what_cannot_be_is_refused_with_its_field_and_a_remedy() {
    let eu = r#""locations":[{"type":"continent","name":"eu"}]"#;
    check_refused(
        &format!(r#"{{"name":"EU only","type":"location",{eu}}}"#),
        "name \"EU only\" is not a name: use lower-case letters, digits and hyphens, and no hyphen at an end",
    );
    check_refused(
        &format!(r#"{{"name":"{}","type":"location",{eu}}}"#, "a".repeat(50)),
        "name has 50 characters: give it 1 to 49",
    );
    check_refused(
        &format!(r#"{{"name":"eu","type":"region",{eu}}}"#),
        "type \"region\" is no type of policy here: choose location, flavor or maxToken",
    );
    check_refused(
        &format!(r#"{{"name":"eu","type":"flavor",{eu},"flavors":[{{"type":"gpu","name":"t4"}}]}}"#),
        "locations has no place in a policy of type flavor: leave it out, or make a second policy of it",
    );
    check_refused(
        r#"{"name":"uk","type":"location","locations":[{"type":"country","name":"fr"},{"type":"country","name":"uk"}]}"#,
        "locations[1].name \"uk\" is not the code of a country: give two letters of ISO 3166-1, such as us, fr or gb",
    );
    check_refused(
        r#"{"name":"us","type":"location","locations":[{"type":"continent","name":"us"}]}"#,
        "locations[0].name \"us\" is not the code of a continent: choose one of af, an, as, eu, na, oc, sa",
    );
    check_refused(
        r#"{"name":"us","type":"location","locations":[{"name":"us"}]}"#,
        "locations[0].type is missing: choose location, country or continent",
    );
    check_refused(
        &format!(r#"{{"name":"eu","type":"location",{eu},"resource_types":["model","job"]}}"#),
        "resource_types[1] \"job\" is not a type of resource: choose among model, function, agent",
    );
}

#[test]
fn a_token_policy_needs_a_window_and_a_bound() {
    check_refused(
        r#"{"name":"x","type":"maxToken"}"#,
        "max_tokens is missing: say how many, such as granularity day and total 1000000",
    );
    check_refused(
        r#"{"name":"x","type":"maxToken","max_tokens":{"granularity":"week","total":1}}"#,
        "max_tokens.granularity \"week\" is not a unit of time here: choose one of minute, hour, day, month",
    );
    check_refused(
        r#"{"name":"x","type":"maxToken","max_tokens":{"granularity":"day","step":0,"total":1}}"#,
        "max_tokens.step is 0: give 1 or more, or leave it out",
    );
    check_refused(
        r#"{"name":"x","type":"maxToken","max_tokens":{"granularity":"day","total":0}}"#,
        "max_tokens.total has no bound, and nothing else has: give at least 1 as input, output, total or \
         ratio_input_over_output",
    );
}

#[test]
fn the_flavors_that_a_deployment_asks_for_are_of_one_type() {
    let refusal = Asked::parse("flavors", &entries("gpu:t4 cpu:x86")).unwrap_err();
    assert_eq!(refusal.to_string(), "flavors[1].type is cpu beside gpu: ask for flavors of one type");
    assert_eq!(Asked::parse("flavors", &[]), Ok(Asked::Anything));
}

#[test]
fn whether_policies_allow_what_is_asked_for_can_be_asked_before() {
    let policies = [policy("t4-only", "flavor", "gpu:t4")];
    let level = planner::policy::Level::new(&policies, ResourceType::Model);
    let Rule::Flavors(flavors) = policy("asked", "flavor", "gpu:t4 gpu:a100").rule().clone() else {
        panic!("a policy of type flavor has flavors");
    };
    assert_eq!(flavors.iter().map(|flavor| level.allows_flavor(flavor)).collect::<Vec<_>>(), [true, false]);
}

/// A location in JSON is refused with these words.
#[track_caller]
fn check_location(json: &str, expected: &str) {
    let written: form::Location = serde_json::from_str(json).expect("the JSON has the shape of a location");
    assert_eq!(Location::try_from(written).map_err(|invalid| invalid.to_string()), Err(expected.to_owned()));
}

#[test]
fn a_location_reads_back_as_it_is() {
    let stored = r#"{"name":"fra-1","country":"de","continent":"eu","coordinates":{"latitude":50.1,"longitude":8.7},"flavors":[{"type":"gpu","name":"t4","count":8,"memory_mib":16384}]}"#;
    let location: Location = serde_json::from_str(stored).unwrap();
    assert!(location.is_healthy);
    assert_eq!(serde_json::to_string(&location).unwrap(), stored);
}

#[test]
fn a_location_that_cannot_be_is_refused() {
    let t4 = r#"{"type":"gpu","name":"t4","count":1}"#;
    check_location(
        r#"{"name":"a","country":"de","continent":"eu","flavors":[]}"#,
        "flavors is empty: name the hardware that is there, such as type cpu and name x86, or leave the location out",
    );
    check_location(
        &format!(r#"{{"name":"a","country":"de","continent":"eu","flavors":[{t4},{t4}]}}"#),
        "flavors[1] is gpu t4 for a second time: give each flavor once, with its whole count",
    );
    check_location(
        &format!(
            r#"{{"name":"a","country":"de","continent":"eu","coordinates":{{"latitude":91,"longitude":0}},"flavors":[{t4}]}}"#
        ),
        "coordinates.latitude is 91: give degrees from -90 to 90",
    );
    check_location(
        r#"{"name":"a","country":"de","continent":"eu","flavors":[{"type":"tpu","name":"v5","count":1}]}"#,
        "flavors[0].type \"tpu\" is not a type of flavor: choose cpu or gpu",
    );
}

#[test]
fn an_inventory_has_every_name_once() {
    let refusal = Inventory::new(vec![location("a us na", "gpu:t4"), location("a ca na", "gpu:t4")]).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "locations[1].name \"a\" is taken by another location: give each a name of its own"
    );
}

#[test]
fn every_country_of_iso_3166_is_known_once_and_in_order() {
    let codes: Vec<_> = Country::all().map(Country::as_str).collect();
    // One of them is not in the standard.
    assert_eq!(codes.len(), 249 + 1);
    assert!(codes.is_sorted_by(|one, next| one < next));
    assert!(codes.iter().all(|code| code.len() == 2));
}
