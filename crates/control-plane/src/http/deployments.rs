//! Routes of deployments. Where an id stands, the literal names `production` and `development` stand for it as well.

use api::v1::{
    autoscaling::{
        AutoscalingDecisions, AutoscalingDecisionsQuery, UpdateAutoscalingSettings, UpdateAutoscalingSettingsResponse,
    },
    backpressure::{RequestBackpressureSettings, UpdateRequestBackpressureSettings},
    deployments::{
        ActivateResponse, CreateModelDeploymentRequest, DeactivateResponse, Deployment, DeploymentArchivePayload,
        DeploymentConfigOutputFormat, DeploymentConfigQuery, DeploymentConfigResponse, DeploymentTombstone,
        Deployments, DownloadDeploymentResponse, RetryDeploymentResponse, TerminateReplicaResponse,
        UpdateDeploymentRequest,
    },
    models::{ByName, CreatedModelDeployment},
};
use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    base_url::BaseUrl,
    convert,
    error::Error,
    extract::{InPath, InQuery, JsonBody},
    models::created,
    paths::{OfDeployment, OfModel, OfReplica},
};
use crate::{
    ControlPlane,
    ops::{
        self,
        payload::Payload,
        push::{Destination, Source},
    },
};

/// Decisions that are shown when nobody says how many.
const DEFAULT_DECISIONS: u32 = 20;
/// Decisions that are shown at most.
const MOST_DECISIONS: u32 = 200;

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(list_deployments, create_deployment))
        .routes(routes!(get_deployment, delete_deployment, update_deployment))
        .routes(routes!(get_deployment_config))
        .routes(routes!(download_deployment))
        .routes(routes!(update_deployment_autoscaling))
        .routes(routes!(update_deployment_backpressure))
        .routes(routes!(list_autoscaling_decisions))
        .routes(routes!(activate_deployment))
        .routes(routes!(deactivate_deployment))
        .routes(routes!(retry_deployment))
        .routes(routes!(terminate_replica))
}

/// Lists the deployments of a model.
#[utoipa::path(get, path = "/v1/models/{model_id}/deployments", tag = "Deployments", params(OfModel, ByName), responses((status = 200, body = Deployments)))]
async fn list_deployments(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfModel>,
    InQuery(query): InQuery<ByName>,
) -> Result<Json<Deployments>, Error> {
    let deployments = ops::deployments::list(&control_plane, &caller, &path.model_id, query.name.as_deref()).await?;
    Ok(Json(Deployments { deployments: deployments.into_iter().map(convert::deployment).collect() }))
}

/// Adds a deployment to a model, from an uploaded archive.
#[utoipa::path(
    post, path = "/v1/models/{model_id}/deployments", tag = "Deployments", params(OfModel),
    request_body = CreateModelDeploymentRequest, responses((status = 200, body = CreatedModelDeployment))
)]
async fn create_deployment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfModel>,
    JsonBody(request): JsonBody<CreateModelDeploymentRequest>,
) -> Result<Json<CreatedModelDeployment>, Error> {
    let source = Source { payload: payload(request.source.deployment)?, s3_key: request.source.s3_key };
    let destination = Destination::Model(path.model_id);
    Ok(Json(created(ops::push::push(&control_plane, &caller, &destination, source).await?)))
}

/// Shows a deployment.
#[utoipa::path(get, path = "/v1/models/{model_id}/deployments/{deployment_id}", tag = "Deployments", params(OfDeployment), responses((status = 200, body = Deployment)))]
async fn get_deployment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
) -> Result<Json<Deployment>, Error> {
    let view = ops::deployments::get(&control_plane, &caller, &path.model_id, &path.deployment_id).await?;
    Ok(Json(convert::deployment(view)))
}

/// Deletes a deployment that no environment serves.
#[utoipa::path(delete, path = "/v1/models/{model_id}/deployments/{deployment_id}", tag = "Deployments", params(OfDeployment), responses((status = 200, body = DeploymentTombstone)))]
async fn delete_deployment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
) -> Result<Json<DeploymentTombstone>, Error> {
    let deleted = ops::deployments::delete(&control_plane, &caller, &path.model_id, &path.deployment_id).await?;
    let (id, model_id) = (deleted.id.to_string(), deleted.model_id.to_string());
    Ok(Json(DeploymentTombstone { id, deleted: true, model_id }))
}

