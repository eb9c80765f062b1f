//! How often one key may call one endpoint. Generous, because pollers are many and the hardware is the user's own.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use api::internal::client::ClientAddress;
use axum::{
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::Response,
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock, clock::DefaultClock};

use super::error;
use crate::{RateLimits, ops::Caller};

/// Who calls, and the endpoint.
type Bucket = (String, Method, String);

/// One limiter for each of the [`RateLimits`].
pub struct RateLimiters {
    activations: DefaultKeyedRateLimiter<Bucket>,
    retries: DefaultKeyedRateLimiter<Bucket>,
    sign_ins: DefaultKeyedRateLimiter<Bucket>,
    log_queries: DefaultKeyedRateLimiter<Bucket>,
    requests: DefaultKeyedRateLimiter<Bucket>,
    checked: AtomicU64,
}

/// After so many calls the buckets that are full again are forgotten: keys come and go.
const FORGET_EVERY: u64 = 10_000;

impl RateLimiters {
    /// Limiters that have seen nothing yet.
    pub fn new(limits: RateLimits) -> Arc<Self> {
        Arc::new(Self {
            activations: RateLimiter::keyed(Quota::per_minute(limits.activations_per_minute)),
            retries: RateLimiter::keyed(Quota::per_minute(limits.retries_per_minute)),
            sign_ins: RateLimiter::keyed(Quota::per_minute(limits.sign_ins_per_minute)),
            log_queries: RateLimiter::keyed(Quota::per_second(limits.log_queries_per_second)),
            requests: RateLimiter::keyed(Quota::per_second(limits.requests_per_second)),
            checked: AtomicU64::new(0),
        })
    }

    fn forget_now_and_then(&self) {
        if self.checked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            let all = [&self.activations, &self.retries, &self.sign_ins, &self.log_queries, &self.requests];
            for limiter in all {
                limiter.retain_recent();
            }
        }
    }

    fn of(&self, method: &Method, path: &str) -> &DefaultKeyedRateLimiter<Bucket> {
        let last = path.rsplit('/').next().unwrap_or_default();
        match last {
            "activate" | "deactivate" => &self.activations,
            "retry" => &self.retries,
            "sign_in" | "device_authorization" => &self.sign_ins,
            "logs" if method == Method::POST => &self.log_queries,
            _ => &self.requests,
        }
    }
}

/// What one who has no key is known by: an address or, of the sixth version, the network of which each has many to choose from.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).to_string(),
    }
}

/// Refuses the calls that are too many. Runs behind authentication where there is any: a bucket is a key's, or that of a network where
/// somebody comes without one.
pub async fn limit(State(limiters): State<Arc<RateLimiters>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let extensions = request.extensions();
    let who = match extensions.get::<Caller>() {
        Some(caller) => caller.prefix().to_owned(),
        None => extensions.get().map_or_else(String::new, |ClientAddress(address)| network(*address)),
    };
    limiters.forget_now_and_then();
    let limiter = limiters.of(request.method(), &path);
    match limiter.check_key(&(who, request.method().clone(), path)) {
        Ok(()) => next.run(request).await,
        Err(until) => {
            let wait = until.wait_time_from(DefaultClock::default().now());
            error::rate_limited(wait.as_millis().div_ceil(1000) as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_known_by_their_networks() {
        let check = |address: &str, expected: &str| assert_eq!(network(address.parse().unwrap()), expected);
        check("192.0.2.7", "192.0.2.7");
        check("::ffff:192.0.2.7", "192.0.2.7");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
    }
}
