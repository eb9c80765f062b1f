//! How the controller fares with many deployments: how long one change takes to reach the gateway's table, and what doing nothing costs.
//! A real store, controller and gateway; replicas are the fake backend's. `make bench-control-plane` runs it in three sizes.

#[path = "../src/clock.rs"]
#[allow(dead_code, reason = "the program needs more of it")]
mod clock;

use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use api::{
    id::{DeploymentId, ModelId, TeamId, UserId},
    internal::{
        access::Accesses,
        measures::Measures,
        routes::{Load, Table},
        tokens::Counted,
    },
};
use async_trait::async_trait;
use backends::fake::Fake;
use bytes::Bytes;
use clap::Parser as _;
use controller::{Controller, Offer, Parts, Settings, Site};
use planner::{
    Timestamp, autoscale,
    lifecycle::{Build, Run},
};
use serde_json::json;
use store::{
    Blobs, Installation, Location, NewDeployment, Options as StoreOptions, SecretKey, Store,
    domain::{
        ApiKey, ApiKeyKind, Archive, Deployment, DeploymentKind, Environment, KeyOwner, Model, Organization,
        PRODUCTION, Team, User,
    },
    sqlite_url,
};
use tokio::sync::watch;

use crate::clock::now;

/// What `cargo bench --bench control-plane --` takes.
#[derive(clap::Parser)]
struct Options {
    /// So many models, each with one deployment that serves and nine that rest.
    #[arg(long, default_value_t = 1000)]
    models: u32,
    /// So many changes, one after the other.
    #[arg(long, default_value_t = 300)]
    changes: u32,
    /// How long nothing happens, in seconds.
    #[arg(long, default_value_t = 10)]
    rest: u64,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

const DEPLOYMENTS_PER_MODEL: u32 = 10;
const SETTLING: Duration = Duration::from_secs(3);

/// The real gateway, and what it was last told.
struct Gateways {
    gateway: gateway::Gateway,
    table: watch::Sender<Table>,
}

#[async_trait]
impl controller::Gateways for Gateways {
    async fn publish(&self, table: Table) {
        self.gateway.publish(table.clone());
        self.table.send_replace(table);
    }

    fn loads(&self) -> HashMap<DeploymentId, Load> {
        self.gateway.loads()
    }

    fn measures(&self) -> HashMap<DeploymentId, Measures> {
        self.gateway.measures()
    }

    fn counted(&self) -> Vec<Counted> {
        self.gateway.counted()
    }

    fn accesses(&self) -> Accesses {
        self.gateway.accesses()
    }

    async fn accessed(&self) {
        self.gateway.accessed().await;
    }

