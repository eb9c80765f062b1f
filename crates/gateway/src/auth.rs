//! Who calls, and whether they may call this model. Keys are known by their SHA-256 only.

use std::collections::{BTreeMap, HashMap};

use api::{
    id::DeploymentId,
    internal::routes::{KeyGrant, Split},
};
use http::{HeaderMap, HeaderName, header};
use planner::Timestamp;
use sha2::{Digest, Sha256};

use crate::{errors::Refusal, grpc, route::Target, table::sides};

/// Where a key comes that leaves `Authorization` to the model.
pub(crate) const OWN_AUTHORIZATION: HeaderName = HeaderName::from_static("x-greenroom-authorization");

/// The hash of the key in the request's `Authorization` and what it grants, or in what gRPC clients have for it, or in a header of our own. Keys are long
/// and random, so a lookup by their hash tells a guesser nothing by its timing.
pub(crate) fn authenticate<'k>(
    headers: &HeaderMap,
    keys: &'k HashMap<[u8; 32], KeyGrant>,
    now: impl FnOnce() -> Timestamp,
) -> Result<(&'k [u8; 32], &'k KeyGrant), Refusal> {
    let names = [&grpc::AUTHORIZATION, &OWN_AUTHORIZATION, &header::AUTHORIZATION];
    let value = names.into_iter().find_map(|name| headers.get(name)).ok_or(Refusal::MissingKey)?;
    let key = presented(value.as_bytes()).ok_or(Refusal::WrongKey)?;
    let known = keys.get_key_value(&<[u8; 32]>::from(Sha256::digest(key))).ok_or(Refusal::WrongKey)?;
    // Tables leave out what has expired; one that is not followed by another does not keep it alive.
    let is_over = known.1.expires_at_ms.is_some_and(|end_ms| end_ms <= now().0);
    (!is_over).then_some(known).ok_or(Refusal::WrongKey)
}

/// Refuses a model that `grant` does not cover, whether or not there is such a model.
pub(crate) fn authorize(grant: &KeyGrant, model: &str) -> Result<(), Refusal> {
    let covers = grant.models.as_ref().is_none_or(|models| models.iter().any(|id| id.as_str() == model));
    (grant.may_invoke && covers).then_some(()).ok_or(Refusal::ForbiddenModel)
}

/// Refuses a way into a model that `grant` does not cover, where it is for some environments only: their own endpoints, and those of
/// the deployments that serve there. `environments` are all those of the model, looked up for such a key only.
pub(crate) fn authorize_way<'r>(
    grant: &KeyGrant,
    target: &Target<'_>,
    deployment: &DeploymentId,
    environments: impl FnOnce() -> &'r BTreeMap<String, Option<Split>>,
) -> Result<(), Refusal> {
    let Some(allowed) = &grant.environments else { return Ok(()) };
    let is_allowed = |name: &str| allowed.iter().any(|one| one == name);
    let covers = match target {
        Target::Environment(name) => is_allowed(name),
        Target::Development | Target::Deployment(_) => environments()
            .iter()
            .any(|(name, split)| is_allowed(name) && split.iter().flat_map(sides).any(|side| side == deployment)),
    };
    covers.then_some(()).ok_or(Refusal::ForbiddenEnvironment)
}

