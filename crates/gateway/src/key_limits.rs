//! How often keys may call. What a key has used up outlives the tables that say so.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use api::internal::routes::KeyGrant;
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use crate::errors::Refusal;

/// Those keys that may not call as often as they like, by their hash: a quick one of that will do.
#[derive(Default)]
pub(crate) struct KeyLimits(HashMap<[u8; 32], Arc<KeyLimit>, foldhash::fast::RandomState>);

struct KeyLimit {
    limit: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

impl KeyLimits {
    /// The limits of `keys`, with what has been used up of those that are as `before`.
    pub(crate) fn follow(before: Option<&Self>, keys: &HashMap<[u8; 32], KeyGrant>) -> Self {
        let limit = |(hash, grant): (&[u8; 32], &KeyGrant)| {
            let limit = grant.requests_per_minute?;
            let known = before.and_then(|before| before.0.get(hash)).filter(|known| known.limit == limit);
            let new = || Arc::new(KeyLimit { limit, limiter: RateLimiter::direct(Quota::per_minute(limit)) });
            Some((*hash, known.cloned().unwrap_or_else(new)))
        };
        Self(keys.iter().filter_map(limit).collect())
    }

    /// Lets the key with this hash call once more, unless it has called too often.
    pub(crate) fn admit(&self, key: &[u8; 32]) -> Result<(), Refusal> {
        let Some(KeyLimit { limit, limiter }) = self.0.get(key).map(Arc::as_ref) else { return Ok(()) };
        limiter.check().map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1);
            Refusal::KeyLimit { limit: *limit, seconds }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(limit: u32) -> HashMap<[u8; 32], KeyGrant> {
        let requests_per_minute = NonZeroU32::new(limit);
        let grant = KeyGrant {
            prefix: "k".into(),
            models: None,
            environments: None,
            requests_per_minute,
            expires_at_ms: None,
            may_invoke: true,
        };
        HashMap::from([([1; 32], grant)])
    }

    #[test]
    fn a_new_table_gives_nothing_back_of_what_was_used_up() {
        let limits = KeyLimits::follow(None, &keys(2));
        assert_eq!([1, 2].map(|_| limits.admit(&[1; 32])), [Ok(()), Ok(())]);
        let same = KeyLimits::follow(Some(&limits), &keys(2));
        assert!(matches!(same.admit(&[1; 32]), Err(Refusal::KeyLimit { seconds: 1..=30, .. })));
        assert_eq!(same.admit(&[2; 32]), Ok(()), "a key without a limit");
        assert_eq!(KeyLimits::follow(Some(&same), &keys(3)).admit(&[1; 32]), Ok(()), "another limit begins anew");
        assert_eq!(KeyLimits::follow(Some(&same), &keys(0)).admit(&[1; 32]), Ok(()), "a limit that was taken away");
    }
}
