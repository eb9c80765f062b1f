//! The route of usage in money.

use std::collections::BTreeMap;

use api::v1::{
    billing::{
        BillableResource, DailyDedicatedUsage, DedicatedItem, DedicatedUsage, ResourceKind, UsageFormat, UsageSummary,
        UsageSummaryQuery,
    },
    time::{parse_utc, rfc3339},
};
use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use planner::Timestamp;
use serde::Serialize;
use store::domain::UsageDay;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{auth::Manager, error::Error, extract::InQuery};
use crate::{ControlPlane, ops};

const MINUTE_MS: u64 = 60_000;
/// Of a time, as it is written.
const DATE_LENGTH: usize = "YYYY-MM-DD".len();

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(get_usage_summary))
}

/// Sums up what deployments have used, and what that costs. With `format=csv` every day of every deployment is a line.
#[utoipa::path(
    get, path = "/v1/billing/usage_summary", tag = "Billing",
    params(UsageSummaryQuery), responses((status = 200, body = UsageSummary))
)]
async fn get_usage_summary(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InQuery(query): InQuery<UsageSummaryQuery>,
) -> Result<Response, Error> {
    let (from, to) = (moment("start_date", &query.start_date)?, moment("end_date", &query.end_date)?);
    let usage = ops::billing::usage(&control_plane, &caller, from, to).await?;
    let prices = &control_plane.settings().prices;
    let summary = summary(&usage, |instance_type| prices.get(instance_type).copied().unwrap_or(0.0));
    Ok(match query.format {
        UsageFormat::Json => Json(summary).into_response(),
        UsageFormat::Csv => {
            let headers = [
                (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"usage.csv\""),
            ];
            (headers, table(&summary)).into_response()
        }
    })
}

/// The summary as comma-separated values, with their names first also where there are none.
fn table(summary: &UsageSummary) -> Vec<u8> {
    let mut lines = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    lines.write_record(COLUMNS).expect("memory takes everything");
    let items = summary.dedicated_usage.iter().flat_map(|usage| &usage.breakdown);
    let days = items.flat_map(|item| item.daily.iter().map(|day| line(&item.billable_resource, day)));
    for day in days {
        lines.serialize(day).expect("memory takes everything");
    }
    lines.into_inner().expect("memory takes everything")
}

/// The names of what stands in a [`line`].
const COLUMNS: [&str; 14] = [
    "date",
    "team_id",
    "model_id",
    "model_name",
    "environment_name",
    "deployment_id",
    "deployment_name",
    "instance_type",
    "minutes",
    "inference_requests",
    "subtotal",
    "is_deleted",
    "input_tokens",
    "output_tokens",
];

/// One day of one deployment, in the order of [`COLUMNS`].
fn line(resource: &BillableResource, day: &DailyDedicatedUsage) -> impl Serialize {
    (
        &day.date,
        &resource.team_id,
        &resource.model_id,
        &resource.model_name,
        &resource.environment_name,
        &resource.id,
        &resource.name,
        &resource.instance_type,
        day.minutes,
        day.inference_requests,
        day.subtotal,
        resource.is_deleted,
        day.input_tokens,
        day.output_tokens,
    )
}

fn moment(field: &str, text: &str) -> Result<Timestamp, Error> {
    let why = || format!("{field}: {text:?} is not a time: write 2026-01-31 or 2026-01-31T12:00:00Z");
    parse_utc(text).map(Timestamp).ok_or_else(|| Error::invalid(why()))
}

/// Adds it up. `price` is that of a minute on an instance type, in US dollars.
fn summary(usage: &[UsageDay], price: impl Fn(&str) -> f64) -> UsageSummary {
    let mut items: BTreeMap<(&str, Option<&str>), DedicatedItem> = BTreeMap::new();
    for used in usage {
        let minutes = used.replica_ms.div_ceil(MINUTE_MS);
        let cost = minutes as f64 * price(&used.instance_type);
        let key = (used.deployment_id.as_str(), used.environment.as_deref());
        let item = items.entry(key).or_insert_with(|| nothing_yet(used));
        // The newest day has the names that are known by now.
        item.billable_resource = resource(used);
        item.subtotal += cost;
        item.compute_cost += cost;
        item.minutes += minutes;
        item.inference_requests += used.requests;
        item.input_tokens += used.tokens.input;
        item.output_tokens += used.tokens.output;
        item.daily.push(DailyDedicatedUsage {
            date: rfc3339(used.day.0)[..DATE_LENGTH].to_owned(),
            subtotal: cost,
            compute_cost: cost,
            surcharge_cost: 0.0,
            minutes,
            inference_requests: used.requests,
            input_tokens: used.tokens.input,
            output_tokens: used.tokens.output,
        });
    }
    let breakdown: Vec<_> = items.into_values().collect();
    let total = breakdown.iter().fold(0.0, |sum, item| sum + item.subtotal);
    UsageSummary {
        dedicated_usage: Some(DedicatedUsage {
            subtotal: total,
            credits_used: 0.0,
            total,
            minutes: breakdown.iter().map(|item| item.minutes).sum(),
            breakdown,
        }),
        training_usage: None,
        model_apis_usage: None,
    }
}

fn nothing_yet(used: &UsageDay) -> DedicatedItem {
    DedicatedItem {
        billable_resource: resource(used),
        subtotal: 0.0,
        compute_cost: 0.0,
        surcharge_cost: 0.0,
        minutes: 0,
        inference_requests: 0,
        input_tokens: 0,
        output_tokens: 0,
        daily: Vec::new(),
    }
}

fn resource(used: &UsageDay) -> BillableResource {
    BillableResource {
        id: used.deployment_id.to_string(),
        kind: ResourceKind::ModelDeployment,
        name: Some(used.deployment_name.clone()),
        model_id: Some(used.model_id.to_string()),
        model_name: Some(used.model_name.clone()),
        is_deleted: used.is_deleted,
        instance_type: Some(used.instance_type.clone()),
        environment_name: used.environment.clone(),
        team_id: Some(used.team_id.to_string()),
    }
}
