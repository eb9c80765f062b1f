//! `greenroom autoscale explain MODEL [DEPLOYMENT]`.

use api::v1::{
    autoscaling::{AutoscalingDecision, AutoscalingDecisions},
    deployments::Deployment,
};
use clap::Subcommand;
use serde::Serialize;

use super::{
    Context,
    target::{self, Choice},
};
use crate::{clock, failure::Result, words::age};

/// See how deployments follow their load
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show when and why the number of replicas has changed
    Explain(Explain),
}

#[derive(Debug, clap::Args)]
struct Explain {
    /// Model, by name or id
    model: String,
    /// Deployment, by name or id; without it what production serves, or else the newest
    deployment: Option<String>,
    /// Show at most so many changes
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    limit: u32,
}

#[derive(Serialize)]
struct Explanation {
    deployment: Deployment,
    #[serde(flatten)]
    decisions: AutoscalingDecisions,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let Command::Explain(args) = args.command;
    let client = context.client()?;
    let model = target::find_model(&client, &args.model).await?;
    let choice = Choice { deployment: args.deployment, ..Choice::default() };
    let deployment = target::find_chosen(&client, &model, &choice).await?;
    let path = ["v1", "models", &model.id, "deployments", &deployment.id, "autoscaling_decisions"];
    let decisions: AutoscalingDecisions = client.get_where(&path, &[("limit", args.limit.to_string())]).await?;
    let answer = Explanation { deployment, decisions };
    let printer = context.printer;
    if printer.is_json() {
        return printer.answer(&answer, |_| String::new());
    }
    printer.line(&format!("{} of {} ({})", answer.deployment.name, model.name, answer.deployment.id))?;
    if let Some(settings) = &answer.deployment.autoscaling_settings {
        printer.line(&format!(
            "From {} to {} replicas; each takes {} % of {}; the load is averaged over {} s, and low for {} s before each step down",
            settings.min_replica,
            settings.max_replica,
            settings.target_utilization_percentage.unwrap_or_default(),
            settings.concurrency_target,
            settings.autoscaling_window.unwrap_or_default(),
            settings.scale_down_delay.unwrap_or_default(),
        ))?;
    }
    if answer.decisions.autoscaling_decisions.is_empty() {
        return printer.line("The number of replicas has not followed the load yet");
    }
    printer.bytes(b"\n")?;
    let rows = answer.decisions.autoscaling_decisions.iter().map(row).collect();
    printer.table(&answer, &["age", "replicas", "average", "waiting", "asked for", "why"], rows)
}

fn row(decision: &AutoscalingDecision) -> Vec<String> {
    let why = decision.explanation.split_once(": ").map_or(decision.explanation.as_str(), |(why, _)| why);
    vec![
        age(clock::now(), &decision.created_at),
        format!("{} -> {}", decision.previous_replica_count, decision.replica_count),
        format!("{:.1}", decision.average_in_flight),
        decision.queued.to_string(),
        decision.desired_replica_count.to_string(),
        why.to_owned(),
    ]
}
