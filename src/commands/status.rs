//! `greenroom status [MODEL]`.

use api::v1::{
    deployments::{Deployment, Deployments},
    environments::{Environment, Environments},
    models::Model,
    replicas::{Replica, Replicas},
    users::UserInfo,
};
use serde::Serialize;

use super::{Context, deployments, environments, target};
use crate::{client::Client, failure::Result, words};

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
    replicas: Vec<PlacedReplica>,
}

/// A replica, and of which deployment it is.
#[derive(Serialize)]
struct PlacedReplica {
    deployment: String,
    #[serde(flatten)]
    replica: Replica,
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
    let mut replicas = Vec::new();
    for deployment in deployments.deployments.iter().filter(|deployment| deployment.active_replica_count > 0) {
        let found: Replicas = client.get(&["v1", "models", id, "deployments", &deployment.id, "replicas"]).await?;
        let of = |replica| PlacedReplica { deployment: deployment.name.clone(), replica };
        replicas.extend(found.replicas.into_iter().map(of));
    }
    let (environments, deployments) = (environments.environments, deployments.deployments);
    let status = ModelStatus { endpoint, environments, deployments, replicas, model };
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
    if !status.replicas.is_empty() {
        printer.bytes(b"\n")?;
        printer.table(&status, &["replica", "of", "state", "location"], status.replicas.iter().map(row).collect())?;
    }
    for deployment in &status.deployments {
        if let Some(reason) = &deployment.failure_reason {
            printer.line(&format!("\n{} failed: {}", deployment.name, reason.message))?;
            reason.hint.as_ref().map_or(Ok(()), |hint| printer.line(&format!("  hint: {hint}")))?;
        }
    }
    Ok(())
}

fn row(PlacedReplica { deployment, replica }: &PlacedReplica) -> Vec<String> {
    let location = replica.location.clone().unwrap_or_else(|| "-".into());
    vec![replica.id.clone(), deployment.clone(), words::name(&replica.state), location]
}
