//! `greenroom deployments MODEL`.

use api::v1::deployments::{Deployment, Deployments};

use super::{Context, target};
use crate::{
    clock,
    failure::Result,
    words::{self, age},
};

/// List the deployments of a model
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model, by name or id
    model: String,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let model = target::find_model(&client, &args.model).await?;
    let found: Deployments = client.get(&["v1", "models", &model.id, "deployments"]).await?;
    context.printer.table(&found, HEADINGS, rows(&found.deployments))
}

/// The headings of [`rows`].
pub const HEADINGS: &[&str] = &["name", "id", "status", "environment", "replicas", "age", "why"];

/// One row for each deployment.
pub fn rows(deployments: &[Deployment]) -> Vec<Vec<String>> {
    let now = clock::now();
    let place = |deployment: &Deployment| match (&deployment.environment, deployment.is_development) {
        (Some(environment), _) => environment.clone(),
        (None, true) => "(development)".to_owned(),
        (None, false) => "-".to_owned(),
    };
    let row = |deployment: &Deployment| {
        vec![
            deployment.name.clone(),
            deployment.id.clone(),
            words::name(&deployment.status),
            place(deployment),
            deployment.active_replica_count.to_string(),
            age(now, &deployment.created_at),
            deployment.status_reason.as_deref().map_or_else(|| "-".to_owned(), words::short),
        ]
    };
    deployments.iter().map(row).collect()
}
