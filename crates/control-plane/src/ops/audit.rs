//! The audit log: what is written with each change, and reading it back.

use api::{
    id::ModelId,
    v1::audit_logs::{AuditLogEventTypeGroup, AuditLogSource},
};
use planner::Timestamp;
use serde_json::{Value, json};
use store::{
    AuditQuery,
    domain::{AuditEntry, AuditEvent, ClientProgram, Deployment, Doer, Model},
};

use super::{Caller, ControlPlane, Error};

/// Which entries to read. A list that is empty asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// Only those that name something with this text in its name or id, whatever its case.
    pub search: Option<String>,
    /// Only of these kinds.
    pub groups: Vec<AuditLogEventTypeGroup>,
    /// Only by these people.
    pub user_ids: Vec<String>,
    /// Only those about one of these deployments.
    pub deployment_ids: Vec<String>,
    /// Only those about one of these deployments of chains, which nothing here is about.
    pub chain_deployment_ids: Vec<String>,
    /// Only those about one of these environments.
    pub environment_names: Vec<String>,
    /// Only from there.
    pub sources: Vec<AuditLogSource>,
}

/// A page of entries.
pub struct Page {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// What the next page comes after; none at the end.
    pub next: Option<u64>,
}

/// How many entries are read at a time.
const CHUNK: u32 = 200;

/// Reads a page.
pub async fn list(control_plane: &ControlPlane, caller: &Caller, query: Query) -> Result<Page, Error> {
    let store = control_plane.store();
    match &query.model_id {
        Some(model) => drop(super::models::owned(control_plane, caller, model).await?),
        // Among several teams nobody but an administrator sees what all of them do.
        None if !caller.is_admin() && store.teams().await?.len() > 1 => {
            return Err(Error::Forbidden("only an administrator can read the audit log of all teams".into()));
        }
        // Nor does somebody who is in none of them.
        None => drop(super::teams::default_of(control_plane, caller).await?),
    }
    let limit = query.limit as usize;
    let mut entries = Vec::new();
    let mut after = query.after;
    // One more than asked for tells whether there is another page.
    while entries.len() <= limit {
        let asked =
            AuditQuery { model_id: query.model_id.clone(), oldest_first: query.oldest_first, after, limit: CHUNK };
        let chunk = store.audit_log(&asked).await?;
        let is_before = |entry: &AuditEntry| query.start_ms.is_some_and(|start| entry.event.at.0 < start);
        let is_last = chunk.len() < CHUNK as usize || (!query.oldest_first && chunk.last().is_some_and(is_before));
        after = chunk.last().map(|entry| entry.id);
        entries.extend(chunk.into_iter().filter(|entry| query.asks_for(&entry.event)));
        if is_last {
            break;
        }
    }
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().map(|entry| entry.id).filter(|_| has_more);
    Ok(Page { entries, next })
}

impl Query {
    fn asks_for(&self, event: &AuditEvent) -> bool {
        let at = event.at.0;
        let says = |field: &str| event.event_data[field].as_str();
        let is_one_of = |listed: &[String], found: Option<&str>| {
            listed.is_empty() || found.is_some_and(|found| listed.iter().any(|one| one == found))
        };
        self.start_ms.is_none_or(|start| at >= start)
            && self.end_ms.is_none_or(|end| at <= end)
            && (self.groups.is_empty() || self.groups.iter().any(|group| is_of(&event.event_type, *group)))
            && (self.sources.is_empty() || self.sources.contains(&source(&event.doer)))
            && is_one_of(&self.user_ids, event.doer.user_id.as_ref().map(|id| id.as_str()))
            && is_one_of(&self.deployment_ids, says("deployment_id"))
            && is_one_of(&self.chain_deployment_ids, says("chain_deployment_id"))
            && is_one_of(&self.environment_names, says("environment_name"))
            && self.search.as_ref().is_none_or(|text| names(event, text))
    }
}

/// Whether an event names something with this text in its name or id.
fn names(event: &AuditEvent, text: &str) -> bool {
    let text = text.to_lowercase();
    let is_name =
        |field: &str| !field.ends_with("role_name") && ["name", "id", "prefix"].iter().any(|end| field.ends_with(end));
    let fields = event.event_data.as_object().into_iter().flatten();
    let mut said = fields.filter(|(field, _)| is_name(field)).filter_map(|(_, value)| value.as_str());
    said.any(|value| value.to_lowercase().contains(&text))
}

/// From where something was done.
pub fn source(doer: &Doer) -> AuditLogSource {
    match doer {
        Doer { api_key_prefix: None, user_id: None, .. } => AuditLogSource::System,
        Doer { client: ClientProgram { is_dashboard: true, .. }, .. } => AuditLogSource::Ui,
        _ => AuditLogSource::Api,
    }
}

/// Whether an event is of a kind. One that deletes a user is of two.
fn is_of(event_type: &str, group: AuditLogEventTypeGroup) -> bool {
    use AuditLogEventTypeGroup as Group;
    let begins_with = |subjects: &[&str]| subjects.iter().any(|subject| event_type.starts_with(subject));
    match group {
        Group::Deployed => event_type == "MODEL_DEPLOYED",
        Group::Patched => event_type.starts_with("MODEL_DEPLOYMENT_PATCH_"),
        Group::Promoted => matches!(event_type, "MODEL_DEPLOYMENT_PROMOTED" | "MODEL_PROMOTION_CONTROL_ACTION"),
        Group::ActivatedDeactivated => matches!(
            event_type,
            "MODEL_DEPLOYMENT_ACTIVATED" | "MODEL_DEPLOYMENT_DEACTIVATED" | "MODEL_DEPLOYMENT_RETRIED"
        ),
        Group::AutoscalingSettings => event_type == "MODEL_DEPLOYMENT_AUTOSCALING_SETTINGS_CHANGED",
        Group::RequestBackpressureSettings => event_type == "MODEL_DEPLOYMENT_REQUEST_BACKPRESSURE_SETTINGS_CHANGED",
        Group::EnvironmentSettings => matches!(
            event_type,
            "ENVIRONMENT_CREATED"
                | "ENVIRONMENT_UPDATED"
                | "ENVIRONMENT_GROUP_UPDATED"
                | "ENVIRONMENT_POLICIES_CHANGED"
        ),
        Group::ReplicaTerminated => event_type == "REPLICA_TERMINATED",
        Group::Deleted => {
            let is_end = event_type.ends_with("_DELETED") && !begins_with(&["SECRET_", "API_KEY_"]);
            is_end || event_type == "USER_REMOVED"
        }
        Group::Secrets => begins_with(&["SECRET_"]),
        Group::ApiKeys => begins_with(&["API_KEY_", "TOKEN_", "DEVICE_"]),
        Group::UserManagement => begins_with(&["USER_", "TEAM_", "SERVICE_ACCOUNT_"]),
        Group::Policies => begins_with(&["POLICY_"]) || event_type.ends_with("_POLICIES_CHANGED"),
        Group::WorkspaceSettings => event_type == "WORKSPACE_SETTINGS_UPDATED",
        Group::Renamed => event_type.ends_with("_RENAMED"),
        Group::InstanceTypeChanged
        | Group::Gateway
        | Group::WebhookSigningSecrets
        | Group::DirectoryGroupManagement
        | Group::Ssh => false,
    }
}

/// An event that this caller causes now.
pub(super) fn event(caller: &Caller, now: Timestamp, event_type: &str, data: Value) -> AuditEvent {
    let mut event_data = data;
    event_data["event_type"] = event_type.into();
    AuditEvent { at: now, event_type: event_type.into(), event_data, doer: caller.doer(), model_id: None }
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
