//! People, teams, and what somebody may who is in one.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, TestApp};

async fn get(app: &TestApp, key: &str, path: &str) -> Answer {
    app.call_as(Some(key), Method::GET, path, None).await
}

async fn post(app: &TestApp, key: &str, path: &str, body: Value) -> Answer {
    app.call_as(Some(key), Method::POST, path, Some(body)).await
}

#[tokio::test]
async fn somebody_new_begins_as_a_member_of_the_default_team() {
    let app = TestApp::start().await;
    let model = app.push_model("iris").await;
    let request = json!({ "email": "Ann@Example.com", "name": "Ann", "with_api_key": true });
    let made = app.post("/v1/users", request.clone()).await.ok();
    let team = app.team().await.to_string();
    assert_eq!(made["user"]["email"], "ann@example.com");
    assert_eq!(made["user"]["teams"], json!([{ "team_id": team, "role": "MEMBER" }]));
    let key = made["api_key"].as_str().unwrap();
    assert_eq!(get(&app, key, "/v1/users/me").await.ok()["name"], "Ann");
    get(&app, key, &model.model_path("")).await.ok();
    post(&app, key, "/v1/users", json!({ "email": "b@c" })).await.refuses(403, "PERMISSION_DENIED", "administrator");
    app.post("/v1/users", request).await.is_invalid("\"ann@example.com\"");
    app.post("/v1/users", json!({ "email": "ann" })).await.is_invalid("email \"ann\"");
    let unknown = json!({ "email": "b@c", "teams": [{ "team_id": "abcdefghij" }] });
    app.post("/v1/users", unknown).await.is_invalid("there is no team abcdefghij");
    let entry = &app.get("/v1/audit_logs?limit=1").await.ok()["items"][0];
    assert_eq!(
        (&entry["event_type"], &entry["event_data"]["user_name"]),
        (&json!("USER_INVITED"), &json!("ann@example.com"))
    );
    assert!(!entry.to_string().contains(key.split_once('.').unwrap().1));
}

#[tokio::test]
async fn whoever_is_let_out_has_no_key_any_more() {
    let app = TestApp::start().await;
    let (id, key) = app.make_person("ann@x", &[]).await;
    get(&app, &key, "/v1/users/me").await.ok();
    app.delete(&format!("/v1/users/{id}")).await.ok();
    get(&app, &key, "/v1/users/me").await.refuses(401, "UNAUTHENTICATED", "");
    app.get(&format!("/v1/users/{id}")).await.refuses(404, "NOT_FOUND", "there is no user");
}

#[tokio::test]
async fn the_last_administrator_stays_one() {
    let app = TestApp::start().await;
    let me = app.get("/v1/users/me").await.ok()["user_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/users/{me}");
    app.patch(&path, json!({ "role": "MEMBER" })).await.is_invalid("the last administrator");
    app.delete(&path).await.is_invalid("the last administrator");
    let (other, _) = app.make_person("ann@x", &[]).await;
    app.patch(&format!("/v1/users/{other}"), json!({ "role": "ADMIN", "name": "Ann" })).await.ok();
    let demoted = app.patch(&path, json!({ "role": "MEMBER" })).await.ok();
    assert_eq!((&demoted["role"], &demoted["name"]), (&json!("MEMBER"), &json!("Admin")));
    app.post("/v1/teams", json!({ "name": "t" })).await.refuses(403, "PERMISSION_DENIED", "administrator");
}

#[tokio::test]
async fn what_belongs_to_a_team_is_for_those_who_are_in_it() {
    let app = TestApp::start().await;
    let model = app.push_model("iris").await;
    let (default, search) = (app.team().await.to_string(), app.make_team("search").await);
    let (_, inside) = app.make_person("in@x", &[(&default, "MEMBER")]).await;
    let (outsider, outside) = app.make_person("out@x", &[(&search, "MEMBER")]).await;
    let (_, nowhere) = app.make_person("no@x", &[]).await;

    get(&app, &inside, &model.model_path("")).await.ok();
    for key in [&outside, &nowhere] {
        get(&app, key, &model.model_path("")).await.refuses(403, "PERMISSION_DENIED", "not in that team");
    }
    let names = async |key: &str, path: &str| {
        let models = get(&app, key, path).await.ok();
        let names = models["models"].as_array().unwrap().iter().map(|model| model["name"].clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&inside, "/v1/models").await, ["iris"]);
    assert_eq!(names(&outside, "/v1/models").await, [] as [Value; 0], "their own team's");
    get(&app, &nowhere, "/v1/models").await.refuses(403, "PERMISSION_DENIED", "in no team");
    get(&app, &outside, &format!("/v1/teams/{default}/models")).await.refuses(403, "PERMISSION_DENIED", "");
    let teams = get(&app, &outside, "/v1/teams").await.ok();
    assert_eq!(teams["teams"].as_array().unwrap().iter().map(|team| &team["name"]).collect::<Vec<_>>(), ["search"]);
    // An administrator reaches all of them.
    app.get(&format!("/v1/teams/{search}/models")).await.ok();

    let member = format!("/v1/teams/{default}/members/{outsider}");
    app.call(Method::PUT, &member, Some(json!({}))).await.ok();
    get(&app, &outside, &model.model_path("")).await.ok();
    app.delete(&member).await.ok();
    get(&app, &outside, &model.model_path("")).await.refuses(403, "PERMISSION_DENIED", "");
    app.delete(&member).await.refuses(404, "NOT_FOUND", "there is no member");
}

