//! What was counted: over time, for Prometheus, and in money.

use api::internal::{measures::Measures, replica::Phase, tokens::Tokens};
use axum::http::Method;
use planner::Timestamp;
use serde_json::{Value, json};
use store::domain::{Sample, Standing, Use, Used};

use crate::support::{Pushed, START, TestApp, stage};

/// What half a minute with these answers looks like.
fn sample(pushed: &Pushed, number: u64, statuses: &[u16], standing: Standing) -> Sample {
    let mut measures = Measures::default();
    for status in statuses {
        measures.answered.entry(*status).or_default().response_time.record(0.25);
    }
    Sample {
        deployment_id: pushed.deployment_id(),
        environment: Some("production".into()),
        since: START.plus(30_000 * number),
        until: START.plus(30_000 * (number + 1)),
        measures,
        standing,
        restarts: 0,
    }
}

fn names(answer: &Value) -> Vec<&str> {
    let descriptors = answer["metric_descriptors"].as_array().unwrap();
    descriptors.iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn metrics_are_read_as_they_are_now_as_a_sum_and_as_a_series() {
    let app = TestApp::start().await;
    let pushed = app.push_model("iris").await;
    let standing = |active| Standing { active, ..Standing::default() };
    let samples = [sample(&pushed, 0, &[200, 503], standing(1)), sample(&pushed, 1, &[200], standing(3))];
    app.store.record_samples(&samples, &[]).await.unwrap();
    app.pass(60_000);
    let read = async |query: &str| app.get(&pushed.path(&format!("/metrics?{query}"))).await.ok();

    let now = read("").await;
    assert_eq!(now["mode"], "CURRENT");
    let expected =
        ["baseten_replicas_active", "baseten_inference_requests_total", "baseten_end_to_end_response_time_seconds"];
    assert_eq!(names(&now), expected);
    assert_eq!(now["metric_values"][0]["values"][0], json!([3.0]));
    assert_eq!(now["metric_values"][0]["values"][1], json!([2.0, 1.0]));
    assert_eq!(now["metric_descriptors"][1]["label_sets"], json!([{ "status": "2xx" }, { "status": "5xx" }]));

    let names_of =
        "metrics=baseten_inference_requests_total&metrics=baseten_replicas_active&metrics=baseten_gpu_utilization";
    let window = format!("start_epoch_millis={}&end_epoch_millis={}", START.0, START.0 + 90_000);
    let series = read(&format!("mode=SERIES&{names_of}&{window}")).await;
    assert_eq!(names(&series), ["baseten_inference_requests_total", "baseten_replicas_active"]);
    assert_eq!(series["step_seconds"], 30);
    let values: Vec<_> = series["metric_values"].as_array().unwrap().iter().map(|step| &step["values"]).collect();
    assert_eq!(values, [&json!([[1.0, 1.0], [1.0]]), &json!([[1.0, 0.0], [3.0]]), &json!([[null, null], [null]])]);

    let of_environment = format!("/environments/production/metrics?mode=SUMMARY&{window}");
    let summary = app.get(&pushed.model_path(&of_environment)).await.ok();
    assert_eq!((&summary["step_seconds"], &summary["metric_values"][0]["values"][0]), (&Value::Null, &json!([2.0])));
    app.get(&pushed.path("/metrics?metrics=nonsense")).await.is_invalid("metrics: there is no metric \"nonsense\"");
    app.get(&pushed.path("/metrics?mode=CURRENT&start_epoch_millis=1")).await.is_invalid("start_epoch_millis");
}

#[tokio::test]
async fn prometheus_reads_every_metric_of_what_its_key_may_see() {
    let app = TestApp::start().await;
    let pushed = app.push_model("iris \"the flower\"").await;
    let other = app.push_model("other").await;
    let replica = app.add_replica(&pushed, Phase::Ready).await;
    let used = Use { cpu_ms: 0, cpu_total_ms: 1_500, memory_bytes: 4096 };
    let standing = Standing { active: 1, uses: [(replica.clone(), used)].into(), ..Standing::default() };
    let samples = [sample(&pushed, 0, &[200, 200, 404], standing), sample(&other, 0, &[200], Standing::default())];
    app.store.record_samples(&samples, &[]).await.unwrap();

    let answer = app.get("/metrics").await;
    assert_eq!(answer.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = answer.ok().as_str().unwrap().to_owned();
    let labels = format!(
        "model_id=\"{}\",model_name=\"iris \\\"the flower\\\"\",deployment_id=\"{}\",environment=\"\",rollout_phase=\"\"",
        pushed.model, pushed.deployment
    );
    for line in [
        format!("baseten_inference_requests_total{{{labels},status_code=\"200\",is_async=\"false\"}} 2.0"),
        format!("baseten_end_to_end_response_time_seconds_sum{{{labels},status_code=\"404\",is_async=\"false\"}} 0.25"),
        format!(
            "baseten_end_to_end_response_time_seconds_bucket{{le=\"0.1\",{labels},status_code=\"200\",is_async=\"false\"}} 0"
        ),
        format!(
            "baseten_end_to_end_response_time_seconds_bucket{{le=\"0.25\",{labels},status_code=\"200\",is_async=\"false\"}} 2"
        ),
        format!(
            "baseten_end_to_end_response_time_seconds_bucket{{le=\"+Inf\",{labels},status_code=\"200\",is_async=\"false\"}} 2"
        ),
        format!("baseten_container_cpu_usage_seconds_total{{{labels},replica=\"{replica}\"}} 1.5"),
        format!("baseten_replicas_active{{{labels}}} 1.0"),
        format!("greenroom_replica_start_seconds_count{{{labels},phase=\"total\"}} 1"),
        "# TYPE baseten_pod_readiness gauge".into(),
    ] {
        assert!(text.lines().any(|found| found == line), "no {line}\nin {text}");
    }
    assert!(text.contains("model_name=\"other\"") && text.ends_with("# EOF\n"));

    let only_other = json!({ "type": "WORKSPACE_EXPORT_METRICS", "model_ids": [other.model] });
    let key = app.post("/v1/api_keys", only_other).await.ok()["api_key"].as_str().unwrap().to_owned();
    let seen = app.call_as(Some(&key), Method::GET, "/metrics", None).await.ok().as_str().unwrap().to_owned();
    assert!(seen.contains("other") && !seen.contains("iris"), "{seen}");
    let refused = app.call_as(Some(&key), Method::GET, &pushed.path("/metrics"), None).await;
    refused.refuses(403, "PERMISSION_DENIED", "WORKSPACE_MANAGE_ALL");
    let key = app.make_key("WORKSPACE_INVOKE").await;
    let refused = app.call_as(Some(&key), Method::GET, "/metrics", None).await;
    refused.refuses(403, "PERMISSION_DENIED", "WORKSPACE_EXPORT_METRICS");
}

#[tokio::test]
async fn what_is_being_promoted_is_told_apart_from_what_is_served() {
    let app = TestApp::start().await;
    let (first, second) = stage(&app).await;
    let samples = [&first, &second].map(|pushed| sample(pushed, 0, &[200], Standing::default()));
    app.store.record_samples(&samples, &[]).await.unwrap();
    app.post(&second.path("/promote"), json!({})).await.ok();
    app.move_promotion(&second, "production", |promotion| promotion.targets.candidate_percent = 30).await;
    let text = app.get("/metrics").await.ok().as_str().unwrap().to_owned();
    let of = |pushed: &Pushed, phase: &str| {
        format!("deployment_id=\"{}\",environment=\"production\",rollout_phase=\"{phase}\"", pushed.deployment)
    };
    let has = |name: &str, labels: &str, end: &str| {
        let is_it = |line: &&str| line.starts_with(name) && line.contains(labels) && line.ends_with(end);
        text.lines().any(|line| is_it(&line))
    };
    assert!(has("baseten_inference_requests_total", &of(&first, "stable"), " 1.0"), "{text}");
    assert!(has("baseten_inference_requests_total", &of(&second, "promoting"), " 1.0"), "{text}");
    assert!(has("greenroom_rollout_traffic_percent", &of(&second, "promoting"), " 30.0"), "{text}");
    assert!(!has("greenroom_rollout_traffic_percent", &of(&first, "stable"), ""), "{text}");
}

#[tokio::test]
async fn activity_is_what_the_last_minute_brought_to_those_who_are_busy() {
    let app = TestApp::start().await;
    let busy = app.push_model("busy").await;
    app.make_active(&busy).await;
    let idle = app.push_model("idle").await;
    let standing = Standing { active: 2, desired: 3, queued: 4, ..Standing::default() };
    let samples = [
        sample(&busy, 0, &[200; 6], Standing { active: 1, ..Standing::default() }),
        sample(&busy, 1, &[200, 200, 503], standing.clone()),
        sample(&idle, 1, &[], standing),
    ];
    app.store.record_samples(&samples, &[]).await.unwrap();
    app.pass(60_000);
    let found = app.get("/v1/activity").await.ok();
    let [first, second] = found["deployments"].as_array().unwrap().as_slice() else { panic!("{found:#}") };
    assert_eq!((&first["model_name"], &second["model_name"]), (&json!("busy"), &json!("idle")));
    assert_eq!((&first["requests_per_second"], &first["failures_per_second"]), (&json!(0.15), &json!(1.0 / 60.0)));
    assert_eq!((&first["active_replicas"], &first["desired_replicas"]), (&json!(2), &json!(3)));
    assert_eq!((&first["waiting_requests"], &first["status"]), (&json!(4), &json!("ACTIVE")));
    assert_eq!(found["recorded_at_epoch_millis"], START.0 + 60_000);
    app.pass(61_000);
    assert_eq!(app.get("/v1/activity").await.ok()["deployments"], json!([]), "nobody records any more");
}

#[tokio::test]
async fn every_metric_is_in_the_reference() {
    let app = TestApp::start().await;
    let reference = include_str!("../../../../docs/metrics.md");
    let text = app.get("/metrics").await.ok().as_str().unwrap().to_owned();
    let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(names.len() > 10, "{text}");
    for name in names {
        assert!(reference.contains(name), "{name} is not in docs/metrics.md");
    }
}

#[tokio::test]
async fn usage_adds_up_by_deployment_environment_and_day() {
    let app = TestApp::with(|settings| settings.prices = [("1x2".to_owned(), 0.5)].into()).await;
    let pushed = app.push_model("iris").await;
    let used = |at: Timestamp, environment: Option<&str>, replica_ms| Used {
        deployment_id: pushed.deployment_id(),
        environment: environment.map(str::to_owned),
        since: at,
        replica_ms,
        requests: 7,
        tokens: Tokens { input: 5, output: 9 },
    };
    let day = 24 * 3_600_000;
    let all = [
        used(START, None, 60_000),
        used(START, Some("production"), 61_000),
        used(START.plus(day), Some("production"), 120_000),
        used(START.plus(40 * day), None, 1),
    ];
    app.store.record_samples(&[], &all).await.unwrap();
    app.store.delete_deployment(&pushed.deployment_id(), None).await.unwrap();
    let read = async |query: &str| app.get(&format!("/v1/billing/usage_summary?{query}")).await;
    let mut summary = read("start_date=2026-01-01&end_date=2026-02-01").await.ok();
    crate::contract::validate("UsageSummary", "usage", &summary);
    let dedicated = summary["dedicated_usage"].take();
    assert_eq!((&dedicated["minutes"], &dedicated["total"]), (&json!(5), &json!(2.5)));
    let item = &dedicated["breakdown"][1];
    assert_eq!((&item["minutes"], &item["inference_requests"]), (&json!(4), &json!(14)));
    assert_eq!((&item["input_tokens"], &item["daily"][1]["output_tokens"]), (&json!(10), &json!(9)));
    let resource = &item["billable_resource"];
    assert_eq!(
        (&resource["environment_name"], &resource["model_name"], &resource["is_deleted"]),
        (&json!("production"), &json!("iris"), &json!(true))
    );
    assert_eq!(item["daily"][0]["date"], "2026-01-02");
    let csv = read("start_date=2026-01-01&end_date=2026-02-01&format=csv").await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    let lines: Vec<&str> = csv.body.as_str().unwrap().lines().collect();
    assert_eq!(lines.len(), 4, "a heading and three days");
    assert!(lines[0].starts_with("date,team_id,model_id,model_name,environment_name,deployment_id"), "{}", lines[0]);
    assert!(lines[2].ends_with(",2,7,1.0,true,5,9") && lines[2].contains(",iris,production,"), "{}", lines[2]);
    let days = read("start_date=2026-01-03T00:00:00Z&end_date=2026-01-04").await.ok();
    assert_eq!(days["dedicated_usage"]["minutes"], 2);
    read("start_date=2026-01-01&end_date=2026-02-02").await.is_invalid("end_date");
    read("start_date=2026-01-02&end_date=2026-01-01").await.is_invalid("end_date");
    read("start_date=soon&end_date=2026-01-01").await.is_invalid("start_date");
}
