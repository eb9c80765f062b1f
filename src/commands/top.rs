//! `greenroom top`.

use std::time::Duration;

use api::v1::metrics::{Activity, DeploymentActivity};
use bytesize::ByteSize;

use super::Context;
use crate::{
    clock,
    failure::Result,
    printer::tabulated,
    words::{name, seconds},
};

/// How often it is drawn anew. What it shows is recorded less often.
const ROUND: Duration = Duration::from_secs(2);
const HEADINGS: [&str; 11] = [
    "model",
    "environment",
    "deployment",
    "status",
    "replicas",
    "run",
    "wait",
    "requests/s",
    "failures/s",
    "p50, p99",
    "cpu, memory",
];

/// Show what runs and what it has to do, again and again
///
/// Deployments that have replicas or requests, those with the most requests first: replicas that are ready of those that are wanted,
/// requests that run and wait, and what the last minute has brought. Not at a terminal it is shown once.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show it once
    #[arg(long)]
    once: bool,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let printer = context.printer;
    let path = ["v1", "activity"];
    if args.once || !printer.is_watched() {
        let activity: Activity = client.get(&path).await?;
        return printer.table(&activity, &HEADINGS, rows(&activity));
    }
    let mut rounds = tokio::time::interval(ROUND);
    loop {
        rounds.tick().await;
        let activity: Activity = client.get(&path).await?;
        let table = tabulated(&HEADINGS, rows(&activity));
        printer.screen(&format!("{}\n\n{table}", headline(&activity)))?;
    }
}

fn headline(activity: &Activity) -> String {
    let Some(at) = activity.recorded_at_epoch_millis else {
        return "Nothing runs, or nothing has been recorded yet; Ctrl-C ends this".to_owned();
    };
    let age = Duration::from_millis(clock::now().0.saturating_sub(at));
    let requests: f64 = activity.deployments.iter().map(|one| one.requests_per_second).sum();
    let replicas: u32 = activity.deployments.iter().map(|one| one.active_replicas).sum();
    format!(
        "deployments: {}, replicas: {replicas}, requests/s: {requests:.1}; as of {} ago; Ctrl-C ends this",
        activity.deployments.len(),
        seconds(age)
    )
}

fn rows(activity: &Activity) -> Vec<Vec<String>> {
    activity.deployments.iter().map(row).collect()
}

fn row(one: &DeploymentActivity) -> Vec<String> {
    let starting = if one.starting_replicas > 0 { format!(" +{}", one.starting_replicas) } else { String::new() };
    vec![
        one.model_name.clone(),
        one.environment.clone().unwrap_or_else(|| "-".to_owned()),
        one.deployment_name.clone(),
        name(&one.status),
        format!("{}/{}{starting}", one.active_replicas, one.desired_replicas),
        one.running_requests.to_string(),
        one.waiting_requests.to_string(),
        format!("{:.1}", one.requests_per_second),
        format!("{:.1}", one.failures_per_second),
        format!("{}, {}", took(one.response_time_p50_seconds), took(one.response_time_p99_seconds)),
        format!("{:.2}, {}", one.cpus, ByteSize::b(one.memory_bytes).display().iec()),
    ]
}

fn took(time_s: Option<f64>) -> String {
    match time_s {
        None => "-".to_owned(),
        Some(short) if short < 1.0 => format!("{:.0} ms", short * 1000.0),
        Some(long) => seconds(Duration::from_secs_f64(long)),
    }
}
