//! A small world around a controller: a real store in a temporary folder, a backend and a gateway in memory, a clock that a test
//! moves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{gateway::Gateway, spy::Spy};
use api::{
    id::{DeploymentId, ModelId, ReplicaId, TeamId, UserId},
    internal::replica::LogLine,
};
use backends::{Backend, fake::Fake};
use bytes::Bytes;
use controller::{Controller, Handle, Offer, Parts, Settings, Site};
use planner::{
    Timestamp, autoscale,
    capacity::Capacity,
    lifecycle::{self, Lifecycle, Status},
    policy::{Country, Flavor, Kind, Location as Place, Name, Stock},
    replica_set,
};
use secrecy::SecretString;
use serde_json::json;
use store::{
    Blobs, Installation, Location, LogQuery, NewDeployment, Options, SecretKey, Store,
    domain::{
        ApiKey, ApiKeyKind, Archive, Component, Deployment, DeploymentKind, Environment, KeyOwner, LogRecord, Model,
        Organization, PRODUCTION, Replica, Secret, Team, User,
    },
    sqlite_url,
};

pub struct World {
    pub store: Store,
    pub blobs: Blobs,
    pub backend: Arc<Fake>,
    pub spy: Arc<Spy>,
    pub gateway: Arc<Gateway>,
    pub settings: Settings,
    pub log_export: Option<Arc<dyn controller::LogExport>>,
    pub team: TeamId,
    /// The location of `backend`, as [`site`] reads it.
    pub first_location: &'static str,
    pub beside: Vec<(&'static str, Arc<Fake>)>,
    now: Arc<AtomicU64>,
    drawn: Arc<AtomicU64>,
    _folder: tempfile::TempDir,
}

impl World {
    pub async fn new() -> World {
        World::in_folder(tempfile::tempdir().unwrap()).await
    }

    /// A world whose team has a secret that was sealed with another server's key.
    pub async fn with_foreign_secret(name: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        let url = sqlite_url(&folder.path().join("test.db"));
        let elsewhere = Store::open(&Options { url, secret_key: SecretKey::new([8; 32]) }).await.unwrap();
        let team = TeamId::from_entropy(1);
        install(&elsewhere, &team).await;
        let id = api::id::SecretId::from_entropy(3);
        let secret = Secret { id, team_id: team, name: name.into(), created_at: Timestamp(1) };
        elsewhere.set_secret(&secret, &SecretString::from("sealed"), None).await.unwrap();
        drop(elsewhere);
        World::in_folder(folder).await
    }

    async fn in_folder(folder: tempfile::TempDir) -> World {
        // Shown with a failing test. Another test of this process may have done it.
        tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_test_writer().try_init().ok();
        let work_dir = folder.path().join("work");
        std::fs::create_dir(&work_dir).unwrap();
        let url = sqlite_url(&folder.path().join("test.db"));
        let store = Store::open(&Options { url, secret_key: SecretKey::new([7; 32]) }).await.unwrap();
        let blobs = Blobs::open(&Location::Folder(folder.path().join("blobs"))).unwrap();
        let team = TeamId::from_entropy(1);
        install(&store, &team).await;
        let backend = Fake::new();
        let gateway = Arc::new(Gateway::default());
        let mut settings = Settings::new(work_dir);
        // Whatever happens in a test happens because something woke a task, or because the clock was moved.
        settings.slow_round = Duration::from_secs(3600);
        World {
            store,
            blobs,
            spy: Arc::new(Spy::new(backend.clone(), gateway.clone())),
            backend,
            gateway,
            settings,
            log_export: None,
            team,
            first_location: "local",
            beside: Vec::new(),
            now: Arc::new(AtomicU64::new(1_700_000_000_000)),
            drawn: Arc::default(),
            _folder: folder,
        }
    }

    /// A controller in this world. Dropping the handle is what the end of its process would be.
    pub fn start(&self) -> Handle {
        let (now, drawn) = (self.now.clone(), self.drawn.clone());
        let parts = Parts {
            store: self.store.clone(),
            blobs: self.blobs.clone(),
            builder: self.spy.clone(),
            sites: self.sites(),
            gateways: self.gateway.clone(),
            clock: Arc::new(move || Timestamp(now.load(Ordering::SeqCst))),
            entropy: Arc::new(move || entropy(drawn.fetch_add(1, Ordering::SeqCst))),
            log_export: self.log_export.clone(),
        };
        Controller::start(self.settings.clone(), parts).unwrap()
    }

    /// Its locations: the one that the spy watches, and what a test has added.
    fn sites(&self) -> Vec<Site> {
        let backend: Arc<dyn Backend> = self.spy.clone();
        let first = (self.first_location, backend);
        let added = self.beside.iter().map(|(name, fake)| (*name, fake.clone() as Arc<dyn Backend>));
        [first].into_iter().chain(added).map(|(name, backend)| site(name, backend)).collect()
    }

