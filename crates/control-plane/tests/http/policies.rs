//! Policies: who writes them, what they come to, and that a push or a promotion against them is refused before anything changes.

use axum::http::Method;
use planner::{
    Timestamp,
    capacity::Capacity,
    heartbeat::Health,
    policy::{Inventory, Location, written},
    promotion::Room,
};
use serde_json::{Value, json};
use store::Placement;

use crate::support::{TestApp, another, model_archive, production, stage};

fn location(name: &str, country: &str, continent: &str, flavors: &[(&str, &str)]) -> Location {
    let stock = |(kind, name): &(&str, &str)| written::Stock {
        kind: (*kind).into(),
        name: (*name).into(),
        count: 4,
        memory_mib: None,
    };
    let written = written::Location {
        name: name.into(),
        country: country.into(),
        continent: continent.into(),
        coordinates: None,
        flavors: flavors.iter().map(stock).collect(),
    };
    written.try_into().unwrap()
}

/// Machines in France and in the United States; GPUs only in the latter.
async fn app() -> TestApp {
    let locations = vec![
        location("paris", "fr", "eu", &[("cpu", "x86")]),
        location("virginia", "us", "na", &[("cpu", "x86"), ("gpu", "t4")]),
    ];
    TestApp::with(|settings| settings.inventory = Inventory::new(locations).unwrap()).await
}

async fn policy(app: &TestApp, name: &str, body: Value) {
    let mut request = body;
    request["name"] = name.into();
    app.post("/v1/policies", request).await.ok();
}

fn country(code: &str) -> Value {
    json!({ "type": "location", "locations": [{ "type": "country", "name": code }] })
}

async fn put(app: &TestApp, path: &str, body: Value) -> crate::support::Answer {
    app.call(Method::PUT, path, Some(body)).await
}

