//! How a deployment scales.

use api::id::ModelId;
use planner::autoscale;
use serde_json::{Value, json};
use store::domain::DeploymentKind;

use super::{Target, event, find};
use crate::ops::{Caller, ControlPlane, Error, autoscaling};

/// What became of a change of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingsChange {
    /// In force, or about to be.
    Accepted,
    /// In force once the deployment has started.
    Queued,
    /// Nothing differs.
    Unchanged,
}

/// Changes how a deployment scales. What an environment serves scales as the environment does, so that changes with it.
pub async fn update_autoscaling(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
    update: &autoscaling::Update,
) -> Result<SettingsChange, Error> {
    let (model, before) = find(control_plane, caller, model, target).await?;
    let store = control_plane.store();
    let change =
        |current: &autoscale::Settings| autoscaling::apply(current, update, control_plane.settings().replica_cap);
    let next = change(&before.autoscaling)?;
    let mut more = autoscaling_event(&next);
    more["schedules"] = Value::Null;
    more["deployment_type"] = kind_name(before.kind).into();
    more["previous_settings"] = autoscaling_event(&before.autoscaling);
    let event = event(caller, control_plane, "MODEL_DEPLOYMENT_AUTOSCALING_SETTINGS_CHANGED", (&model, &before), more);
    let (after, ()) = store
        .change_deployment(&before.id, Some(&event), |deployment| {
            let next = change(&deployment.autoscaling)?;
            autoscaling::check_kind(deployment.kind, &next)?;
            deployment.autoscaling = next;
            Ok::<_, Error>(())
        })
        .await?;
    for mut environment in store.environments(Some(&model.id)).await? {
        // What is on its way to an empty environment will have that one's settings.
        let is_first_there =
            environment.current.is_none() && after.target_environment.as_ref() == Some(&environment.name);
        let is_there = environment.current.as_ref() == Some(&after.id);
        if (is_there || is_first_there) && environment.autoscaling != after.autoscaling {
            environment.autoscaling = after.autoscaling.clone();
            store.save_environment(&mut environment, None).await?;
        }
    }
    Ok(if after.autoscaling == before.autoscaling {
        SettingsChange::Unchanged
    } else if after.lifecycle.first_ready.is_some() {
        SettingsChange::Accepted
    } else {
        SettingsChange::Queued
    })
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
