//! The GraphQL endpoint that the truss client speaks: what the routes do, under the names that it sends. Its documents, as an
//! unmodified client sends them, are in `tests/http/graphql.rs`.

mod mutation;
mod objects;
mod patches;
mod query;
mod scalars;

use std::sync::LazyLock;

use async_graphql::{Context, EmptySubscription, ErrorExtensions as _, Request, Schema, Value};
use axum::{Json, extract::State};

use self::{mutation::Mutation, query::Query};
use super::{auth::Manager, base_url::BaseUrl, error::Error, extract::JsonBody};
use crate::{
    ControlPlane,
    ops::{self, Caller},
};

/// Deeper than any document of the client, and too shallow to ask for everything at once.
const DEEPEST: usize = 8;
/// More fields than any document of the client has.
const MOST_FIELDS: usize = 200;

static SCHEMA: LazyLock<Schema<Query, Mutation, EmptySubscription>> = LazyLock::new(|| {
    Schema::build(Query, Mutation, EmptySubscription).limit_depth(DEEPEST).limit_complexity(MOST_FIELDS).finish()
});

/// What every resolver needs.
struct Scene {
    control_plane: ControlPlane,
    caller: Caller,
    base_url: String,
}

/// Answers a document. Errors are in the answer, whose status is 200, as GraphQL has it.
pub async fn answer(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    BaseUrl(base_url): BaseUrl,
    JsonBody(request): JsonBody<Request>,
) -> Json<async_graphql::Response> {
    let scene = Scene { control_plane, caller, base_url: base_url.clone() };
    let mut response = SCHEMA.execute(request.data(scene)).await;
    tell_where_to_upload(&mut response.data, &base_url);
    Json(response)
}

/// Adds the address of the upload endpoint to credentials. The client hands on to its S3 library whatever stands beside them, and
/// does not know to ask for this.
fn tell_where_to_upload(data: &mut Value, base_url: &str) {
    if let Value::Object(fields) = data
        && let Some(Value::Object(credentials)) = fields.get_mut(query::CREDENTIALS)
    {
        credentials.insert(async_graphql::Name::new("endpoint_url"), Value::from(base_url));
    }
}

fn scene<'c>(context: &Context<'c>) -> &'c Scene {
    context.data_unchecked()
}

/// An operation's error, with the words and the code that the routes give it.
fn refused(error: ops::Error) -> async_graphql::Error {
    let (code, message) = Error::from(error).into_parts();
    let code = serde_json::to_value(code).unwrap_or_default();
    async_graphql::Error::new(message)
        .extend_with(|_, extensions| extensions.set("code", Value::from_json(code).unwrap_or_default()))
}

/// Something in an argument that nobody can read.
fn unreadable(argument: &str, why: impl std::fmt::Display) -> async_graphql::Error {
    refused(ops::Error::Invalid(format!("{argument}: {why}")))
}