/// Renames a deployment.
#[utoipa::path(
    patch, path = "/v1/models/{model_id}/deployments/{deployment_id}", tag = "Deployments", params(OfDeployment),
    request_body = UpdateDeploymentRequest, responses((status = 200, body = Deployment))
)]
async fn update_deployment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    JsonBody(request): JsonBody<UpdateDeploymentRequest>,
) -> Result<Json<Deployment>, Error> {
    let name = request.name.as_deref();
    let view = ops::deployments::rename(&control_plane, &caller, &path.model_id, &path.deployment_id, name).await?;
    Ok(Json(convert::deployment(view)))
}

/// Shows a deployment's config.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/deployments/{deployment_id}/config", tag = "Deployments",
    params(OfDeployment, DeploymentConfigQuery), responses((status = 200, body = DeploymentConfigResponse))
)]
async fn get_deployment_config(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    InQuery(query): InQuery<DeploymentConfigQuery>,
) -> Result<Json<DeploymentConfigResponse>, Error> {
    let (config, raw_config) =
        ops::deployments::config(&control_plane, &caller, &path.model_id, &path.deployment_id).await?;
    let config = config.as_object().cloned();
    Ok(Json(match query.output_format {
        DeploymentConfigOutputFormat::Raw => DeploymentConfigResponse { config: None, raw_config },
        DeploymentConfigOutputFormat::Parsed => DeploymentConfigResponse { config, raw_config: None },
        DeploymentConfigOutputFormat::Both => DeploymentConfigResponse { config, raw_config },
    }))
}

/// Gives a link to a deployment's archive.
#[utoipa::path(get, path = "/v1/models/{model_id}/deployments/{deployment_id}/download", tag = "Deployments", params(OfDeployment), responses((status = 200, body = DownloadDeploymentResponse)))]
async fn download_deployment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    BaseUrl(base_url): BaseUrl,
) -> Result<Json<DownloadDeploymentResponse>, Error> {
    let (model, target) = (&path.model_id, &path.deployment_id);
    let download_url = ops::uploads::download_url(&control_plane, &caller, model, target, &base_url).await?;
    Ok(Json(DownloadDeploymentResponse { download_url }))
}

/// Changes how a deployment scales.
#[utoipa::path(
    patch, path = "/v1/models/{model_id}/deployments/{deployment_id}/autoscaling_settings", tag = "Deployments",
    params(OfDeployment), request_body = UpdateAutoscalingSettings, responses((status = 200, body = UpdateAutoscalingSettingsResponse))
)]
async fn update_deployment_autoscaling(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    JsonBody(request): JsonBody<UpdateAutoscalingSettings>,
) -> Result<Json<UpdateAutoscalingSettingsResponse>, Error> {
    let update = convert::autoscaling_update(request);
    let (model, target) = (&path.model_id, &path.deployment_id);
    let change = ops::deployments::update_autoscaling(&control_plane, &caller, model, target, &update).await?;
    Ok(Json(convert::settings_change(change)))
}

/// Changes what happens to requests when every replica is busy.
#[utoipa::path(
    patch, path = "/v1/models/{model_id}/deployments/{deployment_id}/request_backpressure_settings", tag = "Deployments",
    params(OfDeployment), request_body = UpdateRequestBackpressureSettings, responses((status = 200, body = RequestBackpressureSettings))
)]
async fn update_deployment_backpressure(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    JsonBody(request): JsonBody<UpdateRequestBackpressureSettings>,
) -> Result<Json<RequestBackpressureSettings>, Error> {
    let (model, target) = (&path.model_id, &path.deployment_id);
    let policy = ops::deployments::update_backpressure(&control_plane, &caller, model, target, request.policy).await?;
    Ok(Json(RequestBackpressureSettings { policy }))
}

