//! `greenroom rollback [MODEL] ENVIRONMENT`: promotes what the environment served before.

use std::path::Path;

use api::v1::{deployments::Deployment, promotions::RollbackRequest};

use super::{
    Context,
    promotion::{Place, WaitArgs},
    source::Source,
};
use crate::failure::Result;

/// Let an environment serve again what it served before
///
/// The deployment is activated if need be and gets the replicas that the load asks for; then all traffic moves at once.
#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
pub struct Args {
    /// Model, by name or id [default: model_name in config.yaml of this folder]
    model: Option<String>,
    /// The environment
    environment: String,
    /// Move traffic as the environment's promotion settings say
    #[arg(long)]
    gradual: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let model = match args.model {
        Some(model) => model,
        None => Source::read(Path::new("."))?.model_name()?,
    };
    let place = Place::find(context, &model, &args.environment).await?;
    let request = RollbackRequest { immediate: !args.gradual };
    let _: Deployment = place.client.post(&place.path("rollback"), &request).await?;
    place.answer(place.newest().await?, &args.wait, context).await
}
