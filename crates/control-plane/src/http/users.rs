//! Routes of people.

use api::v1::{
    pagination::PaginationResponse,
    users::{
        CreateUserRequest, ListUsersQuery, NewUser, Role, UpdateUserRequest, UserInfo, UserTombstone, UsersResponse,
    },
};
use axum::{Json, extract::State};
use store::domain::User;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    convert,
    error::Error,
    extract::{InPath, InQuery, JsonBody},
    paths::OfUser,
};
use crate::{ControlPlane, ops};

const DEFAULT_LIMIT: u32 = 100;
const LARGEST_LIMIT: u32 = 1000;

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(list_users, create_user)).routes(routes!(get_me)).routes(routes!(
        get_user,
        update_user,
        delete_user
    ))
}

/// Lists the people.
#[utoipa::path(get, path = "/v1/users", tag = "Users", params(ListUsersQuery), responses((status = 200, body = UsersResponse)))]
async fn list_users(
    State(control_plane): State<ControlPlane>,
    _: Manager,
    InQuery(query): InQuery<ListUsersQuery>,
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
    let page = ops::users::list(&control_plane, query.email.as_deref(), start, limit as usize).await?;
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

/// Lets somebody in. Their key, if they are to have one, can be read in this answer only.
#[utoipa::path(post, path = "/v1/users", tag = "Users", request_body = CreateUserRequest, responses((status = 200, body = NewUser)))]
async fn create_user(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    JsonBody(request): JsonBody<CreateUserRequest>,
) -> Result<Json<NewUser>, Error> {
    let new = ops::users::NewUser {
        email: request.email,
        name: request.name,
        is_admin: request.role == Role::Admin,
        teams: convert::teams(request.teams)?,
        has_key: request.with_api_key,
    };
    let (user, api_key) = ops::users::create(&control_plane, &caller, new).await?;
    Ok(Json(NewUser { user: wire(user, ops::users::workspace_name(&control_plane).await?), api_key }))
}

/// Changes somebody's name, or what they are in the organization.
#[utoipa::path(patch, path = "/v1/users/{user_id}", tag = "Users", params(OfUser), request_body = UpdateUserRequest, responses((status = 200, body = UserInfo)))]
async fn update_user(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfUser>,
    JsonBody(request): JsonBody<UpdateUserRequest>,
) -> Result<Json<UserInfo>, Error> {
    let is_admin = request.role.map(|role| role == Role::Admin);
    let user = ops::users::update(&control_plane, &caller, &path.user_id, request.name, is_admin).await?;
    Ok(Json(wire(user, ops::users::workspace_name(&control_plane).await?)))
}

/// Lets somebody out: all their keys end.
#[utoipa::path(delete, path = "/v1/users/{user_id}", tag = "Users", params(OfUser), responses((status = 200, body = UserTombstone)))]
async fn delete_user(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfUser>,
) -> Result<Json<UserTombstone>, Error> {
    let user = ops::users::delete(&control_plane, &caller, &path.user_id).await?;
    Ok(Json(UserTombstone { user_id: user.id.to_string(), deleted: true }))
}

fn wire(user: User, workspace_name: Option<String>) -> UserInfo {
    UserInfo {
        user_id: user.id.to_string(),
        email: Some(user.email),
        name: user.name,
        workspace_name,
        role: convert::organization_role(user.is_admin),
        teams: convert::memberships(&user.teams),
    }
}
