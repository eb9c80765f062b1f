//! Steering a promotion that is in progress. A command is recorded; the next decision takes it up.

use api::id::ModelId;
use planner::promotion::{Command, Mode};
use serde_json::{Value, json};
use store::domain::{AuditEvent, Model, Promotion};

use crate::ops::{Caller, ControlPlane, Error, audit, environments, error::persistently};

/// How a promotion is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// All traffic is with the previous deployment, or about to be.
    AtOnce,
    /// Traffic and replicas walk back.
    InSteps,
}

/// Gives up the promotion of an environment, in the way it came.
pub async fn cancel(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    environment: &str,
) -> Result<Cancellation, Error> {
    let promotion = command(control_plane, caller, model, environment, Command::Cancel).await?;
    let is_rolling = matches!(promotion.settings.mode, Mode::Rolling { .. });
    let has_moved = promotion.state.percent > 0 && promotion.previous.is_some();
    let is_forced = promotion.command == Some(Command::ForceCancel);
    Ok(if is_rolling && has_moved && !is_forced { Cancellation::InSteps } else { Cancellation::AtOnce })
}

/// Asks something of the promotion of an environment. The answer is the promotion as it was before.
pub async fn command(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    environment: &str,
    command: Command,
) -> Result<Promotion, Error> {
    let (model, environment) = environments::find_to_change(control_plane, caller, model, environment).await?;
    let (store, model, environment) = (control_plane.store(), &model, &environment);
    persistently(|| async move {
        let active = store.active_promotion(&model.id, &environment.name).await?;
        let active = active.filter(|one| one.state.ending().is_none());
        let promotion = active
            .ok_or_else(|| Error::Invalid(format!("Environment {} has no in progress promotion.", environment.name)))?;
        if is_needed(&promotion, command)? {
            let event = event(control_plane, caller, model, &promotion, command).await?;
            store.command_promotion(promotion.id, command, Some(&event)).await?;
        }
        Ok(promotion)
    })
    .await
}

/// Whether a command is to be recorded, given what the promotion is at and what has been asked of it before. Refuses what makes no
/// sense.
fn is_needed(promotion: &Promotion, command: Command) -> Result<bool, Error> {
    let refuse = |why: &dyn std::fmt::Display| {
        Err(Error::Invalid(format!("the promotion to environment {} is as it was: {why}", promotion.environment)))
    };
    match (promotion.command, command) {
        (Some(Command::ForceCancel), Command::Cancel) => return Ok(false),
        (Some(Command::Cancel | Command::ForceCancel), Command::Pause | Command::Resume) => {
            return refuse(&"it has been canceled");
        }
        (Some(Command::ForceRollForward), Command::Pause | Command::Resume) => {
            return refuse(&"it has been told to roll forward");
        }
        // A pause that nobody has looked at yet is taken back.
        (Some(Command::Pause), Command::Resume) => return Ok(true),
        _ => {}
    }
    match promotion.state.accepts(command, &promotion.settings) {
        Ok(()) => Ok(true),
        Err(refusal) => refuse(&refusal),
    }
}

async fn event(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &Model,
    promotion: &Promotion,
    command: Command,
) -> Result<AuditEvent, Error> {
    let action = match command {
        Command::Pause => "PAUSE",
        Command::Resume => "RESUME",
        Command::Cancel => "GRACEFUL_CANCEL",
        Command::ForceCancel => "FORCE_CANCEL",
        Command::ForceRollForward => "FORCE_ROLL_FORWARD",
    };
    let candidate = control_plane.store().deployment(&promotion.candidate).await?;
    let more = json!({ "environment_name": promotion.environment, "environment_id": Value::Null, "action": action });
    let now = control_plane.now();
    Ok(audit::of_deployment(caller, now, "MODEL_PROMOTION_CONTROL_ACTION", (model, &candidate), more))
}
