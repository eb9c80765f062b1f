//! The gateway alone, with one model whose traffic is divided between two deployments that both end at one upstream server. So it can
//! be measured beside other proxies: what it does for a request besides passing it on (keys, routes, slots, queues, limits, counts)
//! is what it does in the product.

use std::{
    collections::HashMap,
    convert::Infallible,
    hint::black_box,
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use api::{
    id::{DeploymentId, ModelId, ReplicaId},
    internal::{
        replica::Protocol,
        routes::{
            Address, Availability, DeploymentRoute, Endpoint, KeyGrant, ModelRoutes, RequestLimits, Split, Table,
        },
        tokens::{Allowance, Granularity, Measure, Metered, MostTokens, Period, TokenLimit},
    },
};
use clap::Parser;
use gateway::{Front, Gateway, Settings};
use http::{Response, StatusCode};
use planner::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

/// What the fallback answers with.
type NoBody = http_body_util::Empty<bytes::Bytes>;

/// Where to listen, and what is behind.
#[derive(Debug, Parser)]
struct Options {
    /// `HOST:PORT`.
    #[arg(long)]
    listen: String,
    /// The upstream's `HOST:PORT`, or `unix:PATH`.
    #[arg(long)]
    upstream: String,
    /// The key that requests carry.
    #[arg(long)]
    key: String,
    /// Requests that the upstream takes at once.
    #[arg(long, default_value_t = 256)]
    slots: u32,
    /// With all that access and policies can ask of a request: ten thousand keys, one that is for an environment and may call so often,
    /// and limits of tokens on the environment and on both deployments.
    #[arg(long)]
    guarded: bool,
    /// Tell how long it takes to hash a key and to find it among all, in microseconds, and serve nobody.
    #[arg(long)]
    time_key: bool,
}

/// Keys and policies of a guarded gateway.
const KEYS: u64 = 10_000;
const LIMITS: usize = 10;
/// How often a key is looked for to time it.
const TIMED_KEYS: u32 = 1_000_000;

/// As many threads as there are cores to run on, as in the product.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.time_key {
        print_key_time(&options, &table(&options).keys);
        return Ok(());
    }
    let listener =
        TcpListener::bind(&options.listen).await.with_context(|| format!("listening at {}", options.listen))?;
    let gateway = Gateway::new(Settings::default(), Arc::new(now));
    gateway.publish(table(&options));
    let nothing_else = tower::service_fn(|_request| async {
        let mut response = Response::new(NoBody::new());
        *response.status_mut() = StatusCode::NOT_FOUND;
        Ok::<_, Infallible>(response)
    });
    print_path();
    gateway::serve(listener, gateway, Front::default(), nothing_else, std::future::pending()).await;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "what the time costs is part of what is measured")]
fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[expect(clippy::print_stdout, reason = "bench/gateway.py reads it")]
fn print_path() {
    println!("/models/{}/environments/production", model());
}

#[expect(clippy::print_stdout, reason = "its answer")]
fn print_key_time(options: &Options, keys: &HashMap<[u8; 32], KeyGrant>) {
    let begun = Instant::now();
    let known = (0..TIMED_KEYS).filter(|_| {
        let key = black_box(options.key.as_bytes());
        keys.contains_key(&<[u8; 32]>::from(Sha256::digest(key)))
    });
    let known = f64::from(u32::try_from(known.count()).unwrap_or(u32::MAX));
    println!("a key is hashed and found among {} in {:.2} µs", keys.len(), begun.elapsed().as_secs_f64() * 1e6 / known);
}

fn model() -> ModelId {
    ModelId::from_entropy(1)
}

fn table(options: &Options) -> Table {
    let [stable, candidate] = [1, 2].map(DeploymentId::from_entropy);
    let split = Split { stable: stable.clone(), candidate: Some((candidate.clone(), 50)) };
    let routes = ModelRoutes { environments: [("production".to_owned(), Some(split))].into(), ..Default::default() };
    let plain = KeyGrant {
        prefix: "bench".into(),
        models: Some([model()].into()),
        environments: None,
        requests_per_minute: None,
        expires_at_ms: None,
        may_invoke: true,
    };
    let mut keys = HashMap::from([(Sha256::digest(&options.key).into(), plain.clone())]);
    let mut allowances = HashMap::new();
    if options.guarded {
        let others = (0..KEYS).map(|number| (Sha256::digest(number.to_le_bytes()).into(), plain.clone()));
        keys.extend(others.collect::<Vec<_>>());
        let guarded = KeyGrant {
            environments: Some(["production".to_owned()].into()),
            requests_per_minute: Some(NonZeroU32::MAX),
            ..plain
        };
        keys.insert(Sha256::digest(&options.key).into(), guarded);
        let production = Metered::Environment(model(), "production".to_owned());
        let limited = [stable.clone(), candidate.clone()].map(Metered::Deployment).into_iter().chain([production]);
        allowances.extend(limited.map(|of| (of, allowance())));
    }
    Table {
        version: 1,
        models: HashMap::from([(model(), routes)]),
        deployments: [stable, candidate].into_iter().map(|id| (id.clone(), Arc::new(route(id, options)))).collect(),
        keys,
        allowances,
    }
}

/// Limits that nothing reaches, of windows of all lengths.
fn allowance() -> Allowance {
    let limit = |number: usize| TokenLimit {
        policy: format!("policy-{number}").into(),
        most: MostTokens {
            period: Period { granularity: Granularity::ALL[number % 4], step: NonZeroU32::MIN },
            bounds: [(Measure::Total, NonZeroU64::MAX)].into(),
        },
    };
    Allowance { limits: (0..LIMITS).map(limit).collect(), counted: Vec::new() }
}

fn route(id: DeploymentId, options: &Options) -> DeploymentRoute {
    let address = match options.upstream.strip_prefix("unix:") {
        Some(path) => Address::Unix(PathBuf::from(path)),
        None => Address::Tcp(options.upstream.clone()),
    };
    DeploymentRoute {
        id,
        model_id: model(),
        availability: Availability::Serve,
        protocol: Protocol::Http,
        replicas: vec![Endpoint { replica_id: ReplicaId::from_entropy(1), address, start: Default::default() }],
        slots_per_replica: options.slots,
        limits: RequestLimits {
            queue_ms: 60_000,
            first_byte_ms: 60_000,
            idle_ms: 60_000,
            max_body_bytes: 100 << 20,
            max_queued: 1_000,
            max_queued_bytes: 100 << 20,
            waits_when_full: true,
        },
    }
}
