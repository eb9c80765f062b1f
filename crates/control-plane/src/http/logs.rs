//! Routes of logs.

use api::v1::logs::{GetDeploymentLogsRequest, GetLogsResponse, Log, SortOrder};
use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, sse::Event},
};
use futures::StreamExt as _;
use store::domain::LogRecord;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    error::Error,
    events,
    extract::{InPath, InQuery, JsonBody},
    paths::{OfDeployment, OfEnvironment},
};
use crate::{
    ControlPlane,
    ops::{self, Caller, logs::Query},
};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(get_deployment_logs, query_deployment_logs))
        .routes(routes!(follow_deployment_logs))
        .routes(routes!(get_environment_logs))
}

/// Reads the log of a deployment.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/deployments/{deployment_id}/logs", tag = "Logs",
    params(OfDeployment, GetDeploymentLogsRequest), responses((status = 200, body = GetLogsResponse))
)]
async fn get_deployment_logs(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    InQuery(request): InQuery<GetDeploymentLogsRequest>,
) -> Result<Json<GetLogsResponse>, Error> {
    of_deployment(&control_plane, &caller, &path, request).await
}

/// Reads the log of a deployment; the older form of the GET.
#[utoipa::path(
    post, path = "/v1/models/{model_id}/deployments/{deployment_id}/logs", tag = "Logs", params(OfDeployment),
    request_body = GetDeploymentLogsRequest, responses((status = 200, body = GetLogsResponse))
)]
async fn query_deployment_logs(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    JsonBody(request): JsonBody<GetDeploymentLogsRequest>,
) -> Result<Json<GetLogsResponse>, Error> {
    of_deployment(&control_plane, &caller, &path, request).await
}

/// Follows the log of a deployment. Greenroom's own: server-sent events `log`, each with one line and the line's number as its id. It
/// begins at `start_epoch_millis`, or now; a client that comes back with `Last-Event-ID` goes on behind that line. A log that is followed
/// has no `end_epoch_millis`, `direction` and `limit`.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/deployments/{deployment_id}/logs/stream", tag = "Logs",
    params(OfDeployment, GetDeploymentLogsRequest),
    responses((status = 200, body = Log, content_type = "text/event-stream"))
)]
async fn follow_deployment_logs(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    InQuery(request): InQuery<GetDeploymentLogsRequest>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Error> {
    let after = headers.get("last-event-id").map(|id| {
        let id = id.to_str().ok().and_then(|text| text.parse().ok());
        id.ok_or_else(|| {
            Error::invalid("Last-Event-ID: it is not the id of a line: send the id of an event as it came")
        })
    });
    let after = after.transpose()?;
    let (model, target) = (&path.model_id, &path.deployment_id);
    let lines = ops::logs::follow(&control_plane, &caller, model, target, query(request), after).await?;
    Ok(events::stream(lines.map(|(number, record)| {
        let event = Event::default().event("log").id(number.0.to_string());
        event.json_data(line(record)).expect("lines are JSON")
    })))
}

/// Reads the logs of the deployments of an environment.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/environments/{env_name}/logs", tag = "Logs",
    params(OfEnvironment, GetDeploymentLogsRequest), responses((status = 200, body = GetLogsResponse))
)]
async fn get_environment_logs(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
    InQuery(request): InQuery<GetDeploymentLogsRequest>,
) -> Result<Json<GetLogsResponse>, Error> {
    let (model, name) = (&path.model_id, &path.env_name);
    let records = ops::logs::of_environment(&control_plane, &caller, model, name, query(request)).await?;
    Ok(Json(wire(records)))
}

async fn of_deployment(
    control_plane: &ControlPlane,
    caller: &Caller,
    path: &OfDeployment,
    request: GetDeploymentLogsRequest,
) -> Result<Json<GetLogsResponse>, Error> {
    let (model, target) = (&path.model_id, &path.deployment_id);
    let records = ops::logs::of_deployment(control_plane, caller, model, target, query(request)).await?;
    Ok(Json(wire(records)))
}

fn query(request: GetDeploymentLogsRequest) -> Query {
    Query {
        start_ms: request.start_epoch_millis,
        end_ms: request.end_epoch_millis,
        oldest_first: request.direction == Some(SortOrder::Asc),
        limit: request.limit,
        min_level: request.min_level.map(Into::into),
        replica: request.replica,
        request_id: request.request_id,
        component: request.component,
        search_pattern: request.search_pattern,
        includes: request.includes.unwrap_or_default(),
        excludes: request.excludes.unwrap_or_default(),
    }
}

fn wire(records: Vec<LogRecord>) -> GetLogsResponse {
    GetLogsResponse { logs: records.into_iter().map(line).collect() }
}

fn line(record: LogRecord) -> Log {
    Log {
        timestamp: record.line.timestamp_ns.to_string(),
        message: record.line.message,
        replica: record.replica_id.map(|id| id.to_string()),
        request_id: record.line.request_id,
        level: record.line.level.map(Into::into),
    }
}
