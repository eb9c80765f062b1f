//! `greenroom delete MODEL [--deployment DEPLOYMENT]`.

use api::v1::{deployments::DeploymentTombstone, models::ModelTombstone};

use super::{Context, target};
use crate::failure::{Failure, Kind, Result};

/// Delete a model with all its deployments, or one deployment
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model, by name or id
    model: String,
    /// Only this deployment, by name or id
    #[arg(long, value_name = "DEPLOYMENT")]
    deployment: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let printer = context.printer;
    let model = target::find_model(&client, &args.model).await?;
    let confirm = |what: String| match args.yes || printer.confirm(&format!("Delete {what}? This cannot be undone.")) {
        true => Ok(()),
        false => Err(Failure::new(Kind::Usage, "nothing deleted").hint("pass --yes to delete without asking")),
    };
    match &args.deployment {
        Some(deployment) => {
            let deployment = target::find_deployment(&client, &model, deployment).await?;
            confirm(format!("deployment {} of model {}", deployment.name, model.name))?;
            let path = ["v1", "models", &model.id, "deployments", &deployment.id];
            let gone: DeploymentTombstone = client.delete(&path).await?;
            printer.answer(&gone, |_| format!("deleted deployment {} of model {}", deployment.name, model.name))
        }
        None => {
            confirm(format!("model {} with its {} deployments", model.name, model.deployments_count))?;
            let gone: ModelTombstone = client.delete(&["v1", "models", &model.id]).await?;
            printer.answer(&gone, |_| format!("deleted model {}", model.name))
        }
    }
}