/// Locations and flavors that are left, as `paris/x86`.
fn places(answer: &Value) -> Vec<String> {
    let candidates = answer["candidates"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    candidates.map(|one| format!("{}/{}", text(&one["location"]), text(&one["flavor"]["name"]))).collect()
}

#[tokio::test]
async fn a_policy_lives_from_its_making_to_its_deletion_and_administrators_say_so() {
    let app = app().await;
    let made = app.post(
        "/v1/policies",
        json!({ "name": "eu-only", "type": "location", "locations": [{ "type": "continent", "name": "EU" }] }),
    );
    let made = made.await.ok();
    assert_eq!(made["locations"], json!([{ "type": "continent", "name": "eu" }]), "codes are kept in one spelling");
    assert_eq!(made["usage"], json!({ "environments": 0, "deployments": 0 }));
    assert_eq!(app.get("/v1/policies").await.ok()["policies"][0], made);
    app.post("/v1/policies", country("fr")).await.is_invalid("name has 0 characters");
    let again = json!({ "name": "eu-only", "type": "flavor", "flavors": [{ "type": "gpu", "name": "t4" }] });
    app.post("/v1/policies", again).await.is_invalid("another policy is named \"eu-only\"");

    app.pass(1000);
    let changed = put(&app, "/v1/policies/eu-only", country("fr")).await.ok();
    assert_eq!(changed["locations"][0]["name"], "fr");
    assert_ne!(changed["updated_at"], changed["created_at"]);
    let mut named = country("fr");
    named["name"] = "another".into();
    put(&app, "/v1/policies/eu-only", named).await.is_invalid("name");
    let flavor = json!({ "type": "cpu", "flavors": [{ "name": "x86" }], "resourceTypes": ["function"] });
    let of_another_type = put(&app, "/v1/policies/eu-only", flavor).await.ok();
    assert_eq!(
        (&of_another_type["type"], &of_another_type["locations"], &of_another_type["resource_types"]),
        (&json!("flavor"), &json!([]), &json!(["function"]))
    );
    let changed = put(&app, "/v1/policies/eu-only", country("fr")).await.ok();
    assert_eq!(
        (&changed["type"], &changed["resource_types"]),
        (&json!("location"), &json!(null)),
        "it is replaced whole"
    );
    put(&app, "/v1/policies/nonesuch", country("fr")).await.refuses(404, "NOT_FOUND", "there is no policy nonesuch");

    let member = app.make_key("WORKSPACE_MANAGE_ALL").await;
    for (method, path, body) in [
        (Method::POST, "/v1/policies", country("fr")),
        (Method::PUT, "/v1/policies/eu-only", country("us")),
        (Method::DELETE, "/v1/policies/eu-only", json!({})),
    ] {
        let answer = app.call_as(Some(&member), method, path, Some(body)).await;
        answer.refuses(403, "PERMISSION_DENIED", "only an administrator of the organization can");
    }
    app.call_as(Some(&member), Method::GET, "/v1/policies/eu-only", None).await.ok();
    assert_eq!(app.delete("/v1/policies/eu-only").await.ok(), json!({ "name": "eu-only", "deleted": true }));
    let events = app.get("/v1/audit_logs?search=eu-only").await.ok();
    let types: Vec<_> = events["items"].as_array().unwrap().iter().map(|one| &one["event_type"]).collect();
    let updated = "POLICY_UPDATED";
    assert_eq!(types, ["POLICY_DELETED", updated, updated, updated, "POLICY_CREATED"]);
    assert_eq!(events["items"][3]["event_data"]["previous_settings"]["locations"][0]["name"], "eu");
}

#[tokio::test]
async fn what_cannot_be_a_policy_is_refused_by_its_field() {
    let app = app().await;
    for (body, message) in [
        (json!({ "name": "p", "type": "location", "locations": [] }), "locations is empty"),
        (
            json!({ "name": "p", "type": "location", "locations": [{ "type": "country", "name": "uk" }] }),
            "\"uk\" is not the code of a country",
        ),
        (
            json!({ "name": "P", "type": "flavor", "flavors": [{ "type": "gpu", "name": "t4" }] }),
            "name \"P\" is not a name",
        ),
        (
            json!({ "name": "p", "type": "mood" }),
            "\"mood\" is no type of policy here: choose location, flavor or maxToken",
        ),
        (json!({ "name": "p", "type": "maxToken" }), "max_tokens is missing"),
        (json!({ "name": "p", "type": "maxToken", "max_tokens": {} }), "granularity"),
        (
            json!({ "name": "p", "type": "maxToken", "max_tokens": { "granularity": "day", "total": 0 } }),
            "max_tokens.total has no bound",
        ),
        (
            json!({ "name": "p", "type": "location", "max_tokens": { "granularity": "day", "total": 1 } }),
            "max_tokens has no place in a policy of type location",
        ),
    ] {
        app.post("/v1/policies", body).await.is_invalid(message);
    }
    assert_eq!(app.get("/v1/policies").await.ok(), json!({ "policies": [] }));
}

#[tokio::test]
async fn a_limit_of_tokens_is_shown_as_it_holds_and_explained_beside_the_places() {
    let app = app().await;
    let day = json!({ "granularity": "day", "total": 1000, "ratioInputOverOutput": 3 });
    policy(&app, "daily", json!({ "type": "maxToken", "maxTokens": day })).await;
    let hour = json!({ "granularity": "hour", "step": 6, "input": 10, "output": 0 });
    policy(&app, "hourly", json!({ "type": "maxToken", "max_tokens": hour })).await;
    let shown = |granularity: &str, step: u64, bounds: [Option<u64>; 4]| {
        let [input, output, total, ratio] = bounds;
        json!({ "granularity": granularity, "step": step, "input": input, "output": output, "total": total,
                "ratio_input_over_output": ratio })
    };
    let daily = shown("day", 1, [None, None, Some(1000), Some(3)]);
    let found = app.get("/v1/policies/daily").await.ok();
    assert_eq!((&found["type"], &found["max_tokens"], &found["flavors"]), (&json!("maxToken"), &daily, &json!([])));
    let question = json!({ "environment_policies": ["daily"], "deployment_policies": ["hourly"] });
    let answer = app.post("/v1/policies:explain", question).await.ok();
    let hourly = shown("hour", 6, [Some(10), None, None, None]);
    let expected = json!([
        { "level": "environment", "policy": "daily", "max_tokens": daily },
        { "level": "deployment", "policy": "hourly", "max_tokens": hourly },
    ]);
    assert_eq!(answer["token_limits"], expected);
    assert_eq!(places(&answer).len(), 3, "it may run everywhere");
}

#[tokio::test]
async fn a_limit_of_tokens_refuses_no_push_and_no_promotion_also_where_no_locations_are_configured() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    policy(&app, "daily", json!({ "type": "maxToken", "max_tokens": { "granularity": "day", "total": 1 } })).await;
    put(&app, &production(&first, "/policies"), json!({ "policies": ["daily"] })).await.ok();
    let s3_key = app.upload(model_archive()).await;
    let deployment = json!({ "config": {}, "environment_name": "production" });
    let source = json!({ "kind": "model_archive", "deployment": deployment, "s3_key": s3_key });
    app.post(&first.model_path("/deployments"), json!({ "source": source })).await.ok();
    app.post(&production(&first, "/promote"), json!({ "deployment_id": second.deployment })).await.ok();
}

