//! Routes of the audit log.

use api::{
    id::ModelId,
    v1::{
        audit_logs::{
            AuditLogActor, AuditLogActorType, AuditLogEntry, AuditLogSortDirection, AuditLogSource, ListAuditLogsQuery,
            ListAuditLogsResponse,
        },
        pagination::PaginationResponse,
    },
};
use axum::{Json, extract::State};
use store::domain::AuditEntry;
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
    ops::{
        self, Caller,
        audit::{Actor, Query},
    },
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

fn wire((entry, actor): (AuditEntry, Actor)) -> AuditLogEntry {
    let source = match actor {
        Actor::System => AuditLogSource::System,
        Actor::User(_) | Actor::Key(_) | Actor::Gone(_) => AuditLogSource::Api,
    };
    let nobody =
        AuditLogActor { kind: AuditLogActorType::BasetenSystem, email: None, api_key_prefix: None, api_key_name: None };
    let actor = match actor {
        Actor::System => nobody,
        Actor::User(user) => AuditLogActor { kind: AuditLogActorType::User, email: Some(user.email), ..nobody },
        Actor::Key(key) => AuditLogActor {
            kind: AuditLogActorType::ApiKey,
            api_key_prefix: Some(key.prefix),
            api_key_name: key.name,
            ..nobody
        },
        Actor::Gone(prefix) => {
            AuditLogActor { kind: AuditLogActorType::ApiKey, api_key_prefix: Some(prefix), ..nobody }
        }
    };
    AuditLogEntry {
        id: entry.id.to_string(),
        created: convert::time(entry.event.at),
        event_type: entry.event.event_type,
        event_data: entry.event.event_data,
        source: Some(source),
        actor,
        client_name: None,
        client_version: None,
        client_session_id: None,
    }
}
