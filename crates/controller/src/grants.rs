//! Which models each key may call. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use api::{
    id::{ModelId, TeamId},
    internal::routes::KeyGrant,
};
use store::domain::{ApiKey, ApiKeyKind, KeyOwner, Model};

/// What the holder of each key may do, by the key's hash.
pub(crate) fn by_hash(keys: &[ApiKey], models: &[Model]) -> HashMap<[u8; 32], KeyGrant> {
    let mut models_of_team: BTreeMap<&TeamId, Vec<ModelId>> = BTreeMap::new();
    for model in models {
        models_of_team.entry(&model.team_id).or_default().push(model.id.clone());
    }
    let has_one_team = models_of_team.len() <= 1;
    let models_of_team: BTreeMap<&TeamId, Arc<[ModelId]>> =
        models_of_team.into_iter().map(|(team, models)| (team, models.into())).collect();
    let callable = |key: &ApiKey| -> Option<Arc<[ModelId]>> {
        match (&key.owner, &key.model_ids) {
            (KeyOwner::User(_), None) => None,
            (KeyOwner::User(_), Some(models)) => Some(models.as_slice().into()),
            (KeyOwner::Team(team), None) => {
                let of_team = models_of_team.get(team);
                let is_all = has_one_team && of_team.is_some();
                (!is_all).then(|| of_team.cloned().unwrap_or_default())
            }
            (KeyOwner::Team(team), Some(models)) => {
                let of_team = models_of_team.get(team).map_or(&[][..], |of_team| of_team);
                Some(models.iter().filter(|model| of_team.contains(model)).cloned().collect())
            }
        }
    };
    let grant = |key: &ApiKey| {
        let grant =
            KeyGrant { prefix: key.prefix.as_str().into(), models: callable(key), may_invoke: may_invoke(key.kind) };
        (key.hash, grant)
    };
    keys.iter().map(grant).collect()
}

fn may_invoke(kind: ApiKeyKind) -> bool {
    match kind {
        ApiKeyKind::Personal | ApiKeyKind::WorkspaceManageAll | ApiKeyKind::WorkspaceInvoke => true,
        ApiKeyKind::WorkspaceExportMetrics | ApiKeyKind::WorkspaceManageApiKeys => false,
    }
}

#[cfg(test)]
mod tests {
    use api::id::UserId;
    use planner::Timestamp;

    use super::*;
    use crate::fixtures::model;

    fn key(owner: KeyOwner, kind: ApiKeyKind, models: Option<&[u128]>) -> ApiKey {
        ApiKey {
            prefix: "prefix".into(),
            hash: [1; 32],
            name: None,
            kind,
            owner,
            model_ids: models.map(|models| models.iter().map(|n| ModelId::from_entropy(*n)).collect()),
            created_at: Timestamp(1),
        }
    }

    #[track_caller]
    fn check_grant(models: &[Model], key: ApiKey, expected: Option<&[u128]>, may_invoke: bool) {
        let keys = [key];
        let grant = by_hash(&keys, models).remove(&keys[0].hash).unwrap();
        let expected: Option<Vec<ModelId>> =
            expected.map(|models| models.iter().map(|n| ModelId::from_entropy(*n)).collect());
        assert_eq!((grant.models.map(|models| models.to_vec()), grant.may_invoke), (expected, may_invoke));
    }

    #[test]
    fn a_key_calls_the_models_it_names_and_a_teams_key_only_those_of_its_team() {
        use ApiKeyKind::{Personal, WorkspaceExportMetrics, WorkspaceInvoke, WorkspaceManageApiKeys};
        let user = || KeyOwner::User(UserId::from_entropy(1));
        let team = |n| KeyOwner::Team(TeamId::from_entropy(n));
        let one_team = [model(1, 1), model(2, 1)];
        let two_teams = [model(1, 1), model(2, 2), model(3, 1)];
        check_grant(&two_teams, key(user(), Personal, None), None, true);
        check_grant(&one_team, key(team(1), WorkspaceInvoke, None), None, true);
        check_grant(&two_teams, key(team(1), WorkspaceInvoke, None), Some(&[1, 3]), true);
        check_grant(&two_teams, key(team(1), WorkspaceInvoke, Some(&[2, 3])), Some(&[3]), true);
        check_grant(&two_teams, key(team(9), WorkspaceInvoke, None), Some(&[]), true);
        check_grant(&one_team, key(team(9), WorkspaceInvoke, None), Some(&[]), true);
        check_grant(&one_team, key(team(1), WorkspaceExportMetrics, None), None, false);
        check_grant(&one_team, key(team(1), WorkspaceManageApiKeys, None), None, false);
    }
}
