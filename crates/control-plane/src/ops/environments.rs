//! Environments: stable endpoints with settings. What they point at is moved by promotions, which tasks carry out.

use api::{
    id::ModelId,
    v1::{
        backpressure::RequestBackpressurePolicy,
        promotion::{PromotionSettings, UpdatePromotionSettings},
    },
};
use planner::{Timestamp, autoscale};
use serde_json::{Value, json};
use store::domain::{AuditEvent, Environment, Model, PRODUCTION, Promotion};

use super::{
    Caller, ControlPlane, Effect, Error, audit, autoscaling,
    deployments::{self, SettingsChange, Target},
    environment_groups,
    error::persistently,
    models, names, policies, promotion_settings, promotions,
};

/// An environment with what it serves.
pub struct View {
    /// The environment.
    pub environment: Environment,
    /// How promotions into it go.
    pub promotion_settings: PromotionSettings,
    /// What it serves.
    pub current: Option<deployments::View>,
    /// What is being promoted to it.
    pub candidate: Option<deployments::View>,
    /// The promotion in progress, or one that has just ended.
    pub promotion: Option<Promotion>,
    /// The name of the instance type of what it serves, or of the smallest one.
    pub instance_type: String,
}

/// Settings to change; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Update {
    /// How what it serves scales.
    pub autoscaling: autoscaling::Update,
    /// What happens to requests when every replica is busy. A given none clears it.
    pub backpressure: Option<Option<RequestBackpressurePolicy>>,
    /// How promotions into it go.
    pub promotion: UpdatePromotionSettings,
}

/// All environments of a model, production first.
pub async fn list(control_plane: &ControlPlane, caller: &Caller, model: &ModelId) -> Result<Vec<View>, Error> {
    let model = models::owned(control_plane, caller, model).await?;
    let mut environments = control_plane.store().environments(Some(&model.id)).await?;
    environments.sort_by_key(|environment| environment.name != PRODUCTION);
    let mut views = Vec::new();
    for environment in environments {
        views.push(look(control_plane, environment).await?);
    }
    Ok(views)
}

/// One environment.
pub async fn get(control_plane: &ControlPlane, caller: &Caller, model: &ModelId, name: &str) -> Result<View, Error> {
    let (_, environment) = find(control_plane, caller, model, name).await?;
    look(control_plane, environment).await
}

/// Makes an environment that serves nothing yet.
pub async fn create(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    name: &str,
    settings: Update,
    effect: Effect,
) -> Result<View, Error> {
    let model = models::owned(control_plane, caller, model).await?;
    names::environment(name)?;
    environment_groups::require(control_plane, caller, &model.team_id, [name]).await?;
    let now = control_plane.now();
    let promotion = promotion_settings::apply(PromotionSettings::default(), settings.promotion)?;
    let cap = control_plane.settings().replica_cap;
    let environment = Environment {
        model_id: model.id.clone(),
        name: name.to_owned(),
        created_at: now,
        current: None,
        autoscaling: autoscaling::apply(&autoscale::Settings::default(), &settings.autoscaling, cap)?,
        backpressure: settings.backpressure.flatten(),
        promotion_settings: promotion_settings::write(&promotion),
        generation: 1,
    };
    if effect == Effect::Lasting {
        let event = created(caller, now, &model, &environment);
        control_plane.store().create_environment(&environment, Some(&event)).await?;
    }
    look(control_plane, environment).await
}

/// Changes settings. What the environment serves scales by them at once; a promotion in progress goes on as it began.
pub async fn update(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    name: &str,
    update: Update,
    effect: Effect,
) -> Result<(View, SettingsChange), Error> {
    persistently(|| try_update(control_plane, caller, model, name, update.clone(), effect)).await
}

async fn try_update(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    name: &str,
    update: Update,
    effect: Effect,
) -> Result<(View, SettingsChange), Error> {
    let (model, before) = find_to_change(control_plane, caller, model, name).await?;
    let promotion = promotion_settings::apply(promotion_settings::read(&before.promotion_settings)?, update.promotion)?;
    let mut environment = Environment {
        autoscaling: autoscaling::apply(
            &before.autoscaling,
            &update.autoscaling,
            control_plane.settings().replica_cap,
        )?,
        backpressure: update.backpressure.unwrap_or(before.backpressure),
        promotion_settings: promotion_settings::write(&promotion),
        ..before.clone()
    };
    if environment == before {
        return Ok((look(control_plane, environment).await?, SettingsChange::Unchanged));
    }
    let mut more = settings_event(&environment);
    more["schedules"] = Value::Null;
    more["previous_settings"] = settings_event(&before);
    let event = event(caller, control_plane.now(), "ENVIRONMENT_UPDATED", (&model, &environment), more);
    if effect == Effect::Lasting {
        control_plane.store().save_environment(&mut environment, Some(&event)).await?;
    }
    let view = look(control_plane, environment).await?;
    let is_in_promotion = view.promotion.as_ref().is_some_and(|one| one.ended_at.is_none());
    let how_promoted_changes = before.promotion_settings != view.environment.promotion_settings;
    let waits = view.current.as_ref().is_some_and(|current| current.deployment.lifecycle.first_ready.is_none());
    let change = match (is_in_promotion && how_promoted_changes, waits) {
        (true, _) => SettingsChange::QueuedBehindPromotion,
        (false, true) => SettingsChange::Queued,
        (false, false) => SettingsChange::Accepted,
    };
    Ok((view, change))
}

