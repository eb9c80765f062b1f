//! API keys: checking one, making, listing and deleting them. The plaintext exists in the answer that makes a key, nowhere else.

use std::num::NonZeroU32;

use api::id::{ModelId, TeamId};
use serde_json::json;
use store::domain::{ApiKey, ApiKeyKind, ClientProgram, KeyOwner, PRODUCTION, Team, User, UserKind};

use super::{
    Caller, ControlPlane, Error, audit,
    key_text::{self, KeyText},
    names, teams,
};

/// Environments that one key can be limited to.
const MOST_ENVIRONMENTS: usize = 100;

/// A key to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewKey {
    /// A name for people.
    pub name: Option<String>,
    /// What it may do.
    pub kind: ApiKeyKind,
    /// The models it may call; none means all.
    pub model_ids: Option<Vec<String>>,
    /// The environments in which it may call them; none means everywhere.
    pub environment_names: Option<Vec<String>>,
    /// How often it may call models; none means as often as it likes.
    pub requests_per_minute: Option<NonZeroU32>,
}

/// A key with its owner.
pub struct Listed {
    /// The key.
    pub key: ApiKey,
    /// Its team, for a team's key.
    pub team: Option<Team>,
    /// Its user, for a personal one.
    pub user: Option<User>,
}

/// Finds out who holds this key, which came by `client`. An unknown prefix and a wrong secret are told apart by nothing.
pub async fn authenticate(
    control_plane: &ControlPlane,
    presented: &str,
    client: ClientProgram,
) -> Result<Caller, Error> {
    let prefix = key_text::prefix_of(presented).ok_or(Error::Unauthenticated)?;
    let store = control_plane.store();
    let key = match store.key(prefix).await {
        Ok(key) => key,
        Err(store::Error::NotFound { .. }) => return Err(Error::Unauthenticated),
        Err(other) => return Err(other.into()),
    };
    if !key_text::matches(presented, &key.hash) || !key.is_valid_at(control_plane.now()) {
        return Err(Error::Unauthenticated);
    }
    let user = match &key.owner {
        KeyOwner::User(id) => match store.user(id).await {
            Ok(user) => Some(user),
            Err(store::Error::NotFound { .. }) => return Err(Error::Unauthenticated),
            Err(other) => return Err(other.into()),
        },
        KeyOwner::Team(_) => None,
    };
    Ok(Caller { key, user, client })
}

/// Makes a key for the caller or a team, and returns its plaintext.
pub async fn create(
    control_plane: &ControlPlane,
    caller: &Caller,
    team: Option<&TeamId>,
    new: NewKey,
) -> Result<String, Error> {
    if let Some(name) = &new.name {
        names::api_key(name)?;
    }
    caller.require_no_less_than(new.kind)?;
    let owner = owner(control_plane, caller, team, new.kind).await?;
    check_limits(&new)?;
    let model_ids = models(control_plane, &new, &owner).await?;
    let (now, text) = (control_plane.now(), KeyText::random());
    let key = ApiKey {
        name: new.name,
        model_ids,
        environment_names: new.environment_names,
        requests_per_minute: new.requests_per_minute,
        ..text.stored(new.kind, owner, now)
    };
    control_plane.store().add_key(&key, Some(&event(caller, now, "API_KEY_CREATED", &key))).await?;
    Ok(text.into_plaintext())
}

/// Whose the key will be.
async fn owner(
    control_plane: &ControlPlane,
    caller: &Caller,
    team: Option<&TeamId>,
    kind: ApiKeyKind,
) -> Result<KeyOwner, Error> {
    if kind == ApiKeyKind::Personal {
        return match (&caller.user, team) {
            (_, Some(_)) => {
                Err(Error::Invalid("type: a team's key cannot be PERSONAL: leave the team out of the path".into()))
            }
            (Some(user), None) => Ok(KeyOwner::User(user.id.clone())),
            (None, None) => Err(Error::Invalid("type: only a personal key can make a PERSONAL key".into())),
        };
    }
    let team = match team {
        Some(id) => teams::get(control_plane, caller, id).await?,
        None => teams::default_of(control_plane, caller).await?,
    };
    if caller.user.is_some() {
        caller.require_administers(&team, "make keys of it")?;
    }
    Ok(KeyOwner::Team(team.id))
}

/// Only keys that call models are limited in how often, and only those that do nothing else in where.
fn check_limits(new: &NewKey) -> Result<(), Error> {
    if new.requests_per_minute.is_some() && !new.kind.may_invoke() {
        return Err(Error::Invalid("requests_per_minute: a key of this type calls no models".into()));
    }
    if new.environment_names.is_some() && new.kind != ApiKeyKind::WorkspaceInvoke {
        return Err(Error::Invalid("environment_names: only keys of type WORKSPACE_INVOKE have it".into()));
    }
    let names = new.environment_names.as_deref().unwrap_or_default();
    if names.len() > MOST_ENVIRONMENTS {
        return Err(Error::Invalid(format!("environment_names: there are more than {MOST_ENVIRONMENTS} of them")));
    }
    // An environment may be made later; what is no name of any never will be.
    let wrong = names.iter().find(|name| *name != PRODUCTION && names::environment(name).is_err());
    match wrong {
        Some(name) => Err(Error::Invalid(format!("environment_names: no environment can be named {name:?}"))),
        None => Ok(()),
    }
}

