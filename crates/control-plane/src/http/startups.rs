//! Routes of how starts of replicas went.

use api::{
    internal::replica::StartTimes,
    v1::{
        logs::SortOrder,
        pagination::PaginationResponse,
        startups::{
            ListStartupsQuery, StartupAttempt, StartupAttempts, StartupOutcome, StartupPercentiles, StartupPhase,
            StartupPhasePercentiles, StartupPhaseStatus, StartupPhaseSummary, StartupSortBy, StartupSummary,
            StartupSummaryQuery,
        },
    },
};
use axum::{Json, extract::State};
use planner::Timestamp;
use store::domain::{StartOutcome, Startup};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    error::Error,
    extract::{InPath, InQuery},
    paths::{OfDeployment, OfEnvironment},
};
use crate::{
    ControlPlane,
    ops::{self, Caller, Whose, startups::Startups},
};

const DEFAULT_LIMIT: usize = 50;
const LARGEST_LIMIT: usize = 100;
/// The parts that a start has here, in their order.
const PHASES: [StartupPhase; 4] =
    [StartupPhase::Scheduling, StartupPhase::ContainerCreate, StartupPhase::ContainerStart, StartupPhase::Readiness];

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(list_deployment_startups))
        .routes(routes!(summarize_deployment_startups))
        .routes(routes!(list_environment_startups))
        .routes(routes!(summarize_environment_startups))
}

/// Lists the starts of a deployment's replicas.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/deployments/{deployment_id}/startups", tag = "Deployments",
    params(OfDeployment, ListStartupsQuery), responses((status = 200, body = StartupAttempts))
)]
async fn list_deployment_startups(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    InQuery(query): InQuery<ListStartupsQuery>,
) -> Result<Json<StartupAttempts>, Error> {
    list(&control_plane, &caller, Whose::Deployment(&path.model_id, &path.deployment_id), query).await
}

/// Sums up the starts of a deployment's replicas.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/deployments/{deployment_id}/startups/summary", tag = "Deployments",
    params(OfDeployment, StartupSummaryQuery), responses((status = 200, body = StartupSummary))
)]
async fn summarize_deployment_startups(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    InQuery(query): InQuery<StartupSummaryQuery>,
) -> Result<Json<StartupSummary>, Error> {
    summarize(&control_plane, &caller, Whose::Deployment(&path.model_id, &path.deployment_id), query).await
}

/// Lists the starts of replicas of whatever was in an environment when they started.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/environments/{env_name}/startups", tag = "Environments",
    params(OfEnvironment, ListStartupsQuery), responses((status = 200, body = StartupAttempts))
)]
async fn list_environment_startups(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
    InQuery(query): InQuery<ListStartupsQuery>,
) -> Result<Json<StartupAttempts>, Error> {
    list(&control_plane, &caller, Whose::Environment(&path.model_id, &path.env_name), query).await
}

/// Sums up the starts of replicas of whatever was in an environment when they started.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/environments/{env_name}/startups/summary", tag = "Environments",
    params(OfEnvironment, StartupSummaryQuery), responses((status = 200, body = StartupSummary))
)]
async fn summarize_environment_startups(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
    InQuery(query): InQuery<StartupSummaryQuery>,
) -> Result<Json<StartupSummary>, Error> {
    summarize(&control_plane, &caller, Whose::Environment(&path.model_id, &path.env_name), query).await
}

async fn list(
    control_plane: &ControlPlane,
    caller: &Caller,
    whose: Whose<'_>,
    query: ListStartupsQuery,
) -> Result<Json<StartupAttempts>, Error> {
    let (from, to) = (Timestamp(query.start_epoch_millis), Timestamp(query.end_epoch_millis));
    let found = ops::startups::list(control_plane, caller, whose, from, to).await?;
    Ok(Json(page(attempts(found, whose), &query)?))
}

