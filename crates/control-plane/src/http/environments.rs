//! Routes of environments.

use api::v1::{
    backpressure::RequestBackpressureSettings,
    deployments::{ActivateResponse, DeactivateResponse},
    dry_run::DryRunQuery,
    environments::{
        CreateEnvironmentRequest, Environment, EnvironmentTombstone, Environments, UpdateEnvironmentRequest,
        UpdateEnvironmentResponse,
    },
    instance_types::InstanceType,
};
use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    convert,
    error::Error,
    extract::{InPath, InQuery, JsonBody},
    paths::{OfEnvironment, OfModel},
    promotions,
};
use crate::{
    ControlPlane,
    ops::{
        self,
        environments::{Update, View},
    },
};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(list_environments, create_environment))
        .routes(routes!(get_environment, update_environment, delete_environment))
        .routes(routes!(activate_environment))
        .routes(routes!(deactivate_environment))
}

/// Lists the environments of a model.
#[utoipa::path(get, path = "/v1/models/{model_id}/environments", tag = "Environments", params(OfModel), responses((status = 200, body = Environments)))]
async fn list_environments(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfModel>,
) -> Result<Json<Environments>, Error> {
    let environments = ops::environments::list(&control_plane, &caller, &path.model_id).await?;
    let environments = environments.into_iter().map(|view| wire(&control_plane, view)).collect();
    Ok(Json(Environments { environments }))
}

/// Makes an environment.
#[utoipa::path(
    post, path = "/v1/models/{model_id}/environments", tag = "Environments", params(OfModel, DryRunQuery),
    request_body = CreateEnvironmentRequest, responses((status = 200, body = Environment))
)]
async fn create_environment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfModel>,
    InQuery(query): InQuery<DryRunQuery>,
    JsonBody(request): JsonBody<CreateEnvironmentRequest>,
) -> Result<Json<Environment>, Error> {
    let settings = Update {
        autoscaling: convert::autoscaling_update(request.autoscaling_settings.unwrap_or_default()),
        backpressure: convert::backpressure_update(request.request_backpressure_settings),
        promotion: request.promotion_settings.unwrap_or_default(),
    };
    let (model, effect) = (&path.model_id, convert::effect(query));
    let view = ops::environments::create(&control_plane, &caller, model, &request.name, settings, effect).await?;
    Ok(Json(wire(&control_plane, view)))
}

/// Shows an environment.
#[utoipa::path(get, path = "/v1/models/{model_id}/environments/{env_name}", tag = "Environments", params(OfEnvironment), responses((status = 200, body = Environment)))]
async fn get_environment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
) -> Result<Json<Environment>, Error> {
    let view = ops::environments::get(&control_plane, &caller, &path.model_id, &path.env_name).await?;
    Ok(Json(wire(&control_plane, view)))
}

/// Changes the settings of an environment.
#[utoipa::path(
    patch, path = "/v1/models/{model_id}/environments/{env_name}", tag = "Environments", params(OfEnvironment, DryRunQuery),
    request_body = UpdateEnvironmentRequest, responses((status = 200, body = UpdateEnvironmentResponse))
)]
async fn update_environment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
    InQuery(query): InQuery<DryRunQuery>,
    JsonBody(request): JsonBody<UpdateEnvironmentRequest>,
) -> Result<Json<UpdateEnvironmentResponse>, Error> {
    if request.autoscaling_schedule_settings.is_some() {
        return Err(Error::invalid("autoscaling_schedule_settings: schedules are not supported: leave them out"));
    }
    let update = Update {
        autoscaling: convert::autoscaling_update(request.autoscaling_settings.unwrap_or_default()),
        backpressure: convert::backpressure_update(request.request_backpressure_settings),
        promotion: request.promotion_settings.unwrap_or_default(),
    };
    let (model, name) = (&path.model_id, &path.env_name);
    let effect = convert::effect(query);
    let (view, change) = ops::environments::update(&control_plane, &caller, model, name, update, effect).await?;
    let change = convert::settings_change(change);
    let environment = wire(&control_plane, view);
    Ok(Json(UpdateEnvironmentResponse { environment, status: change.status, message: change.message }))
}

/// Deletes an environment; what it served stays.
#[utoipa::path(delete, path = "/v1/models/{model_id}/environments/{env_name}", tag = "Environments", params(OfEnvironment), responses((status = 200, body = EnvironmentTombstone)))]
async fn delete_environment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
) -> Result<Json<EnvironmentTombstone>, Error> {
    ops::environments::delete(&control_plane, &caller, &path.model_id, &path.env_name).await?;
    Ok(Json(EnvironmentTombstone { name: path.env_name, model_id: path.model_id.to_string(), deleted: true }))
}

/// Lets what the environment serves run again.
#[utoipa::path(post, path = "/v1/models/{model_id}/environments/{env_name}/activate", tag = "Environments", params(OfEnvironment), responses((status = 200, body = ActivateResponse)))]
async fn activate_environment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
) -> Result<Json<ActivateResponse>, Error> {
    ops::environments::activate(&control_plane, &caller, &path.model_id, &path.env_name).await?;
    Ok(Json(ActivateResponse { success: true }))
}

/// Lets what the environment serves rest.
#[utoipa::path(post, path = "/v1/models/{model_id}/environments/{env_name}/deactivate", tag = "Environments", params(OfEnvironment), responses((status = 200, body = DeactivateResponse)))]
async fn deactivate_environment(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfEnvironment>,
) -> Result<Json<DeactivateResponse>, Error> {
    ops::environments::deactivate(&control_plane, &caller, &path.model_id, &path.env_name).await?;
    Ok(Json(DeactivateResponse { success: true }))
}

fn wire(control_plane: &ControlPlane, view: View) -> Environment {
    Environment {
        name: view.environment.name,
        created_at: convert::time(view.environment.created_at),
        model_id: view.environment.model_id.to_string(),
        current_deployment: view.current.map(convert::deployment),
        candidate_deployment: view.candidate.map(convert::deployment),
        in_progress_promotion: view.promotion.as_ref().map(promotions::progress),
        autoscaling_settings: convert::autoscaling_settings(&view.environment.autoscaling),
        promotion_settings: view.promotion_settings,
        instance_type: instance_type(control_plane, view.instance_type),
        request_backpressure_settings: RequestBackpressureSettings { policy: view.environment.backpressure },
    }
}

/// The type with its sizes, or only its name when the catalogue does not have it any more.
fn instance_type(control_plane: &ControlPlane, id: String) -> InstanceType {
    let known = control_plane.settings().instance_types.get(&id);
    known.map(|kind| convert::instance_type(&kind)).unwrap_or_else(|| InstanceType {
        name: id.clone(),
        id,
        memory_limit_mib: 0,
        millicpu_limit: 0,
        gpu_count: 0,
        gpu_type: None,
        gpu_memory_limit_mib: None,
    })
}