/// Lists the newest changes of the deployment's number of replicas, with what each was worked out from.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/deployments/{deployment_id}/autoscaling_decisions", tag = "Deployments",
    params(OfDeployment, AutoscalingDecisionsQuery), responses((status = 200, body = AutoscalingDecisions))
)]
async fn list_autoscaling_decisions(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
    InQuery(query): InQuery<AutoscalingDecisionsQuery>,
) -> Result<Json<AutoscalingDecisions>, Error> {
    let limit = query.limit.unwrap_or(DEFAULT_DECISIONS);
    if !(1..=MOST_DECISIONS).contains(&limit) {
        return Err(Error::invalid(format!(
            "limit: {limit} is out of range: it needs to be from 1 to {MOST_DECISIONS}"
        )));
    }
    let (model, deployment) = (&path.model_id, &path.deployment_id);
    let decisions = ops::deployments::scaling_decisions(&control_plane, &caller, model, deployment, limit).await?;
    let autoscaling_decisions = decisions.into_iter().map(convert::scaling_decision).collect();
    Ok(Json(AutoscalingDecisions { autoscaling_decisions }))
}

/// Lets a deployment run again.
#[utoipa::path(post, path = "/v1/models/{model_id}/deployments/{deployment_id}/activate", tag = "Deployments", params(OfDeployment), responses((status = 200, body = ActivateResponse)))]
async fn activate_deployment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
) -> Result<Json<ActivateResponse>, Error> {
    ops::deployments::activate(&control_plane, &caller, &path.model_id, &path.deployment_id).await?;
    Ok(Json(ActivateResponse { success: true }))
}

/// Lets a deployment rest.
#[utoipa::path(post, path = "/v1/models/{model_id}/deployments/{deployment_id}/deactivate", tag = "Deployments", params(OfDeployment), responses((status = 200, body = DeactivateResponse)))]
async fn deactivate_deployment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
) -> Result<Json<DeactivateResponse>, Error> {
    ops::deployments::deactivate(&control_plane, &caller, &path.model_id, &path.deployment_id).await?;
    Ok(Json(DeactivateResponse { success: true }))
}

/// Runs the failed part of a deployment again.
#[utoipa::path(post, path = "/v1/models/{model_id}/deployments/{deployment_id}/retry", tag = "Deployments", params(OfDeployment), responses((status = 200, body = RetryDeploymentResponse)))]
async fn retry_deployment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfDeployment>,
) -> Result<Json<RetryDeploymentResponse>, Error> {
    let (view, outcome) = ops::deployments::retry(&control_plane, &caller, &path.model_id, &path.deployment_id).await?;
    Ok(Json(RetryDeploymentResponse {
        retried: outcome.is_ok(),
        reason: outcome.err().map(|refusal| refusal.to_string()),
        deployment: convert::deployment(view),
    }))
}

/// Ends one replica; another takes its place while one is needed.
#[utoipa::path(delete, path = "/v1/models/{model_id}/deployments/{deployment_id}/replicas/{replica_id}", tag = "Deployments", params(OfReplica), responses((status = 200, body = TerminateReplicaResponse)))]
async fn terminate_replica(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfReplica>,
) -> Result<Json<TerminateReplicaResponse>, Error> {
    let (model, target) = (&path.model_id, &path.deployment_id);
    ops::deployments::terminate_replica(&control_plane, &caller, model, target, &path.replica_id).await?;
    Ok(Json(TerminateReplicaResponse { success: true }))
}

/// What a push says of its deployment.
pub(super) fn payload(payload: DeploymentArchivePayload) -> Result<Payload, Error> {
    Ok(Payload {
        config: payload.config,
        raw_config: payload.raw_config,
        user_env: payload.user_env,
        environment_name: payload.environment_name,
        create_environment_if_missing: payload.create_environment_if_missing.unwrap_or(false),
        preserve_env_instance_type: payload.preserve_env_instance_type,
        keep_previous: false,
        deploy_timeout_minutes: payload.deploy_timeout_minutes,
        deployment_name: payload.deployment_name,
        labels: payload.labels,
        is_development: payload.is_development,
        autoscaling: convert::autoscaling_update(payload.autoscaling_settings.unwrap_or_default()),
        backpressure: convert::backpressure_update(payload.request_backpressure_settings),
        instance_type_id: payload.instance_type_id,
    })
}
