//! `greenroom usage`: what deployments have used, and what that costs.

use api::v1::{
    billing::{DedicatedItem, UsageSummary},
    time::rfc3339,
};

use super::Context;
use crate::{clock, failure::Result};

const HEADINGS: [&str; 9] = [
    "model",
    "environment",
    "deployment",
    "instance type",
    "minutes",
    "requests",
    "input tokens",
    "output tokens",
    "cost, $",
];
const DAY_MS: u64 = 24 * 3_600_000;
/// Of a time, as it is written.
const DATE_LENGTH: usize = "YYYY-MM-DD".len();

/// Show what deployments have used, deleted ones included, and what that costs where prices are configured
///
/// Minutes are those of replicas that are up, a part of one counting as one. Tokens are those that answers tell of. Days are those of
/// UTC.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// From this day on, as 2026-01-31; the first of this month if absent
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Before this day; until now if absent. At most 31 days after the first
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
    /// Print every day of every deployment as comma-separated values
    #[arg(long)]
    csv: bool,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let now = clock::now().0;
    let today = &rfc3339(now)[..DATE_LENGTH];
    let from = args.from.unwrap_or_else(|| format!("{}-01", &today[..DATE_LENGTH - 3]));
    let to = args.to.unwrap_or_else(|| rfc3339(now + DAY_MS)[..DATE_LENGTH].to_owned());
    let path = ["v1", "billing", "usage_summary"];
    let query = [("start_date", from), ("end_date", to)];
    if args.csv && !context.printer.is_json() {
        let query = [&query[..], &[("format", "csv".to_owned())]].concat();
        return context.printer.bytes(client.text(&path, &query).await?.as_bytes());
    }
    let usage: UsageSummary = client.get_where(&path, &query).await?;
    let items = usage.dedicated_usage.as_ref().map(|used| used.breakdown.as_slice()).unwrap_or_default();
    let mut rows: Vec<_> = items.iter().map(row).collect();
    if let Some(total) = usage.dedicated_usage.as_ref().filter(|_| items.len() > 1) {
        let sum = |of: fn(&DedicatedItem) -> u64| items.iter().map(of).sum::<u64>().to_string();
        let sums = [
            total.minutes.to_string(),
            sum(|item| item.inference_requests),
            sum(|item| item.input_tokens),
            sum(|item| item.output_tokens),
            dollars(total.total),
        ];
        rows.push(["", "", "", "together"].map(str::to_owned).into_iter().chain(sums).collect());
    }
    context.printer.table(&usage, &HEADINGS, rows)
}

fn row(item: &DedicatedItem) -> Vec<String> {
    let resource = &item.billable_resource;
    let text = |field: &Option<String>| field.clone().unwrap_or_else(|| "-".to_owned());
    let deleted = if resource.is_deleted { " (deleted)" } else { "" };
    vec![
        text(&resource.model_name),
        text(&resource.environment_name),
        format!("{}{deleted}", text(&resource.name)),
        text(&resource.instance_type),
        item.minutes.to_string(),
        item.inference_requests.to_string(),
        item.input_tokens.to_string(),
        item.output_tokens.to_string(),
        dollars(item.subtotal),
    ]
}

fn dollars(amount: f64) -> String {
    format!("{amount:.4}")
}
