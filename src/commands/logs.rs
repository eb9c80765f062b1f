//! `greenroom logs MODEL`: what a deployment's build, start and model said.

use std::time::Duration;

use api::v1::logs::{GetLogsResponse, Log};

use super::{
    Context,
    tail::{Tail, millis},
    target::Target,
};
use crate::{clock, failure::Result, printer::Printer, words};

/// How often a followed log is looked at.
const POLL: Duration = Duration::from_millis(500);

/// The server refuses more than seven days by its own clock; a minute covers the way there and a clock that differs.
const LONGEST: Duration = Duration::from_secs(7 * 86_400 - 60);

/// Print the log of a deployment: its build, its start and its model
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Go on as the log grows; with --json one line of JSON for each
    #[arg(long, short)]
    follow: bool,
    /// Only lines at least this severe
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// Only lines of the last so long; at most 7d
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "7d")]
    since: Duration,
    /// At most so many lines, the newest
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only lines that contain this text
    #[arg(long, value_name = "TEXT")]
    includes: Vec<String>,
    /// Only lines of this request
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Only lines from here
    #[arg(long, value_enum)]
    component: Option<Component>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Component {
    Build,
    Deploy,
    Model,
    /// What gateways say of single requests
    Access,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let printer = context.printer;
    let (model, deployment) = args.target.find(&client).await?;

    let mut conditions: Vec<(&'static str, String)> = Vec::new();
    conditions.extend(args.level.map(|level| ("min_level", words::name(&level))));
    conditions.extend(args.request_id.map(|id| ("request_id", id)));
    conditions.extend(args.component.map(|component| ("component", words::name(&component))));
    conditions.extend(args.includes.into_iter().map(|text| ("includes", text)));

    let since_ms = u64::try_from(args.since.min(LONGEST).as_millis()).expect("a week fits");
    let start_ms = clock::now().0.saturating_sub(since_ms);

    let path = ["v1", "models", &model.id, "deployments", &deployment.id, "logs"];
    let mut query = conditions.clone();
    query.push(("direction", "desc".to_owned()));
    query.push(("limit", args.limit.to_string()));
    query.push(("start_epoch_millis", start_ms.to_string()));
    let mut newest: GetLogsResponse = client.get_where(&path, &query).await?;
    newest.logs.reverse();

    if !args.follow {
        return printer.answer(&newest, |newest| newest.logs.iter().map(text).collect::<Vec<_>>().join("\n"));
    }
    let follow_from = newest.logs.last().map_or(start_ms, |line| millis(&line.timestamp));
    let mut tail = Tail::new(&deployment, follow_from, conditions);
    tail.skip(&newest.logs);
    let mut fresh = newest.logs;
    loop {
        for line in &fresh {
            show(printer, line)?;
        }
        tokio::time::sleep(POLL).await;
        fresh = tail.read(&client).await?;
    }
}

fn show(printer: Printer, line: &Log) -> Result {
    if printer.is_json() { printer.json_line(line) } else { printer.line(&text(line)) }
}

/// `2026-01-02T03:04:05.678Z WARNING abcde message`
fn text(line: &Log) -> String {
    let time = api::v1::time::rfc3339(millis(&line.timestamp));
    let level = line.level.map_or_else(|| "-".to_owned(), |level| words::name(&level));
    let replica = line.replica.as_deref().unwrap_or("-");
    format!("{time} {level:<7} {replica:<5} {}", line.message.trim_end())
}