#[tokio::test]
async fn an_explanation_says_which_policy_took_which_place_away() {
    let app = app().await;
    policy(&app, "us", country("us")).await;
    policy(&app, "fr", country("fr")).await;
    policy(&app, "t4", json!({ "type": "gpu", "flavors": [{ "name": "t4" }] })).await;
    let explain = async |body: Value| app.post("/v1/policies:explain", body).await;
    let all = explain(json!({})).await.ok();
    assert_eq!(places(&all), ["paris/x86", "virginia/x86", "virginia/t4"]);

    let t4 = explain(json!({ "environment_policies": ["us", "t4"] })).await.ok();
    assert_eq!((places(&t4), &t4["refusal"]), (vec!["virginia/t4".to_owned()], &json!(null)));
    let step = &t4["steps"][2];
    assert_eq!(
        (&step["step"], &step["policies"], &step["left"]),
        (&json!("environment_locations"), &json!(["us"]), &json!(2))
    );
    let paris = json!({ "location": "paris", "flavor": { "type": "cpu", "name": "x86" } });
    assert_eq!(step["removed"], json!([paris]));
    assert_eq!(t4["candidates"], json!([{ "location": "virginia", "flavor": { "type": "gpu", "name": "t4" } }]));
    let asked =
        explain(json!({ "environment_policies": ["us"], "flavors": [{ "type": "gpu", "name": "t4" }] })).await.ok();
    assert_eq!(places(&asked), ["virginia/t4"]);
    let mixed = json!([{ "type": "gpu", "name": "t4" }, { "type": "cpu", "name": "x86" }]);
    explain(json!({ "flavors": mixed })).await.is_invalid("flavors");

    let none = explain(json!({ "environment_policies": ["fr"], "deployment_policies": ["t4"] })).await.ok();
    assert_eq!(none["candidates"], json!([]));
    let refusal = none["refusal"].as_str().unwrap();
    assert!(refusal.contains("the environment's location policy fr") && refusal.contains("t4"), "{refusal}");

    let unknown = explain(json!({ "environment_policies": ["nonesuch"] })).await;
    unknown.refuses(422, "UNPROCESSABLE", "environment_policies: there is no policy \"nonesuch\"");
    explain(json!({ "resource_type": "mood" })).await.refuses(422, "UNPROCESSABLE", "resource_type");
    explain(json!({ "model_id": "abcdefgh" })).await.is_invalid("give both");
    let unknown = explain(json!({ "model_id": "abcdefgh", "environment": "production" })).await;
    unknown.refuses(422, "UNPROCESSABLE", "abcdefgh");
    let (first, _) = stage(&app).await;
    put(&app, &production(&first, "/policies"), json!({ "policies": ["fr"] })).await.ok();
    let unknown = explain(json!({ "model_id": first.model, "environment": "nonesuch" })).await;
    unknown.refuses(422, "UNPROCESSABLE", "nonesuch");
    assert_eq!(app.get("/v1/policies/fr").await.ok()["usage"], json!({ "environments": 1, "deployments": 0 }));
    let served = explain(json!({ "model_id": first.model, "environment": "production" })).await.ok();
    assert_eq!(places(&served), ["paris/x86"], "a model without GPUs runs on processors");
}

