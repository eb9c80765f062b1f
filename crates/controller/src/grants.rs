//! Which models each key may call. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use api::{
    id::{ModelId, TeamId, UserId},
    internal::routes::KeyGrant,
};
use store::domain::{ApiKey, KeyOwner, User};

use crate::routes::Picture;

/// Models that a key may call; none means all.
type Callable = Option<Arc<[ModelId]>>;

/// What the holder of each key may do, by the key's hash.
pub(crate) fn by_hash(picture: &Picture<'_>) -> HashMap<[u8; 32], KeyGrant> {
    let reach = Reach::of(picture);
    let grant = |key: &&ApiKey| {
        let grant = KeyGrant {
            prefix: key.prefix.as_str().into(),
            models: reach.of_key(key),
            environments: key.environment_names.as_deref().map(Into::into),
            requests_per_minute: key.requests_per_minute,
            expires_at_ms: key.expires_at.map(|at| at.0),
            may_invoke: key.kind.may_invoke(),
        };
        (key.hash, grant)
    };
    picture.keys.iter().map(grant).collect()
}

/// What belongs to whom.
struct Reach<'a> {
    users: HashMap<&'a UserId, &'a User>,
    models: BTreeMap<&'a TeamId, Arc<[ModelId]>>,
}

impl<'a> Reach<'a> {
    fn of(picture: &Picture<'a>) -> Self {
        let mut models: BTreeMap<&TeamId, Vec<ModelId>> = BTreeMap::new();
        for model in picture.models {
            models.entry(&model.team_id).or_default().push(model.id.clone());
        }
        let models = models.into_iter().map(|(team, models)| (team, models.into())).collect();
        Self { users: picture.users.iter().map(|user| (&user.id, user)).collect(), models }
    }

    fn of_key(&self, key: &ApiKey) -> Callable {
        let reached = match &key.owner {
            KeyOwner::Team(team) => self.of_teams(&[team]),
            KeyOwner::User(id) => match self.users.get(id) {
                Some(user) if user.is_admin => None,
                Some(user) => self.of_teams(&user.teams.keys().collect::<Vec<_>>()),
                None => Some([].into()),
            },
        };
        match (&key.model_ids, reached) {
            (None, reached) => reached,
            (Some(named), None) => Some(named.as_slice().into()),
            (Some(named), Some(reached)) => {
                Some(named.iter().filter(|model| reached.contains(model)).cloned().collect())
            }
        }
    }

    /// The models of some teams; none where these are all there are.
    fn of_teams(&self, teams: &[&TeamId]) -> Callable {
        let reached: Vec<_> = teams.iter().filter_map(|team| self.models.get(team)).collect();
        match reached.as_slice() {
            [] => Some([].into()),
            reached if reached.len() == self.models.len() => None,
            [only] => Some((*only).clone()),
            several => Some(several.iter().flat_map(|models| models.iter().cloned()).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use planner::Timestamp;
    use store::domain::{ApiKeyKind, Model, Role};

    use super::*;
    use crate::fixtures::model;

    fn key(owner: KeyOwner, kind: ApiKeyKind, models: Option<&[u128]>) -> ApiKey {
        let model_ids = models.map(|models| models.iter().map(|n| ModelId::from_entropy(*n)).collect());
        ApiKey { model_ids, ..ApiKey::new("prefix", [1; 32], kind, owner, Timestamp(1)) }
    }

    fn user(number: u128, teams: &[u128]) -> User {
        let teams = teams.iter().map(|team| (TeamId::from_entropy(*team), Role::Member)).collect();
        User { teams, ..User::new(UserId::from_entropy(number), "somebody@x", Timestamp(1)) }
    }

    fn grant(models: &[Model], users: &[User], key: &ApiKey) -> KeyGrant {
        let picture = Picture {
            models,
            environments: &[],
            promotions: &[],
            deployments: &[],
            keys: &[key],
            users,
            allowances: HashMap::new(),
        };
        by_hash(&picture).remove(&key.hash).unwrap()
    }

    #[track_caller]
    fn check_grant(models: &[Model], key: ApiKey, expected: Option<&[u128]>, may_invoke: bool) {
        let users = [User { is_admin: true, ..user(1, &[]) }, user(2, &[1]), user(3, &[1, 2]), user(4, &[])];
        let grant = grant(models, &users, &key);
        let expected: Option<Vec<ModelId>> =
            expected.map(|models| models.iter().map(|n| ModelId::from_entropy(*n)).collect());
        assert_eq!((grant.models.map(|models| models.to_vec()), grant.may_invoke), (expected, may_invoke));
    }

    #[test]
    fn a_key_calls_the_models_it_names_and_a_teams_key_only_those_of_its_team() {
        use ApiKeyKind::{Personal, WorkspaceExportMetrics, WorkspaceInvoke, WorkspaceManageApiKeys};
        let admin = || KeyOwner::User(UserId::from_entropy(1));
        let team = |n| KeyOwner::Team(TeamId::from_entropy(n));
        let one_team = [model(1, 1), model(2, 1)];
        let two_teams = [model(1, 1), model(2, 2), model(3, 1)];
        check_grant(&two_teams, key(admin(), Personal, None), None, true);
        check_grant(&one_team, key(team(1), WorkspaceInvoke, None), None, true);
        check_grant(&two_teams, key(team(1), WorkspaceInvoke, None), Some(&[1, 3]), true);
        check_grant(&two_teams, key(team(1), WorkspaceInvoke, Some(&[2, 3])), Some(&[3]), true);
        check_grant(&two_teams, key(team(9), WorkspaceInvoke, None), Some(&[]), true);
        check_grant(&one_team, key(team(9), WorkspaceInvoke, None), Some(&[]), true);
        check_grant(&one_team, key(team(1), WorkspaceExportMetrics, None), None, false);
        check_grant(&one_team, key(team(1), WorkspaceManageApiKeys, None), None, false);
    }

    #[test]
    fn a_person_calls_the_models_of_their_teams() {
        let own = |number| key(KeyOwner::User(UserId::from_entropy(number)), ApiKeyKind::Personal, None);
        let models = [model(1, 1), model(2, 2), model(3, 3), model(4, 1)];
        check_grant(&models, own(2), Some(&[1, 4]), true);
        check_grant(&models, own(3), Some(&[1, 4, 2]), true);
        check_grant(&models, own(4), Some(&[]), true);
        // Somebody who is gone, whose keys are on their way.
        check_grant(&models, own(5), Some(&[]), true);
        check_grant(&models[..2], own(3), None, true);
    }

    #[test]
    fn the_limits_of_a_key_are_those_of_its_grant() {
        let limited = ApiKey {
            environment_names: Some(vec!["staging".into()]),
            requests_per_minute: NonZeroU32::new(60),
            ..key(KeyOwner::Team(TeamId::from_entropy(1)), ApiKeyKind::WorkspaceInvoke, None)
        };
        let grant = grant(&[model(1, 1)], &[], &limited);
        let environments = grant.environments.map(|names| names.to_vec());
        assert_eq!((environments, grant.requests_per_minute), (limited.environment_names, limited.requests_per_minute));
    }
}