    /// Another location, whose replicas are ready at once, as [`site`] reads it.
    pub fn add_location(&mut self, name: &'static str) -> Arc<Fake> {
        let fake = self.backend.beside();
        fake.make_ready_at_once();
        self.beside.push((name, fake.clone()));
        fake
    }

    /// The end of its process: nothing that it was doing happens any more when this returns.
    pub async fn kill(&self, controller: Handle) {
        drop(controller);
        // A write that was under way holds the one connection for writing until it is done or undone.
        self.store.mark_replica_stopping(&ReplicaId::from_entropy(0), self.now(), None).await.unwrap();
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    /// Moves the clock, and has the tasks notice.
    pub fn advance(&self, duration: Duration) {
        self.now.fetch_add(duration.as_millis() as u64, Ordering::SeqCst);
        self.gateway.nudge();
    }

    /// A model with its first deployment.
    pub async fn push_model(&self, name: &str) -> Deployment {
        let (model, first) = self.model_and_push(name).await;
        self.create(&model, &first).await
    }

    /// The same, changed before it is stored.
    pub async fn push_model_with(&self, name: &str, change: impl FnOnce(&mut NewDeployment)) -> Deployment {
        let (model, mut first) = self.model_and_push(name).await;
        change(&mut first);
        self.create(&model, &first).await
    }

    /// Another deployment of a model.
    pub async fn push(&self, model: &ModelId, change: impl FnOnce(&mut NewDeployment)) -> Deployment {
        let mut push = self.new_deployment(model).await;
        change(&mut push);
        self.store.add_deployment(&push, None).await.unwrap()
    }

    async fn create(&self, model: &Model, first: &NewDeployment) -> Deployment {
        let production = Environment {
            model_id: model.id.clone(),
            name: PRODUCTION.into(),
            created_at: self.now(),
            current: None,
            autoscaling: autoscale::Settings::default(),
            backpressure: None,
            promotion_settings: json!({}),
            generation: 0,
        };
        self.store.create_model(model, &production, first, None).await.unwrap()
    }

    async fn model_and_push(&self, name: &str) -> (Model, NewDeployment) {
        let model = Model {
            id: ModelId::from_entropy(self.draw()),
            team_id: self.team.clone(),
            name: name.into(),
            created_at: self.now(),
            archive_download_disabled: false,
        };
        let mut first = self.new_deployment(&model.id).await;
        first.target_environment = Some(PRODUCTION.into());
        (model, first)
    }

    async fn new_deployment(&self, model: &ModelId) -> NewDeployment {
        let id = DeploymentId::from_entropy(self.draw());
        let key = format!("archives/{id}");
        let content = format!("the archive of {id}");
        let chunks = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(content))]);
        let bytes = self.blobs.put(&key, chunks, 1 << 20).await.unwrap();
        NewDeployment {
            id,
            model_id: model.clone(),
            name: None,
            created_at: self.now(),
            kind: DeploymentKind::Published,
            labels: None,
            config: json!({}),
            raw_config: None,
            user_env: None,
            archive: Archive { key, bytes },
            deploy_timeout_ms: 600_000,
            instance_type: "1x2".into(),
            autoscaling: autoscale::Settings::default(),
            backpressure: None,
            target_environment: None,
            keep_previous: false,
            missing_environments: Vec::new(),
            first_log_line: "pushed".into(),
        }
    }

    fn draw(&self) -> u128 {
        entropy(self.drawn.fetch_add(1, Ordering::SeqCst))
    }

    pub async fn set_secret(&self, name: &str, value: &str) {
        let id = api::id::SecretId::from_entropy(self.draw());
        let secret = Secret { id, team_id: self.team.clone(), name: name.into(), created_at: self.now() };
        self.store.set_secret(&secret, &SecretString::from(value), None).await.unwrap();
    }

    /// What a person does to a deployment.
    pub async fn change(&self, id: &DeploymentId, command: impl Fn(Lifecycle, Timestamp) -> Lifecycle) {
        let now = self.now();
        let change = |deployment: &mut Deployment| {
            deployment.lifecycle = command(deployment.lifecycle.clone(), now);
            Ok::<(), store::Error>(())
        };
        self.store.change_deployment(id, None, change).await.unwrap();
    }

    pub async fn set_autoscaling(&self, id: &DeploymentId, change: impl Fn(&mut autoscale::Settings)) {
        let change = |deployment: &mut Deployment| {
            change(&mut deployment.autoscaling);
            Ok::<(), store::Error>(())
        };
        self.store.change_deployment(id, None, change).await.unwrap();
    }

    pub async fn deployment(&self, id: &DeploymentId) -> Deployment {
        self.store.deployment(id).await.unwrap()
    }

    pub async fn replicas(&self, id: &DeploymentId) -> Vec<Replica> {
        self.store.replicas(Some(id)).await.unwrap()
    }

    pub async fn status(&self, id: &DeploymentId) -> Status {
        let replicas = self.replicas(id).await;
        lifecycle::status(&self.deployment(id).await.lifecycle, &lifecycle::Observed::of(&counted(&replicas)))
    }

    pub async fn current(&self, model: &ModelId, environment: &str) -> Option<DeploymentId> {
        self.store.environment(model, environment).await.unwrap().current
    }

    pub async fn logs(&self, id: &DeploymentId) -> Vec<LogRecord> {
        let deployments = vec![id.clone()];
        self.store
            .logs(&LogQuery { deployments, end_ms: u64::MAX, limit: 10_000, ..LogQuery::default() })
            .await
            .unwrap()
    }

    /// Messages of one component, oldest first.
    pub async fn messages(&self, id: &DeploymentId, component: Component) -> Vec<String> {
        let logs = self.logs(id).await.into_iter();
        logs.filter(|record| record.component == component).map(|record| record.line.message).collect()
    }

    /// Everything, for a test that fails.
    pub async fn describe(&self) -> String {
        let mut text = format!("table: {:#?}\nshares: {:?}\n", self.gateway.table.borrow(), self.gateway.shares());
        for model in self.store.models(&store::ModelFilter::default()).await.unwrap() {
            for promotion in self.store.promotion_history(&model.id, PRODUCTION, 9).await.unwrap() {
                text.push_str(&format!("{promotion:?}\n"));
            }
        }
        for deployment in self.store.all_deployments().await.unwrap() {
            text.push_str(&format!(
                "{} {:?} target {} memory {:?}\n",
                deployment.id, deployment.lifecycle, deployment.target_replicas, deployment.replica_memory
            ));
            for record in self.logs(&deployment.id).await {
                text.push_str(&format!("  {:?} {}\n", record.component, record.line.message));
            }
        }
        for replica in self.store.replicas(None).await.unwrap() {
            text.push_str(&format!("{replica:?}\n"));
        }
        text
    }
}

