//! Who may change the environments of a name, in all models of a team. Everybody may read and call; where a group is restricted, only
//! administrators of the team and named users may promote, push, change settings, start and stop. Behaviour 8.3.

use std::collections::BTreeSet;

use api::id::{TeamId, UserId};
use serde_json::json;
use store::{
    ModelFilter,
    domain::{Deployment, EnvironmentGroup, Model, Promotion, Team, User},
};

use super::{Caller, ControlPlane, Effect, Error, audit, promotions, teams};

/// A group with its team and its users.
pub struct View {
    /// The group.
    pub group: EnvironmentGroup,
    /// Its team.
    pub team: Team,
    /// Those who may change it while it is restricted, administrators included.
    pub users: Vec<User>,
}

/// A change of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Whether only administrators and named users may change the environments.
    pub is_restricted: bool,
    /// The named users; none leaves them as they are.
    pub user_ids: Option<Vec<String>>,
}

/// The groups of a team: one for each name that its models have.
pub async fn list(control_plane: &ControlPlane, caller: &Caller, team: Option<&TeamId>) -> Result<Vec<View>, Error> {
    let team = teams::choose(control_plane, caller, team).await?;
    let store = control_plane.store();
    let models = store.models(&ModelFilter { team_id: Some(team.id.clone()), name: None }).await?;
    let environments = store.environments(None).await?.into_iter();
    let of_team = environments.filter(|one| models.iter().any(|model| model.id == one.model_id));
    let names: BTreeSet<String> = of_team.map(|one| one.name).collect();
    let (known, users) = (store.environment_groups(&team.id).await?, store.users().await?);
    let view = |name: String| {
        let group = known.iter().find(|group| group.name == name).cloned();
        let open = || EnvironmentGroup { team_id: team.id.clone(), name, is_restricted: false, user_ids: Vec::new() };
        view(group.unwrap_or_else(open), &team, &users)
    };
    Ok(names.into_iter().map(view).collect())
}

/// One group.
pub async fn get(
    control_plane: &ControlPlane,
    caller: &Caller,
    team: Option<&TeamId>,
    name: &str,
) -> Result<View, Error> {
    let groups = list(control_plane, caller, team).await?;
    let found = groups.into_iter().find(|view| view.group.name == name);
    found.ok_or_else(|| Error::not_found("environment group", name))
}

/// Says who may change the environments of a group. Only an administrator of the team can.
pub async fn update(
    control_plane: &ControlPlane,
    caller: &Caller,
    team: Option<&TeamId>,
    name: &str,
    update: Option<Update>,
    effect: Effect,
) -> Result<View, Error> {
    let Some(update) = update else { return get(control_plane, caller, team, name).await };
    let team = teams::choose(control_plane, caller, team).await?;
    caller.require_administers(&team, &format!("restrict environments named {name}"))?;
    let before = get(control_plane, caller, Some(&team.id), name).await?;
    let store = control_plane.store();
    let users = store.users().await?;
    let known = |id: &String| {
        let user = id.parse().ok().and_then(|id: UserId| users.iter().find(|user| user.id == id));
        user.map(|user| user.id.clone()).ok_or_else(|| Error::Invalid(format!("user_ids: there is no user {id}")))
    };
    let user_ids = match &update.user_ids {
        Some(ids) => ids.iter().map(known).collect::<Result<Vec<_>, _>>()?,
        None => before.group.user_ids.clone(),
    };
    let group = EnvironmentGroup { is_restricted: update.is_restricted, user_ids, ..before.group.clone() };
    let data = json!({
        "environment_name": group.name, "team_id": group.team_id,
        "is_restricted": group.is_restricted, "user_ids": group.user_ids,
        "previous_settings": { "is_restricted": before.group.is_restricted, "user_ids": before.group.user_ids },
    });
    let event = audit::event(caller, control_plane.now(), "ENVIRONMENT_GROUP_UPDATED", data);
    if effect == Effect::Lasting {
        store.set_environment_group(&group, update.user_ids.is_none(), Some(&event)).await?;
    }
    Ok(view(group, &before.team, &users))
}

