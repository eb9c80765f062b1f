//! `greenroom deactivate MODEL`.

use api::v1::deployments::DeactivateResponse;

use super::{Context, target::Target};
use crate::failure::Result;

/// Stop a deployment until it is activated again
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let (model, deployment) = args.target.find(&client).await?;
    let path = ["v1", "models", &model.id, "deployments", &deployment.id, "deactivate"];
    let done: DeactivateResponse = client.post(&path, &serde_json::json!({})).await?;
    context.printer.answer(&done, |_| format!("deactivated {} of {}", deployment.name, model.name))
}