    async fn activity(&self) {
        self.gateway.activity().await;
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    let blobs = Blobs::open(&Location::Folder(folder.path().join("blobs"))).expect("a blob store");
    let resting = populate(&store, &blobs, options.models).await;

    let table = watch::Sender::new(Table::default());
    let mut published = table.subscribe();
    let gateways =
        Arc::new(Gateways { gateway: gateway::Gateway::new(gateway::Settings::default(), Arc::new(now)), table });
    let backend = Fake::new();
    backend.make_ready_at_once();
    let work_dir = folder.path().join("work");
    fs::create_dir(&work_dir).expect("made");
    let location = serde_json::json!({ "name": "local", "country": "fr", "continent": "eu",
        "flavors": [{ "type": "cpu", "name": "x86", "count": 8 }] });
    let location = serde_json::from_value(location).expect("a possible location");
    let here = Offer { location, capacity: planner::capacity::Capacity::default() };
    let parts = Parts {
        store: store.clone(),
        blobs,
        builder: backend.clone(),
        sites: vec![Site { name: "local".into(), backend, offer: Some(here) }],
        gateways,
        clock: Arc::new(now),
        entropy: Arc::new(rand::random),
        log_export: None,
    };
    let begun = Instant::now();
    let settings = Settings { capacity: planner::capacity::Capacity::default(), ..Settings::new(work_dir) };
    let _controller = Controller::start(settings, parts).expect("it starts");
    let all = (options.models * DEPLOYMENTS_PER_MODEL) as usize;
    let serving = |table: &Table| table.deployments.values().filter(|route| !route.replicas.is_empty()).count();
    let is_up = |table: &Table| table.deployments.len() == all && serving(table) == options.models as usize;
    published.wait_for(is_up).await.expect("published");
    let up = begun.elapsed();
    // What follows the start, logs and promotions, is over before anything is measured.
    tokio::time::sleep(SETTLING).await;

    let mut taken = Vec::new();
    for number in 0..options.changes {
        let id = &resting[(number as usize * 7_919) % resting.len()];
        taken.push(change(&store, &mut published, id, 2 + number).await);
    }
    taken.sort();
    tokio::time::sleep(SETTLING).await;
    let before = cpu();
    tokio::time::sleep(Duration::from_secs(options.rest)).await;
    let at_rest = (cpu() - before).as_secs_f64() / options.rest as f64;
    let at = |part: f64| taken[((taken.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    say(&format!(
        "| {all} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} | {} |",
        up.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0),
        at_rest * 100.0,
        resident_mib()
    ));
    ExitCode::SUCCESS
}

/// Changes how many requests a replica of one deployment gets, and waits until the gateway goes by it.
async fn change(store: &Store, published: &mut watch::Receiver<Table>, id: &DeploymentId, target: u32) -> Duration {
    let slots = |table: &Table| table.deployments.get(id).map(|route| route.slots_per_replica);
    let before = slots(&published.borrow_and_update());
    let begun = Instant::now();
    let set = |deployment: &mut Deployment| {
        deployment.autoscaling.concurrency_target = target;
        Ok::<(), store::Error>(())
    };
    store.change_deployment(id, None, set).await.expect("saved");
    published.wait_for(|table| slots(table) != before).await.expect("published");
    begun.elapsed()
}

async fn open(folder: &Path) -> Store {
    let url = sqlite_url(&folder.join("bench.db"));
    let store = Store::open(&StoreOptions { url, secret_key: SecretKey::new([7; 32]) }).await.expect("a store");
    let (team, user) = (TeamId::from_entropy(1), UserId::from_entropy(2));
    let installation = Installation {
        organization: Organization { id: "org".into(), name: "bench".into() },
        team: Team { id: team, name: "default".into(), is_default: true, created_at: Timestamp(1) },
        admin: User { is_admin: true, ..User::new(user.clone(), "a@b", Timestamp(1)) },
        admin_key: ApiKey::new("bench", [9; 32], ApiKeyKind::Personal, KeyOwner::User(user), Timestamp(1)),
    };
    store.ensure_installed(&installation).await.expect("installed");
    store
}

/// Models whose first deployment is about to be built and started. Those that rest.
async fn populate(store: &Store, blobs: &Blobs, models: u32) -> Vec<DeploymentId> {
    let content = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"an archive"))]);
    let bytes = blobs.put("archives/one", content, 1 << 20).await.expect("stored");
    let mut resting = Vec::new();
    for number in 0..models {
        let model = Model {
            id: ModelId::from_entropy(rand::random()),
            team_id: TeamId::from_entropy(1),
            name: format!("model-{number}"),
            created_at: now(),
            archive_download_disabled: false,
        };
        let autoscaling = autoscale::Settings { min_replica: 1, ..autoscale::Settings::default() };
        let production = Environment {
            model_id: model.id.clone(),
            name: PRODUCTION.into(),
            created_at: now(),
            current: None,
            autoscaling: autoscaling.clone(),
            backpressure: None,
            promotion_settings: json!({}),
            generation: 0,
        };
        let push = |target: Option<&str>| NewDeployment {
            id: DeploymentId::from_entropy(rand::random()),
            model_id: model.id.clone(),
            name: None,
            created_at: now(),
            kind: DeploymentKind::Published,
            labels: None,
            config: json!({}),
            raw_config: None,
            user_env: None,
            archive: Archive { key: "archives/one".into(), bytes },
            deploy_timeout_ms: 600_000,
            instance_type: "1x2".into(),
            autoscaling: autoscaling.clone(),
            backpressure: None,
            target_environment: target.map(str::to_owned),
            keep_previous: false,
            missing_environments: Vec::new(),
            first_log_line: "pushed".into(),
        };
        store.create_model(&model, &production, &push(Some(PRODUCTION)), None).await.expect("stored");
        for _ in 1..DEPLOYMENTS_PER_MODEL {
            let added = store.add_deployment(&push(None), None).await.expect("stored");
            let rest = |deployment: &mut Deployment| {
                deployment.autoscaling = autoscale::Settings::default();
                deployment.lifecycle.build = Build::Succeeded { at: now(), artifact: "artifact".into() };
                deployment.lifecycle.first_ready = Some(now());
                deployment.lifecycle.run = Run::AtZero { since: now() };
                Ok::<(), store::Error>(())
            };
            store.change_deployment(&added.id, None, rest).await.expect("saved");
            resting.push(added.id);
        }
    }
    resting
}

/// What this process has used of the processors.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name in brackets").split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

fn resident_mib() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|field| field.parse().ok()).expect("a number");
    pages * 4096 / (1 << 20)
}

#[expect(clippy::print_stdout, reason = "what a benchmark is for")]
fn say(line: &str) {
    println!("{line}");
}