#[tokio::test]
async fn a_push_and_a_promotion_against_policies_are_refused_and_change_nothing() {
    let app = app().await;
    let (first, second) = stage(&app).await;
    policy(&app, "t4", json!({ "type": "flavor", "flavors": [{ "type": "gpu", "name": "t4" }] })).await;
    put(&app, &production(&first, "/policies"), json!({ "policies": ["t4"] })).await.ok();
    let before = app.get("/v1/audit_logs?limit=200").await.ok();

    let s3_key = app.upload(model_archive()).await;
    let deployment = json!({ "config": {}, "environment_name": "production" });
    let source = json!({ "kind": "model_archive", "deployment": deployment, "s3_key": s3_key });
    let push = async || app.post(&first.model_path("/deployments"), json!({ "source": source })).await;
    push().await.refuses(409, "CONFLICT", "the environment's flavor policy t4 removed");
    let promote =
        async || app.post(&production(&first, "/promote"), json!({ "deployment_id": second.deployment })).await;
    promote().await.refuses(409, "CONFLICT", "cannot be promoted to environment production: none of 3 pairs");
    let plan =
        app.post(&production(&first, "/promotion_plan"), json!({ "deployment_id": second.deployment })).await.ok();
    assert!(plan["refused"].as_str().unwrap().contains("policy t4"), "{plan:#}");
    assert_eq!(app.get("/v1/audit_logs?limit=200").await.ok(), before);
    assert_eq!(app.get(&production(&first, "")).await.ok()["current_deployment"]["id"], first.deployment);
    let metrics = app.get("/metrics").await.ok();
    for act in ["push", "promotion"] {
        let line = format!("greenroom_policy_refusals_total{{act=\"{act}\"}} 1");
        assert!(metrics.as_str().unwrap().contains(&line), "{metrics}");
    }

    // The way out that the refusal names.
    put(&app, "/v1/policies/t4", json!({ "type": "flavor", "flavors": [{ "type": "cpu", "name": "x86" }] })).await.ok();
    push().await.ok();
    promote().await.ok();
}

#[tokio::test]
async fn a_policy_for_functions_does_not_touch_models_and_all_its_users_are_named() {
    let app = app().await;
    let (first, second) = stage(&app).await;
    let t4 = |types: Value| json!({ "type": "gpu", "flavors": [{ "name": "t4" }], "resource_types": types });
    policy(&app, "t4", t4(json!(["function"]))).await;
    put(&app, &production(&first, "/policies"), json!({ "policies": ["t4"] })).await.ok();
    let explain = async |resource: &str| {
        let question = json!({ "environment_policies": ["t4"], "resource_type": resource });
        places(&app.post("/v1/policies:explain", question).await.ok())
    };
    assert_eq!(explain("function").await, ["virginia/t4"]);
    assert_eq!(explain("model").await.len(), 3);
    let promote = json!({ "deployment_id": second.deployment });
    let plan = async || app.post(&production(&first, "/promotion_plan"), promote.clone()).await.ok();
    assert_eq!(plan().await["refused"], json!(null));
    put(&app, "/v1/policies/t4", t4(json!(["function", "model"]))).await.ok();
    assert!(plan().await["refused"].as_str().unwrap().contains("policy t4"));

    let mut users = vec![format!("environment production of model {}", first.model)];
    for _ in 0..7 {
        let one = another(&app, &first).await;
        put(&app, &one.path("/policies"), json!({ "policies": ["t4"] })).await.ok();
        users.push(format!("deployment {}", one.deployment));
    }
    let refused = app.delete("/v1/policies/t4").await;
    let told = refused.body.to_string();
    assert!(users.iter().all(|user| told.contains(user)), "{told}");
    app.delete("/v1/policies/t4?force=true").await.ok();
    let deed = app.get("/v1/audit_logs?search=t4&limit=1").await.ok();
    let detached = deed["items"][0]["event_data"]["detached_from"].as_array().unwrap().len();
    assert_eq!((&deed["items"][0]["event_type"], detached), (&json!("POLICY_DELETED"), users.len()));
}

#[tokio::test]
async fn a_deployment_narrows_its_environment_and_takes_its_policies_along() {
    let app = app().await;
    let (first, second) = stage(&app).await;
    policy(&app, "us", country("us")).await;
    policy(&app, "fr", country("fr")).await;
    let member = app.make_key("WORKSPACE_MANAGE_ALL").await;
    let attach = json!({ "policies": ["fr", "fr"] });
    let by_member = app.call_as(Some(&member), Method::PUT, &second.path("/policies"), Some(attach)).await.ok();
    assert_eq!(by_member, json!({ "policies": ["fr"] }));
    let path = production(&first, "/policies");
    let to_environment = app.call_as(Some(&member), Method::PUT, &path, Some(json!({ "policies": [] }))).await;
    to_environment.refuses(403, "PERMISSION_DENIED", "only an administrator");
    put(&app, &production(&first, "/policies"), json!({ "policies": ["us"] })).await.ok();
    let promote = json!({ "deployment_id": second.deployment });
    let refused = app.post(&production(&first, "/promote"), promote.clone()).await;
    refused.refuses(409, "CONFLICT", "the deployment's location policy fr removed the last");

    app.delete("/v1/policies/fr").await.refuses(
        409,
        "CONFLICT",
        &format!("attached to deployment {}", second.deployment),
    );
    app.delete("/v1/policies/us").await.refuses(409, "CONFLICT", "attached to environment production of model");
    app.delete("/v1/policies/fr?force=true").await.ok();
    assert_eq!(app.get(&second.path("/policies")).await.ok(), json!({ "policies": [] }));
    app.post(&production(&first, "/promote"), promote).await.ok();
    let unknown = put(&app, &production(&first, "/policies"), json!({ "policies": ["nonesuch"] })).await;
    unknown.refuses(422, "UNPROCESSABLE", "nonesuch");
    assert_eq!(app.get("/v1/regions").await.ok()["regions"][1]["slug"], "virginia");
}

