//! Making an object as a document says, over the public API.

use api::v1::{environment_groups::UpdateEnvironmentGroupManageAccess, secrets::UpsertSecretRequest};
use serde_json::{Map, Value, json};

use super::{
    object::Kind,
    plan::{Outcome, Step},
};
use crate::{
    client::Client,
    commands::{environments, target, workspace_settings},
    failure::{Kind as FailureKind, Result},
};

/// The field of an environment that has a route of its own.
const POLICIES: &str = "policies";

/// Asks the server whether a step could be done, as far as it can be asked; changes nothing.
pub async fn try_out(client: &Client, step: &Step) -> Result {
    let tried = ask(client, step, true).await;
    let comes = step.id.kind == Kind::EnvironmentGroup || step.outcome == Outcome::Created;
    match tried {
        // Its environment comes with another document, or with this one; that nothing else is missing is known.
        Err(failure) if comes && failure.kind == FailureKind::NotFound => Ok(()),
        tried => tried,
    }
}

/// Does what a step says. Does nothing where nothing is to change.
pub async fn carry_out(client: &Client, step: &Step) -> Result {
    ask(client, step, false).await
}

async fn ask(client: &Client, step: &Step, is_tried: bool) -> Result {
    let (name, fields) = (step.id.name(), &step.wanted.fields);
    let query = &dry_run(is_tried);
    let _: Value = match (step.id.kind, step.outcome) {
        (_, Outcome::Unchanged) => return Ok(()),
        (Kind::Environment, outcome) => return environment(client, step, outcome == Outcome::Created, is_tried).await,
        (Kind::WorkspaceSettings, _) => client.patch_where(&workspace_settings::PATH, query, fields).await?,
        (Kind::Policy, Outcome::Created) => {
            client.post_where(&["v1", "policies"], query, &with_name(fields, name)).await?
        }
        (Kind::Policy, Outcome::Changed | Outcome::Set) => {
            client.put_where(&["v1", "policies", name], query, fields).await?
        }
        // All that can be wrong with it is known.
        (Kind::Secret, _) if is_tried => return Ok(()),
        (Kind::Secret, _) => {
            let value = step.value.clone().unwrap_or_default();
            client
                .post(&client.in_team(&["secrets"]).await?, &UpsertSecretRequest { name: name.to_owned(), value })
                .await?
        }
        (Kind::EnvironmentGroup, _) => {
            let is_restricted = fields.get("is_restricted") == Some(&Value::Bool(true));
            let access = UpdateEnvironmentGroupManageAccess { is_restricted, user_ids: None };
            json!(environments::restrict(client, name, access, query).await?)
        }
    };
    Ok(())
}

/// Makes an environment, or changes it: its settings, then its policies.
async fn environment(client: &Client, step: &Step, is_new: bool, is_tried: bool) -> Result {
    let query = &dry_run(is_tried);
    let model = target::find_model(client, step.id.model.as_deref().unwrap_or_default()).await?;
    let (name, mut settings) = (step.id.name(), step.wanted.fields.clone());
    let policies = settings.remove(POLICIES);
    let path = ["v1", "models", &model.id, "environments"];
    if is_new {
        let _: Value = client.post_where(&path, query, &with_name(&settings, name)).await?;
    } else if step.changes.iter().any(|change| change.field != POLICIES) {
        let _: Value = client.patch_where(&[&path[..], &[name]].concat(), query, &settings).await?;
    }
    if let (Some(policies), Some(change)) = (policies, step.changes.iter().find(|change| change.field == POLICIES)) {
        // Some of them may come with other documents: what is tried is whether any may be attached, with those that are.
        let policies = match (is_tried, &change.old) {
            (false, _) => policies,
            (true, Value::Null) => json!([]),
            (true, attached) => attached.clone(),
        };
        let path = [&path[..], &[name, POLICIES]].concat();
        let _: Value = client.put_where(&path, query, &json!({ "policies": policies })).await?;
    }
    Ok(())
}

/// The query of a request that is made, or only tried.
fn dry_run(is_tried: bool) -> Vec<(&'static str, String)> {
    if is_tried { vec![("dry_run", true.to_string())] } else { Vec::new() }
}

fn with_name(fields: &Map<String, Value>, name: &str) -> Map<String, Value> {
    let mut fields = fields.clone();
    fields.insert("name".to_owned(), name.into());
    fields
}
