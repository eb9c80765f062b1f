//! Routes of people.

use api::{
    id::UserId,
    v1::{
        pagination::{PageQuery, PaginationResponse},
        users::{UserInfo, UsersResponse},
    },
};
use axum::{Json, extract::State};
use serde::Deserialize;
use store::domain::User;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    error::Error,
    extract::{InPath, InQuery},
};
use crate::{ControlPlane, ops};

const DEFAULT_LIMIT: u32 = 100;
const LARGEST_LIMIT: u32 = 1000;

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(list_users)).routes(routes!(get_me)).routes(routes!(get_user))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OfUser {
    /// The person.
    #[param(value_type = String)]
    user_id: UserId,
}

/// Lists the people.
#[utoipa::path(get, path = "/v1/users", tag = "Users", params(PageQuery), responses((status = 200, body = UsersResponse)))]
async fn list_users(
    State(control_plane): State<ControlPlane>,
    _: Manager,
    InQuery(query): InQuery<PageQuery>,
) -> Result<Json<UsersResponse>, Error> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return Err(Error::invalid(format!(
            "limit: {limit} is out of range: it needs to be from 1 to {LARGEST_LIMIT}"
        )));
    }
    let start = match query.cursor.as_deref() {
        None => 0,
        Some(cursor) => cursor.parse().map_err(|_| Error::invalid("cursor: it is not one that an answer has given"))?,
    };
    let page = ops::users::list(&control_plane, start, limit as usize).await?;
    let workspace = ops::users::workspace_name(&control_plane).await?;
    Ok(Json(UsersResponse {
        items: page.users.into_iter().map(|user| wire(user, workspace.clone())).collect(),
        pagination: PaginationResponse {
            has_more: page.next.is_some(),
            cursor: page.next.map(|next| next.to_string()),
        },
    }))
}

/// Shows whoever calls.
#[utoipa::path(get, path = "/v1/users/me", tag = "Users", responses((status = 200, body = UserInfo)))]
async fn get_me(State(control_plane): State<ControlPlane>, Manager(caller): Manager) -> Result<Json<UserInfo>, Error> {
    let user = ops::users::me(&control_plane, &caller).await?;
    Ok(Json(wire(user, ops::users::workspace_name(&control_plane).await?)))
}

/// Shows one person.
#[utoipa::path(get, path = "/v1/users/{user_id}", tag = "Users", params(OfUser), responses((status = 200, body = UserInfo)))]
async fn get_user(
    State(control_plane): State<ControlPlane>,
    _: Manager,
    InPath(path): InPath<OfUser>,
) -> Result<Json<UserInfo>, Error> {
    let user = ops::users::get(&control_plane, &path.user_id).await?;
    Ok(Json(wire(user, ops::users::workspace_name(&control_plane).await?)))
}

fn wire(user: User, workspace_name: Option<String>) -> UserInfo {
    UserInfo { user_id: user.id.to_string(), email: Some(user.email), name: user.name, workspace_name }
}
