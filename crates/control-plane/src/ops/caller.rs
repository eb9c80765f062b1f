//! Who calls, and what they may do.

use api::id::TeamId;
use store::domain::{ApiKey, ApiKeyKind, ClientProgram, Doer, KeyOwner, Model, Team, User};

use super::Error;

/// What a route asks of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Deploy and manage.
    Manage,
    /// Make, list and delete keys.
    ManageKeys,
    /// Read what was counted.
    ReadMetrics,
}

/// The holder of a valid key.
#[derive(Debug, Clone)]
pub struct Caller {
    pub(super) key: ApiKey,
    /// Whose key it is, for a personal one.
    pub(super) user: Option<User>,
    /// What they call with.
    pub(super) client: ClientProgram,
}

impl Caller {
    /// The public handle of the key, for logs and limits.
    pub fn prefix(&self) -> &str {
        &self.key.prefix
    }

    /// Who they are, for the audit log.
    pub(super) fn doer(&self) -> Doer {
        Doer {
            api_key_prefix: Some(self.key.prefix.clone()),
            api_key_name: self.key.name.clone(),
            user_id: self.user.as_ref().map(|user| user.id.clone()),
            email: self.user.as_ref().map(|user| user.email.clone()),
            client: self.client.clone(),
        }
    }

    /// Whether the key's kind allows it; 403 when not.
    pub fn require(&self, permission: Permission) -> Result<(), Error> {
        let allowed = match self.key.kind {
            ApiKeyKind::Personal | ApiKeyKind::WorkspaceManageAll => true,
            ApiKeyKind::WorkspaceManageApiKeys => permission == Permission::ManageKeys,
            ApiKeyKind::WorkspaceExportMetrics => permission == Permission::ReadMetrics,
            ApiKeyKind::WorkspaceInvoke => false,
        };
        if allowed {
            return Ok(());
        }
        let needed = match permission {
            Permission::Manage => "a personal key or one of type WORKSPACE_MANAGE_ALL",
            Permission::ManageKeys => "a personal key or one of type WORKSPACE_MANAGE_ALL or WORKSPACE_MANAGE_API_KEYS",
            Permission::ReadMetrics => "a personal key or one of type WORKSPACE_MANAGE_ALL or WORKSPACE_EXPORT_METRICS",
        };
        Err(Error::Forbidden(format!("key {} may not do this: it needs {needed}", self.key.prefix)))
    }

    /// Whether the caller may hand this kind of key to somebody: nobody makes a key that may do more than their own. 403 when not.
    pub(super) fn require_no_less_than(&self, kind: ApiKeyKind) -> Result<(), Error> {
        let manages = matches!(kind, ApiKeyKind::Personal | ApiKeyKind::WorkspaceManageAll);
        if manages && self.key.kind == ApiKeyKind::WorkspaceManageApiKeys {
            return Err(Error::Forbidden(format!(
                "key {} is of type WORKSPACE_MANAGE_API_KEYS and may not make a key that may do more than itself: use a \
                 personal key or one of type WORKSPACE_MANAGE_ALL to make this one",
                self.key.prefix
            )));
        }
        Ok(())
    }

    /// Whether the metrics of a model are theirs to read.
    pub(super) fn may_measure(&self, model: &Model) -> bool {
        let is_listed = self.key.model_ids.as_ref().is_none_or(|listed| listed.contains(&model.id));
        is_listed && self.require_team(&model.team_id).is_ok()
    }

    /// Whether everything of the organization is theirs to manage.
    pub(super) fn is_admin(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.is_admin)
    }

    /// Whether the whole organization is theirs to manage; 403 when not. `what` they wanted to do.
    pub(super) fn require_admin(&self, what: &str) -> Result<(), Error> {
        match self.is_admin() {
            true => Ok(()),
            false => {
                let remedy = "use a personal key of one, or ask one";
                Err(Error::Forbidden(format!("only an administrator of the organization can {what}: {remedy}")))
            }
        }
    }

    /// Whether what belongs to this team is theirs; 403 when not. A team's key reaches its own team, a user those they are in, and an
    /// administrator all of them.
    pub(super) fn require_team(&self, team: &TeamId) -> Result<(), Error> {
        let (is_theirs, why) = match (&self.key.owner, &self.user) {
            (KeyOwner::Team(own), _) => (own == team, "belongs to another team: use a key of that team"),
            (KeyOwner::User(_), Some(user)) => (
                user.reaches(team),
                "is of somebody who is not in that team: ask one of its administrators to be let in",
            ),
            (KeyOwner::User(_), None) => (false, "is of somebody who is gone"),
        };
        match is_theirs {
            true => Ok(()),
            false => Err(Error::Forbidden(format!("this is for team {team}, and key {} {why}", self.key.prefix))),
        }
    }

    /// Whether they say who may do what in this team. No team's key does.
    pub(super) fn administers(&self, team: &TeamId) -> bool {
        self.user.as_ref().is_some_and(|user| user.administers(team))
    }

    /// The same, as a refusal; `what` they wanted to do.
    pub(super) fn require_administers(&self, team: &Team, what: &str) -> Result<(), Error> {
        match self.administers(&team.id) {
            true => Ok(()),
            false => Err(Error::Forbidden(format!("only an administrator of team {} can {what}", team.name))),
        }
    }
}
