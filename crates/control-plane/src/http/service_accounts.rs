//! Routes of service accounts.

use api::v1::service_accounts::{
    CreateServiceAccountRequest, ServiceAccount, ServiceAccountSecret, ServiceAccountTombstone, ServiceAccounts,
};
use api::v1::users::Role;
use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    convert,
    error::Error,
    extract::{InPath, JsonBody},
    paths::OfServiceAccount,
};
use crate::{
    ControlPlane,
    ops::service_accounts::{self, NewAccount, Secret, View},
};

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new()
        .routes(routes!(list_service_accounts, create_service_account))
        .routes(routes!(delete_service_account))
        .routes(routes!(rotate_client_secret))
}

/// Lists the service accounts.
#[utoipa::path(get, path = "/v1/service_accounts", tag = "Service accounts", responses((status = 200, body = ServiceAccounts)))]
async fn list_service_accounts(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
) -> Result<Json<ServiceAccounts>, Error> {
    let accounts = service_accounts::list(&control_plane, &caller).await?;
    Ok(Json(ServiceAccounts { service_accounts: accounts.into_iter().map(wire).collect() }))
}

/// Makes a service account. The answer is the only place where its secret can be read.
#[utoipa::path(post, path = "/v1/service_accounts", tag = "Service accounts", request_body = CreateServiceAccountRequest, responses((status = 200, body = ServiceAccountSecret)))]
async fn create_service_account(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    JsonBody(request): JsonBody<CreateServiceAccountRequest>,
) -> Result<Json<ServiceAccountSecret>, Error> {
    let new =
        NewAccount { name: request.name, is_admin: request.role == Role::Admin, teams: convert::teams(request.teams)? };
    Ok(Json(with_secret(service_accounts::create(&control_plane, &caller, new).await?)))
}

/// Gives a service account another client id and secret; those before end, and so do its tokens and keys.
#[utoipa::path(post, path = "/v1/service_accounts/{service_account_id}/rotate", tag = "Service accounts", params(OfServiceAccount), responses((status = 200, body = ServiceAccountSecret)))]
async fn rotate_client_secret(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfServiceAccount>,
) -> Result<Json<ServiceAccountSecret>, Error> {
    let rotated = service_accounts::rotate(&control_plane, &caller, &path.service_account_id).await?;
    Ok(Json(with_secret(rotated)))
}

/// Deletes a service account with its keys and tokens.
#[utoipa::path(delete, path = "/v1/service_accounts/{service_account_id}", tag = "Service accounts", params(OfServiceAccount), responses((status = 200, body = ServiceAccountTombstone)))]
async fn delete_service_account(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfServiceAccount>,
) -> Result<Json<ServiceAccountTombstone>, Error> {
    let account = service_accounts::delete(&control_plane, &caller, &path.service_account_id).await?;
    Ok(Json(ServiceAccountTombstone { id: account.id.to_string(), deleted: true }))
}

fn with_secret((account, Secret(client_secret)): (View, Secret)) -> ServiceAccountSecret {
    ServiceAccountSecret { service_account: wire(account), client_secret }
}

fn wire(account: View) -> ServiceAccount {
    let View { user, client_id, since } = account;
    ServiceAccount {
        id: user.id.to_string(),
        name: user.name.unwrap_or(user.email),
        client_id,
        role: convert::organization_role(user.is_admin),
        teams: convert::memberships(&user.teams),
        created_at: convert::time(user.created_at),
        secret_created_at: convert::time(since),
    }
}
