//! Routes of metrics: as JSON over time, and as text for Prometheus.

mod export;

use api::v1::metrics::{
    Activity, DeploymentActivity, GetModelMetricsQuery, GetModelMetricsResponse, ModelMetricDescriptor,
    ModelMetricKind, ModelMetricMode, ModelMetricUnitHint, ModelMetricValueSet,
};
use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::export::export;
use super::{
    auth::Manager,
    convert,
    error::Error,
    extract::{InPath, InQuery},
    paths::{OfDeployment, OfEnvironment},
};
use crate::{
    ControlPlane,
    ops::{
        self, Caller, Whose,
        metrics::{Kind, Metric, Mode, Query, Report, Unit},
    },
};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(get_deployment_metrics))
        .routes(routes!(get_environment_metrics))
        .routes(routes!(get_activity))
}

/// Reads the metrics of a deployment.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/deployments/{deployment_id}/metrics", tag = "Metrics",
    params(OfDeployment, GetModelMetricsQuery), responses((status = 200, body = GetModelMetricsResponse))
)]
async fn get_deployment_metrics(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    InQuery(query): InQuery<GetModelMetricsQuery>,
) -> Result<Json<GetModelMetricsResponse>, Error> {
    read(&control_plane, &caller, Whose::Deployment(&path.model_id, &path.deployment_id), query).await
}

/// Reads the metrics of whatever was in an environment, all of it together.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/environments/{env_name}/metrics", tag = "Metrics",
    params(OfEnvironment, GetModelMetricsQuery), responses((status = 200, body = GetModelMetricsResponse))
)]
async fn get_environment_metrics(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
    InQuery(query): InQuery<GetModelMetricsQuery>,
) -> Result<Json<GetModelMetricsResponse>, Error> {
    read(&control_plane, &caller, Whose::Environment(&path.model_id, &path.env_name), query).await
}

/// Reads what every deployment has had to do in the last minute.
#[utoipa::path(get, path = "/v1/activity", tag = "Metrics", responses((status = 200, body = Activity)))]
async fn get_activity(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
) -> Result<Json<Activity>, Error> {
    let found = ops::metrics::activity(&control_plane, &caller).await?;
    let recorded_at_epoch_millis = found.iter().map(|activity| activity.at.0).max();
    Ok(Json(Activity { recorded_at_epoch_millis, deployments: found.into_iter().map(one).collect() }))
}

fn one(found: ops::metrics::Activity) -> DeploymentActivity {
    let ops::metrics::Activity { model, standing, work, .. } = found;
    DeploymentActivity {
        model_id: model.id.to_string(),
        model_name: model.name,
        deployment_id: found.deployment_id.to_string(),
        deployment_name: found.deployment_name,
        environment: found.environment,
        status: convert::status(found.status),
        active_replicas: standing.active,
        starting_replicas: standing.starting,
        desired_replicas: standing.desired,
        running_requests: standing.in_flight,
        waiting_requests: standing.queued,
        requests_per_second: work.requests_per_s,
        failures_per_second: work.failures_per_s,
        response_time_p50_seconds: work.p50_s,
        response_time_p99_seconds: work.p99_s,
        cpus: work.cpus,
        memory_bytes: work.memory_bytes,
    }
}

async fn read(
    control_plane: &ControlPlane,
    caller: &Caller,
    whose: Whose<'_>,
    query: GetModelMetricsQuery,
) -> Result<Json<GetModelMetricsResponse>, Error> {
    let mode = query.mode.unwrap_or_default();
    let query = Query {
        mode: match mode {
            ModelMetricMode::Current => Mode::Current,
            ModelMetricMode::Summary => Mode::Summary,
            ModelMetricMode::Series => Mode::Series,
        },
        start_ms: query.start_epoch_millis,
        end_ms: query.end_epoch_millis,
        metrics: query.metrics,
    };
    let report = ops::metrics::read(control_plane, caller, whose, query).await?;
    Ok(Json(response(mode, report)))
}

fn response(mode: ModelMetricMode, report: Report) -> GetModelMetricsResponse {
    let describe = |series: &ops::metrics::Series| ModelMetricDescriptor {
        name: series.metric.name().to_owned(),
        unit_hint: unit_hint(series.metric),
        kind: kind(series.metric),
        label_sets: series.label_sets.clone(),
    };
    let values = report.steps.iter().enumerate().map(|(number, start)| ModelMetricValueSet {
        start_epoch_millis: start.0,
        values: report.series.iter().map(|series| series.values[number].clone()).collect(),
    });
    GetModelMetricsResponse {
        start_epoch_millis: report.from.0,
        end_epoch_millis: report.to.0,
        mode,
        step_seconds: report.step_ms.map(|step_ms| step_ms.div_ceil(1000)),
        metric_descriptors: report.series.iter().map(describe).collect(),
        metric_values: values.collect(),
    }
}

/// Over time, processor seconds are processors in use.
fn kind(metric: Metric) -> ModelMetricKind {
    match metric.kind() {
        Kind::Counter if metric.unit() == Unit::CpuSeconds => ModelMetricKind::Gauge,
        Kind::Gauge => ModelMetricKind::Gauge,
        Kind::Counter => ModelMetricKind::Counter,
        Kind::Histogram => ModelMetricKind::Histogram,
    }
}

fn unit_hint(metric: Metric) -> ModelMetricUnitHint {
    match metric.unit() {
        Unit::Seconds => ModelMetricUnitHint::Seconds,
        Unit::Bytes => ModelMetricUnitHint::Bytes,
        Unit::Count => ModelMetricUnitHint::Count,
        Unit::CpuSeconds => ModelMetricUnitHint::Ratio,
    }
}
