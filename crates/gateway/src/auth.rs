//! Who calls, and whether they may call this model. Keys are known by their SHA-256 only.

use std::collections::HashMap;

use api::internal::routes::KeyGrant;
use http::{HeaderMap, HeaderName, header};
use sha2::{Digest, Sha256};

use crate::{errors::Refusal, grpc};

/// Where a key comes that leaves `Authorization` to the model.
pub(crate) const OWN_AUTHORIZATION: HeaderName = HeaderName::from_static("x-greenroom-authorization");

/// What the key in the request's `Authorization` grants, or in what gRPC clients have for it, or in a header of our own. Keys are long
/// and random, so a lookup by their hash tells a guesser nothing by its timing.
pub(crate) fn authenticate<'k>(
    headers: &HeaderMap,
    keys: &'k HashMap<[u8; 32], KeyGrant>,
) -> Result<&'k KeyGrant, Refusal> {
    let names = [&grpc::AUTHORIZATION, &OWN_AUTHORIZATION, &header::AUTHORIZATION];
    let value = names.into_iter().find_map(|name| headers.get(name)).ok_or(Refusal::MissingKey)?;
    let key = presented(value.as_bytes()).ok_or(Refusal::WrongKey)?;
    keys.get(&<[u8; 32]>::from(Sha256::digest(key))).ok_or(Refusal::WrongKey)
}

/// Refuses a model that `grant` does not cover, whether or not there is such a model.
pub(crate) fn authorize(grant: &KeyGrant, model: &str) -> Result<(), Refusal> {
    let covers = grant.models.as_ref().is_none_or(|models| models.iter().any(|id| id.as_str() == model));
    (grant.may_invoke && covers).then_some(()).ok_or(Refusal::ForbiddenModel)
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
        let grant = KeyGrant { prefix: "pre".into(), models: models.map(Into::into), may_invoke };
        HashMap::from([(Sha256::digest("pre.secret").into(), grant)])
    }

    fn check(value: Option<&str>, expected: Result<(), Refusal>) {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        assert_eq!(authenticate(&headers, &keys(None, true)).map(drop), expected, "{value:?}");
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
    fn a_key_covers_the_models_it_names_and_no_other() {
        let covered = ModelId::from_entropy(1);
        let grants = keys(Some(vec![covered.clone()]), true);
        let grant = grants.values().next().unwrap();
        assert_eq!(authorize(grant, covered.as_str()), Ok(()));
        assert_eq!(authorize(grant, "unknown1"), Err(Refusal::ForbiddenModel));
        let useless = keys(None, false);
        assert_eq!(authorize(useless.values().next().unwrap(), covered.as_str()), Err(Refusal::ForbiddenModel));
    }
}
