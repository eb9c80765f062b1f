//! Where a deployment may run. The first stories are the platform's own: its example, and the table of what two levels make together.

use std::num::NonZeroU32;

use planner::policy::{
    Explained, Inventory, Level, Location, Policy, Request, ResourceType, Step, StepName, candidates, written as form,
};

use super::{asked, inventory, location, policy, written};

/// Two locations in North America, one in each of three other continents' countries; T4s everywhere but in Canada.
fn world() -> Inventory {
    inventory(vec![
        location("virginia us na", "cpu:x86 gpu:t4"),
        location("montreal ca na", "cpu:x86 gpu:a100"),
        location("paris fr eu", "cpu:x86 gpu:t4"),
        location("tokyo jp as", "cpu:x86 gpu:t4 gpu:a100"),
        location("sydney au oc", "gpu:t4"),
    ])
}

/// The policies of the platform's table, and of its example.
fn named(names: &str) -> Vec<Policy> {
    let one = |name| match name {
        "A" => policy("us-only", "location", "country:us"),
        "B" => policy("na-or-eu", "location", "continent:na continent:eu"),
        "C" => policy("t4-only", "flavor", "gpu:t4"),
        "asia" => policy("asia-only", "location", "continent:as"),
        "nowhere" => policy("antarctica-only", "location", "continent:an"),
        other => panic!("no policy is called {other}"),
    };
    names.split_whitespace().map(one).collect()
}

