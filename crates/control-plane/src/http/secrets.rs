//! Routes of secrets.

use api::v1::secrets::{Secret, SecretTombstone, Secrets, UpsertSecretRequest};
use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    convert,
    error::Error,
    extract::{InPath, JsonBody},
    paths::OfTeam,
};
use crate::{
    ControlPlane,
    ops::{self, secrets::Listed},
};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(list_secrets, set_secret))
        .routes(routes!(delete_secret))
        .routes(routes!(list_team_secrets, set_team_secret))
        .routes(routes!(delete_team_secret))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OfSecret {
    /// The secret's name, in any spelling.
    secret_name: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OfTeamSecret {
    /// The team.
    #[param(value_type = String)]
    team_id: api::id::TeamId,
    /// The secret's name, in any spelling.
    secret_name: String,
}

/// Lists the secrets of the default team, without their values.
#[utoipa::path(get, path = "/v1/secrets", tag = "Secrets", responses((status = 200, body = Secrets)))]
async fn list_secrets(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
) -> Result<Json<Secrets>, Error> {
    let secrets = ops::secrets::list(&control_plane, &caller, None).await?;
    Ok(Json(Secrets { secrets: secrets.into_iter().map(wire).collect() }))
}

/// Sets a secret of the default team.
#[utoipa::path(post, path = "/v1/secrets", tag = "Secrets", request_body = UpsertSecretRequest, responses((status = 200, body = Secret)))]
async fn set_secret(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    JsonBody(request): JsonBody<UpsertSecretRequest>,
) -> Result<Json<Secret>, Error> {
    let set = ops::secrets::set(&control_plane, &caller, None, &request.name, &request.value.into()).await?;
    Ok(Json(wire(set)))
}

/// Deletes a secret of the default team.
#[utoipa::path(delete, path = "/v1/secrets/{secret_name}", tag = "Secrets", params(OfSecret), responses((status = 200, body = SecretTombstone)))]
async fn delete_secret(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfSecret>,
) -> Result<Json<SecretTombstone>, Error> {
    let deleted = ops::secrets::delete(&control_plane, &caller, None, &path.secret_name).await?;
    Ok(Json(SecretTombstone { name: deleted.name }))
}

/// Lists the secrets of a team, without their values.
#[utoipa::path(get, path = "/v1/teams/{team_id}/secrets", tag = "Secrets", params(OfTeam), responses((status = 200, body = Secrets)))]
async fn list_team_secrets(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfTeam>,
) -> Result<Json<Secrets>, Error> {
    let secrets = ops::secrets::list(&control_plane, &caller, Some(&path.team_id)).await?;
    Ok(Json(Secrets { secrets: secrets.into_iter().map(wire).collect() }))
}

/// Sets a secret of a team.
#[utoipa::path(post, path = "/v1/teams/{team_id}/secrets", tag = "Secrets", params(OfTeam), request_body = UpsertSecretRequest, responses((status = 200, body = Secret)))]
async fn set_team_secret(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfTeam>,
    JsonBody(request): JsonBody<UpsertSecretRequest>,
) -> Result<Json<Secret>, Error> {
    let (team, value) = (Some(&path.team_id), request.value.into());
    let set = ops::secrets::set(&control_plane, &caller, team, &request.name, &value).await?;
    Ok(Json(wire(set)))
}

/// Deletes a secret of a team.
#[utoipa::path(delete, path = "/v1/teams/{team_id}/secrets/{secret_name}", tag = "Secrets", params(OfTeamSecret), responses((status = 200, body = SecretTombstone)))]
async fn delete_team_secret(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfTeamSecret>,
) -> Result<Json<SecretTombstone>, Error> {
    let deleted = ops::secrets::delete(&control_plane, &caller, Some(&path.team_id), &path.secret_name).await?;
    Ok(Json(SecretTombstone { name: deleted.name }))
}

fn wire(listed: Listed) -> Secret {
    Secret {
        id: listed.secret.id.to_string(),
        created_at: convert::time(listed.secret.created_at),
        name: listed.secret.name,
        team_name: listed.team.name,
    }
}