/// The models that the key is limited to, each of which must be its team's.
async fn models(control_plane: &ControlPlane, new: &NewKey, owner: &KeyOwner) -> Result<Option<Vec<ModelId>>, Error> {
    let Some(ids) = &new.model_ids else { return Ok(None) };
    if !matches!(new.kind, ApiKeyKind::WorkspaceInvoke | ApiKeyKind::WorkspaceExportMetrics) {
        return Err(Error::Invalid(
            "model_ids: only keys of type WORKSPACE_INVOKE and WORKSPACE_EXPORT_METRICS can be limited to models"
                .into(),
        ));
    }
    let mut found = Vec::new();
    for id in ids {
        let id: ModelId = id.parse().map_err(|error| Error::Invalid(format!("model_ids: {id:?} is {error}")))?;
        // What another team has is nothing that this key's owner is told of.
        match control_plane.store().model(&id).await {
            Ok(model) if *owner == KeyOwner::Team(model.team_id.clone()) => found.push(model.id),
            Ok(_) | Err(store::Error::NotFound { .. }) => {
                return Err(Error::Invalid(format!("model_ids: there is no model {id}")));
            }
            Err(other) => return Err(other.into()),
        }
    }
    Ok(Some(found))
}

/// The keys that the caller may see: their own, those of teams they may manage, and, for an administrator, everybody's. Tokens of service
/// accounts are not among them: there are many, and they end by themselves.
pub async fn list(control_plane: &ControlPlane, caller: &Caller) -> Result<Vec<Listed>, Error> {
    let store = control_plane.store();
    let (keys, teams, users) = (store.keys().await?, store.teams().await?, store.users().await?);
    let visible = keys.into_iter().filter(|key| may_manage(caller, key));
    Ok(visible
        .map(|key| {
            let (team, user) = match &key.owner {
                KeyOwner::Team(id) => (teams.iter().find(|team| team.id == *id).cloned(), None),
                KeyOwner::User(id) => (None, users.iter().find(|user| user.id == *id).cloned()),
            };
            Listed { key, team, user }
        })
        .filter(|listed| {
            let is_service = listed.user.as_ref().is_some_and(|user| user.kind == UserKind::Service);
            !is_service || listed.key.expires_at.is_none()
        })
        .collect())
}

/// Deletes a key for good.
pub async fn delete(control_plane: &ControlPlane, caller: &Caller, prefix: &str) -> Result<(), Error> {
    let store = control_plane.store();
    let key = store.key(prefix).await?;
    if !may_manage(caller, &key) {
        return Err(Error::not_found("API key", prefix));
    }
    let event = event(caller, control_plane.now(), "API_KEY_DELETED", &key);
    Ok(store.revoke_key(prefix, Some(&event)).await?)
}

fn may_manage(caller: &Caller, key: &ApiKey) -> bool {
    match &key.owner {
        KeyOwner::User(owner) => caller.is_admin() || caller.user.as_ref().is_some_and(|user| user.id == *owner),
        KeyOwner::Team(team) => match &caller.user {
            Some(user) => user.administers(team),
            None => caller.require_team(team).is_ok(),
        },
    }
}

fn event(caller: &Caller, now: planner::Timestamp, event_type: &str, key: &ApiKey) -> store::domain::AuditEvent {
    let kind = match (key.kind, &key.model_ids) {
        (ApiKeyKind::Personal, _) => "PERSONAL",
        (ApiKeyKind::WorkspaceManageAll, _) => "CREATOR_SERVICE_ACCOUNT",
        (ApiKeyKind::WorkspaceManageApiKeys, _) => "MANAGE_API_KEYS_SERVICE_ACCOUNT",
        (ApiKeyKind::WorkspaceInvoke, None) => "INVOKE_ALL_MODELS_SERVICE_ACCOUNT",
        (ApiKeyKind::WorkspaceInvoke, Some(_)) => "INVOKE_ALLOWED_MODELS_SERVICE_ACCOUNT",
        (ApiKeyKind::WorkspaceExportMetrics, None) => "EXPORT_METRICS_ALL_MODELS_SERVICE_ACCOUNT",
        (ApiKeyKind::WorkspaceExportMetrics, Some(_)) => "EXPORT_METRICS_ALLOWED_MODELS_SERVICE_ACCOUNT",
    };
    audit::event(
        caller,
        now,
        event_type,
        json!({
            "api_key_id": key.prefix, "api_key_type": kind, "prefix": key.prefix, "api_key_name": key.name,
            "model_ids": key.model_ids, "environment_names": key.environment_names,
            "requests_per_minute": key.requests_per_minute,
        }),
    )
}
