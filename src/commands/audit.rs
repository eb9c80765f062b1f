//! `greenroom audit [MODEL]`: who did what.

use std::time::Duration;

use api::v1::audit_logs::{AuditLogActor, AuditLogEntry, ListAuditLogsResponse};
use serde_json::Value;

use super::{Context, target::find_model, users};
use crate::{clock, failure::Result, words::name};

const HEADINGS: [&str; 6] = ["when", "who", "by", "did", "to", "id"];
/// The most that one request may ask for.
const LONGEST_PAGE: u32 = 200;
/// What names the things that something was done to, the most telling first; of several names of one, the first that it has.
const OBJECTS: [&[&str]; 9] = [
    &["secret_name"],
    &["policy_name"],
    &["api_key_name", "prefix"],
    &["service_account_name"],
    &["user_name"],
    &["team_name"],
    &["deployment_name"],
    &["environment_name"],
    &["model_name"],
];

/// Show who did what, the newest first
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only what was done to this model, by name or id
    model: Option<String>,
    /// Only what names something with this text in its name or id
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only deeds of this kind: deployed, promoted, deleted, secrets, api-keys, ...
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only what was done from there: ui, api or system
    #[arg(long, value_name = "WHERE")]
    source: Vec<String>,
    /// Only what was done to this deployment, by id
    #[arg(long, value_name = "ID")]
    deployment: Vec<String>,
    /// Only what was done to environments of this name
    #[arg(long, value_name = "NAME")]
    environment: Vec<String>,
    /// Only what this person did, by address or id
    #[arg(long, value_name = "USER")]
    user: Vec<String>,
    /// Only the last so long, such as 12h
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// Only what is at least so old, such as 1h
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    until: Option<Duration>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let model = match &args.model {
        Some(model) => Some(find_model(&client, model).await?),
        None => None,
    };
    let path = match &model {
        Some(model) => vec!["v1", "models", &model.id, "audit_logs"],
        None => vec!["v1", "audit_logs"],
    };
    let mut conditions: Vec<(&str, String)> = Vec::new();
    conditions.extend(args.search.map(|text| ("search", text)));
    conditions.extend(args.kind.iter().map(|kind| ("event_type_groups", shouted(kind))));
    conditions.extend(args.source.iter().map(|source| ("sources", shouted(source))));
    conditions.extend(args.deployment.into_iter().map(|id| ("deployment_ids", id)));
    conditions.extend(args.environment.into_iter().map(|name| ("environment_names", name)));
    for user in &args.user {
        // Ids are known as they are: those of people who have left, too, and of service accounts.
        let id = if user.contains('@') { users::find(&client, user).await? } else { user.clone() };
        conditions.push(("user_ids", id));
    }
    let before = |duration: Duration| {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        clock::now().0.saturating_sub(ms).to_string()
    };
    conditions.extend(args.since.map(|since| ("start_epoch_millis", before(since))));
    conditions.extend(args.until.map(|until| ("end_epoch_millis", before(until))));
    let mut found: Vec<AuditLogEntry> = Vec::new();
    let mut cursor = None;
    loop {
        let missing = args.limit - u32::try_from(found.len()).unwrap_or(args.limit);
        let mut query = conditions.clone();
        query.push(("limit", missing.min(LONGEST_PAGE).to_string()));
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let page: ListAuditLogsResponse = client.get_where(&path, &query).await?;
        found.extend(page.items);
        cursor = page.pagination.cursor;
        if cursor.is_none() || found.len() >= args.limit as usize {
            break;
        }
    }
    context.printer.table(&found, &HEADINGS, found.iter().map(row).collect())
}

fn row(entry: &AuditLogEntry) -> Vec<String> {
    let by = match (&entry.client_name, &entry.client_version) {
        (Some(client), Some(version)) => format!("{client} {version}"),
        (Some(client), None) => client.clone(),
        (None, _) => entry.source.map(|source| name(&source).to_lowercase()).unwrap_or_default(),
    };
    let did = entry.event_type.to_lowercase().replace('_', " ");
    vec![entry.created.clone(), who(&entry.actor), by, did, object(&entry.event_data), entry.id.clone()]
}

fn who(actor: &AuditLogActor) -> String {
    let known = [&actor.email, &actor.api_key_name, &actor.api_key_prefix].into_iter().flatten().next();
    known.cloned().unwrap_or_else(|| "the platform".to_owned())
}

fn object(data: &Value) -> String {
    let said = OBJECTS.iter().filter_map(|fields| fields.iter().find_map(|field| data[*field].as_str()));
    said.collect::<Vec<_>>().join(" of ")
}

/// `api-keys` as the API writes it.
fn shouted(word: &str) -> String {
    word.to_uppercase().replace('-', "_")
}
