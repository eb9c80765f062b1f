//! Who there is, and the keys that they hold.

use std::{collections::BTreeMap, num::NonZeroU32};

use api::id::{ModelId, TeamId, UserId};
use planner::Timestamp;
use serde::{Deserialize, Serialize};

/// The whole installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Opaque.
    pub id: String,
    /// Shown to people as the workspace's name.
    pub name: String,
}

/// A team; models and secrets belong to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// Opaque.
    pub id: TeamId,
    /// Unique.
    pub name: String,
    /// The one that routes without a team mean; exactly one is.
    pub is_default: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A person, or a program that is treated like one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Opaque.
    pub id: UserId,
    /// Which of the two.
    pub kind: UserKind,
    /// Address; unique. A service account has one in form only.
    pub email: String,
    /// Name.
    pub name: Option<String>,
    /// Whether everything is allowed.
    pub is_admin: bool,
    /// The teams that they belong to. An administrator reaches all of them.
    pub teams: BTreeMap<TeamId, Role>,
    /// Who they are to the provider that signs them in; unique.
    pub subject: Option<String>,
    /// When they joined.
    pub created_at: Timestamp,
}

/// Who a user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserKind {
    /// Somebody.
    Person,
    /// A program.
    Service,
}

/// What somebody is in a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Deploys, manages and calls its models.
    Member,
    /// Manages its keys, its members and who may change its environments, too.
    Admin,
}

impl User {
    /// A person without a team who may nothing yet.
    pub fn new(id: UserId, email: impl Into<String>, created_at: Timestamp) -> Self {
        let (email, teams) = (email.into(), BTreeMap::new());
        Self { id, kind: UserKind::Person, email, name: None, is_admin: false, teams, subject: None, created_at }
    }

    /// Whether what belongs to a team is theirs.
    pub fn reaches(&self, team: &TeamId) -> bool {
        self.is_admin || self.teams.contains_key(team)
    }

    /// Whether they may say who else may do what in a team.
    pub fn administers(&self, team: &TeamId) -> bool {
        self.is_admin || self.teams.get(team) == Some(&Role::Admin)
    }
}

/// With what a service account asks for tokens, without the secret, which nobody keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCredential {
    /// The public part.
    pub client_id: String,
    /// SHA-256 of both parts, as of a key.
    pub hash: [u8; 32],
    /// Whose it is.
    pub user_id: UserId,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An API key, without its plaintext, which nobody keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The public handle: what stands before the dot.
    pub prefix: String,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    /// Unique among the living keys of its owner.
    pub name: Option<String>,
    /// What it may do.
    pub kind: ApiKeyKind,
    /// Whose it is.
    pub owner: KeyOwner,
    /// The models it may call; none means all.
    pub model_ids: Option<Vec<ModelId>>,
    /// The environments in which it may call them; none means everywhere.
    pub environment_names: Option<Vec<String>>,
    /// How often it may call models; none means as often as it likes.
    pub requests_per_minute: Option<NonZeroU32>,
    /// When it is worth nothing any more: given to somebody who has signed in. None means never.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a key may do, with the contract's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ApiKeyKind {
    /// Whatever its user may.
    Personal,
    /// Deploy, manage, call.
    WorkspaceManageAll,
    /// Call models.
    WorkspaceInvoke,
    /// Read `/metrics`.
    WorkspaceExportMetrics,
    /// Manage keys.
    WorkspaceManageApiKeys,
}

impl ApiKeyKind {
    /// Whether such keys call models.
    pub fn may_invoke(self) -> bool {
        match self {
            Self::Personal | Self::WorkspaceManageAll | Self::WorkspaceInvoke => true,
            Self::WorkspaceExportMetrics | Self::WorkspaceManageApiKeys => false,
        }
    }
}

/// Whose a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOwner {
    /// A person's.
    User(UserId),
    /// A team's.
    Team(TeamId),
}

impl ApiKey {
    /// A key without a name or a limit.
    pub fn new(
        prefix: impl Into<String>,
        hash: [u8; 32],
        kind: ApiKeyKind,
        owner: KeyOwner,
        created_at: Timestamp,
    ) -> Self {
        Self {
            prefix: prefix.into(),
            hash,
            name: None,
            kind,
            owner,
            model_ids: None,
            environment_names: None,
            requests_per_minute: None,
            expires_at: None,
            created_at,
        }
    }

    /// Whether it is still worth something.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}