/// A line as a model writes it.
pub fn line(text: &str) -> LogLine {
    LogLine { timestamp_ns: 1_700_000_000_000_000_000, level: None, request_id: None, message: text.into() }
}

pub fn counted(replicas: &[Replica]) -> Vec<replica_set::Replica> {
    use api::internal::replica::Phase as Told;
    use planner::replica_set::{Cause, End, Phase};
    let phase = |replica: &Replica| match replica.status.as_ref().map(|status| &status.phase) {
        None | Some(Told::Starting) => Phase::Starting,
        Some(Told::Loading) => Phase::Loading,
        Some(Told::Ready) => Phase::Ready,
        Some(Told::Unhealthy) => Phase::Unhealthy,
        Some(Told::Draining) => Phase::Draining,
        Some(Told::Exited(exit)) => {
            Phase::Ended(End { cause: Cause::Crashed, message: exit.message.clone(), detail: None })
        }
    };
    let counted = |replica: &Replica| replica_set::Replica {
        id: replica.id.clone(),
        ordered_at: replica.created_at,
        stopping: replica.stopping_since.is_some(),
        phase: phase(replica),
        stay: replica_set::Stay::Stays,
    };
    replicas.iter().map(counted).collect()
}

/// A location as `name` or `name:country` or `name:country=cpus` or, when it is not configured any more, `-name`.
fn site(written: &str, backend: Arc<dyn Backend>) -> Site {
    let (written, cpus) = written.split_once('=').map_or((written, None), |(place, cpus)| (place, Some(cpus)));
    let millicpu = cpus.map(|cpus| cpus.parse::<u64>().unwrap() * 1_000);
    let (name, country) = written.split_once(':').unzip();
    let name = name.unwrap_or(written).trim_start_matches('-').to_owned();
    let flavor = Flavor { kind: Kind::Cpu, name: Name::parse("flavor", "x86").unwrap() };
    // One that is called so has less memory than any instance type needs.
    let memory_mib = (name == "small").then_some(1);
    let location = Place {
        name: Name::parse("name", &name).unwrap(),
        country: country.map(|code| Country::parse("country", code).unwrap()),
        continent: None,
        coordinates: None,
        flavors: vec![Stock { flavor, count: 8, memory_mib }],
        is_healthy: true,
    };
    let offer = Offer { location, capacity: Capacity { millicpu, ..Capacity::default() } };
    Site { name, backend, offer: (!written.starts_with('-')).then_some(offer) }
}

/// Bits that differ in every letter that an id is made of.
fn entropy(count: u64) -> u128 {
    u128::from(count + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

async fn install(store: &Store, team: &TeamId) {
    let created_at = Timestamp(1);
    let user = UserId::from_entropy(2);
    let first = Installation {
        organization: Organization { id: "organization".into(), name: "Test".into() },
        team: Team { id: team.clone(), name: "Default".into(), is_default: true, created_at },
        admin: User { is_admin: true, ..User::new(user.clone(), "admin@example.com", created_at) },
        admin_key: ApiKey::new("prefix", [1; 32], ApiKeyKind::Personal, KeyOwner::User(user), created_at),
    };
    store.ensure_installed(&first).await.unwrap();
}
