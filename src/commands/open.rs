//! `greenroom open`: the dashboard in a browser.

use serde::Serialize;

use super::{
    Context,
    target::{find_deployment, find_model},
};
use crate::{client::Client, failure::Result};

/// Open the dashboard in a browser, at a model's page where one is named
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model, by name or id
    model: Option<String>,
    /// The page of this environment
    #[arg(long, short, value_name = "NAME", requires = "model", conflicts_with = "deployment")]
    environment: Option<String>,
    /// The page of this deployment, by name or id
    #[arg(long, value_name = "DEPLOYMENT", requires = "model")]
    deployment: Option<String>,
    /// Print the address only
    #[arg(long)]
    print: bool,
}

/// What it answers.
#[derive(Serialize)]
struct Page {
    url: String,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let page = Page { url: address(&client, &args).await? };
    if !args.print && !context.printer.is_json() {
        // Whoever cannot be shown it is told it.
        if let Err(error) = open::that_detached(&page.url) {
            context.printer.say(&format!("no browser could be started ({error}): open this address in one"));
        }
    }
    context.printer.answer(&page, |page| page.url.clone())
}

async fn address(client: &Client, Args { model, environment, deployment, .. }: &Args) -> Result<String> {
    let Some(model) = model else { return Ok(client.address(&["ui", ""])) };
    let model = find_model(client, model).await?;
    let of_model = ["ui", "models", &model.id];
    if let Some(name) = environment {
        let path = ["v1", "models", &model.id, "environments", name];
        let _: api::v1::environments::Environment = client.get(&path).await?;
        return Ok(client.address(&[&of_model[..], &["environments", name]].concat()));
    }
    if let Some(deployment) = deployment {
        let deployment = find_deployment(client, &model, deployment).await?;
        return Ok(client.address(&[&of_model[..], &["deployments", &deployment.id]].concat()));
    }
    Ok(client.address(&of_model))
}
