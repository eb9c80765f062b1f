//! How starts of replicas went: listed, filtered, page by page, summed up.

use api::internal::replica::{Exit, ExitCause, Phase};
use serde_json::{Value, json};

use crate::support::TestApp;

const ALWAYS: &str = "start_epoch_millis=0&end_epoch_millis=9999999999999";

fn replicas(answer: &Value) -> Vec<String> {
    let items = answer["items"].as_array().unwrap();
    items.iter().map(|one| one["replica_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn starts_are_listed_page_by_page_as_they_were_asked_for() {
    let app = TestApp::start().await;
    let pushed = app.push_model("iris").await;
    let exited = |cause| Phase::Exited(Exit { cause, message: String::new(), detail: None });
    let mut ids = Vec::new();
    for phase in [Phase::Ready, exited(ExitCause::LoadFailed), Phase::Ready, exited(ExitCause::Stopped)] {
        ids.push(app.add_replica(&pushed, phase).await.to_string());
        app.pass(1_000);
    }
    let [first, failed, last, _stopped] = ids.try_into().unwrap();
    let list = async |more: &str| app.get(&pushed.path(&format!("/startups?{ALWAYS}{more}"))).await.ok();

    let newest_first = list("").await;
    assert_eq!(replicas(&newest_first), [&*last, &*failed, &*first]);
    assert_eq!(newest_first["pagination"], json!({ "has_more": false, "cursor": null }));
    assert_eq!(newest_first["items"][1]["ready_at_epoch_millis"], Value::Null);
    let phases = json!([
        { "phase": "CONTAINER_CREATE", "status": "COMPLETED", "offset_ms": 0, "duration_ms": 20 },
        { "phase": "CONTAINER_START", "status": "COMPLETED", "offset_ms": 20, "duration_ms": 0 },
        { "phase": "READINESS", "status": "COMPLETED", "offset_ms": 20, "duration_ms": 5 },
    ]);
    assert_eq!(newest_first["items"][0]["phase_summary"], phases);

    let page = list("&limit=2&direction=asc").await;
    assert_eq!((replicas(&page), &page["total_count"]), (vec![first.clone(), failed.clone()], &json!(3)));
    let cursor = page["pagination"]["cursor"].as_str().unwrap();
    let rest = list(&format!("&limit=2&direction=asc&cursor={cursor}")).await;
    assert_eq!((replicas(&rest), &rest["pagination"]["has_more"]), (vec![last.clone()], &json!(false)));

    assert_eq!(replicas(&list("&outcomes=FAILED&outcomes=STALLED").await), [&*failed]);
    assert_eq!(replicas(&list("&sort_by=OUTCOME&direction=desc&limit=1").await), [&*failed]);
    assert_eq!(replicas(&list(&format!("&search={first}")).await), [&*first]);
    assert_eq!(replicas(&list("&search=DEPLOYMENT-1&limit=1").await).len(), 1);
    assert_eq!(list("&search=nothing").await["total_count"], 0);
    assert_eq!(list("&phase=CONTAINER_START").await["total_count"], 0, "none of it took any time");
    assert_eq!(list("&min_duration_ms=1").await["total_count"], 0);

    let of_environment = app.get(&pushed.model_path(&format!("/environments/production/startups?{ALWAYS}"))).await.ok();
    assert_eq!(
        (&of_environment["total_count"], &of_environment["items"][0]["environment_name"]),
        (&json!(3), &json!("production"))
    );
    let summary = app.get(&pushed.path(&format!("/startups/summary?{ALWAYS}"))).await.ok();
    assert_eq!(summary["total_duration_ms"]["sample_count"], 2, "{summary:#}");
    assert_eq!(summary["phase_duration_ms"][0]["duration_ms"]["p99_ms"], 20, "{summary:#}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let app = TestApp::start().await;
    let pushed = app.push_model("iris").await;
    for (query, field) in [
        ("", "start_epoch_millis"),
        ("start_epoch_millis=5&end_epoch_millis=5", "end_epoch_millis"),
        (&format!("{ALWAYS}&limit=101"), "limit"),
        (&format!("{ALWAYS}&cursor=nonesuch"), "cursor"),
        (&format!("{ALWAYS}&outcomes=GOOD"), "outcomes"),
    ] {
        app.get(&pushed.path(&format!("/startups?{query}"))).await.is_invalid(field);
    }
    app.get(&pushed.model_path(&format!("/environments/nowhere/startups?{ALWAYS}"))).await.refuses(
        404,
        "NOT_FOUND",
        "nowhere",
    );
}
