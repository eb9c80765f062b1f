//! The audit log: who did what, page by page.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, another, production, stage};

fn types(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["event_type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_change_leaves_an_entry() {
    let app = TestApp::start().await;
    let pushed = app.push_model("iris").await;
    app.pass(1);
    app.post("/v1/secrets", json!({ "name": "token", "value": "hunter2" })).await.ok();
    app.post(&pushed.path("/deactivate"), json!({})).await.ok();
    app.delete(&pushed.model_path("")).await.ok();
    let page = app.get("/v1/audit_logs").await.ok();
    assert_eq!(types(&page), ["MODEL_DELETED", "MODEL_DEPLOYMENT_DEACTIVATED", "SECRET_UPDATED", "MODEL_DEPLOYED"]);
    assert_eq!(page["pagination"], json!({ "has_more": false, "cursor": null }));
    let pushed_entry = &page["items"][3];
    assert_eq!(pushed_entry["created"], "2026-01-02T03:04:05.678+00:00");
    assert_eq!(pushed_entry["source"], "API");
    assert_eq!(pushed_entry["actor"]["email"], "admin@localhost");
    let data = &pushed_entry["event_data"];
    assert_eq!((&data["model_name"], &data["deployment_name"]), (&json!("iris"), &json!("deployment-1")));
    assert_eq!(data["deployment_id"], pushed.deployment);
    assert!(!page.to_string().contains("hunter2"));
}

#[tokio::test]
async fn a_change_that_changes_nothing_leaves_none() {
    let app = TestApp::start().await;
    let pushed = app.push_model("iris").await;
    app.make_active(&pushed).await;
    app.post(&pushed.path("/activate"), json!({})).await.ok();
    assert_eq!(types(&app.get("/v1/audit_logs").await.ok()), ["MODEL_DEPLOYED"]);
}

#[tokio::test]
async fn pages_follow_one_another_in_both_directions() {
    let app = TestApp::start().await;
    for number in 0..5 {
        app.post("/v1/secrets", json!({ "name": format!("s{number}"), "value": "v" })).await.ok();
        app.pass(1000);
    }
    for (direction, expected) in [("DESC", ["s4", "s3", "s2", "s1", "s0"]), ("ASC", ["s0", "s1", "s2", "s3", "s4"])] {
        let mut names = Vec::new();
        let mut path = format!("/v1/audit_logs?limit=2&direction={direction}");
        loop {
            let page = app.get(&path).await.ok();
            let items = page["items"].as_array().unwrap().iter();
            names.extend(items.map(|item| item["event_data"]["secret_name"].as_str().unwrap().to_owned()));
            let Some(cursor) = page["pagination"]["cursor"].as_str() else {
                break;
            };
            path = format!("/v1/audit_logs?limit=2&cursor={cursor}");
        }
        assert_eq!(names, expected, "{direction}");
    }
    let window =
        format!("/v1/audit_logs?start_epoch_millis={}&end_epoch_millis={}", app.now().0 - 4000, app.now().0 - 2000);
    assert_eq!(app.get(&window).await.ok()["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn entries_of_a_key_name_the_key() {
    let app = TestApp::start().await;
    let key = app.make_key("WORKSPACE_MANAGE_ALL").await;
    let secret = json!({ "name": "s", "value": "v" });
    app.call_as(Some(&key), Method::POST, "/v1/secrets", Some(secret)).await.ok();
    let page = app.get("/v1/audit_logs?limit=1").await.ok();
    let actor = &page["items"][0]["actor"];
    assert_eq!((actor["type"].as_str(), actor["api_key_prefix"].as_str()), (Some("API_KEY"), key.split('.').next()));
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_refused() {
    let app = TestApp::start().await;
    for (query, message) in
        [("limit=0", "limit"), ("limit=201", "limit"), ("cursor=x1", "cursor"), ("direction=UP", "direction")]
    {
        app.get(&format!("/v1/audit_logs?{query}")).await.is_invalid(message);
    }
    app.get("/v1/models/abcd1234/audit_logs").await.refuses(404, "NOT_FOUND", "abcd1234");
}

#[tokio::test]
async fn entries_are_found_by_kind_place_name_and_person() {
    let app = TestApp::start().await;
    let pushed = app.push_model("iris").await;
    app.post("/v1/secrets", json!({ "name": "hf_token", "value": "hunter2" })).await.ok();
    app.patch(&pushed.model_path("/environments/production"), json!({ "autoscaling_settings": { "max_replica": 3 } }))
        .await
        .ok();
    let me = app.get("/v1/users/me").await.ok()["user_id"].as_str().unwrap().to_owned();
    let found = async |query: &str| types(&app.get(&format!("/v1/audit_logs?{query}")).await.ok()).join(" ");
    for (query, expected) in [
        ("event_type_groups=SECRETS", "SECRET_UPDATED"),
        ("event_type_groups=DEPLOYED&event_type_groups=SECRETS", "SECRET_UPDATED MODEL_DEPLOYED"),
        ("event_type_groups=SSH", ""),
        ("search=HF_", "SECRET_UPDATED"),
        ("search=hunter2", ""),
        ("environment_names=production", "ENVIRONMENT_UPDATED MODEL_DEPLOYED"),
        ("environment_names=staging", ""),
        ("sources=API&limit=1", "ENVIRONMENT_UPDATED"),
        ("sources=UI&sources=SYSTEM", ""),
        ("user_ids=nobody", ""),
    ] {
        assert_eq!(found(query).await, expected, "{query}");
    }
    assert_eq!(found(&format!("deployment_ids={}", pushed.deployment)).await, "MODEL_DEPLOYED");
    assert_eq!(found(&format!("user_ids={me}&event_type_groups=SECRETS")).await, "SECRET_UPDATED");
    app.get("/v1/audit_logs?event_type_groups=GOSSIP").await.is_invalid("event_type_groups");
}

#[tokio::test]
async fn an_entry_says_by_what_it_was_done_and_keeps_the_name_of_a_key_that_is_gone() {
    let app = TestApp::start().await;
    let made = app.post("/v1/api_keys", json!({ "type": "WORKSPACE_MANAGE_ALL", "name": "for-a-test" })).await.ok();
    let key = made["api_key"].as_str().unwrap().to_owned();
    let body = |value: &str| axum::body::Body::from(json!({ "name": "token", "value": value }).to_string());
    let request =
        |name: &'static str, value: &'static str| axum::http::Request::post("/v1/secrets").header(name, value);
    let authorization = format!("Bearer {key}");
    app.answer(request("user-agent", "truss-cli/0.18.35 (Python/3.11.7; Linux)"), Some(&authorization), body("v"))
        .await
        .ok();
    app.answer(request("x-greenroom-client", "dashboard"), Some(&authorization), body("w")).await.ok();
    app.answer(request("x-greenroom-client", "dashboard"), Some(&authorization), body("w")).await.ok();
    app.delete(&format!("/v1/api_keys/{}", key.split_once('.').unwrap().0)).await.ok();
    let page = app.get("/v1/audit_logs?event_type_groups=SECRETS").await.ok();
    assert_eq!(page["items"].as_array().unwrap().len(), 2, "setting what is set already changes nothing");
    let said =
        |item: &Value| [item["source"].clone(), item["client_name"].clone(), item["actor"]["api_key_name"].clone()];
    assert_eq!(said(&page["items"][1]), ["API", "truss-cli", "for-a-test"]);
    assert_eq!(page["items"][1]["client_version"], "0.18.35");
    assert_eq!(said(&page["items"][0]), ["UI", "dashboard", "for-a-test"]);
}

#[tokio::test]
async fn entries_say_what_was_before_and_are_found_by_their_kinds() {
    let app = TestApp::start().await;
    let pushed = app.push_model("iris").await;
    app.patch(&pushed.path(""), json!({ "name": "summer" })).await.ok();
    let team = app.team().await;
    let (user, _) = app.make_person("ann@example.com", &[(team.as_str(), "MEMBER")]).await;
    app.delete(&format!("/v1/teams/{team}/members/{user}")).await.ok();
    app.delete(&format!("/v1/users/{user}")).await.ok();
    let key =
        json!({ "type": "WORKSPACE_INVOKE", "name": "ci", "environment_names": ["staging"], "requests_per_minute": 5 });
    app.post("/v1/api_keys", key).await.ok();
    let fr = json!({ "name": "fr", "type": "location", "locations": [{ "type": "country", "name": "fr" }] });
    app.post("/v1/policies", fr).await.ok();
    app.delete("/v1/policies/fr").await.ok();
    app.patch("/v1/workspace_settings", json!({ "default_environment": "staging" })).await.ok();

    let of = async |kinds: &str| {
        let page = app.get(&format!("/v1/audit_logs?event_type_groups={kinds}")).await.ok();
        types(&page).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of("RENAMED").await, ["MODEL_DEPLOYMENT_RENAMED"]);
    assert_eq!(of("USER_MANAGEMENT").await, ["USER_REMOVED", "TEAM_MEMBER_REMOVED", "USER_INVITED"]);
    assert_eq!(of("POLICIES").await, ["POLICY_DELETED", "POLICY_CREATED"]);
    assert_eq!(of("DELETED").await, ["POLICY_DELETED", "USER_REMOVED"]);
    assert_eq!(of("WORKSPACE_SETTINGS").await, ["WORKSPACE_SETTINGS_UPDATED"]);
    assert_eq!(of("GATEWAY").await, [""; 0]);
    assert_eq!(types(&app.get("/v1/audit_logs?chain_deployment_ids=x").await.ok()), [""; 0], "there are no chains");

    let page = app.get("/v1/audit_logs?limit=200").await.ok();
    let data = |event_type: &str| {
        let items = page["items"].as_array().unwrap();
        items.iter().find(|item| item["event_type"] == event_type).unwrap()["event_data"].clone()
    };
    let renamed = data("MODEL_DEPLOYMENT_RENAMED");
    assert_eq!(renamed["deployment_name"], "summer");
    assert_eq!(renamed["previous_settings"]["deployment_name"], "deployment-1");
    let made = data("API_KEY_CREATED");
    assert_eq!((&made["api_key_name"], &made["environment_names"]), (&json!("ci"), &json!(["staging"])));
    assert_eq!((&made["requests_per_minute"], &made["model_ids"]), (&json!(5), &Value::Null));
    assert_eq!(data("USER_REMOVED")["previous_settings"]["is_admin"], false);
    assert!(data("TEAM_MEMBER_REMOVED")["previous_role"].is_string());
}

#[tokio::test]
async fn what_goes_away_or_is_followed_leaves_an_entry_of_what_it_was() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    let third = another(&app, &first).await;
    app.post(&production(&first, "/promote"), json!({ "deployment_id": second.deployment })).await.ok();
    app.delete(&third.path("")).await.ok();
    let staging = json!({ "name": "staging", "autoscaling_settings": { "max_replica": 3 } });
    app.post(&first.model_path("/environments"), staging).await.ok();
    app.delete(&first.model_path("/environments/staging")).await.ok();
    app.delete(&first.model_path("")).await.ok();
    let page = app.get("/v1/audit_logs?limit=200").await.ok();
    let data = |event_type: &str| {
        let items = page["items"].as_array().unwrap();
        items.iter().find(|item| item["event_type"] == event_type).unwrap()["event_data"].clone()
    };
    assert_eq!(data("MODEL_DEPLOYMENT_PROMOTED")["previous_deployment_id"], first.deployment);
    assert_eq!(data("MODEL_DEPLOYMENT_DELETED")["previous_settings"]["instance_type"], "1x2");
    let staging = data("ENVIRONMENT_DELETED")["previous_settings"].take();
    assert_eq!((&staging["max_replica"], &staging["current_deployment_id"]), (&json!(3), &Value::Null));
    let served = json!([{ "name": "production", "current_deployment_id": first.deployment }]);
    assert_eq!(data("MODEL_DELETED")["previous_settings"]["environments"], served);
}