#[tokio::test]
async fn an_administrator_of_a_team_says_who_may_what_in_it_and_nowhere_else() {
    let app = TestApp::start().await;
    let (default, search) = (app.team().await.to_string(), app.make_team("search").await);
    let (_, admin) = app.make_person("admin@x", &[(&search, "ADMIN"), (&default, "MEMBER")]).await;
    let (_, member) = app.make_person("member@x", &[(&search, "MEMBER")]).await;
    let (newcomer, _) = app.make_person("new@x", &[]).await;
    let key = json!({ "type": "WORKSPACE_INVOKE" });
    let put = async |key: &str, team: &str| {
        let path = format!("/v1/teams/{team}/members/{newcomer}");
        app.call_as(Some(key), Method::PUT, &path, Some(json!({ "role": "ADMIN" }))).await
    };
    post(&app, &admin, &format!("/v1/teams/{search}/api_keys"), key.clone()).await.ok();
    post(&app, &admin, &format!("/v1/teams/{default}/api_keys"), key.clone()).await.refuses(
        403,
        "PERMISSION_DENIED",
        "Default",
    );
    post(&app, &member, &format!("/v1/teams/{search}/api_keys"), key).await.refuses(403, "PERMISSION_DENIED", "search");
    put(&admin, &search).await.ok();
    put(&admin, &default).await.refuses(403, "PERMISSION_DENIED", "Default");
    put(&member, &search).await.refuses(403, "PERMISSION_DENIED", "search");
    let members = get(&app, &member, &format!("/v1/teams/{search}/members")).await.ok();
    let told: Vec<_> = members["members"].as_array().unwrap().iter().map(|one| (&one["email"], &one["role"])).collect();
    assert_eq!(
        told,
        [
            (&json!("admin@x"), &json!("ADMIN")),
            (&json!("member@x"), &json!("MEMBER")),
            (&json!("new@x"), &json!("ADMIN"))
        ]
    );
    app.call_as(Some(&admin), Method::PATCH, &format!("/v1/teams/{search}"), Some(json!({ "name": "ranking" })))
        .await
        .ok();
    let keys = get(&app, &admin, "/v1/api_keys").await.ok();
    let teams: Vec<_> = keys["keys"].as_array().unwrap().iter().map(|key| &key["team_name"]).collect();
    assert_eq!(teams, [&json!(null), &json!("ranking")], "their own, and those of the team that they administer");
}

#[tokio::test]
async fn teams_are_made_and_deleted_by_administrators_once_nothing_belongs_to_them() {
    let app = TestApp::start().await;
    let search = app.make_team("search").await;
    let path = format!("/v1/teams/{search}");
    app.post("/v1/teams", json!({ "name": "search" })).await.is_invalid("\"search\"");
    app.post("/v1/teams", json!({ "name": "" })).await.is_invalid("team name");
    let (id, _) = app.make_person("ann@x", &[(&search, "MEMBER")]).await;
    app.delete(&path).await.is_invalid("still has models, secrets, API keys or members");
    app.delete(&format!("{path}/members/{id}")).await.ok();
    app.delete(&path).await.ok();
    app.get(&path).await.refuses(404, "NOT_FOUND", "there is no team");
    app.delete(&format!("/v1/teams/{}", app.team().await)).await.is_invalid("is the default team");
}

#[tokio::test]
async fn limits_of_keys_are_for_keys_that_call_models() {
    let app = TestApp::start().await;
    let limited = json!({
        "type": "WORKSPACE_INVOKE", "environment_names": ["production", "staging"], "requests_per_minute": 60
    });
    app.pass(1);
    app.post("/v1/api_keys", limited).await.ok();
    let keys = app.get("/v1/api_keys").await.ok();
    let key = &keys["keys"][1];
    assert_eq!(
        (&key["environment_names"], &key["requests_per_minute"]),
        (&json!(["production", "staging"]), &json!(60))
    );
    app.post("/v1/api_keys", json!({ "type": "WORKSPACE_MANAGE_ALL", "requests_per_minute": 1 })).await.ok();
    for (kind, field, value) in [
        ("WORKSPACE_MANAGE_ALL", "environment_names", json!(["staging"])),
        ("WORKSPACE_EXPORT_METRICS", "requests_per_minute", json!(1)),
    ] {
        let mut request = json!({ "type": kind });
        request[field] = value;
        app.post("/v1/api_keys", request).await.is_invalid(field);
    }
    let (search, pushed) = (app.make_team("search").await, app.push_model("iris").await);
    let elsewhere = json!({ "type": "WORKSPACE_INVOKE", "model_ids": [pushed.model] });
    app.post("/v1/api_keys", elsewhere.clone()).await.ok();
    let refused = app.post(&format!("/v1/teams/{search}/api_keys"), elsewhere).await;
    refused.is_invalid(&format!("there is no model {}", pushed.model));
    let invoke = |field: &str, value: Value| {
        let mut request = json!({ "type": "WORKSPACE_INVOKE" });
        request[field] = value;
        request
    };
    app.post("/v1/api_keys", invoke("environment_names", json!(["Staging"]))).await.is_invalid("\"Staging\"");
    app.post("/v1/api_keys", invoke("requests_per_minute", json!(0))).await.is_invalid("requests_per_minute");
}
