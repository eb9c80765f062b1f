//! Making an object as a document says, over the public API.

use api::v1::{
    environment_groups::{UpdateEnvironmentGroupManageAccess, UpdateEnvironmentGroupRequest},
    models::Model,
    secrets::UpsertSecretRequest,
};
use serde_json::{Map, Value, json};

use super::{
    object::Kind,
    plan::{Outcome, Step},
};
use crate::{
    client::Client,
    commands::{target, workspace_settings},
    failure::Result,
};

/// The field of an environment that has a route of its own.
const POLICIES: &str = "policies";

/// Asks the server whether a step could be done, as far as it can be asked; changes nothing.
pub async fn try_out(client: &Client, step: &Step) -> Result {
    let tried = [("dry_run", true.to_string())];
    match (step.id.kind, step.outcome) {
        (_, Outcome::Unchanged) => Ok(()),
        (Kind::WorkspaceSettings, _) => {
            let settings = &step.wanted.fields;
            client.patch_where::<_, Value>(&workspace_settings::PATH, &tried, settings).await.map(drop)
        }
        (Kind::Environment, outcome) => {
            settings_of_environment(client, step, outcome == Outcome::Created, &tried).await
        }
        // All that can be wrong with them is known here.
        (Kind::Policy | Kind::Secret | Kind::EnvironmentGroup, _) => Ok(()),
    }
}

/// Does what a step says. Does nothing where nothing is to change.
pub async fn carry_out(client: &Client, step: &Step) -> Result {
    let (name, fields) = (step.id.name(), &step.wanted.fields);
    let _: Value = match (step.id.kind, step.outcome) {
        (_, Outcome::Unchanged) => return Ok(()),
        (Kind::Environment, outcome) => return environment(client, step, outcome == Outcome::Created).await,
        (Kind::WorkspaceSettings, _) => client.patch(&workspace_settings::PATH, fields).await?,
        (Kind::Policy, Outcome::Created) => client.post(&["v1", "policies"], &with_name(fields, name)).await?,
        (Kind::Policy, Outcome::Changed | Outcome::Set) => client.put(&["v1", "policies", name], fields).await?,
        (Kind::Secret, _) => {
            let value = step.value.clone().unwrap_or_default();
            client
                .post(&client.in_team(&["secrets"]).await?, &UpsertSecretRequest { name: name.to_owned(), value })
                .await?
        }
        (Kind::EnvironmentGroup, _) => {
            let is_restricted = fields.get("is_restricted") == Some(&Value::Bool(true));
            let access = UpdateEnvironmentGroupManageAccess { is_restricted, user_ids: None };
            let request = UpdateEnvironmentGroupRequest { manage_access: Some(access) };
            client.patch(&client.in_team(&["environment_groups", name]).await?, &request).await?
        }
    };
    Ok(())
}

async fn environment(client: &Client, step: &Step, is_new: bool) -> Result {
    settings_of_environment(client, step, is_new, &[]).await?;
    let policies = step.wanted.fields.get(POLICIES);
    if let Some(policies) = policies.filter(|_| step.changes.iter().any(|change| change.field == POLICIES)) {
        let model = model_of(client, step).await?;
        let path = ["v1", "models", &model.id, "environments", step.id.name(), POLICIES];
        let _: Value = client.put(&path, &json!({ "policies": policies })).await?;
    }
    Ok(())
}

/// Makes an environment, or changes its settings, but for its policies.
async fn settings_of_environment(client: &Client, step: &Step, is_new: bool, query: &[(&str, String)]) -> Result {
    let model = model_of(client, step).await?;
    let (name, mut settings) = (step.id.name(), step.wanted.fields.clone());
    settings.remove(POLICIES);
    let path = ["v1", "models", &model.id, "environments"];
    if is_new {
        let _: Value = client.post_where(&path, query, &with_name(&settings, name)).await?;
    } else if step.changes.iter().any(|change| change.field != POLICIES) {
        let _: Value = client.patch_where(&[&path[..], &[name]].concat(), query, &settings).await?;
    }
    Ok(())
}

async fn model_of(client: &Client, step: &Step) -> Result<Model> {
    target::find_model(client, step.id.model.as_deref().unwrap_or_default()).await
}

fn with_name(fields: &Map<String, Value>, name: &str) -> Map<String, Value> {
    let mut fields = fields.clone();
    fields.insert("name".to_owned(), name.into());
    fields
}