/// Each candidate as `location/flavor`.
fn shown(explained: &Explained<'_>) -> String {
    let one = |one: &planner::policy::Candidate<'_>| format!("{}/{}", one.location.name, one.flavor.name);
    explained.candidates.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// What these policies leave for a request, in `expected` as `location/flavor`.
#[track_caller]
fn check_request(environment: &[Policy], deployment: &[Policy], request: &Request, world: &Inventory, expected: &str) {
    let [environment, deployment] = [environment, deployment].map(|level| Level::new(level, ResourceType::Model));
    assert_eq!(shown(&candidates(&environment, &deployment, world, request)), expected);
}

#[track_caller]
fn check(environment: &str, deployment: &str, expected: &str) {
    check_request(&named(environment), &named(deployment), &Request::default(), &world(), expected);
}

#[test]
fn without_policies_everything_is_allowed() {
    check(
        "",
        "",
        "virginia/x86 virginia/t4 montreal/x86 montreal/a100 paris/x86 paris/t4 tokyo/x86 tokyo/t4 tokyo/a100 sydney/t4",
    );
}

#[test]
fn us_and_asia_and_t4_mean_a_t4_in_the_us_or_in_asia() {
    check("A asia C", "", "virginia/t4 tokyo/t4");
}

#[test]
fn two_levels_make_together_what_the_table_says() {
    let (usa, usa_t4) = ("virginia/x86 virginia/t4", "virginia/t4");
    let na_or_eu = "virginia/x86 virginia/t4 montreal/x86 montreal/a100 paris/x86 paris/t4";
    let na_or_eu_t4 = "virginia/t4 paris/t4";
    check("A B", "", na_or_eu);
    check("B C", "", na_or_eu_t4);
    check("A C", "", usa_t4);
    check("A B C", "", na_or_eu_t4);
    check("A", "B", usa);
    check("B", "A", usa);
    check("B", "C", na_or_eu_t4);
    check("A", "B C", usa_t4);
}

#[test]
fn a_deployment_cannot_widen_its_environment() {
    check("A", "asia", "");
    check("A C", "A asia", "virginia/t4");
}

#[test]
fn a_location_can_be_allowed_by_name_before_it_is_there() {
    let policies = [policy("ours", "location", "location:basement location:paris")];
    check_request(&policies, &[], &Request::default(), &world(), "paris/x86 paris/t4");
    let grown = [world().locations(), &[location("basement de eu", "gpu:t4")]].concat();
    check_request(&policies, &[], &Request::default(), &inventory(grown), "paris/x86 paris/t4 basement/t4");
}

#[test]
fn codes_mean_the_same_in_any_case() {
    let policies = [policy("us-only", "location", "country:US continent:As")];
    let world = inventory(vec![location("virginia Us NA", "gpu:t4"), location("tokyo JP aS", "gpu:t4")]);
    check_request(&policies, &[], &Request::default(), &world, "virginia/t4 tokyo/t4");
}

#[test]
fn a_policy_for_other_types_of_resources_counts_for_nothing() {
    let types = |types: &[&str]| Some(types.iter().map(|&one| one.to_owned()).collect());
    let only = |kinds: &[&str]| {
        let us_only = written("us-only", "location", "country:us");
        [Policy::try_from(form::Policy { resource_types: types(kinds), ..us_only }).unwrap()]
    };
    let t4 = Request { asked: asked("gpu:t4"), ..Request::default() };
    check_request(&only(&["function"]), &[], &t4, &world(), "virginia/t4 paris/t4 tokyo/t4 sydney/t4");
    check_request(&only(&["function", "model"]), &[], &t4, &world(), "virginia/t4");
}

#[test]
fn locations_that_are_not_healthy_fall_out() {
    let mut locations = world().locations().to_vec();
    locations[0].is_healthy = false;
    check_request(&named("A asia C"), &[], &Request::default(), &inventory(locations), "tokyo/t4");
}

#[test]
fn while_no_location_is_healthy_the_room_of_those_with_the_hardware_counts() {
    let mut locations = world().locations().to_vec();
    let request = Request { asked: asked("gpu:a100"), ..Request::default() };
    let check = |environment: &str, locations: &[Location], expected: &str| {
        let (policies, world) = (named(environment), inventory(locations.to_vec()));
        let environment = Level::new(&policies, ResourceType::Model);
        let explained = candidates(&environment, &Level::default(), &world, &request);
        let names: Vec<&str> = explained.locations(&request.asked).into_iter().map(|name| name.as_str()).collect();
        assert_eq!(names.join(" "), expected);
    };
    check("", &locations, "montreal tokyo");
    locations[3].is_healthy = false;
    check("", &locations, "montreal");
    locations.iter_mut().for_each(|location| location.is_healthy = false);
    check("", &locations, "montreal tokyo");
    check("asia", &locations, "");
}

#[test]
fn one_place_has_to_have_both() {
    // There is an A100 in Asia, and there are places in Europe, but no A100 in Europe.
    let request = Request { asked: asked("gpu:a100"), ..Request::default() };
    let europe = [policy("europe", "location", "continent:eu")];
    check_request(&europe, &[], &request, &world(), "");
    check_request(&named("B"), &[], &request, &world(), "montreal/a100");
}

#[test]
fn a_flavor_of_the_other_type_is_another_flavor() {
    let world = inventory(vec![location("lab de eu", "cpu:grace gpu:grace")]);
    let policies = [policy("grace", "flavor", "cpu:grace")];
    let [level, none] = [Level::new(&policies, ResourceType::Model), Level::default()];
    assert_eq!(candidates(&level, &none, &world, &Request::default()).candidates.len(), 1);
}

#[test]
fn a_place_has_to_have_as_much_as_a_replica_needs() {
    let stock = |count, memory_mib| form::Stock { kind: "gpu".into(), name: "t4".into(), count, memory_mib };
    let place = |name: &str, stock| {
        let (name, country, continent) = (name.into(), "us".into(), "na".into());
        Location::try_from(form::Location { name, country, continent, coordinates: None, flavors: vec![stock] })
            .unwrap()
    };
    let world = inventory(vec![
        place("few", stock(1, Some(16_384))),
        place("small", stock(8, Some(8_192))),
        place("right", stock(2, Some(16_384))),
        place("unsaid", stock(2, None)),
        place("none", stock(0, None)),
    ]);
    let request = Request { count: NonZeroU32::new(2).unwrap(), memory_mib: 16_384, ..Request::default() };
    check_request(&[], &[], &request, &world, "right/t4 unsaid/t4");
    check_request(&[], &[], &Request::default(), &world, "few/t4 small/t4 right/t4 unsaid/t4");
}

#[test]
fn each_step_says_what_it_took_away_and_by_which_policies() {
    let mut locations = world().locations().to_vec();
    locations[4].is_healthy = false;
    let world = inventory(locations);
    let (environment, deployment) = (named("A asia B"), named("asia A C"));
    let [environment, deployment] = [&environment, &deployment].map(|level| Level::new(level, ResourceType::Model));
    let request = Request { asked: asked("gpu:t4"), memory_mib: 20_000, ..Request::default() };
    let explained = candidates(&environment, &deployment, &world, &request);
    let line = |step: &Step<'_>| {
        let policies: Vec<_> = step.policies.iter().map(|name| name.as_str()).collect();
        format!("{} [{}] -{} {}", step.name.as_str(), policies.join(" "), step.removed.len(), step.left)
    };
    let lines: Vec<_> = explained.steps.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "inventory [] -0 10",
            "health [] -1 9",
            "environment_locations [us-only asia-only na-or-eu] -0 9",
            "environment_flavors [] -0 9",
            "deployment_locations [asia-only us-only] -4 5",
            "deployment_flavors [t4-only] -3 2",
            "asked_flavors [] -0 2",
            "feasibility [] -2 0",
        ]
    );
}

