//! The route of usage in money.

use std::collections::BTreeMap;

use api::v1::{
    billing::{
        BillableResource, DailyDedicatedUsage, DedicatedItem, DedicatedUsage, ResourceKind, UsageSummary,
        UsageSummaryQuery,
    },
    time::{parse_utc, rfc3339},
};
use axum::{Json, extract::State};
use planner::Timestamp;
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

/// Sums up what deployments have used, and what that costs.
#[utoipa::path(
    get, path = "/v1/billing/usage_summary", tag = "Billing",
    params(UsageSummaryQuery), responses((status = 200, body = UsageSummary))
)]
async fn get_usage_summary(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InQuery(query): InQuery<UsageSummaryQuery>,
) -> Result<Json<UsageSummary>, Error> {
    let (from, to) = (moment("start_date", &query.start_date)?, moment("end_date", &query.end_date)?);
    let usage = ops::billing::usage(&control_plane, &caller, from, to).await?;
    let prices = &control_plane.settings().prices;
    Ok(Json(summary(&usage, |instance_type| prices.get(instance_type).copied().unwrap_or(0.0))))
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
        item.daily.push(DailyDedicatedUsage {
            date: rfc3339(used.day.0)[..DATE_LENGTH].to_owned(),
            subtotal: cost,
            compute_cost: cost,
            surcharge_cost: 0.0,
            minutes,
            inference_requests: used.requests,
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
