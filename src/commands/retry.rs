//! `greenroom retry MODEL`.

use api::v1::deployments::RetryDeploymentResponse;

use super::{
    Context,
    tail::Tail,
    target::Target,
    wait::{self, Watched},
};
use crate::{
    failure::{Failure, Kind, Result},
    words,
};

/// Build or start a failed deployment again
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
    let path = ["v1", "models", &model.id, "deployments", &deployment.id, "retry"];
    let answer: RetryDeploymentResponse = client.post(&path, &serde_json::json!({})).await?;
    if !answer.retried {
        let reason = answer.reason.unwrap_or_else(|| format!("{} cannot be retried", deployment.name));
        return Err(Failure::new(Kind::Invalid, reason));
    }
    let Watched { deployment, .. } =
        wait::until_active(&client, context.printer, answer.deployment, tail, &args.wait).await?;
    context.printer.answer(&deployment, |deployment| {
        format!("{} of {} is {}", deployment.name, model.name, words::name(&deployment.status))
    })
}
