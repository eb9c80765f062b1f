//! Routes of models.

use api::v1::models::{
    ByName, CreateModelRequest, CreatedModelDeployment, Model, ModelTombstone, Models, UpdateModelRequest,
};
use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    convert,
    deployments::payload,
    error::Error,
    extract::{InPath, InQuery, JsonBody},
    paths::{OfModel, OfTeam},
};
use crate::{
    ControlPlane,
    ops::{
        self, Caller,
        models::View,
        push::{Destination, Pushed, Source},
    },
};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(list_models, create_model))
        .routes(routes!(list_team_models, create_team_model))
        .routes(routes!(get_model, update_model, delete_model))
}

/// Lists the models of the default team.
#[utoipa::path(get, path = "/v1/models", tag = "Models", params(ByName), responses((status = 200, body = Models)))]
async fn list_models(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InQuery(query): InQuery<ByName>,
) -> Result<Json<Models>, Error> {
    let models = ops::models::list(&control_plane, &caller, None, query.name).await?;
    Ok(Json(Models { models: models.into_iter().map(wire).collect() }))
}

/// Lists the models of a team.
#[utoipa::path(get, path = "/v1/teams/{team_id}/models", tag = "Models", params(OfTeam, ByName), responses((status = 200, body = Models)))]
async fn list_team_models(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfTeam>,
    InQuery(query): InQuery<ByName>,
) -> Result<Json<Models>, Error> {
    let models = ops::models::list(&control_plane, &caller, Some(&path.team_id), query.name).await?;
    Ok(Json(Models { models: models.into_iter().map(wire).collect() }))
}

/// Makes a model with its first deployment, from an uploaded archive.
#[utoipa::path(post, path = "/v1/models", tag = "Models", request_body = CreateModelRequest, responses((status = 200, body = CreatedModelDeployment)))]
async fn create_model(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    JsonBody(request): JsonBody<CreateModelRequest>,
) -> Result<Json<CreatedModelDeployment>, Error> {
    push(&control_plane, &caller, None, request).await
}

/// Makes a model of a team with its first deployment, from an uploaded archive.
#[utoipa::path(
    post, path = "/v1/teams/{team_id}/models", tag = "Models", params(OfTeam),
    request_body = CreateModelRequest, responses((status = 200, body = CreatedModelDeployment))
)]
async fn create_team_model(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfTeam>,
    JsonBody(request): JsonBody<CreateModelRequest>,
) -> Result<Json<CreatedModelDeployment>, Error> {
    push(&control_plane, &caller, Some(path), request).await
}

/// Shows a model.
#[utoipa::path(get, path = "/v1/models/{model_id}", tag = "Models", params(OfModel), responses((status = 200, body = Model)))]
async fn get_model(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfModel>,
) -> Result<Json<Model>, Error> {
    Ok(Json(wire(ops::models::get(&control_plane, &caller, &path.model_id).await?)))
}

/// Gives a model another name.
#[utoipa::path(
    patch, path = "/v1/models/{model_id}", tag = "Models", params(OfModel), request_body = UpdateModelRequest,
    responses((status = 200, body = Model))
)]
async fn update_model(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfModel>,
    JsonBody(request): JsonBody<UpdateModelRequest>,
) -> Result<Json<Model>, Error> {
    let name = request.name.as_deref();
    Ok(Json(wire(ops::models::rename(&control_plane, &caller, &path.model_id, name).await?)))
}

/// Deletes a model with its deployments and environments.
#[utoipa::path(delete, path = "/v1/models/{model_id}", tag = "Models", params(OfModel), responses((status = 200, body = ModelTombstone)))]
async fn delete_model(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfModel>,
) -> Result<Json<ModelTombstone>, Error> {
    ops::models::delete(&control_plane, &caller, &path.model_id).await?;
    Ok(Json(ModelTombstone { id: path.model_id.to_string(), deleted: true }))
}

async fn push(
    control_plane: &ControlPlane,
    caller: &Caller,
    team: Option<OfTeam>,
    request: CreateModelRequest,
) -> Result<Json<CreatedModelDeployment>, Error> {
    let source = request.source;
    let destination = Destination::NewModel {
        name: source.name,
        team: team.map(|team| team.team_id),
        archive_download_disabled: source.disable_archive_download,
    };
    let source = Source { payload: payload(source.deployment)?, s3_key: source.s3_key };
    Ok(Json(created(ops::push::push(control_plane, caller, &destination, source).await?)))
}

/// A model and its new deployment.
pub(super) fn created(pushed: Pushed) -> CreatedModelDeployment {
    CreatedModelDeployment { model: wire(pushed.model), deployment: convert::deployment(pushed.deployment) }
}

fn wire(view: View) -> Model {
    Model {
        id: view.model.id.to_string(),
        created_at: convert::time(view.model.created_at),
        name: view.model.name,
        deployments_count: view.deployments_count as u64,
        production_deployment_id: view.production.map(|id| id.to_string()),
        development_deployment_id: view.development.map(|id| id.to_string()),
        instance_type_name: view.instance_type,
        team_name: view.team_name,
    }
}
