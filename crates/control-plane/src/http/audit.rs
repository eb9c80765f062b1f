//! Routes of the audit log.

use api::{
    id::ModelId,
    v1::{
        audit_logs::{
            AuditLogActor, AuditLogActorType, AuditLogEntry, AuditLogSortDirection, ListAuditLogsQuery,
            ListAuditLogsResponse,
        },
        pagination::PaginationResponse,
    },
};
use axum::{Json, extract::State};
use store::domain::{AuditEntry, Doer};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    auth::Manager,
    convert,
    error::Error,
    extract::{InPath, InQuery},
    paths::OfModel,
};
use crate::{
    ControlPlane,
    ops::{self, Caller, audit::Query},
};

const DEFAULT_LIMIT: u32 = 20;
const LARGEST_LIMIT: u32 = 200;

/// The routes.
pub fn routes() -> OpenApiRouter<ControlPlane> {
    OpenApiRouter::new().routes(routes!(list_audit_logs)).routes(routes!(list_model_audit_logs))
}

/// Lists who did what.
#[utoipa::path(get, path = "/v1/audit_logs", tag = "Audit log", params(ListAuditLogsQuery), responses((status = 200, body = ListAuditLogsResponse)))]
async fn list_audit_logs(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InQuery(query): InQuery<ListAuditLogsQuery>,
) -> Result<Json<ListAuditLogsResponse>, Error> {
    list(&control_plane, &caller, None, query).await
}

/// Lists who did what to a model.
#[utoipa::path(
    get, path = "/v1/models/{model_id}/audit_logs", tag = "Audit log",
    params(OfModel, ListAuditLogsQuery), responses((status = 200, body = ListAuditLogsResponse))
)]
async fn list_model_audit_logs(
    State(control_plane): State<ControlPlane>,
    Manager(caller): Manager,
    InPath(path): InPath<OfModel>,
    InQuery(query): InQuery<ListAuditLogsQuery>,
) -> Result<Json<ListAuditLogsResponse>, Error> {
    list(&control_plane, &caller, Some(path.model_id), query).await
}

async fn list(
    control_plane: &ControlPlane,
    caller: &Caller,
    model_id: Option<ModelId>,
    query: ListAuditLogsQuery,
) -> Result<Json<ListAuditLogsResponse>, Error> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return Err(Error::invalid(format!(
            "limit: {limit} is out of range: it needs to be from 1 to {LARGEST_LIMIT}"
        )));
    }
    let (oldest_first, after) = match query.cursor.as_deref() {
        None => (query.direction == Some(AuditLogSortDirection::Asc), None),
        Some(cursor) => read_cursor(cursor)?,
    };
    let asked = Query {
        model_id,
        oldest_first,
        after,
        limit,
        start_ms: query.start_epoch_millis,
        end_ms: query.end_epoch_millis,
        search: query.search,
        groups: query.event_type_groups,
        user_ids: query.user_ids,
        deployment_ids: query.deployment_ids,
        chain_deployment_ids: query.chain_deployment_ids,
        environment_names: query.environment_names,
        sources: query.sources,
    };
    let page = ops::audit::list(control_plane, caller, asked).await?;
    let cursor = page.next.map(|last| write_cursor(oldest_first, last));
    Ok(Json(ListAuditLogsResponse {
        items: page.entries.into_iter().map(wire).collect(),
        pagination: PaginationResponse { has_more: cursor.is_some(), cursor },
    }))
}

/// A cursor remembers the direction, which the contract lets it decide.
fn write_cursor(oldest_first: bool, last: u64) -> String {
    format!("{}{last}", if oldest_first { 'a' } else { 'd' })
}

fn read_cursor(cursor: &str) -> Result<(bool, Option<u64>), Error> {
    let refuse = || Error::invalid("cursor: it is not one that an answer has given");
    let (oldest_first, last) = match (cursor.strip_prefix('a'), cursor.strip_prefix('d')) {
        (Some(last), _) => (true, last),
        (_, Some(last)) => (false, last),
        (None, None) => return Err(refuse()),
    };
    Ok((oldest_first, Some(last.parse().map_err(|_| refuse())?)))
}

fn wire(AuditEntry { id, event }: AuditEntry) -> AuditLogEntry {
    let source = ops::audit::source(&event.doer);
    let Doer { api_key_prefix, api_key_name, email, client, .. } = event.doer;
    let nobody =
        AuditLogActor { kind: AuditLogActorType::BasetenSystem, email: None, api_key_prefix: None, api_key_name: None };
    let actor = match (email, api_key_prefix) {
        (Some(email), _) => AuditLogActor { kind: AuditLogActorType::User, email: Some(email), ..nobody },
        (None, Some(prefix)) => {
            AuditLogActor { kind: AuditLogActorType::ApiKey, api_key_prefix: Some(prefix), api_key_name, ..nobody }
        }
        (None, None) => nobody,
    };
    AuditLogEntry {
        id: id.to_string(),
        created: convert::time(event.at),
        event_type: event.event_type,
        event_data: event.event_data,
        source: Some(source),
        actor,
        client_name: client.name,
        client_version: client.version,
        client_session_id: client.session_id,
    }
}
