//! `greenroom status [MODEL]`.

use api::v1::{
    deployments::{Deployment, Deployments},
    environments::{Environment, Environments},
    models::Model,
    users::UserInfo,
};
use serde::Serialize;

use super::{Context, deployments, environments, target};
use crate::{client::Client, failure::Result};

/// Show how a model is, or which server this is
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model, by name or id
    model: Option<String>,
}

#[derive(Serialize)]
struct ModelStatus {
    model: Model,
    endpoint: String,
    environments: Vec<Environment>,
    deployments: Vec<Deployment>,
}

#[derive(Serialize)]
struct ServerStatus<'a> {
    url: &'a str,
    user: UserInfo,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    match args.model {
        Some(model) => of_model(&client, &model, context).await,
        None => of_server(&client, context).await,
    }
}

async fn of_server(client: &Client, context: &Context) -> Result {
    let user = client.get(&["v1", "users", "me"]).await?;
    context.printer.answer(&ServerStatus { url: client.url(), user }, |status| {
        let name = status.user.email.as_deref().or(status.user.name.as_deref()).unwrap_or("an unnamed user");
        format!("{} answers, to {name}", status.url)
    })
}

async fn of_model(client: &Client, name_or_id: &str, context: &Context) -> Result {
    let model = target::find_model(client, name_or_id).await?;
    let id = &model.id;
    let environments: Environments = client.get(&["v1", "models", id, "environments"]).await?;
    let deployments: Deployments = client.get(&["v1", "models", id, "deployments"]).await?;
    let endpoint = format!("{}/models/{id}/production/predict", client.url());
    let status =
        ModelStatus { endpoint, environments: environments.environments, deployments: deployments.deployments, model };
    let printer = context.printer;
    if printer.is_json() {
        return printer.answer(&status, |_| String::new());
    }
    printer.line(&format!("Model {} ({})", status.model.name, status.model.id))?;
    printer.line(&format!("Endpoint {}", status.endpoint))?;
    printer.bytes(b"\n")?;
    printer.table(&status, environments::HEADINGS, environments::rows(&status.environments))?;
    printer.bytes(b"\n")?;
    printer.table(&status, deployments::HEADINGS, deployments::rows(&status.deployments))?;
    for deployment in &status.deployments {
        if let Some(reason) = &deployment.failure_reason {
            printer.line(&format!("\n{} failed: {}", deployment.name, reason.message))?;
            reason.hint.as_ref().map_or(Ok(()), |hint| printer.line(&format!("  hint: {hint}")))?;
        }
    }
    Ok(())
}
