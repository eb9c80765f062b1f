//! A release: what one environment serves goes to another, as a copy. Where it comes from stays as it is.

use api::{id::ModelId, v1::promotion::UpdatePromotionSettings};

use super::promote::{Begun, Plan, Request, plan, promote};
use crate::ops::{Caller, ControlPlane, Error, deployments::Target, environments};

/// A release, as it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    /// The environment that serves it.
    pub from: String,
    /// The environment that is to serve it.
    pub to: String,
    /// Whether its policies go with it, in the place of those that the other's deployment has.
    pub copies_policies: bool,
    /// Whether the environment's cleanup strategy applies to what it serves; if not, that keeps running.
    pub cleans_up: bool,
    /// Whether the environment keeps its instance type.
    pub keeps_instance_type: bool,
    /// How it goes, where that differs from the environment's settings.
    pub settings: UpdatePromotionSettings,
}

/// What sets a release apart from a promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// The environment that it comes from.
    pub from: String,
    /// Whether the copy has the policies of what it is made from; if not, those of what it replaces.
    pub copies_policies: bool,
}

/// Begins a release.
pub async fn release(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    release: Release,
) -> Result<Begun, Error> {
    let request = request(control_plane, caller, model, release).await?;
    promote(control_plane, caller, model, &request).await
}

/// Says what a release would do now.
pub async fn plan_release(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    release: Release,
) -> Result<Plan, Error> {
    let request = request(control_plane, caller, model, release).await?;
    plan(control_plane, caller, model, &request).await
}

/// The release as the promotion of what its origin serves now.
async fn request(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    release: Release,
) -> Result<Request, Error> {
    let Release { from, to, copies_policies, cleans_up, keeps_instance_type, settings } = release;
    if from == to {
        return Err(Error::Invalid(format!("to: environment {to} is where it comes from: name another one")));
    }
    // Whoever may not change the target learns nothing more.
    environments::find_to_change(control_plane, caller, model, &to).await?;
    let (_, origin) = environments::find(control_plane, caller, model, &from).await?;
    let served = origin
        .current
        .ok_or_else(|| Error::Invalid(format!("from: environment {from} serves no deployment yet: push one to it")))?;
    Ok(Request {
        deployment: Target::Id(served),
        environment: to,
        cleans_up,
        keeps_instance_type,
        settings,
        released: Some(Released { from, copies_policies }),
    })
}
