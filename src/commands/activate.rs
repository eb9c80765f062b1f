//! `greenroom activate MODEL`.

use api::v1::deployments::ActivateResponse;

use super::{
    Context,
    tail::Tail,
    target::Target,
    wait::{self, Watched},
};
use crate::{failure::Result, words};

/// Start a deployment that was deactivated
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    wait: wait::WaitArgs,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let (model, deployment) = args.target.find(&client).await?;
    let tail = Tail::from_end(&client, &deployment).await?;
    let path = ["v1", "models", &model.id, "deployments", &deployment.id, "activate"];
    let _: ActivateResponse = client.post(&path, &serde_json::json!({})).await?;
    let Watched { deployment, .. } = wait::until_active(&client, context.printer, deployment, tail, &args.wait).await?;
    context.printer.answer(&deployment, |deployment| {
        format!("{} of {} is {}", deployment.name, model.name, words::name(&deployment.status))
    })
}