#[tokio::test]
async fn a_location_that_does_not_answer_is_shown_with_the_reason_and_is_no_candidate() {
    let mut paris = written::Location::from(location("paris", "fr", "eu", &[("cpu", "x86")]));
    paris.coordinates = Some(written::Coordinates { latitude: 48.9, longitude: 2.4 });
    let virginia = location("virginia", "us", "na", &[("cpu", "x86"), ("gpu", "t4")]);
    let locations = vec![paris.try_into().unwrap(), virginia];
    let app = TestApp::with(|settings| settings.inventory = Inventory::new(locations).unwrap()).await;
    let unhealthy = Health::Unhealthy { since: Timestamp(1_700_000_000_000), reason: "no answer within 5 s".into() };
    app.store.record_location_health("virginia", &unhealthy).await.unwrap();
    let regions = app.get("/v1/regions").await.ok();
    let healthy = json!({
        "slug": "paris", "display_name": "paris (fr, eu): 4 x cpu x86", "country": "fr", "continent": "eu",
        "coordinates": { "latitude": 48.9, "longitude": 2.4 },
        "flavors": [{ "type": "cpu", "name": "x86", "count": 4, "memory_mib": null }],
        "is_healthy": true, "unhealthy_reason": null, "unhealthy_since": null,
    });
    assert_eq!(regions["regions"][0], healthy);
    let virginia = &regions["regions"][1];
    assert_eq!(
        (&virginia["is_healthy"], &virginia["unhealthy_reason"]),
        (&json!(false), &json!("no answer within 5 s"))
    );
    assert_eq!(virginia["unhealthy_since"], "2023-11-14T22:13:20.000+00:00");
    let explained = app.post("/v1/policies:explain", json!({})).await.ok();
    assert_eq!(explained["steps"][1]["step"], "health");
    assert_eq!(explained["steps"][1]["removed"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_promotion_has_the_room_of_the_locations_that_its_policies_allow() {
    let cpus = |count: u64| Capacity { millicpu: Some(count * 1_000), ..Capacity::default() };
    let beside = "no room beside the previous deployment: 1000 millicpu needed, 0 free in paris";
    let not_at_all = "no room, not even without the previous deployment: 1000 millicpu needed, 0 free in virginia";
    for (allowed, in_paris, in_virginia, expected) in [
        ("fr", 2, 0, Ok(Room::Beside)),
        ("fr", 1, 8, Ok(Room::InPlace)),
        ("us", 8, 1, Ok(Room::Beside)),
        ("us", 8, 0, Err(not_at_all)),
    ] {
        let locations =
            vec![location("paris", "fr", "eu", &[("cpu", "x86")]), location("virginia", "us", "na", &[("cpu", "x86")])];
        let app = TestApp::with(|settings| {
            settings.inventory = Inventory::new(locations).unwrap();
            settings.location_capacities =
                [("paris".into(), cpus(in_paris)), ("virginia".into(), cpus(in_virginia))].into();
        })
        .await;
        let first = app.push_model("iris").await;
        let replica = app.make_active(&first).await;
        app.store.record_placements(&[(replica, Placement::In("paris".into()))]).await.unwrap();
        let second = another(&app, &first).await;
        policy(&app, "only", country(allowed)).await;
        put(&app, &production(&first, "/policies"), json!({ "policies": ["only"] })).await.ok();

        let request = json!({ "deployment_id": second.deployment });
        let plan = app.post(&production(&first, "/promotion_plan"), request.clone()).await.ok();
        let answer = app.post(&production(&first, "/promote"), request).await;
        match expected {
            Ok(room) => {
                answer.ok();
                assert_eq!(app.promotion(&first, "production").await.settings.room, room, "{allowed}");
                let reason = (room == Room::InPlace).then_some(beside);
                assert_eq!(plan["in_place_reason"].as_str(), reason);
            }
            Err(reason) => {
                answer.is_invalid(reason);
                assert_eq!(plan["refused"], reason);
            }
        }
    }
}
