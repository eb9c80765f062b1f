//! `greenroom locations`: where this server can run things.

use api::v1::regions::{LocationInfo, Regions};

use super::Context;
use crate::failure::Result;

/// List the locations that policies choose among, with the hardware in each
#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_: Args, context: &Context) -> Result {
    let found: Regions = context.client()?.get(&["v1", "regions"]).await?;
    let row = |one: &LocationInfo| vec![one.region.slug.clone(), one.region.display_name.clone(), health(one)];
    let rows = found.regions.iter().map(row).collect();
    context.printer.table(&found, &["location", "where, and what is there", "health"], rows)
}

fn health(location: &LocationInfo) -> String {
    match (&location.unhealthy_reason, &location.unhealthy_since) {
        _ if location.is_healthy => "healthy".into(),
        (Some(reason), Some(since)) => format!("unhealthy since {since}: {reason}"),
        (_, _) => "unhealthy".into(),
    }
}
