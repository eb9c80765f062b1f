//! `greenroom rename MODEL DEPLOYMENT NAME`.

use api::v1::deployments::{Deployment, UpdateDeploymentRequest};

use super::{Context, target};
use crate::failure::Result;

/// Give a deployment another name; ids and endpoints stay
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model, by name or id
    model: String,
    /// Deployment, by name or id
    deployment: String,
    /// Its new name
    name: String,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let model = target::find_model(&client, &args.model).await?;
    let before = target::find_deployment(&client, &model, &args.deployment).await?;
    let path = ["v1", "models", &model.id, "deployments", &before.id];
    let after: Deployment = client.patch(&path, &UpdateDeploymentRequest { name: Some(args.name) }).await?;
    context.printer.answer(&after, |after| format!("{} of {} is now named {}", before.name, model.name, after.name))
}
