//! `greenroom models`.

use api::v1::models::Models;

use super::Context;
use crate::{clock, failure::Result, words::age};

/// List models
#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_: Args, context: &Context) -> Result {
    let client = context.client()?;
    let found: Models = client.get(&client.in_team(&["models"]).await?).await?;
    let now = clock::now();
    let rows = found.models.iter().map(|model| {
        let production = model.production_deployment_id.as_deref().unwrap_or("-");
        vec![
            model.name.clone(),
            model.id.clone(),
            model.deployments_count.to_string(),
            production.to_owned(),
            age(now, &model.created_at),
        ]
    });
    if found.models.is_empty() {
        context.printer.say("No models yet; `greenroom push DIR` makes one.");
    }
    context.printer.table(&found, &["name", "id", "deployments", "production", "age"], rows.collect())
}
