//! What the composition root decides for the management API.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use planner::{capacity::Capacity, catalogue::Catalogue, policy::Inventory};

use crate::ops::Error;

/// How the control plane behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address that clients reach this server under, without a trailing slash. Uploads and downloads are sent there; none
    /// means wherever the client that asks for one has reached this server.
    pub public_url: Option<String>,
    /// The instance types that deployments may have.
    pub instance_types: Catalogue,
    /// What an instance type costs, by id, in US dollars a minute; nothing where it is not listed.
    pub prices: BTreeMap<String, f64>,
    /// The most replicas that a deployment may ask for.
    pub replica_cap: u32,
    /// The locations that policies choose among, with the hardware in each.
    pub inventory: Inventory,
    /// What replicas may use together in each location, by its name; nothing bounds them in one that is not named.
    pub location_capacities: BTreeMap<String, Capacity>,
    /// What replicas may use together, wherever they are: a promotion whose two sides do not fit beside each other goes in place, or is
    /// refused.
    pub capacity: Capacity,
    /// How long a promotion's candidate must have been ready before it gets its first traffic.
    pub min_ready: Duration,
    /// What an uploaded archive may contain.
    pub archive_limits: archive::Limits,
    /// The largest body of a request, in bytes. Archives do not come this way.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How often what was counted is recorded.
    pub measure_interval: Duration,
    /// How often one key, or somebody without one, may call one endpoint.
    pub rate_limits: RateLimits,
    /// How people sign in who bring no key.
    pub sign_in: SignIn,
}

/// How people sign in who bring no key.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// The identity provider, with what it is called on the button that leads to it.
    pub provider: Option<(Arc<oidc::Provider>, String)>,
    /// The domains of addresses whose people may come by themselves, as members of the default team.
    pub domains: Vec<String>,
    /// How long somebody stays signed in.
    pub lifetime: Duration,
}

impl SignIn {
    pub(crate) fn provider(&self) -> Result<&oidc::Provider, Error> {
        let provider = self.provider.as_ref().map(|(provider, _)| provider.as_ref());
        provider.ok_or_else(|| Error::Invalid("this server has no identity provider: sign in with an API key".into()))
    }

    /// Whether somebody with this address, which a provider vouches for, may come by themselves.
    pub(crate) fn lets_in(&self, email: &str) -> bool {
        let domain = email.rsplit_once('@').map(|(_, domain)| domain);
        self.domains.iter().any(|one| domain.is_some_and(|domain| domain.eq_ignore_ascii_case(one)))
    }
}

impl Default for SignIn {
    fn default() -> Self {
        Self { provider: None, domains: Vec::new(), lifetime: Duration::from_secs(7 * 24 * 3600) }
    }
}

impl Settings {
    /// Defaults for a server that is reached under `public_url`, or wherever its clients find it.
    pub fn new(public_url: Option<&str>, instance_types: Catalogue) -> Self {
        Self {
            public_url: public_url.map(|url| url.trim_end_matches('/').to_owned()),
            instance_types,
            prices: BTreeMap::new(),
            replica_cap: 100,
            inventory: Inventory::default(),
            location_capacities: BTreeMap::new(),
            capacity: Capacity::default(),
            min_ready: Duration::ZERO,
            archive_limits: archive::Limits::default(),
            max_body_bytes: 4 << 20,
            body_timeout: Duration::from_secs(60),
            measure_interval: Duration::from_secs(30),
            rate_limits: RateLimits::default(),
            sign_in: SignIn::default(),
        }
    }
}

impl Settings {
    pub(crate) fn measure_interval_ms(&self) -> u64 {
        u64::try_from(self.measure_interval.as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

/// Calls of one key to one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// `activate` and `deactivate`, in a minute.
    pub activations_per_minute: NonZeroU32,
    /// `retry`, in a minute.
    pub retries_per_minute: NonZeroU32,
    /// Beginnings of sign-ins, in a minute: `sign_in` and `device_authorization`.
    pub sign_ins_per_minute: NonZeroU32,
    /// `POST …/logs`, in a second.
    pub log_queries_per_second: NonZeroU32,
    /// Everything else, in a second.
    pub requests_per_second: NonZeroU32,
}

const fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("limits are not zero")
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            activations_per_minute: count(20),
            retries_per_minute: count(10),
            sign_ins_per_minute: count(120),
            log_queries_per_second: count(30),
            requests_per_second: count(100),
        }
    }
}
