//! How a deployment scales.

use api::{id::ModelId, v1::backpressure::RequestBackpressurePolicy};
use planner::{autoscale, lifecycle::Wanted};
use serde_json::{Value, json};
use store::domain::{AuditEvent, Deployment, DeploymentKind, Environment, Promotion};

use super::{Target, event, find_to_change};
use crate::ops::{Caller, ControlPlane, Error, autoscaling, promotions};

/// What became of a change of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingsChange {
    /// In force, or about to be.
    Accepted,
    /// In force once the deployment has started.
    Queued,
    /// In force with the next promotion; the one in progress goes on as it began.
    QueuedBehindPromotion,
    /// Nothing differs.
    Unchanged,
}

/// Changes how a deployment scales. What an environment serves scales as the environment does, so that changes with it, in one
/// step.
pub async fn update_autoscaling(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
    update: &autoscaling::Update,
) -> Result<SettingsChange, Error> {
    let (model, before) = find_to_change(control_plane, caller, model, target).await?;
    let store = control_plane.store();
    let change =
        |current: &autoscale::Settings| autoscaling::apply(current, update, control_plane.settings().replica_cap);
    let environments = store.environments(Some(&model.id)).await?;
    let promotions = promotions::in_progress(control_plane, &model.id).await?;
    let lenders = lenders(&before, environments, &promotions)?;
    let current = lenders.first().map_or(&before.autoscaling, |environment| &environment.autoscaling);
    let next = change(current)?;
    let is_same = next == *current && lenders.iter().all(|environment| environment.autoscaling == next);
    if is_same {
        return Ok(SettingsChange::Unchanged);
    }
    let mut more = autoscaling_event(&next);
    more["schedules"] = Value::Null;
    more["deployment_type"] = kind_name(before.kind).into();
    more["previous_settings"] = autoscaling_event(current);
    let event = event(caller, control_plane, "MODEL_DEPLOYMENT_AUTOSCALING_SETTINGS_CHANGED", (&model, &before), more);
    if lenders.is_empty() {
        let change = |deployment: &mut Deployment| {
            let next = change(&deployment.autoscaling)?;
            autoscaling::check_kind(deployment.kind, &next)?;
            deployment.autoscaling = next;
            Ok::<_, Error>(())
        };
        store.change_deployment(&before.id, Some(&event), change).await?;
    }
    for mut environment in lenders.into_iter().filter(|environment| environment.autoscaling != next) {
        let event = lent_by(&event, &environment, "previous_settings", autoscaling_event(&environment.autoscaling));
        environment.autoscaling = next.clone();
        store.save_environment(&mut environment, Some(&event)).await?;
    }
    Ok(if before.lifecycle.first_ready.is_some() { SettingsChange::Accepted } else { SettingsChange::Queued })
}

/// Changes what happens to requests when every replica is busy, which is its environment's affair as scaling is. None leaves it as it
/// is. What holds then.
pub async fn update_backpressure(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
    update: Option<Option<RequestBackpressurePolicy>>,
) -> Result<Option<RequestBackpressurePolicy>, Error> {
    let (model, before) = find_to_change(control_plane, caller, model, target).await?;
    let store = control_plane.store();
    let environments = store.environments(Some(&model.id)).await?;
    let promotions = promotions::in_progress(control_plane, &model.id).await?;
    let lenders = lenders(&before, environments, &promotions)?;
    let current = lenders.first().map_or(before.backpressure, |environment| environment.backpressure);
    let next = update.unwrap_or(current);
    if next == current && lenders.iter().all(|environment| environment.backpressure == next) {
        return Ok(next);
    }
    let more = json!({ "policy": next, "previous_policy": current });
    let event_type = "MODEL_DEPLOYMENT_REQUEST_BACKPRESSURE_SETTINGS_CHANGED";
    let event = event(caller, control_plane, event_type, (&model, &before), more);
    if lenders.is_empty() {
        let change = |deployment: &mut Deployment| {
            deployment.backpressure = next;
            Ok::<_, Error>(())
        };
        store.change_deployment(&before.id, Some(&event), change).await?;
    }
    for mut environment in lenders.into_iter().filter(|environment| environment.backpressure != next) {
        let event = lent_by(&event, &environment, "previous_policy", json!(environment.backpressure));
        environment.backpressure = next;
        store.save_environment(&mut environment, Some(&event)).await?;
    }
    Ok(next)
}

/// The event of settings that an environment lends, with what they were there: each that changes is told of by itself.
fn lent_by(event: &AuditEvent, environment: &Environment, field: &str, before: Value) -> AuditEvent {
    let mut event = event.clone();
    event.event_data["environment_name"] = environment.name.as_str().into();
    event.event_data[field] = before;
    event
}

/// The environments whose settings the deployment has: those that serve it, and one without anything to serve that it is on its way
/// to. Refuses where it is on its way to one whose settings something else has.
fn lenders(
    deployment: &Deployment,
    environments: Vec<Environment>,
    promotions: &[Promotion],
) -> Result<Vec<Environment>, Error> {
    let promotion = promotions.iter().find(|one| one.candidate == deployment.id).map(|one| &one.environment);
    let is_on_its_way = deployment.lifecycle.wanted == Wanted::Running && deployment.lifecycle.failure().is_none();
    let pushed_for = deployment.target_environment.as_ref().filter(|_| is_on_its_way);
    let goes_to = |environment: &Environment| promotion.or(pushed_for) == Some(&environment.name);
    let serves = |environment: &Environment| environment.current.as_ref() == Some(&deployment.id);
    let serving: Vec<Environment> = environments.iter().filter(|one| serves(one)).cloned().collect();
    if !serving.is_empty() {
        return Ok(serving);
    }
    match environments.into_iter().find(goes_to) {
        None => Ok(Vec::new()),
        Some(empty) if empty.current.is_none() => Ok(vec![empty]),
        Some(taken) => Err(Error::Invalid(format!(
            "deployment {} is on its way to environment {name}, whose settings it will have: change those of environment {name}",
            deployment.id,
            name = taken.name
        ))),
    }
}

/// Settings as the audit log writes them.
pub(in crate::ops) fn autoscaling_event(settings: &autoscale::Settings) -> Value {
    json!({
        "min_replica": settings.min_replica,
        "max_replica": settings.max_replica,
        "concurrency_target": settings.concurrency_target,
        "autoscaling_window": settings.autoscaling_window_s,
        "scale_down_delay": settings.scale_down_delay_s,
        "target_utilization_percentage": settings.target_utilization_percent,
        "target_in_flight_tokens": null,
        "max_scale_down_rate": settings.max_scale_down_rate_percent,
    })
}

fn kind_name(kind: DeploymentKind) -> &'static str {
    match kind {
        DeploymentKind::Published => "published",
        DeploymentKind::Development => "development",
    }
}
