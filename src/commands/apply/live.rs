//! Objects as the server has them, in the form in which documents describe them.

use api::v1::{
    environment_groups::{EnvironmentGroup, EnvironmentGroups},
    environments::{Environment, Environments},
    models::Models,
    policies::{AttachedPolicies, MaxTokens, Policies, Policy},
    secrets::Secrets,
};
use planner::policy::written;
use serde_json::{Value, json};
use store::domain::fold_secret_name;

use super::object::{Id, Kind, Object, policy_fields, without_nulls};
use crate::{
    client::Client,
    commands::{target, workspace_settings},
    failure::Result,
};

/// An object as it is; none where it is not there. That a model is not there is a failure.
pub async fn find(client: &Client, id: &Id) -> Result<Option<Object>> {
    let name = id.name();
    Ok(match (id.kind, &id.model) {
        (Kind::WorkspaceSettings, _) => Some(settings(client).await?),
        (Kind::Policy, _) => client.find::<Policy>(&["v1", "policies", name]).await?.map(policy),
        (Kind::Secret, _) => {
            let folded = fold_secret_name(name);
            secrets(client).await?.into_iter().find(|secret| fold_secret_name(secret.id.name()) == folded)
        }
        (Kind::Environment, model) => {
            let of = model.as_deref().unwrap_or_default();
            let model = target::find_model(client, of).await?;
            match client.find::<Environment>(&["v1", "models", &model.id, "environments", name]).await? {
                Some(found) => Some(environment(client, of, found).await?),
                None => None,
            }
        }
        (Kind::EnvironmentGroup, _) => client
            .find::<EnvironmentGroup>(&client.in_team(&["environment_groups", name]).await?)
            .await?
            .map(environment_group),
    })
}

/// All objects of a kind; of environments only those of a model, where one is named.
pub async fn list(client: &Client, kind: Kind, model: Option<&str>) -> Result<Vec<Object>> {
    match kind {
        Kind::WorkspaceSettings => Ok(vec![settings(client).await?]),
        Kind::Policy => {
            let found: Policies = client.get(&["v1", "policies"]).await?;
            Ok(found.policies.into_iter().map(policy).collect())
        }
        Kind::Secret => secrets(client).await,
        Kind::Environment => environments(client, model).await,
        Kind::EnvironmentGroup => {
            let found: EnvironmentGroups = client.get(&client.in_team(&["environment_groups"]).await?).await?;
            Ok(found.items.into_iter().map(environment_group).collect())
        }
    }
}

async fn settings(client: &Client) -> Result<Object> {
    let settings = workspace_settings::read(client).await?;
    Ok(object(Id { kind: Kind::WorkspaceSettings, model: None, name: None }, json!(settings)))
}

/// Secrets have no fields: where their values come from is not known any more.
async fn secrets(client: &Client) -> Result<Vec<Object>> {
    let found: Secrets = client.get(&client.in_team(&["secrets"]).await?).await?;
    Ok(found.secrets.into_iter().map(|secret| named(Kind::Secret, secret.name, json!({}))).collect())
}

async fn environments(client: &Client, model: Option<&str>) -> Result<Vec<Object>> {
    let mut models = match model {
        Some(model) => vec![target::find_model(client, model).await?],
        None => client.get::<Models>(&client.in_team(&["models"]).await?).await?.models,
    };
    models.sort_by(|one, other| one.name.cmp(&other.name));
    let mut objects = Vec::new();
    for model in models {
        let found: Environments = client.get(&["v1", "models", &model.id, "environments"]).await?;
        for one in found.environments {
            objects.push(environment(client, &model.name, one).await?);
        }
    }
    Ok(objects)
}

async fn environment(client: &Client, model: &str, environment: Environment) -> Result<Object> {
    let path = ["v1", "models", &environment.model_id, "environments", &environment.name, "policies"];
    let AttachedPolicies { policies } = client.get(&path).await?;
    let mut fields = json!({
        "policies": policies,
        "autoscaling_settings": environment.autoscaling_settings,
        "promotion_settings": environment.promotion_settings,
        "request_backpressure_settings": environment.request_backpressure_settings,
    });
    without_nulls(&mut fields["autoscaling_settings"]);
    without_nulls(&mut fields["promotion_settings"]);
    let id = Id { kind: Kind::Environment, model: Some(model.to_owned()), name: Some(environment.name) };
    Ok(object(id, fields))
}

fn policy(policy: Policy) -> Object {
    let Policy { name, kind, locations, flavors, max_tokens, resource_types, .. } = policy;
    let entries = |entries: Vec<api::v1::policies::PolicyEntry>| {
        entries.into_iter().map(|one| written::Entry { kind: one.kind, name: one.name }).collect()
    };
    let (locations, flavors) = (entries(locations), entries(flavors));
    let max_tokens = max_tokens.map(|limit| {
        let MaxTokens { granularity, step, input, output, total, ratio_input_over_output } = limit;
        written::MaxTokens { granularity, step, input, output, total, ratio_input_over_output }
    });
    let written = written::Policy { name: name.clone(), kind, locations, flavors, max_tokens, resource_types };
    named(Kind::Policy, name, policy_fields(written))
}

fn environment_group(group: EnvironmentGroup) -> Object {
    named(Kind::EnvironmentGroup, group.name, json!({ "is_restricted": group.manage_access.is_restricted }))
}

fn named(kind: Kind, name: String, fields: Value) -> Object {
    object(Id { kind, model: None, name: Some(name) }, fields)
}

fn object(id: Id, fields: Value) -> Object {
    let Value::Object(fields) = fields else { unreachable!("fields are an object") };
    Object { id, fields }
}
