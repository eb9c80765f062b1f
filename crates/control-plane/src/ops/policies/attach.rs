//! What policies are attached to: environments, by administrators, and deployments.

use api::id::ModelId;
use serde_json::{Value, json};
use store::{
    PoliciesOf,
    domain::{AuditEvent, Environment},
};

use super::{
    super::{
        Caller, ControlPlane, Effect, Error, audit,
        deployments::{self, Target},
        environments,
    },
    find_all,
};

/// The names of the policies of an environment.
pub async fn of_environment(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    name: &str,
) -> Result<Vec<String>, Error> {
    let (model, environment) = environments::find(control_plane, caller, model, name).await?;
    Ok(control_plane.store().policies_of(PoliciesOf::Environment(&model.id, &environment.name)).await?)
}

/// Attaches these to an environment, in place of what was attached. Tasks bring what it serves within their bounds.
pub async fn attach_to_environment(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    name: &str,
    names: Vec<String>,
    effect: Effect,
) -> Result<Vec<String>, Error> {
    caller.require_admin("attach policies to environments")?;
    let (model, environment) = environments::find_to_change(control_plane, caller, model, name).await?;
    attach(control_plane, PoliciesOf::Environment(&model.id, &environment.name), names, effect, |mut data| {
        data["environment_name"] = json!(environment.name);
        audit::of_model(caller, control_plane.now(), "ENVIRONMENT_POLICIES_CHANGED", &model, data)
    })
    .await
}

/// Whether the caller may remove an environment, which takes along what an administrator has attached to it; 403 when not.
pub(in super::super) async fn require_to_remove(
    control_plane: &ControlPlane,
    caller: &Caller,
    environment: &Environment,
) -> Result<(), Error> {
    let of = PoliciesOf::Environment(&environment.model_id, &environment.name);
    if caller.is_admin() || control_plane.store().policies_of(of).await?.is_empty() {
        return Ok(());
    }
    let name = &environment.name;
    Err(Error::Forbidden(format!("environment {name} has policies: only an administrator can delete it")))
}

/// The names of the policies of a deployment.
pub async fn of_deployment(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
) -> Result<Vec<String>, Error> {
    let (_, deployment) = deployments::find(control_plane, caller, model, target).await?;
    Ok(control_plane.store().policies_of(PoliciesOf::Deployment(&deployment.id)).await?)
}

/// Attaches these to a deployment, in place of what was attached.
pub async fn attach_to_deployment(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
    names: Vec<String>,
) -> Result<Vec<String>, Error> {
    let (model, deployment) = deployments::find_to_change(control_plane, caller, model, target).await?;
    attach(control_plane, PoliciesOf::Deployment(&deployment.id), names, Effect::Lasting, |data| {
        audit::of_deployment(caller, control_plane.now(), "DEPLOYMENT_POLICIES_CHANGED", (&model, &deployment), data)
    })
    .await
}

/// Attaches these. `event` makes what the audit log says of it from the names, new and old.
async fn attach(
    control_plane: &ControlPlane,
    of: PoliciesOf<'_>,
    names: Vec<String>,
    effect: Effect,
    event: impl FnOnce(Value) -> AuditEvent,
) -> Result<Vec<String>, Error> {
    find_all(control_plane, "policies", &names).await?;
    let before = control_plane.store().policies_of(of).await?;
    if before == names || effect == Effect::None {
        return Ok(names);
    }
    let event = event(json!({ "policies": names, "previous_settings": { "policies": before } }));
    control_plane.store().attach_policies(of, &names, Some(&event)).await?;
    Ok(names)
}
