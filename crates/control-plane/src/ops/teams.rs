//! Teams. Routes that name none act on the caller's: a team key's own, everybody else's default one.

use api::id::TeamId;
use store::domain::{KeyOwner, Team};

use super::{Caller, ControlPlane, Error};

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

/// The team that a route without one means.
pub(super) async fn default_of(control_plane: &ControlPlane, caller: &Caller) -> Result<Team, Error> {
    let store = control_plane.store();
    if let KeyOwner::Team(id) = &caller.key.owner {
        return Ok(store.team(id).await?);
    }
    let teams = store.teams().await?;
    let default = teams.into_iter().find(|team| team.is_default);
    default.ok_or_else(|| Error::internal("find the default team", "the installation has none"))
}

/// The team named in the path, or the one meant without a name.
pub(super) async fn choose(control_plane: &ControlPlane, caller: &Caller, id: Option<&TeamId>) -> Result<Team, Error> {
    match id {
        Some(id) => get(control_plane, caller, id).await,
        None => default_of(control_plane, caller).await,
    }
}
