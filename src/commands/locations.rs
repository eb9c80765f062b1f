//! `greenroom locations`: where this server can run things.

use api::v1::regions::Regions;

use super::Context;
use crate::failure::Result;

/// List the locations that policies choose among, with the hardware in each
#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_: Args, context: &Context) -> Result {
    let found: Regions = context.client()?.get(&["v1", "regions"]).await?;
    let rows = found.regions.iter().map(|one| vec![one.slug.clone(), one.display_name.clone()]).collect();
    context.printer.table(&found, &["location", "where, and what is there"], rows)
}
