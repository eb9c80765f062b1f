//! `greenroom rename MODEL [DEPLOYMENT] NAME`.

use api::v1::{
    deployments::{Deployment, UpdateDeploymentRequest},
    models::{Model, UpdateModelRequest},
};

use super::{Context, target};
use crate::failure::Result;

/// Give a model, or one of its deployments, another name; ids and endpoints stay
///
/// A push names its model by `model_name` in config.yaml: change it there too, or the next push makes another model.
#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
pub struct Args {
    /// Model, by name or id
    model: String,
    /// One of its deployments, by name or id
    deployment: Option<String>,
    /// The new name
    name: String,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let model = target::find_model(&client, &args.model).await?;
    let Some(deployment) = args.deployment else {
        let request = UpdateModelRequest { name: Some(args.name) };
        let after: Model = client.patch(&["v1", "models", &model.id], &request).await?;
        return context.printer.answer(&after, |after| format!("{} is now named {}", model.name, after.name));
    };
    let before = target::find_deployment(&client, &model, &deployment).await?;
    let path = ["v1", "models", &model.id, "deployments", &before.id];
    let after: Deployment = client.patch(&path, &UpdateDeploymentRequest { name: Some(args.name) }).await?;
    context.printer.answer(&after, |after| format!("{} of {} is now named {}", before.name, model.name, after.name))
}