/// Whether the caller may change the environments of these names; 403 when not.
pub(super) async fn require<'a>(
    control_plane: &ControlPlane,
    caller: &Caller,
    team: &TeamId,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<(), Error> {
    if caller.administers(team) {
        return Ok(());
    }
    let names: BTreeSet<&str> = names.into_iter().collect();
    if names.is_empty() {
        return Ok(());
    }
    let groups = control_plane.store().environment_groups(team).await?;
    let shut = groups.iter().find(|group| names.contains(group.name.as_str()) && !may_change(caller, group));
    match shut {
        None => Ok(()),
        Some(group) => Err(Error::Forbidden(format!(
            "environment {} is restricted: ask an administrator of the team to do this, or to let you",
            group.name
        ))),
    }
}

/// The same for what environments serve, and for what is on its way to one.
pub(super) async fn require_for(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &Model,
    deployment: &Deployment,
) -> Result<(), Error> {
    if caller.administers(&model.team_id) {
        return Ok(());
    }
    let environments = control_plane.store().environments(Some(&model.id)).await?;
    let promotions = promotions::in_progress(control_plane, &model.id).await?;
    let serving = environments.iter().filter(|one| one.current.as_ref() == Some(&deployment.id)).map(|one| &one.name);
    let is_candidate = |one: &&Promotion| one.candidate == deployment.id;
    let coming = promotions.iter().filter(is_candidate).map(|one| &one.environment);
    let names = serving.chain(coming).chain(&deployment.target_environment).map(String::as_str);
    require(control_plane, caller, &model.team_id, names).await
}

fn may_change(caller: &Caller, group: &EnvironmentGroup) -> bool {
    let is_named = caller.user.as_ref().is_some_and(|user| group.user_ids.contains(&user.id));
    !group.is_restricted || caller.administers(&group.team_id) || is_named
}

fn view(group: EnvironmentGroup, team: &Team, users: &[User]) -> View {
    let is_named = |user: &User| user.administers(&group.team_id) || group.user_ids.contains(&user.id);
    let may_change = |user: &&User| group.is_restricted && is_named(user);
    let users = users.iter().filter(may_change).cloned().collect();
    View { group, team: team.clone(), users }
}

#[cfg(test)]
mod tests {
    use planner::Timestamp;
    use store::domain::{ApiKey, ApiKeyKind, KeyOwner, Role};

    use super::*;

    fn caller(user: Option<User>) -> Caller {
        let owner = match &user {
            Some(user) => KeyOwner::User(user.id.clone()),
            None => KeyOwner::Team(TeamId::from_entropy(1)),
        };
        let key = ApiKey::new("p", [0; 32], ApiKeyKind::WorkspaceManageAll, owner, Timestamp(0));
        Caller { key, user, client: Default::default() }
    }

    fn user(number: u128, is_admin: bool) -> User {
        User { is_admin, ..User::new(UserId::from_entropy(number), format!("{number}@x"), Timestamp(0)) }
    }

    #[test]
    fn a_restricted_group_is_for_administrators_and_those_who_are_named() {
        let (named, other, admin) = (user(1, false), user(2, false), user(3, true));
        let of_team = |role| User { teams: [(TeamId::from_entropy(1), role)].into(), ..user(4, false) };
        let mut group = EnvironmentGroup {
            team_id: TeamId::from_entropy(1),
            name: "production".into(),
            is_restricted: false,
            user_ids: vec![named.id.clone()],
        };
        let allowed = |group: &EnvironmentGroup| {
            let users = [named.clone(), other.clone(), admin.clone(), of_team(Role::Member), of_team(Role::Admin)];
            users.map(Some).into_iter().chain([None]).map(|user| may_change(&caller(user), group)).collect::<Vec<_>>()
        };
        assert_eq!(allowed(&group), [true; 6]);
        group.is_restricted = true;
        assert_eq!(allowed(&group), [true, false, true, false, true, false]);
    }
}
