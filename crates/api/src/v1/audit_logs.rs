//! Who did what, when.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::pagination::PaginationResponse;

/// One deed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditLogEntry {
    /// Unique identifier.
    pub id: String,
    /// When it was done, RFC 3339.
    #[schema(format = DateTime)]
    pub created: String,
    /// What was done: `MODEL_DEPLOYED`, `SECRET_UPDATED`, ….
    pub event_type: String,
    /// To what; the fields depend on the type, which `event_type` repeats.
    #[schema(value_type = Object)]
    pub event_data: serde_json::Value,
    /// From where.
    #[serde(default)]
    pub source: Option<AuditLogSource>,
    /// By whom.
    pub actor: AuditLogActor,
    /// The client program.
    #[serde(default)]
    pub client_name: Option<String>,
    /// Its version.
    #[serde(default)]
    pub client_version: Option<String>,
    /// Its session.
    #[serde(default)]
    pub client_session_id: Option<String>,
}

/// From where something was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum AuditLogSource {
    /// A browser.
    Ui,
    /// A program.
    Api,
    /// A model's tool call.
    Mcp,
    /// The platform itself.
    System,
    /// Anything else.
    Other,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditLogActor {
    /// What they are.
    #[serde(rename = "type")]
    pub kind: AuditLogActorType,
    /// A person's address.
    #[serde(default)]
    pub email: Option<String>,
    /// A key's public part.
    #[serde(default)]
    pub api_key_prefix: Option<String>,
    /// A key's name.
    #[serde(default)]
    pub api_key_name: Option<String>,
}

/// What an actor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuditLogActorType {
    /// A person.
    User,
    /// A team's key.
    ApiKey,
    /// The platform, under the name that the contract has for it.
    BasetenSystem,
    /// A person who has left.
    TombstoneUser,
}

/// A page of deeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ListAuditLogsResponse {
    /// The deeds.
    pub items: Vec<AuditLogEntry>,
    /// How to go on.
    pub pagination: PaginationResponse,
}

/// Which end of the log comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum AuditLogSortDirection {
    /// Newest first.
    #[default]
    Desc,
    /// Oldest first.
    Asc,
}

/// Query of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct ListAuditLogsQuery {
    /// From the answer before; absent for the first page.
    pub cursor: Option<String>,
    /// The longest page wanted; 20 if absent.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Which end comes first; newest first if absent.
    pub direction: Option<AuditLogSortDirection>,
    /// Not before, in epoch milliseconds.
    pub start_epoch_millis: Option<u64>,
    /// Not after, in epoch milliseconds.
    pub end_epoch_millis: Option<u64>,
    /// Only entries that name something with this text in its name or id, whatever its case.
    pub search: Option<String>,
    /// Only entries of these kinds.
    pub event_type_groups: Vec<AuditLogEventTypeGroup>,
    /// Only what these people did.
    pub user_ids: Vec<String>,
    /// Only entries about one of these deployments.
    pub deployment_ids: Vec<String>,
    /// Only entries about one of these chain deployments: none, for there are no chains.
    pub chain_deployment_ids: Vec<String>,
    /// Only entries about one of these environments.
    pub environment_names: Vec<String>,
    /// Only what was done from there.
    pub sources: Vec<AuditLogSource>,
}

/// A kind of deeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuditLogEventTypeGroup {
    /// Pushes.
    Deployed,
    /// Promotions, and what was asked of them on the way.
    Promoted,
    /// Starts, stops and other tries of deployments.
    ActivatedDeactivated,
    /// Changes of how deployments scale.
    AutoscalingSettings,
    /// Changes of what happens when every replica is busy.
    RequestBackpressureSettings,
    /// Other instance types.
    InstanceTypeChanged,
    /// New environments, and changes of their settings.
    EnvironmentSettings,
    /// Replicas that somebody ended.
    ReplicaTerminated,
    /// What was deleted.
    Deleted,
    /// Secrets.
    Secrets,
    /// API keys.
    ApiKeys,
    /// People, teams and service accounts.
    UserManagement,
    /// Patches of development deployments. Greenroom's own, as are the next three.
    Patched,
    /// Policies, and what they are attached to.
    Policies,
    /// Settings of the workspace.
    WorkspaceSettings,
    /// Other names.
    Renamed,
    /// Of the hosted service only, as are the next three: no entry here is of these kinds.
    Gateway,
    /// See [`AuditLogEventTypeGroup::Gateway`].
    WebhookSigningSecrets,
    /// See [`AuditLogEventTypeGroup::Gateway`].
    DirectoryGroupManagement,
    /// See [`AuditLogEventTypeGroup::Gateway`].
    Ssh,
}
