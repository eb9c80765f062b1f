//! From what operations return to what the contract shows, for the resources that appear in several answers.

use std::collections::BTreeMap;

use api::{
    id::TeamId,
    v1::{
        autoscaling::{
            AutoscalingDecision, AutoscalingReason, AutoscalingSettings, UpdateAutoscalingSettings,
            UpdateAutoscalingSettingsResponse, UpdateAutoscalingSettingsStatus,
        },
        backpressure::{RequestBackpressurePolicy, RequestBackpressureSettings, UpdateRequestBackpressureSettings},
        deployments::{Deployment, DeploymentStatus, FailureReason},
        dry_run::DryRunQuery,
        instance_types::InstanceType,
        time::rfc3339,
        users::{self, Membership},
    },
};
use planner::{Timestamp, autoscale, catalogue, lifecycle::Status};
use store::domain::{DeploymentKind, Role, ScalingDecision};

use super::error::Error;
use crate::ops::{
    Effect, autoscaling,
    deployments::{SettingsChange, View},
};

/// A time. Written with an offset in digits, which older parsers take and `Z` they do not.
pub fn time(moment: Timestamp) -> String {
    rfc3339(moment.0).replace('Z', "+00:00")
}

/// The teams that somebody shall be in, each once.
pub fn teams(memberships: Option<Vec<Membership>>) -> Result<Option<BTreeMap<TeamId, Role>>, Error> {
    let Some(memberships) = memberships else { return Ok(None) };
    let mut teams = BTreeMap::new();
    for Membership { team_id, role } in memberships {
        let id = team_id.parse().map_err(|_| Error::invalid(format!("teams: there is no team {team_id}")))?;
        if teams.insert(id, role_in_team(role)).is_some() {
            return Err(Error::invalid(format!("teams: team {team_id} is there for a second time")));
        }
    }
    Ok(Some(teams))
}

/// The teams that somebody is in.
pub fn memberships(teams: &BTreeMap<TeamId, Role>) -> Vec<Membership> {
    teams.iter().map(|(id, role)| Membership { team_id: id.to_string(), role: wire_role(*role) }).collect()
}

/// What somebody is in the organization.
pub fn organization_role(is_admin: bool) -> users::Role {
    if is_admin { users::Role::Admin } else { users::Role::Member }
}

/// What somebody is in a team.
pub fn wire_role(role: Role) -> users::Role {
    match role {
        Role::Admin => users::Role::Admin,
        Role::Member => users::Role::Member,
    }
}

/// What somebody shall be in a team.
pub fn role_in_team(role: users::Role) -> Role {
    match role {
        users::Role::Admin => Role::Admin,
        users::Role::Member => Role::Member,
    }
}

/// A deployment.
pub fn deployment(view: View) -> Deployment {
    let failure = view.deployment.lifecycle.failure();
    Deployment {
        is_production: view.is_production(),
        status: status(view.status),
        active_replica_count: view.ready_replicas,
        autoscaling_settings: view.has_been_active.then(|| autoscaling_settings(&view.deployment.autoscaling)),
        request_backpressure_settings: RequestBackpressureSettings { policy: view.deployment.backpressure },
        status_reason: view.reason,
        failure_reason: failure.map(|reason| FailureReason {
            message: reason.message.clone(),
            hint: reason.hint.clone(),
            detail: reason.detail.clone(),
        }),
        environment: view.environment,
        id: view.deployment.id.to_string(),
        created_at: time(view.deployment.created_at),
        name: view.deployment.name,
        model_id: view.deployment.model_id.to_string(),
        is_development: view.deployment.kind == DeploymentKind::Development,
        instance_type_name: Some(view.deployment.instance_type),
        labels: view.deployment.labels,
        region: None,
    }
}

/// A change of the number of replicas.
pub fn scaling_decision(decision: ScalingDecision) -> AutoscalingDecision {
    let inputs = decision.inputs;
    let in_thousandths = |milli: u64| milli as f64 / 1_000.0;
    AutoscalingDecision {
        created_at: time(decision.at),
        previous_replica_count: inputs.current,
        replica_count: decision.replicas,
        reason: scaling_reason(decision.why),
        explanation: format!("{}: {inputs}", decision.why),
        in_flight: inputs.in_flight,
        queued: inputs.queued,
        average_in_flight: in_thousandths(inputs.average_milli),
        averaged_seconds: in_thousandths(inputs.averaged_ms),
        in_flight_per_replica: in_thousandths(inputs.per_replica_milli),
        desired_replica_count: inputs.asked,
        min_replica: inputs.min_replica,
        max_replica: inputs.max_replica,
    }
}