/// Deletes an environment, and ends a promotion to it. What it served stays as a deployment of its own, without replicas until
/// somebody calls it, unless another environment serves it too.
pub async fn delete(control_plane: &ControlPlane, caller: &Caller, model: &ModelId, name: &str) -> Result<(), Error> {
    let (model, environment) = find_to_change(control_plane, caller, model, name).await?;
    if environment.name == PRODUCTION {
        return Err(Error::Invalid("environment production cannot be deleted: it goes with its model".into()));
    }
    policies::require_to_remove(control_plane, caller, &environment).await?;
    let now = control_plane.now();
    let mut before = settings_event(&environment);
    before["current_deployment_id"] = json!(environment.current);
    let before = json!({ "previous_settings": before });
    let event = event(caller, now, "ENVIRONMENT_DELETED", (&model, &environment), before);
    let (store, id, name, event) = (control_plane.store(), &model.id, &environment.name, &event);
    persistently(|| async move { Ok(store.delete_environment(id, name, now, Some(event)).await?) }).await
}

/// Wants what the environment serves to run.
pub async fn activate(control_plane: &ControlPlane, caller: &Caller, model: &ModelId, name: &str) -> Result<(), Error> {
    let target = served(control_plane, caller, model, name).await?;
    deployments::activate(control_plane, caller, model, &target).await
}

/// Wants what the environment serves to rest.
pub async fn deactivate(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    name: &str,
) -> Result<(), Error> {
    let target = served(control_plane, caller, model, name).await?;
    deployments::deactivate(control_plane, caller, model, &target).await
}

async fn served(control_plane: &ControlPlane, caller: &Caller, model: &ModelId, name: &str) -> Result<Target, Error> {
    let (_, environment) = find_to_change(control_plane, caller, model, name).await?;
    let none = || Error::Invalid(format!("environment {name} serves no deployment yet: push one to it"));
    environment.current.map(Target::Id).ok_or_else(none)
}

/// The environment that a path means.
pub(super) async fn find(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    name: &str,
) -> Result<(Model, Environment), Error> {
    let model = models::owned(control_plane, caller, model).await?;
    let environment = control_plane.store().environment(&model.id, name).await?;
    Ok((model, environment))
}

/// The environment that a path means, to change it or what it serves; 403 where the caller may not.
pub(super) async fn find_to_change(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    name: &str,
) -> Result<(Model, Environment), Error> {
    let (model, environment) = find(control_plane, caller, model, name).await?;
    environment_groups::require(control_plane, caller, &model.team_id, [environment.name.as_str()]).await?;
    Ok((model, environment))
}

async fn look(control_plane: &ControlPlane, environment: Environment) -> Result<View, Error> {
    let current = match &environment.current {
        Some(id) => Some(deployments::look(control_plane, control_plane.store().deployment(id).await?).await?),
        None => None,
    };
    let instance_type = match &current {
        Some(view) => view.deployment.instance_type.clone(),
        None => control_plane.default_instance_type().to_owned(),
    };
    let promotion_settings = promotion_settings::read(&environment.promotion_settings)?;
    let promotion = promotions::shown(control_plane, &environment).await?;
    let candidate = match &promotion {
        Some(one) if environment.current.as_ref() != Some(&one.candidate) => {
            deployments::look_if_there(control_plane, &one.candidate).await?
        }
        _ => None,
    };
    Ok(View { environment, promotion_settings, current, candidate, promotion, instance_type })
}

/// The event of making an environment, by itself or in passing.
pub(super) fn created(caller: &Caller, now: Timestamp, model: &Model, environment: &Environment) -> AuditEvent {
    event(caller, now, "ENVIRONMENT_CREATED", (model, environment), settings_event(environment))
}

fn event(
    caller: &Caller,
    now: Timestamp,
    event_type: &str,
    (model, environment): (&Model, &Environment),
    mut more: Value,
) -> AuditEvent {
    more["environment_name"] = environment.name.as_str().into();
    audit::of_model(caller, now, event_type, model, more)
}

/// Settings as the audit log writes them.
fn settings_event(environment: &Environment) -> Value {
    let mut event = deployments::autoscaling_event(&environment.autoscaling);
    let promotion = &environment.promotion_settings;
    for field in [
        "redeploy_on_promotion",
        "rolling_deploy",
        "promotion_cleanup_strategy",
        "ramp_up_while_promoting",
        "ramp_up_duration_seconds",
    ] {
        event[field] = promotion[field].clone();
    }
    for field in [
        "rolling_deploy_strategy",
        "max_surge_percent",
        "max_unavailable_percent",
        "stabilization_time_seconds",
        "replica_overhead_percent",
    ] {
        event[field] = promotion["rolling_deploy_config"][field].clone();
    }
    event["ramp_up_step_size"] = Value::Null;
    event["request_backpressure_policy"] = json!(environment.backpressure);
    event["deployment_type"] = Value::Null;
    event
}
