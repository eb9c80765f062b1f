//! Making an object as a document says, over the public API.

use api::v1::{
    environment_groups::{UpdateEnvironmentGroupManageAccess, UpdateEnvironmentGroupRequest},
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
            client.post(&["v1", "secrets"], &UpsertSecretRequest { name: name.to_owned(), value }).await?
        }
        (Kind::EnvironmentGroup, _) => {
            let is_restricted = fields.get("is_restricted") == Some(&Value::Bool(true));
            let access = UpdateEnvironmentGroupManageAccess { is_restricted, user_ids: None };
            let request = UpdateEnvironmentGroupRequest { manage_access: Some(access) };
            client.patch(&["v1", "environment_groups", name], &request).await?
        }
    };
    Ok(())
}

async fn environment(client: &Client, step: &Step, is_new: bool) -> Result {
    let model = target::find_model(client, step.id.model.as_deref().unwrap_or_default()).await?;
    let (name, mut settings) = (step.id.name(), step.wanted.fields.clone());
    let policies = settings.remove(POLICIES);
    let environments = ["v1", "models", &model.id, "environments"];
    let one = [&environments[..], &[name]].concat();
    let has_changed = |is_wanted: &dyn Fn(&str) -> bool| step.changes.iter().any(|change| is_wanted(&change.field));
    if is_new {
        let _: Value = client.post(&environments, &with_name(&settings, name)).await?;
    } else if has_changed(&|field| field != POLICIES) {
        let _: Value = client.patch(&one, &settings).await?;
    }
    if let Some(policies) = policies.filter(|_| has_changed(&|field| field == POLICIES)) {
        let _: Value = client.put(&[&one[..], &[POLICIES]].concat(), &json!({ "policies": policies })).await?;
    }
    Ok(())
}

fn with_name(fields: &Map<String, Value>, name: &str) -> Map<String, Value> {
    let mut fields = fields.clone();
    fields.insert("name".to_owned(), name.into());
    fields
}
