//! The audit log: what is written with each change, and reading it back.

use api::id::ModelId;
use planner::Timestamp;
use serde_json::{Value, json};
use store::{
    AuditQuery,
    domain::{ApiKey, AuditEntry, AuditEvent, Deployment, Model, User},
};

use super::{Caller, ControlPlane, Error};

/// Which entries to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Only those that concern this model.
    pub model_id: Option<ModelId>,
    /// Oldest first instead of newest first.
    pub oldest_first: bool,
    /// What the page before ended with.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: u32,
    /// Not before, in epoch milliseconds.
    pub start_ms: Option<u64>,
    /// Not after, in epoch milliseconds.
    pub end_ms: Option<u64>,
}

/// A page of entries, with the names of their actors.
pub struct Page {
    /// The entries.
    pub entries: Vec<(AuditEntry, Actor)>,
    /// What the next page comes after; none at the end.
    pub next: Option<u64>,
}

/// Who did something, as far as it is still known.
pub enum Actor {
    /// A person, with a key of theirs.
    User(User),
    /// A key of a team.
    Key(ApiKey),
    /// A key that has been deleted since.
    Gone(String),
    /// The platform.
    System,
}

/// How many entries are read at a time.
const CHUNK: u32 = 200;

/// Reads a page.
pub async fn list(control_plane: &ControlPlane, caller: &Caller, query: Query) -> Result<Page, Error> {
    if let Some(model) = &query.model_id {
        super::models::owned(control_plane, caller, model).await?;
    }
    let store = control_plane.store();
    let limit = query.limit as usize;
    let is_within = |entry: &AuditEntry| {
        let at = entry.event.at.0;
        query.start_ms.is_none_or(|start| at >= start) && query.end_ms.is_none_or(|end| at <= end)
    };
    let mut entries = Vec::new();
    let mut after = query.after;
    // One more than asked for tells whether there is another page.
    while entries.len() <= limit {
        let asked =
            AuditQuery { model_id: query.model_id.clone(), oldest_first: query.oldest_first, after, limit: CHUNK };
        let chunk = store.audit_log(&asked).await?;
        let is_last = chunk.len() < CHUNK as usize;
        after = chunk.last().map(|entry| entry.id);
        entries.extend(chunk.into_iter().filter(is_within));
        if is_last {
            break;
        }
    }
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().map(|entry| entry.id).filter(|_| has_more);
    let (keys, users) = (store.keys().await?, store.users().await?);
    let actor = |entry: &AuditEntry| {
        let Some(prefix) = &entry.event.api_key_prefix else {
            return Actor::System;
        };
        let Some(key) = keys.iter().find(|key| key.prefix == *prefix) else {
            return Actor::Gone(prefix.clone());
        };
        match &key.owner {
            store::domain::KeyOwner::Team(_) => Actor::Key(key.clone()),
            store::domain::KeyOwner::User(id) => match users.iter().find(|user| user.id == *id) {
                Some(user) => Actor::User(user.clone()),
                None => Actor::Key(key.clone()),
            },
        }
    };
    let entries = entries
        .into_iter()
        .map(|entry| {
            let actor = actor(&entry);
            (entry, actor)
        })
        .collect();
    Ok(Page { entries, next })
}

/// An event that this caller causes now.
pub(super) fn event(caller: &Caller, now: Timestamp, event_type: &str, data: Value) -> AuditEvent {
    let mut event_data = data;
    event_data["event_type"] = event_type.into();
    AuditEvent {
        at: now,
        event_type: event_type.into(),
        event_data,
        api_key_prefix: Some(caller.prefix().into()),
        model_id: None,
    }
}

/// An event about a model.
pub(super) fn of_model(caller: &Caller, now: Timestamp, event_type: &str, model: &Model, more: Value) -> AuditEvent {
    let mut data = json!({ "model_id": model.id, "model_name": model.name });
    if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
        data.extend(more);
    }
    AuditEvent { model_id: Some(model.id.clone()), ..event(caller, now, event_type, data) }
}

/// An event about a deployment.
pub(super) fn of_deployment(
    caller: &Caller,
    now: Timestamp,
    event_type: &str,
    (model, deployment): (&Model, &Deployment),
    more: Value,
) -> AuditEvent {
    let mut data = json!({ "deployment_id": deployment.id, "deployment_name": deployment.name });
    if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
        data.extend(more);
    }
    of_model(caller, now, event_type, model, data)
}
