//! Policies: where work may run, and how many tokens it may take. Administrators write them and attach them to environments; whoever may
//! change a deployment attaches them to it, and can only narrow what its environment allows. Places count when something is pushed or
//! promoted, and tasks keep what runs within them; tokens count with each request.

mod attach;
mod explain;

use planner::policy::{Policy, written};
use serde_json::{Value, json};
use store::domain::{PolicyUse, StoredPolicy};

pub(super) use self::{
    attach::require_to_remove,
    explain::{Places, places},
};
pub use self::{
    attach::{attach_to_deployment, attach_to_environment, of_deployment, of_environment},
    explain::{Act, Question, Refusals, explain, explain_environment},
};
use super::{Caller, ControlPlane, Effect, Error, audit};

/// All policies by name.
pub async fn list(control_plane: &ControlPlane) -> Result<Vec<StoredPolicy>, Error> {
    Ok(control_plane.store().policies().await?)
}

/// One policy.
pub async fn get(control_plane: &ControlPlane, name: &str) -> Result<StoredPolicy, Error> {
    let found = list(control_plane).await?.into_iter().find(|stored| stored.policy.name().as_str() == name);
    found.ok_or_else(|| Error::not_found("policy", name))
}

/// Makes a policy.
pub async fn create(
    control_plane: &ControlPlane,
    caller: &Caller,
    policy: written::Policy,
    effect: Effect,
) -> Result<StoredPolicy, Error> {
    caller.require_admin("make policies")?;
    let policy = parse(policy)?;
    let now = control_plane.now();
    if effect == Effect::None {
        if list(control_plane).await?.iter().any(|stored| stored.policy.name() == policy.name()) {
            return Err(store::Error::NameTaken { kind: "policy", name: policy.name().to_string() }.into());
        }
        return Ok(StoredPolicy { policy, created_at: now, updated_at: now, environments: 0, deployments: 0 });
    }
    let event = audit::event(caller, now, "POLICY_CREATED", event_data(&policy));
    control_plane.store().add_policy(&policy, now, Some(&event)).await?;
    get(control_plane, policy.name().as_str()).await
}

/// Gives a policy another rule. Tasks bring what runs within its bounds; a limit of tokens counts at once.
pub async fn replace(
    control_plane: &ControlPlane,
    caller: &Caller,
    name: &str,
    policy: written::Policy,
    effect: Effect,
) -> Result<StoredPolicy, Error> {
    caller.require_admin("change policies")?;
    let before = get(control_plane, name).await?;
    let policy = parse(written::Policy { name: name.to_owned(), ..policy })?;
    let now = control_plane.now();
    if effect == Effect::None {
        return Ok(StoredPolicy { policy, updated_at: now, ..before });
    }
    let mut data = event_data(&policy);
    data["previous_settings"] = json!(before.policy);
    let event = audit::event(caller, now, "POLICY_UPDATED", data);
    control_plane.store().replace_policy(&policy, now, Some(&event)).await?;
    get(control_plane, name).await
}

/// Deletes a policy. One that is attached to something only by force.
pub async fn delete(control_plane: &ControlPlane, caller: &Caller, name: &str, by_force: bool) -> Result<(), Error> {
    caller.require_admin("delete policies")?;
    let before = get(control_plane, name).await?;
    let mut data = event_data(&before.policy);
    if by_force {
        data["detached_from"] = json!(uses(control_plane, name).await?);
    }
    let event = audit::event(caller, control_plane.now(), "POLICY_DELETED", data);
    match control_plane.store().delete_policy(name, by_force, Some(&event)).await {
        Err(store::Error::InUse { .. }) => {
            let uses = uses(control_plane, name).await?.join(", ");
            Err(Error::Stale(format!(
                "policy {name} is attached to {uses}: detach it there first, or delete it with force=true"
            )))
        }
        outcome => Ok(outcome?),
    }
}

/// All that a policy is attached to, in words.
async fn uses(control_plane: &ControlPlane, name: &str) -> Result<Vec<String>, Error> {
    let uses = control_plane.store().uses_of_policy(name).await?;
    let named = uses.iter().map(|one| match one {
        PolicyUse::Environment { model_id, environment } => format!("environment {environment} of model {model_id}"),
        PolicyUse::Deployment { deployment_id } => format!("deployment {deployment_id}"),
    });
    Ok(named.collect())
}

/// The policies of these names; a name that is none's is refused.
async fn find_all(control_plane: &ControlPlane, field: &str, names: &[String]) -> Result<Vec<Policy>, Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let all = list(control_plane).await?;
    let find = |name: &String| {
        let found = all.iter().find(|stored| stored.policy.name().as_str() == name);
        found.map(|stored| stored.policy.clone()).ok_or_else(|| {
            Error::Unprocessable(format!("{field}: there is no policy {name:?}: `greenroom policies list` names them"))
        })
    };
    names.iter().map(find).collect()
}

fn parse(policy: written::Policy) -> Result<Policy, Error> {
    Policy::try_from(policy).map_err(|invalid| Error::Invalid(invalid.to_string()))
}

fn event_data(policy: &Policy) -> Value {
    json!({ "policy_name": policy.name().as_str(), "policy": policy })
}
