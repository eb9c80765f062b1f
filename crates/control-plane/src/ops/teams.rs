//! Teams and who is in them. Routes that name none act on the caller's: a team key's own; for everybody else the default one, or the
//! first of theirs where they are not in that.

use api::id::{TeamId, UserId};
use serde_json::json;
use store::domain::{KeyOwner, Role, Team, User};

use super::{Caller, ControlPlane, Error, audit, names};

/// All teams the caller reaches, filtered by exact name.
pub async fn list(control_plane: &ControlPlane, caller: &Caller, name: Option<&str>) -> Result<Vec<Team>, Error> {
    let teams = control_plane.store().teams().await?.into_iter();
    Ok(teams
        .filter(|team| caller.require_team(&team.id).is_ok())
        .filter(|team| name.is_none_or(|name| team.name == name))
        .collect())
}

/// One team.
pub async fn get(control_plane: &ControlPlane, caller: &Caller, id: &TeamId) -> Result<Team, Error> {
    let team = control_plane.store().team(id).await?;
    caller.require_team(&team.id)?;
    Ok(team)
}

/// Makes a team without members: administrators of the organization reach it.
pub async fn create(control_plane: &ControlPlane, caller: &Caller, name: &str) -> Result<Team, Error> {
    caller.require_admin("make teams")?;
    names::team(name)?;
    let created_at = control_plane.now();
    let id = TeamId::from_entropy(rand::random());
    let team = Team { id, name: name.to_owned(), is_default: false, created_at };
    let event = audit::event(caller, created_at, "TEAM_CREATED", json!({ "team_id": team.id, "team_name": name }));
    control_plane.store().add_team(&team, Some(&event)).await?;
    Ok(team)
}

/// Gives a team another name.
pub async fn rename(control_plane: &ControlPlane, caller: &Caller, id: &TeamId, name: &str) -> Result<Team, Error> {
    let before = get(control_plane, caller, id).await?;
    caller.require_administers(&before, "rename it")?;
    names::team(name)?;
    let data = json!({ "team_id": id, "team_name": name, "previous_name": before.name });
    let event = audit::event(caller, control_plane.now(), "TEAM_RENAMED", data);
    control_plane.store().rename_team(id, name, Some(&event)).await?;
    Ok(Team { name: name.to_owned(), ..before })
}

/// Deletes a team that nothing and nobody belongs to any more.
pub async fn delete(control_plane: &ControlPlane, caller: &Caller, id: &TeamId) -> Result<Team, Error> {
    let team = get(control_plane, caller, id).await?;
    caller.require_admin("delete teams")?;
    if team.is_default {
        return Err(Error::Invalid(format!(
            "team {} is the default team, which is meant where none is named: it cannot be deleted",
            team.name
        )));
    }
    let data = json!({ "team_id": id, "team_name": team.name });
    let event = audit::event(caller, control_plane.now(), "TEAM_DELETED", data);
    control_plane.store().delete_team(id, Some(&event)).await.map_err(|error| match error {
        store::Error::InUse { .. } => Error::Invalid(format!(
            "team {} still has models, secrets, API keys or members: delete or remove those first",
            team.name
        )),
        other => other.into(),
    })?;
    Ok(team)
}

/// Who is in a team, and what they are in it.
pub async fn members(control_plane: &ControlPlane, caller: &Caller, id: &TeamId) -> Result<Vec<(User, Role)>, Error> {
    let team = get(control_plane, caller, id).await?;
    let users = control_plane.store().users().await?.into_iter();
    Ok(users.filter_map(|user| user.teams.get(&team.id).copied().map(|role| (user, role))).collect())
}

/// Takes somebody into a team, or gives them another role in it.
pub async fn set_member(
    control_plane: &ControlPlane,
    caller: &Caller,
    id: &TeamId,
    user: &UserId,
    role: Role,
) -> Result<User, Error> {
    let team = get(control_plane, caller, id).await?;
    caller.require_administers(&team, "say who is in it")?;
    let before = control_plane.store().user(user).await?;
    let data = json!({
        "team_id": id, "team_name": team.name, "user_id": user, "user_name": before.email,
        "user_email": before.email, "new_role_name": role, "previous_role": before.teams.get(id),
    });
    let event = audit::event(caller, control_plane.now(), "USER_TEAM_ROLE_UPDATED", data);
    let change = |user: &mut User| {
        user.teams.insert(team.id.clone(), role);
        Ok(())
    };
    control_plane.store().change_user(user, Some(&event), change).await
}

/// Takes somebody out of a team. Anybody may leave.
pub async fn remove_member(
    control_plane: &ControlPlane,
    caller: &Caller,
    id: &TeamId,
    user: &UserId,
) -> Result<User, Error> {
    let team = get(control_plane, caller, id).await?;
    let is_self = caller.user.as_ref().is_some_and(|caller| caller.id == *user);
    if !is_self {
        caller.require_administers(&team, "say who is in it")?;
    }
    let before = control_plane.store().user(user).await?;
    let data = json!({
        "team_id": id, "team_name": team.name, "user_id": user, "user_name": before.email,
        "previous_role": before.teams.get(id),
    });
    let event = audit::event(caller, control_plane.now(), "TEAM_MEMBER_REMOVED", data);
    let change = |member: &mut User| match member.teams.remove(&team.id) {
        Some(_) => Ok(()),
        None => Err(Error::not_found("member", user)),
    };
    control_plane.store().change_user(user, Some(&event), change).await
}

/// The team that a route without one means.
pub(super) async fn default_of(control_plane: &ControlPlane, caller: &Caller) -> Result<Team, Error> {
    let store = control_plane.store();
    if let KeyOwner::Team(id) = &caller.key.owner {
        return Ok(store.team(id).await?);
    }
    // The default one comes first.
    let reached = store.teams().await?.into_iter().find(|team| caller.require_team(&team.id).is_ok());
    reached.ok_or_else(|| {
        Error::Forbidden(format!(
            "key {} is of somebody who is in no team: ask an administrator to be let into one",
            caller.prefix()
        ))
    })
}

/// The team named in the path, or the one meant without a name.
pub(super) async fn choose(control_plane: &ControlPlane, caller: &Caller, id: Option<&TeamId>) -> Result<Team, Error> {
    match id {
        Some(id) => get(control_plane, caller, id).await,
        None => default_of(control_plane, caller).await,
    }
}