/// The key of `Api-Key KEY` or `Bearer KEY`.
fn presented(value: &[u8]) -> Option<&[u8]> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, key) = value.split_at(space);
    let known = scheme.eq_ignore_ascii_case(b"Api-Key") || scheme.eq_ignore_ascii_case(b"Bearer");
    known.then(|| key.trim_ascii()).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use api::id::ModelId;

    use super::*;

    fn keys(models: Option<Vec<ModelId>>, may_invoke: bool) -> HashMap<[u8; 32], KeyGrant> {
        let grant = KeyGrant {
            prefix: "pre".into(),
            models: models.map(Into::into),
            environments: None,
            requests_per_minute: None,
            expires_at_ms: None,
            may_invoke,
        };
        HashMap::from([(Sha256::digest("pre.secret").into(), grant)])
    }

    fn check(value: Option<&str>, expected: Result<(), Refusal>) {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        assert_eq!(authenticate(&headers, &keys(None, true), Timestamp::default).map(drop), expected, "{value:?}");
    }

    #[test]
    fn a_key_is_taken_in_both_schemes_and_any_case() {
        for value in ["Api-Key pre.secret", "Bearer pre.secret", "api-key  pre.secret", "BEARER pre.secret "] {
            check(Some(value), Ok(()));
        }
    }

    #[test]
    fn anything_else_is_not_a_key() {
        check(None, Err(Refusal::MissingKey));
        for value in ["", "pre.secret", "Basic pre.secret", "Api-Key", "Api-Key ", "Api-Key pre.secre", "Api-Key pre"] {
            check(Some(value), Err(Refusal::WrongKey));
        }
    }

    #[test]
    fn a_key_in_a_header_of_our_own_leaves_the_other_to_the_model() {
        let told = |ours: &str, other: &str| {
            let (ours, other) = (ours.parse().unwrap(), other.parse().unwrap());
            let headers = HeaderMap::from_iter([(OWN_AUTHORIZATION, ours), (header::AUTHORIZATION, other)]);
            authenticate(&headers, &keys(None, true), Timestamp::default).map(drop)
        };
        assert_eq!(told("Api-Key pre.secret", "Bearer the model's"), Ok(()));
        assert_eq!(told("Bearer the model's", "Api-Key pre.secret"), Err(Refusal::WrongKey));
    }

    #[test]
    fn a_key_ends_at_its_time() {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, "Bearer pre.secret".parse().unwrap())]);
        let mut keys = keys(None, true);
        keys.values_mut().for_each(|grant| grant.expires_at_ms = Some(10));
        let at = |now| authenticate(&headers, &keys, || Timestamp(now)).map(drop);
        assert_eq!([at(9), at(10)], [Ok(()), Err(Refusal::WrongKey)]);
    }

    #[test]
    fn a_key_covers_the_models_it_names_and_no_other() {
        let covered = ModelId::from_entropy(1);
        let grants = keys(Some(vec![covered.clone()]), true);
        let grant = grants.values().next().unwrap();
        assert_eq!(authorize(grant, covered.as_str()), Ok(()));
        assert_eq!(authorize(grant, "unknown1"), Err(Refusal::ForbiddenModel));
        let useless = keys(None, false);
        assert_eq!(authorize(useless.values().next().unwrap(), covered.as_str()), Err(Refusal::ForbiddenModel));
    }

    #[test]
    fn a_key_for_an_environment_takes_its_way_and_those_of_what_serves_there() {
        let id = DeploymentId::from_entropy;
        let split = |stable, candidate| Some(Split { stable: id(stable), candidate });
        let environments = BTreeMap::from([
            ("production".to_owned(), split(1, None)),
            ("staging".to_owned(), split(2, Some((id(3), 10)))),
            ("empty".to_owned(), None),
        ]);
        let key = keys(None, true).into_values().next().unwrap();
        let limited = KeyGrant { environments: Some(["staging".to_owned(), "empty".to_owned()].into()), ..key.clone() };
        let may = |grant: &KeyGrant, target: &Target<'_>, deployment: u128| {
            authorize_way(grant, target, &id(deployment), || &environments).is_ok()
        };
        let (staging, production) = (Target::Environment("staging".into()), Target::Environment("production".into()));
        assert_eq!((may(&limited, &staging, 2), may(&limited, &production, 1)), (true, false));
        let own = ["1", "2", "3", "4"].map(Target::Deployment);
        let allowed: Vec<_> = own.iter().zip(1..).map(|(target, number)| may(&limited, target, number)).collect();
        assert_eq!(allowed, [false, true, true, false]);
        assert!(!may(&limited, &Target::Development, 4));
        assert!(may(&key, &production, 1) && may(&key, &Target::Development, 4));
    }
}
