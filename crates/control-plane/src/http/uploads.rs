//! The route that prepares an upload.

use api::v1::uploads::{AWSCredentials, PrepareModelUploadRequest, PrepareModelUploadResponse};
use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{auth::Manager, base_url::BaseUrl, deployments::payload, error::Error, extract::JsonBody};
use crate::{
    ControlPlane,
    ops::{self, push::Destination},
};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(prepare_model_upload))
}

/// Checks a push and gives credentials to upload its archive.
#[utoipa::path(post, path = "/v1/prepare_model_upload", tag = "Models", request_body = PrepareModelUploadRequest, responses((status = 200, body = PrepareModelUploadResponse)))]
async fn prepare_model_upload(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    BaseUrl(base_url): BaseUrl,
    JsonBody(request): JsonBody<PrepareModelUploadRequest>,
) -> Result<Json<PrepareModelUploadResponse>, Error> {
    let destination = destination(request.name, request.model_id, request.team_id)?;
    let payload = payload(request.deployment)?;
    let credentials = ops::uploads::prepare(&control_plane, &caller, &destination, payload, request.dry_run).await?;
    Ok(Json(match credentials {
        None => PrepareModelUploadResponse::default(),
        Some(credentials) => PrepareModelUploadResponse {
            creds: Some(AWSCredentials {
                aws_access_key_id: credentials.access_key_id,
                aws_secret_access_key: credentials.secret_access_key,
                aws_session_token: credentials.session_token,
                endpoint_url: Some(base_url),
            }),
            s3_bucket: Some(credentials.bucket),
            s3_key: Some(credentials.key),
            s3_region: Some(credentials.region),
        },
    }))
}

/// A push goes to a new model by name, or to one that is there by id.
fn destination(name: Option<String>, model_id: Option<String>, team_id: Option<String>) -> Result<Destination, Error> {
    let no_such = |kind: &str, id: &str| Error::new(api::error::Code::NotFound, format!("there is no {kind} {id}"));
    match (name, model_id) {
        (Some(name), None) => {
            let team = team_id.map(|id| id.parse().map_err(|_| no_such("team", &id))).transpose()?;
            Ok(Destination::NewModel { name, team, archive_download_disabled: false })
        }
        (None, Some(id)) => {
            if team_id.is_some() {
                return Err(Error::invalid("team_id: it goes with name only: a model that is there has its team"));
            }
            id.parse().map(Destination::Model).map_err(|_| no_such("model", &id))
        }
        (Some(_), Some(_)) => {
            Err(Error::invalid("name and model_id are both given: name makes a model, model_id adds to one"))
        }
        (None, None) => Err(Error::invalid("give name to make a model, or model_id to add a deployment to one")),
    }
}
