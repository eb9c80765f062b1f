//! People, and who the caller is.

use api::id::UserId;
use planner::Timestamp;
use store::domain::{Organization, User};

use super::{Caller, ControlPlane, Error, teams};

/// A page of people.
pub struct Page {
    /// The people.
    pub users: Vec<User>,
    /// Where the next page begins; none at the end.
    pub next: Option<usize>,
}

/// People from position `start` on, at most `limit`.
pub async fn list(control_plane: &ControlPlane, start: usize, limit: usize) -> Result<Page, Error> {
    let users = control_plane.store().users().await?;
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
