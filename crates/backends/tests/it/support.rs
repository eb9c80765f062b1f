//! What the tests share: archives, requests, a log that remembers, and a local backend on a folder of its own. Everything that
//! is slow to fetch (uv, packages) is kept in the repository's `.cache` between runs.

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api::{
    id::{DeploymentId, ModelId, ReplicaId},
    internal::replica::{Level, Limits, LogLine, Sandbox, Secrets},
    truss_config::{TrussConfig, parse_yaml},
};
use backends::{
    Artifact, Backend, BuildOutput, BuildRequest, Observed, ReplicaTemplate, StartReplica,
    local::{Local, Settings},
};
use planner::Timestamp;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// A config that needs nothing installed: a server of the user's own.
pub const PLAIN_SERVER: &str = "docker_server:
  start_command: serve
  server_port: 9000
  predict_endpoint: /predict
  readiness_endpoint: /ready
  liveness_endpoint: /live
";

/// A folder with archives to build from.
pub struct Bench {
    folder: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A request to build these files with this config.
    pub fn request(&self, config: &str, files: &[(&str, &str)]) -> BuildRequest {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let source = self.path().join(format!("source-{number}"));
        for (path, content) in [("config.yaml", config)].iter().chain(files) {
            let path = source.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let archive = self.path().join(format!("{number}.tar"));
        let what =
            archive::Pack { folder: &source, config: None, external_package_dirs: &[], packages_dir: "packages" };
        archive::pack(&what, std::fs::File::create(&archive).unwrap(), |_| {}).unwrap();
        BuildRequest {
            deployment_id: DeploymentId::from_entropy(u128::from(number)),
            archive,
            config: Arc::new(parse_yaml(config).unwrap()),
            raw_config: Some(config.to_owned()),
        }
    }

    /// Settings for a local backend in this folder, with the stand-in for a replica.
    pub fn settings(&self) -> Settings {
        let stub = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/stub_replica.py");
        let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/backends");
        let clock = Arc::new(|| Timestamp(1_700_000_000_000));
        let mut settings = Settings::new(self.path().join("local"), stub, clock, variables());
        settings.tools = cache.join("tools");
        settings.cache = cache.join("packages");
        settings
    }

    pub fn local(&self) -> Arc<Local> {
        Local::open(self.settings()).unwrap()
    }
}

/// This process's environment: tests are a shell of their own.
#[expect(clippy::disallowed_methods, reason = "tests read their environment as src/config.rs does for the server")]
pub fn variables() -> BTreeMap<String, String> {
    std::env::vars().collect()
}

/// A build log that remembers.
#[derive(Default)]
pub struct Lines(Mutex<Vec<LogLine>>);

impl BuildOutput for Lines {
    fn line(&self, line: LogLine) {
        self.0.lock().unwrap().push(line);
    }
}

impl Lines {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn messages(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|line| line.message.clone()).collect()
    }

    pub fn warnings(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line.level == Some(Level::Warning)).map(|line| line.message.clone()).collect()
    }
}

/// Something to start; each call is another replica.
pub fn start_of(artifact: &Artifact, config: &Arc<TrussConfig>) -> StartReplica {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let number = u128::from(COUNT.fetch_add(1, Ordering::Relaxed));
    StartReplica {
        spec: ReplicaTemplate {
            replica_id: ReplicaId::from_entropy(number),
            deployment_id: DeploymentId::from_entropy(7),
            model_id: ModelId::from_entropy(8),
            environment: None,
            program: (),
            environment_variables: BTreeMap::new(),
            predict_concurrency: 1,
            streaming_read_timeout_ms: 1000,
            request_timeout_ms: 1000,
            start_timeout_ms: 1000,
            drain_delay_ms: 250,
            max_body_bytes: 1000,
            limits: Limits { memory_bytes: None, millicpu: None, open_files: 1024 },
            gpus: None,
            health: Default::default(),
            sandbox: Sandbox::default(),
            ordered_at_ms: 0,
        },
        artifact: artifact.clone(),
        config: Arc::clone(config),
        secrets: Secrets(BTreeMap::from([("token".into(), "s3cret".into())])),
    }
}

/// The same, with the stand-in's script.
pub fn scripted(artifact: &Artifact, config: &Arc<TrussConfig>, script: &str) -> StartReplica {
    let mut start = start_of(artifact, config);
    start.spec.environment_variables.insert("STUB".into(), script.into());
    start
}

/// The replica's entry in the list, if any.
pub async fn find(backend: &dyn Backend, id: &ReplicaId) -> Option<Observed> {
    backend.list().await.unwrap().into_iter().find(|observed| observed.replica_id == *id)
}

/// Waits, by the backend's own notifications, until a question about it has an answer.
pub async fn until<T, F: Future<Output = Option<T>>>(
    backend: &dyn Backend,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let wait = async {
        let mut seen = 0;
        loop {
            seen = backend.changed(seen).await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// All log lines of a replica so far.
pub async fn log_of(backend: &dyn Backend, id: &ReplicaId) -> Vec<String> {
    let (mut lines, mut cursor) = (Vec::new(), 0);
    loop {
        let chunk = backend.read_log(id, cursor).await.unwrap();
        lines.extend(chunk.lines.into_iter().map(|line| line.message));
        cursor = chunk.cursor;
        if !chunk.more {
            return lines;
        }
    }
}

/// The names in a folder of the local backend.
pub fn names(folder: PathBuf) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