fn scaling_reason(why: autoscale::Why) -> AutoscalingReason {
    match why {
        autoscale::Why::AtTarget => AutoscalingReason::AtTarget,
        autoscale::Why::LoadAboveTarget => AutoscalingReason::LoadAboveTarget,
        autoscale::Why::RequestsWait => AutoscalingReason::RequestsWait,
        autoscale::Why::AtMaximum => AutoscalingReason::AtMaximum,
        autoscale::Why::AtMinimum => AutoscalingReason::AtMinimum,
        autoscale::Why::WaitingOutDelay => AutoscalingReason::WaitingOutDelay,
        autoscale::Why::JustRaised => AutoscalingReason::JustRaised,
        autoscale::Why::JustRestarted => AutoscalingReason::JustRestarted,
        autoscale::Why::LoadStayedLow => AutoscalingReason::LoadStayedLow,
        autoscale::Why::NoTraffic => AutoscalingReason::NoTraffic,
    }
}

/// A status.
pub fn status(status: Status) -> DeploymentStatus {
    match status {
        Status::Building => DeploymentStatus::Building,
        Status::Deploying => DeploymentStatus::Deploying,
        Status::LoadingModel => DeploymentStatus::LoadingModel,
        Status::Active => DeploymentStatus::Active,
        Status::Updating => DeploymentStatus::Updating,
        Status::Unhealthy => DeploymentStatus::Unhealthy,
        Status::ScaledToZero => DeploymentStatus::ScaledToZero,
        Status::WakingUp => DeploymentStatus::WakingUp,
        Status::Deactivating => DeploymentStatus::Deactivating,
        Status::Inactive => DeploymentStatus::Inactive,
        Status::BuildFailed => DeploymentStatus::BuildFailed,
        Status::BuildStopped => DeploymentStatus::BuildStopped,
        Status::DeployFailed => DeploymentStatus::DeployFailed,
        Status::Failed => DeploymentStatus::Failed,
    }
}

/// Settings.
pub fn autoscaling_settings(settings: &autoscale::Settings) -> AutoscalingSettings {
    AutoscalingSettings {
        min_replica: settings.min_replica,
        max_replica: settings.max_replica,
        autoscaling_window: Some(settings.autoscaling_window_s),
        scale_down_delay: Some(settings.scale_down_delay_s),
        concurrency_target: settings.concurrency_target,
        target_utilization_percentage: Some(settings.target_utilization_percent),
        target_in_flight_tokens: None,
        max_scale_down_rate: Some(settings.max_scale_down_rate_percent),
    }
}

/// A change of settings.
pub fn autoscaling_update(update: UpdateAutoscalingSettings) -> autoscaling::Update {
    autoscaling::Update {
        min_replica: update.min_replica,
        max_replica: update.max_replica,
        autoscaling_window_s: update.autoscaling_window,
        scale_down_delay_s: update.scale_down_delay,
        concurrency_target: update.concurrency_target,
        target_utilization_percent: update.target_utilization_percentage,
        target_in_flight_tokens: update.target_in_flight_tokens,
        max_scale_down_rate_percent: update.max_scale_down_rate,
    }
}

/// What became of a change of settings.
pub fn settings_change(change: SettingsChange) -> UpdateAutoscalingSettingsResponse {
    let (status, message) = match change {
        SettingsChange::Accepted => (UpdateAutoscalingSettingsStatus::Accepted, "the settings are in force"),
        SettingsChange::Queued => {
            (UpdateAutoscalingSettingsStatus::Queued, "the settings will be in force once the deployment is active")
        }
        SettingsChange::QueuedBehindPromotion => (
            UpdateAutoscalingSettingsStatus::Queued,
            "the settings hold from the next promotion on: the one in progress goes on as it began",
        ),
        SettingsChange::Unchanged => {
            (UpdateAutoscalingSettingsStatus::Unchanged, "nothing differs from the settings in force")
        }
    };
    UpdateAutoscalingSettingsResponse { status, message: message.into() }
}

/// What comes of a change.
pub fn effect(query: DryRunQuery) -> Effect {
    if query.dry_run { Effect::None } else { Effect::Lasting }
}

/// A change of what happens when every replica is busy.
pub fn backpressure_update(
    update: Option<UpdateRequestBackpressureSettings>,
) -> Option<Option<RequestBackpressurePolicy>> {
    update.and_then(|update| update.policy)
}

/// An instance type of the catalogue.
pub fn instance_type(kind: &catalogue::InstanceType) -> InstanceType {
    InstanceType {
        id: kind.id.clone(),
        name: kind.name.clone(),
        memory_limit_mib: kind.memory_mib,
        millicpu_limit: kind.millicpu,
        gpu_count: kind.gpu_count,
        gpu_type: kind.gpu_type.clone(),
        gpu_memory_limit_mib: kind.gpu_memory_mib,
    }
}