/// The sentence of a refusal, and the step that it names.
#[track_caller]
fn check_refusal(environment: &str, deployment: &str, request: &Request, step: StepName, expected: &str) {
    let (environment, deployment) = (named(environment), named(deployment));
    let [environment, deployment] = [&environment, &deployment].map(|level| Level::new(level, ResourceType::Model));
    let world = world();
    let explained = candidates(&environment, &deployment, &world, request);
    let refusal = explained.refusal().expect("nothing is left");
    assert_eq!((refusal.emptied().name, refusal.to_string()), (step, expected.to_owned()));
}

#[test]
fn a_refusal_names_the_policies_and_the_step_that_took_the_last() {
    let any = Request::default();
    check_refusal(
        "nowhere",
        "",
        &any,
        StepName::EnvironmentLocations,
        "none of 10 pairs of a location and a flavor remains: the environment's location policy antarctica-only removed the \
         last 10: change these policies, or add a location that they allow",
    );
    check_refusal(
        "A B C",
        "asia",
        &any,
        StepName::DeploymentLocations,
        "none of 10 pairs of a location and a flavor remains: the environment's location policies us-only and na-or-eu \
         removed 4, the environment's flavor policy t4-only removed 4, the deployment's location policy asia-only removed \
         the last 2: change these policies, or add a location that they allow",
    );
    check_refusal(
        "C",
        "",
        &Request { asked: asked("gpu:a100"), ..Request::default() },
        StepName::AskedFlavors,
        "none of 10 pairs of a location and a flavor remains: the environment's flavor policy t4-only removed 6, the flavors \
         that the deployment asks for removed the last 4: ask for other flavors, or add these where the policies allow them",
    );
    check_refusal(
        "",
        "",
        &Request { memory_mib: 40_000, ..Request::default() },
        StepName::Feasibility,
        "none of 10 pairs of a location and a flavor remains: the count and memory that a replica needs removed the last 10: \
         ask for less, or add more to a location that the policies allow",
    );
}

#[test]
fn an_empty_inventory_is_refused_as_such() {
    let (level, world) = (Level::default(), Inventory::default());
    let explained = candidates(&level, &level, &world, &Request::default());
    let refusal = explained.refusal().expect("there is nothing");
    assert_eq!(refusal.emptied().name, StepName::Inventory);
    assert_eq!(
        refusal.to_string(),
        "no location has a flavor to run on: add locations and the flavors in them to the inventory"
    );
}

#[test]
fn what_can_run_is_not_refused() {
    let (level, world) = (Level::default(), world());
    let explained = candidates(&level, &level, &world, &Request::default());
    assert_eq!(explained.refusal(), None);
    assert_eq!(explained.steps.iter().map(|step| step.name).collect::<Vec<_>>(), StepName::ALL);
}
