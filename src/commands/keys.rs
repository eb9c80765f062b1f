//! `greenroom keys list|create|revoke`.

use std::num::NonZeroU32;

use api::v1::api_keys::{APIKey, APIKeyCategory, APIKeyInfo, APIKeyTombstone, APIKeys, CreateAPIKeyRequest};

use super::{Context, target};
use crate::{failure::Result, words};

/// List, create or revoke API keys
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List API keys by their prefix
    List,
    /// Create an API key and print it, once
    Create {
        /// Lower-case letters, digits and hyphens
        #[arg(long)]
        name: Option<String>,
        /// What it may do
        #[arg(long = "type", value_enum, default_value_t = Type::Manage)]
        kind: Type,
        /// Only these models, by name or id; for invoke and metrics
        #[arg(long, value_name = "MODEL", value_delimiter = ',')]
        models: Vec<String>,
        /// Only in these environments, existing or not; for invoke
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        environments: Vec<String>,
        /// At most so many calls of models a minute; for types that call some
        #[arg(long, value_name = "CALLS")]
        requests_per_minute: Option<NonZeroU32>,
    },
    /// Revoke the API key with a prefix
    Revoke {
        /// What stands before the dot
        prefix: String,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Type {
    /// Deploy, manage and call models
    Manage,
    /// Call models
    Invoke,
    /// Read metrics
    Metrics,
    /// Whatever you may
    Personal,
    /// Manage API keys
    Keys,
}

impl From<Type> for APIKeyCategory {
    fn from(kind: Type) -> Self {
        match kind {
            Type::Manage => APIKeyCategory::WorkspaceManageAll,
            Type::Invoke => APIKeyCategory::WorkspaceInvoke,
            Type::Metrics => APIKeyCategory::WorkspaceExportMetrics,
            Type::Personal => APIKeyCategory::Personal,
            Type::Keys => APIKeyCategory::WorkspaceManageApiKeys,
        }
    }
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let printer = context.printer;
    match args.action {
        Action::List => {
            let found: APIKeys = client.get(&["v1", "api_keys"]).await?;
            let row = |key: &APIKeyInfo| {
                let all = |listed: &Option<Vec<String>>| listed.as_ref().map_or("all".into(), |some| some.join(", "));
                let whose = key.team_name.clone().or(key.owner.as_ref().and_then(|owner| owner.email.clone()));
                vec![
                    key.prefix.clone(),
                    key.name.clone().unwrap_or_else(|| "-".to_owned()),
                    words::name(&key.category),
                    whose.unwrap_or_else(|| "-".to_owned()),
                    all(&key.model_ids),
                    all(&key.environment_names),
                    key.expires_at.clone().unwrap_or_else(|| "never".to_owned()),
                ]
            };
            printer.table(
                &found,
                &["prefix", "name", "type", "of", "models", "environments", "ends"],
                found.keys.iter().map(row).collect(),
            )
        }
        Action::Create { name, kind, models, environments, requests_per_minute } => {
            let mut model_ids = Vec::new();
            for model in &models {
                model_ids.push(target::find_model(&client, model).await?.id);
            }
            let model_ids = (!model_ids.is_empty()).then_some(model_ids);
            let environment_names = (!environments.is_empty()).then_some(environments);
            let team_id = client.team_id().await?;
            let request = CreateAPIKeyRequest {
                name,
                category: kind.into(),
                model_ids,
                environment_names,
                requests_per_minute,
                team_id,
            };
            let made: APIKey = client.post(&["v1", "api_keys"], &request).await?;
            printer.say("Keep this key; it is not shown again.");
            printer.answer(&made, |made| made.api_key.clone())
        }
        Action::Revoke { prefix } => {
            let gone: APIKeyTombstone = client.delete(&["v1", "api_keys", &prefix]).await?;
            printer.answer(&gone, |gone| format!("revoked API key {}", gone.prefix))
        }
    }
}
