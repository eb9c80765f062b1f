//! Which deployment of which model a command is about, as people say it: by name or by id, by environment, or not at all.

use api::v1::{
    deployments::{Deployment, Deployments},
    environments::Environment,
    models::{Model, Models},
};

use crate::{
    client::Client,
    failure::{Failure, Kind, Result},
};

/// A model and, where it matters, one of its deployments.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// Model, by name or id
    pub model: String,
    #[command(flatten)]
    pub choice: Choice,
}

/// Which deployment; without any of these what production serves, or else the newest.
#[derive(Debug, Default, clap::Args)]
#[group(multiple = false)]
pub struct Choice {
    /// The deployment that this environment serves
    #[arg(long, short, value_name = "NAME")]
    pub environment: Option<String>,
    /// This deployment, by name or id
    #[arg(long, value_name = "DEPLOYMENT")]
    pub deployment: Option<String>,
    /// The development deployment
    #[arg(long)]
    pub development: bool,
}

impl Target {
    /// Asks the server what is meant.
    pub async fn find(&self, client: &Client) -> Result<(Model, Deployment)> {
        let model = find_model(client, &self.model).await?;
        let deployment = find_chosen(client, &model, &self.choice).await?;
        Ok((model, deployment))
    }
}

/// A model by its name, or else by its id.
pub async fn find_model(client: &Client, name_or_id: &str) -> Result<Model> {
    if let Some(model) = model_named(client, name_or_id).await? {
        return Ok(model);
    }
    let unknown = || {
        Failure::new(Kind::NotFound, format!("no model has the name or id `{name_or_id}`"))
            .hint("`greenroom models` lists them")
    };
    if name_or_id.parse::<api::id::ModelId>().is_err() {
        return Err(unknown());
    }
    client.get(&["v1", "models", name_or_id]).await.map_err(|failure| match failure.kind {
        Kind::NotFound => unknown(),
        _ => failure,
    })
}

/// A model by its name, if there is one.
pub async fn model_named(client: &Client, name: &str) -> Result<Option<Model>> {
    let found: Models = client.get_where(&client.in_team(&["models"]).await?, &[("name", name.to_owned())]).await?;
    Ok(found.models.into_iter().find(|model| model.name == name))
}

/// A deployment of `model` by its name, or else by its id.
pub async fn find_deployment(client: &Client, model: &Model, name_or_id: &str) -> Result<Deployment> {
    let path = ["v1", "models", &model.id, "deployments"];
    let found: Deployments = client.get_where(&path, &[("name", name_or_id.to_owned())]).await?;
    if let Some(deployment) = found.deployments.into_iter().find(|deployment| deployment.name == name_or_id) {
        return Ok(deployment);
    }
    let unknown = || {
        let message = format!("no deployment of model `{}` has the name or id `{name_or_id}`", model.name);
        Failure::new(Kind::NotFound, message).hint(format!("`greenroom deployments {}` lists them", model.name))
    };
    if name_or_id.parse::<api::id::DeploymentId>().is_err() {
        return Err(unknown());
    }
    client.get(&[&path[..], &[name_or_id]].concat()).await.map_err(|failure| match failure.kind {
        Kind::NotFound => unknown(),
        _ => failure,
    })
}

/// The deployment that was chosen; see [`Choice`].
pub async fn find_chosen(client: &Client, model: &Model, choice: &Choice) -> Result<Deployment> {
    let of_model = ["v1", "models", &model.id];
    if let Some(name_or_id) = &choice.deployment {
        return find_deployment(client, model, name_or_id).await;
    }
    if choice.development {
        return client.get(&[&of_model[..], &["deployments", "development"]].concat()).await;
    }
    if let Some(name) = &choice.environment {
        let environment: Environment = client.get(&[&of_model[..], &["environments", name]].concat()).await?;
        return environment.current_deployment.ok_or_else(|| {
            Failure::new(Kind::NotFound, format!("environment `{name}` of model `{}` serves nothing yet", model.name))
        });
    }
    let found: Deployments = client.get(&[&of_model[..], &["deployments"]].concat()).await?;
    let (production, others): (Vec<_>, Vec<_>) =
        found.deployments.into_iter().partition(|deployment| deployment.is_production);
    let newest = others.into_iter().max_by(|one, other| one.created_at.cmp(&other.created_at));
    production
        .into_iter()
        .next()
        .or(newest)
        .ok_or_else(|| Failure::new(Kind::NotFound, format!("model `{}` has no deployments", model.name)))
}