async fn summarize(
    control_plane: &ControlPlane,
    caller: &Caller,
    whose: Whose<'_>,
    query: StartupSummaryQuery,
) -> Result<Json<StartupSummary>, Error> {
    let (from, to) = (Timestamp(query.start_epoch_millis), Timestamp(query.end_epoch_millis));
    let found = ops::startups::list(control_plane, caller, whose, from, to).await?;
    let mut attempts = attempts(found, whose);
    attempts.retain(|attempt| attempt.duration_ms >= query.min_duration_ms.unwrap_or(0));
    let whole = attempts.iter().filter(|attempt| attempt.outcome == StartupOutcome::Success);
    let of_phase = |phase: StartupPhase| {
        let parts = attempts.iter().flat_map(|attempt| &attempt.phase_summary).filter(|part| part.phase == phase);
        let duration_ms = percentiles(parts.filter_map(|part| part.duration_ms).collect());
        (duration_ms.sample_count > 0).then_some(StartupPhasePercentiles { phase, duration_ms })
    };
    Ok(Json(StartupSummary {
        start_epoch_millis: query.start_epoch_millis,
        end_epoch_millis: query.end_epoch_millis,
        total_duration_ms: percentiles(whole.map(|attempt| attempt.duration_ms).collect()),
        phase_duration_ms: PHASES.into_iter().filter_map(of_phase).collect(),
    }))
}

fn attempts(found: Startups, whose: Whose<'_>) -> Vec<StartupAttempt> {
    let (Whose::Deployment(model, _) | Whose::Environment(model, _)) = whose;
    let environment = match whose {
        Whose::Environment(_, name) => Some(name.to_owned()),
        Whose::Deployment(..) => None,
    };
    let attempt = |startup: Startup| StartupAttempt {
        model_id: model.to_string(),
        deployment_name: found.names.get(&startup.deployment_id).cloned().unwrap_or_default(),
        deployment_id: Some(startup.deployment_id.to_string()),
        environment_name: environment.clone(),
        replica_id: Some(startup.replica_id.to_string()),
        started_at_epoch_millis: startup.started_at.0,
        ready_at_epoch_millis: (startup.outcome == StartOutcome::Success).then_some(startup.ended_at.0),
        duration_ms: startup.ended_at.0.saturating_sub(startup.started_at.0),
        outcome: match startup.outcome {
            StartOutcome::Success => StartupOutcome::Success,
            StartOutcome::Failed => StartupOutcome::Failed,
            StartOutcome::Stalled => StartupOutcome::Stalled,
        },
        phase_summary: parts(&startup.times, startup.outcome),
    };
    found.startups.into_iter().map(attempt).collect()
}

/// The parts of a start, one after the other. Where it failed, the first that is not there is the one it ended in.
fn parts(times: &StartTimes, outcome: StartOutcome) -> Vec<StartupPhaseSummary> {
    let readiness = times.load_ms.map(|load| load + times.first_probe_ms.unwrap_or(0));
    let durations = PHASES.into_iter().zip([times.decide_ms, times.spawn_ms, times.import_ms, readiness]);
    let mut parts = Vec::new();
    let mut offset_ms = 0;
    for (phase, duration_ms) in durations {
        match duration_ms {
            Some(duration) => {
                parts.push(StartupPhaseSummary {
                    phase,
                    status: StartupPhaseStatus::Completed,
                    offset_ms,
                    duration_ms,
                });
                offset_ms += duration;
            }
            // A server of the user's own has no module to import.
            None if outcome == StartOutcome::Success || phase == StartupPhase::Scheduling => {}
            None => {
                parts.push(StartupPhaseSummary { phase, status: StartupPhaseStatus::Failed, offset_ms, duration_ms });
                break;
            }
        }
    }
    parts
}

