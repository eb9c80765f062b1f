//! People, and who the caller is.

use std::collections::BTreeMap;

use api::id::{TeamId, UserId};
use planner::Timestamp;
use serde_json::json;
use store::{
    Beginning,
    domain::{ApiKeyKind, KeyOwner, Organization, Role, User, UserKind},
};

use super::{Caller, ControlPlane, Error, audit, key_text::KeyText, names, teams};

/// A page of people.
pub struct Page {
    /// The people.
    pub users: Vec<User>,
    /// Where the next page begins; none at the end.
    pub next: Option<usize>,
}

/// Somebody who is to be let in.
#[derive(Debug, Clone, PartialEq)]
pub struct NewUser {
    /// Address.
    pub email: String,
    /// Name.
    pub name: Option<String>,
    /// Whether the whole organization is theirs to manage.
    pub is_admin: bool,
    /// The teams that they will be in; none means the default one, as a member.
    pub teams: Option<BTreeMap<TeamId, Role>>,
    /// Whether they begin with a key. Without one they sign in by the provider.
    pub has_key: bool,
}

/// People from position `start` on, at most `limit`; only the one with an address, where one is given.
pub async fn list(
    control_plane: &ControlPlane,
    email: Option<&str>,
    start: usize,
    limit: usize,
) -> Result<Page, Error> {
    let mut users = control_plane.store().users().await?;
    let has_address = |user: &User| email.is_none_or(|email| user.email.eq_ignore_ascii_case(email));
    users.retain(|user| user.kind == UserKind::Person && has_address(user));
    let end = start.saturating_add(limit);
    let next = (end < users.len()).then_some(end);
    Ok(Page { users: users.into_iter().skip(start).take(limit).collect(), next })
}

/// One person.
pub async fn get(control_plane: &ControlPlane, id: &UserId) -> Result<User, Error> {
    Ok(control_plane.store().user(id).await?)
}

/// Whoever calls. A team's key stands for the administrator who answers for it.
pub async fn me(control_plane: &ControlPlane, caller: &Caller) -> Result<User, Error> {
    if let Some(user) = &caller.user {
        return Ok(user.clone());
    }
    let users = control_plane.store().users().await?;
    let admin = users.into_iter().find(|user| user.is_admin);
    admin.ok_or_else(|| Error::internal("find an administrator", "the installation has none"))
}

/// Lets somebody in, and returns the key that they begin with, if they do.
pub async fn create(
    control_plane: &ControlPlane,
    caller: &Caller,
    new: NewUser,
) -> Result<(User, Option<String>), Error> {
    caller.require_admin("let people in")?;
    names::email(&new.email)?;
    if let Some(name) = &new.name {
        names::person(name)?;
    }
    let now = control_plane.now();
    let user = User {
        name: new.name,
        is_admin: new.is_admin,
        teams: known_teams(control_plane, new.teams).await?,
        ..User::new(UserId::from_entropy(rand::random()), new.email.to_lowercase(), now)
    };
    let text = new.has_key.then(KeyText::random);
    let key = text.as_ref().map(|text| text.stored(ApiKeyKind::Personal, KeyOwner::User(user.id.clone()), now));
    let data = json!({
        "user_id": user.id, "user_name": user.email, "is_admin": user.is_admin, "teams": user.teams,
        "invited_user_email": user.email, "role_name": role_name(user.is_admin),
        "api_key_id": key.as_ref().map(|key| &key.prefix),
    });
    let event = audit::event(caller, now, "USER_INVITED", data);
    let beginning = Beginning { key: key.as_ref(), credential: None };
    control_plane.store().add_user(&user, beginning, Some(&event)).await?;
    Ok((user, text.map(KeyText::into_plaintext)))
}

/// Gives somebody another name, or makes them an administrator of the organization, or no longer one.
pub async fn update(
    control_plane: &ControlPlane,
    caller: &Caller,
    id: &UserId,
    name: Option<String>,
    is_admin: Option<bool>,
) -> Result<User, Error> {
    caller.require_admin("change other people")?;
    if let Some(name) = &name {
        names::person(name)?;
    }
    let before = get(control_plane, id).await?;
    let data = json!({
        "user_id": id, "user_name": before.email, "name": name, "is_admin": is_admin,
        "user_email": before.email, "new_role_name": role_name(is_admin.unwrap_or(before.is_admin)),
        "previous_settings": { "name": before.name, "is_admin": before.is_admin },
    });
    let has_another_role = is_admin.is_some_and(|is_admin| is_admin != before.is_admin);
    let event_type = if has_another_role { "USER_ROLE_UPDATED" } else { "USER_UPDATED" };
    let event = audit::event(caller, control_plane.now(), event_type, data);
    let change = |user: &mut User| {
        user.name = name.or(user.name.take());
        user.is_admin = is_admin.unwrap_or(user.is_admin);
        Ok(())
    };
    control_plane.store().change_user(id, Some(&event), change).await.map_err(or_last)
}

/// Lets somebody out: all keys of theirs end.
pub async fn delete(control_plane: &ControlPlane, caller: &Caller, id: &UserId) -> Result<User, Error> {
    caller.require_admin("let people out")?;
    let user = get(control_plane, id).await?;
    let data = json!({
        "user_id": id, "user_name": user.email, "removed_user_email": user.email,
        "previous_settings": { "name": user.name, "is_admin": user.is_admin, "teams": user.teams },
    });
    let event = audit::event(caller, control_plane.now(), "USER_REMOVED", data);
    control_plane.store().delete_user(id, Some(&event)).await.map_err(|error| or_last(error.into()))?;
    Ok(user)
}

/// What somebody is in the organization, in the audit log.
fn role_name(is_admin: bool) -> &'static str {
    if is_admin { "Admin" } else { "Member" }
}

fn or_last(error: Error) -> Error {
    match error {
        Error::InUse { kind: "user", .. } => {
            Error::Invalid("this is the last administrator of the organization: make somebody else one first".into())
        }
        other => other,
    }
}

/// Teams that somebody is to be in, each of which must exist; the default one where nothing is said.
pub(super) async fn known_teams(
    control_plane: &ControlPlane,
    asked: Option<BTreeMap<TeamId, Role>>,
) -> Result<BTreeMap<TeamId, Role>, Error> {
    let teams = control_plane.store().teams().await?;
    let Some(asked) = asked else {
        let default = teams.iter().filter(|team| team.is_default);
        return Ok(default.map(|team| (team.id.clone(), Role::Member)).collect());
    };
    match asked.keys().find(|id| teams.iter().all(|team| team.id != **id)) {
        Some(unknown) => Err(Error::Invalid(format!("teams: there is no team {unknown}"))),
        None => Ok(asked),
    }
}

/// The workspace's name.
pub async fn workspace_name(control_plane: &ControlPlane) -> Result<Option<String>, Error> {
    Ok(control_plane.store().organization().await?.map(|organization| organization.name))
}

/// The organization, and when it was set up: its default team is as old as it is.
pub async fn organization(control_plane: &ControlPlane, caller: &Caller) -> Result<(Organization, Timestamp), Error> {
    let organization = control_plane.store().organization().await?;
    let organization = organization.ok_or_else(|| Error::internal("find the organization", "there is none"))?;
    Ok((organization, teams::default_of(control_plane, caller).await?.created_at))
}
