//! `greenroom startups MODEL [DEPLOYMENT]`.

use std::time::Duration;

use api::v1::{
    startups::{StartupAttempt, StartupAttempts, StartupPhase, StartupSummary},
    time::rfc3339,
};

use super::{
    Context,
    target::{self, Choice},
};
use crate::{
    clock,
    failure::Result,
    words::{age, name, seconds},
};

const HOUR_MS: u64 = 3_600_000;

/// Show how replicas have started, and where the time went
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model, by name or id
    model: String,
    /// Deployment, by name or id; without it what production serves, or else the newest
    deployment: Option<String>,
    /// Look back so many hours
    #[arg(long, default_value_t = 24, value_name = "HOURS")]
    since: u64,
    /// Show at most so many starts
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    limit: usize,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let model = target::find_model(&client, &args.model).await?;
    let choice = Choice { deployment: args.deployment, ..Choice::default() };
    let deployment = target::find_chosen(&client, &model, &choice).await?;
    let now = clock::now();
    let from = now.0.saturating_sub(args.since.saturating_mul(HOUR_MS));
    let window = [("start_epoch_millis", from.to_string()), ("end_epoch_millis", now.0.to_string())];
    let path = ["v1", "models", &model.id, "deployments", &deployment.id, "startups"];
    let query = [&window[..], &[("limit", args.limit.to_string())]].concat();
    let found: StartupAttempts = client.get_where(&path, &query).await?;
    let printer = context.printer;
    if printer.is_json() {
        return printer.answer(&found, |_| String::new());
    }
    printer.line(&format!("{} of {} ({})", deployment.name, model.name, deployment.id))?;
    if found.items.is_empty() {
        return printer.line(&format!("No replica has started in the last {} h", args.since));
    }
    let summary: StartupSummary = client.get_where(&[&path[..], &["summary"]].concat(), &window).await?;
    let total = summary.total_duration_ms;
    if let (Some(half), Some(most)) = (total.p50_ms, total.p95_ms) {
        let (half, most) = (took(half), took(most));
        printer.line(&format!(
            "Of {} that became ready half took at most {half}, 95 % at most {most}",
            total.sample_count
        ))?;
    }
    printer.bytes(b"\n")?;
    let rows = found.items.iter().map(row).collect();
    printer.table(&found, &["age", "replica", "outcome", "took", "order", "process", "import", "load"], rows)
}

fn row(attempt: &StartupAttempt) -> Vec<String> {
    let part = |phase: StartupPhase| {
        let part = attempt.phase_summary.iter().find(|part| part.phase == phase);
        part.map_or_else(|| "-".to_owned(), |part| part.duration_ms.map_or_else(|| "failed".to_owned(), took))
    };
    vec![
        age(clock::now(), &rfc3339(attempt.started_at_epoch_millis)),
        attempt.replica_id.clone().unwrap_or_default(),
        name(&attempt.outcome),
        took(attempt.duration_ms),
        part(StartupPhase::Scheduling),
        part(StartupPhase::ContainerCreate),
        part(StartupPhase::ContainerStart),
        part(StartupPhase::Readiness),
    ]
}

fn took(ms: u64) -> String {
    seconds(Duration::from_millis(ms))
}
