//! Routes of API keys. They also serve keys that may manage keys and nothing else.

use api::{
    id::TeamId,
    v1::api_keys::{APIKey, APIKeyCategory, APIKeyInfo, APIKeyOwner, APIKeyTombstone, APIKeys, CreateAPIKeyRequest},
};
use axum::{Json, extract::State};
use serde::Deserialize;
use store::domain::ApiKeyKind;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::KeyManager,
    convert,
    error::Error,
    extract::{InPath, JsonBody},
    paths::OfTeam,
};
use crate::{
    ControlPlane,
    ops::{
        self, Caller,
        api_keys::{Listed, NewKey},
    },
};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(list_api_keys, create_api_key))
        .routes(routes!(create_team_api_key))
        .routes(routes!(delete_api_key))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OfKey {
    /// What stands before the dot of the key.
    api_key_prefix: String,
}

/// Lists the keys that the caller may manage.
#[utoipa::path(get, path = "/v1/api_keys", tag = "API keys", responses((status = 200, body = APIKeys)))]
async fn list_api_keys(
    State(control_plane): State<ControlPlane>,
    KeyManager(caller): KeyManager,
) -> Result<Json<APIKeys>, Error> {
    let keys = ops::api_keys::list(&control_plane, &caller).await?;
    Ok(Json(APIKeys { keys: keys.into_iter().map(wire).collect() }))
}

/// Makes a key of the caller's, or of the default team. The answer is the only place where it can be read.
#[utoipa::path(post, path = "/v1/api_keys", tag = "API keys", request_body = CreateAPIKeyRequest, responses((status = 200, body = APIKey)))]
async fn create_api_key(
    State(control_plane): State<ControlPlane>,
    KeyManager(caller): KeyManager,
    JsonBody(request): JsonBody<CreateAPIKeyRequest>,
) -> Result<Json<APIKey>, Error> {
    let no_such = |id: &str| Error::new(api::error::Code::NotFound, format!("there is no team {id}"));
    let team = request.team_id.as_deref().map(|id| id.parse().map_err(|_| no_such(id))).transpose()?;
    create(&control_plane, &caller, team, request).await
}

/// Makes a key of a team. The answer is the only place where it can be read.
#[utoipa::path(post, path = "/v1/teams/{team_id}/api_keys", tag = "API keys", params(OfTeam), request_body = CreateAPIKeyRequest, responses((status = 200, body = APIKey)))]
async fn create_team_api_key(
    State(control_plane): State<ControlPlane>,
    KeyManager(caller): KeyManager,
    InPath(path): InPath<OfTeam>,
    JsonBody(request): JsonBody<CreateAPIKeyRequest>,
) -> Result<Json<APIKey>, Error> {
    create(&control_plane, &caller, Some(path.team_id), request).await
}

/// Deletes a key for good.
#[utoipa::path(delete, path = "/v1/api_keys/{api_key_prefix}", tag = "API keys", params(OfKey), responses((status = 200, body = APIKeyTombstone)))]
async fn delete_api_key(
    State(control_plane): State<ControlPlane>,
    KeyManager(caller): KeyManager,
    InPath(path): InPath<OfKey>,
) -> Result<Json<APIKeyTombstone>, Error> {
    ops::api_keys::delete(&control_plane, &caller, &path.api_key_prefix).await?;
    Ok(Json(APIKeyTombstone { prefix: path.api_key_prefix }))
}

async fn create(
    control_plane: &ControlPlane,
    caller: &Caller,
    team: Option<TeamId>,
    request: CreateAPIKeyRequest,
) -> Result<Json<APIKey>, Error> {
    let kind = match request.category {
        APIKeyCategory::Personal => ApiKeyKind::Personal,
        APIKeyCategory::WorkspaceManageAll => ApiKeyKind::WorkspaceManageAll,
        APIKeyCategory::WorkspaceExportMetrics => ApiKeyKind::WorkspaceExportMetrics,
        APIKeyCategory::WorkspaceInvoke => ApiKeyKind::WorkspaceInvoke,
        APIKeyCategory::WorkspaceManageApiKeys => ApiKeyKind::WorkspaceManageApiKeys,
    };
    let new = NewKey {
        name: request.name,
        kind,
        model_ids: request.model_ids,
        environment_names: request.environment_names,
        requests_per_minute: request.requests_per_minute,
    };
    let api_key = ops::api_keys::create(control_plane, caller, team.as_ref(), new).await?;
    Ok(Json(APIKey { api_key }))
}

fn wire(listed: Listed) -> APIKeyInfo {
    let category = match listed.key.kind {
        ApiKeyKind::Personal => APIKeyCategory::Personal,
        ApiKeyKind::WorkspaceManageAll => APIKeyCategory::WorkspaceManageAll,
        ApiKeyKind::WorkspaceExportMetrics => APIKeyCategory::WorkspaceExportMetrics,
        ApiKeyKind::WorkspaceInvoke => APIKeyCategory::WorkspaceInvoke,
        ApiKeyKind::WorkspaceManageApiKeys => APIKeyCategory::WorkspaceManageApiKeys,
    };
    APIKeyInfo {
        prefix: listed.key.prefix,
        name: listed.key.name,
        category,
        model_ids: listed.key.model_ids.map(|ids| ids.iter().map(ToString::to_string).collect()),
        environment_names: listed.key.environment_names,
        requests_per_minute: listed.key.requests_per_minute,
        expires_at: listed.key.expires_at.map(convert::time),
        team_name: listed.team.map(|team| team.name),
        created_at: convert::time(listed.key.created_at),
        last_used_at: None,
        owner: listed.user.map(|user| APIKeyOwner {
            user_id: user.id.to_string(),
            email: Some(user.email),
            name: user.name,
        }),
    }
}