/// The page of those that match. Its cursor is the replica of the last one.
fn page(mut attempts: Vec<StartupAttempt>, query: &ListStartupsQuery) -> Result<StartupAttempts, Error> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return Err(Error::invalid(format!(
            "limit: {limit} is out of range: it needs to be from 1 to {LARGEST_LIMIT}"
        )));
    }
    attempts.retain(|attempt| matches(attempt, query));
    let key = |attempt: &StartupAttempt| match query.sort_by.unwrap_or_default() {
        StartupSortBy::Outcome => attempt.outcome as u64,
        StartupSortBy::StartedAt => attempt.started_at_epoch_millis,
        StartupSortBy::ReadyAt => attempt.ready_at_epoch_millis.unwrap_or(0),
        StartupSortBy::Duration => attempt.duration_ms,
    };
    attempts.sort_by(|one, other| (key(one), &one.replica_id).cmp(&(key(other), &other.replica_id)));
    if query.direction != Some(SortOrder::Asc) {
        attempts.reverse();
    }
    let total_count = attempts.len();
    let first = match &query.cursor {
        None => 0,
        Some(last) => {
            let place = attempts.iter().position(|attempt| attempt.replica_id.as_ref() == Some(last));
            place.ok_or_else(|| Error::invalid("cursor: it is not one that an answer to the same filters has given"))?
                + 1
        }
    };
    let has_more = total_count > first + limit;
    let items: Vec<_> = attempts.into_iter().skip(first).take(limit).collect();
    let cursor = items.last().filter(|_| has_more).and_then(|last| last.replica_id.clone());
    Ok(StartupAttempts { items, pagination: PaginationResponse { has_more, cursor }, total_count })
}

fn matches(attempt: &StartupAttempt, query: &ListStartupsQuery) -> bool {
    let spends_time_in = |phase: StartupPhase| {
        attempt.phase_summary.iter().any(|part| part.phase == phase && part.duration_ms.is_none_or(|ms| ms > 0))
    };
    let is_found = |text: &str| {
        attempt.replica_id.as_deref() == Some(text)
            || attempt.deployment_name.to_lowercase().contains(&text.to_lowercase())
    };
    attempt.duration_ms >= query.min_duration_ms.unwrap_or(0)
        && (query.outcomes.is_empty() || query.outcomes.contains(&attempt.outcome))
        && query.phase.is_none_or(spends_time_in)
        && query.search.as_deref().is_none_or(is_found)
}

/// By nearest rank.
fn percentiles(mut durations: Vec<u64>) -> StartupPercentiles {
    durations.sort_unstable();
    let count = durations.len();
    let at = |percent: usize| (count > 0).then(|| durations[(count * percent).div_ceil(100).max(1) - 1]);
    StartupPercentiles {
        sample_count: count,
        mean_ms: (count > 0).then(|| durations.iter().sum::<u64>() / count as u64),
        p50_ms: at(50),
        p90_ms: at(90),
        p95_ms: at(95),
        p99_ms: at(99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_failed_ends_in_the_first_part_that_is_missing() {
        let times =
            StartTimes { decide_ms: Some(1), spawn_ms: Some(20), import_ms: Some(300), ..StartTimes::default() };
        let part =
            |phase, status, offset_ms, duration_ms| StartupPhaseSummary { phase, status, offset_ms, duration_ms };
        let completed = StartupPhaseStatus::Completed;
        let until_import = [
            part(StartupPhase::Scheduling, completed, 0, Some(1)),
            part(StartupPhase::ContainerCreate, completed, 1, Some(20)),
            part(StartupPhase::ContainerStart, completed, 21, Some(300)),
        ];
        let load = part(StartupPhase::Readiness, StartupPhaseStatus::Failed, 321, None);
        assert_eq!(parts(&times, StartOutcome::Failed), [&until_import[..], &[load]].concat());
        let server = StartTimes { spawn_ms: Some(20), load_ms: Some(50), ..StartTimes::default() };
        let phases: Vec<_> =
            parts(&server, StartOutcome::Success).iter().map(|part| (part.phase, part.offset_ms)).collect();
        assert_eq!(phases, [(StartupPhase::ContainerCreate, 0), (StartupPhase::Readiness, 20)]);
    }

    #[test]
    fn percentiles_are_durations_that_there_were() {
        let seen = percentiles((1..=100).rev().collect());
        assert_eq!((seen.sample_count, seen.mean_ms), (100, Some(50)));
        assert_eq!([seen.p50_ms, seen.p90_ms, seen.p95_ms, seen.p99_ms], [50, 90, 95, 99].map(Some));
        assert_eq!(percentiles(vec![7]).p99_ms, Some(7));
        assert_eq!(percentiles(vec![]), StartupPercentiles::default());
    }
}
