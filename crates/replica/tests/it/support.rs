//! A replica to test against: an environment with what models may import, a folder with a model, the running binary, a client.

use std::{
    collections::BTreeMap,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use api::{
    id::{DeploymentId, ModelId, ReplicaId},
    internal::replica::{Exit, HealthLimits, Limits, LogLine, Phase, Program, Sandbox, Spec, Status, file},
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};

const REQUIREMENTS: [&str; 5] = ["fastapi<0.125", "httpx", "numpy<2", "msgpack==1.1.0", "pydantic>=2"];

/// How long anything in these tests may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The interpreter of an environment with what models may import, made once on each machine.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache");
        std::fs::create_dir_all(&cache).unwrap();
        let lock = std::fs::File::create(cache.join("replica-test-venv.lock")).unwrap();
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
        let folder = cache.canonicalize().unwrap().join("replica-test-venv");
        let (python, done) = (folder.join("bin/python"), folder.join("complete"));
        if std::fs::read_to_string(&done).unwrap_or_default() != REQUIREMENTS.join("\n") {
            let _ = std::fs::remove_dir_all(&folder);
            let has_uv = Command::new("uv").arg("--version").output().is_ok_and(|output| output.status.success());
            if has_uv {
                succeed(Command::new("uv").args(["venv", "--quiet"]).arg(&folder));
                succeed(
                    Command::new("uv").args(["pip", "install", "--quiet", "--python"]).arg(&python).args(REQUIREMENTS),
                );
            } else {
                succeed(Command::new("python3").args(["-m", "venv"]).arg(&folder));
                succeed(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(REQUIREMENTS));
            }
            std::fs::write(&done, REQUIREMENTS.join("\n")).unwrap();
        }
        python
    })
}

fn succeed(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}");
}

/// A replica about to be started.
pub struct Draft {
    folder: tempfile::TempDir,
    pub spec: Spec,
    pub secrets: BTreeMap<String, String>,
    /// The environment of the replica itself.
    pub variables: BTreeMap<String, String>,
}

impl Draft {
    /// A model with this source.
    pub fn model(source: &str) -> Self {
        Self::model_in("/tmp", source)
    }

    /// A model with this source, and all that belongs to it in a new folder in `parent`.
    pub fn model_in(parent: &str, source: &str) -> Self {
        let folder = tempfile::tempdir_in(parent).unwrap();
        let app = folder.path().join("deployment");
        std::fs::create_dir_all(app.join("model")).unwrap();
        std::fs::create_dir_all(app.join("data")).unwrap();
        std::fs::write(app.join("data/given"), "given").unwrap();
        std::fs::write(app.join("model/model.py"), source).unwrap();
        let config = json!({
            "model_module_dir": "model", "model_class_filename": "model.py", "model_class_name": "Model",
            "secrets": {}, "runtime": {},
        });
        let program = Program::Truss { python: python().to_owned(), app, packages: None, modules: None, config };
        Self::new(folder, program)
    }

    /// A server started by this command.
    pub fn server(command: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let app = folder.path().join("deployment");
        std::fs::create_dir_all(&app).unwrap();
        for (name, text) in files {
            std::fs::write(app.join(name), text).unwrap();
        }
        let program = Program::Server {
            protocol: Default::default(),
            command: command.into(),
            app,
            path: python().parent().map(Path::to_owned),
            port: 8000,
            predict_endpoint: "/infer".into(),
            readiness_endpoint: "/health".into(),
            liveness_endpoint: "/alive".into(),
        };
        Self::new(folder, program)
    }

    fn new(folder: tempfile::TempDir, program: Program) -> Self {
        let spec = Spec {
            replica_id: ReplicaId::from_entropy(
                u128::from(std::process::id()) ^ folder.path().as_os_str().len() as u128,
            ),
            deployment_id: DeploymentId::from_entropy(1),
            model_id: ModelId::from_entropy(2),
            environment: None,
            program,
            environment_variables: BTreeMap::new(),
            gpus: None,
            predict_concurrency: 1,
            streaming_read_timeout_ms: 10_000,
            request_timeout_ms: 20_000,
            start_timeout_ms: 20_000,
            drain_delay_ms: 250,
            max_body_bytes: 8 << 20,
            limits: Limits { memory_bytes: None, millicpu: None, open_files: 1024 },
            health: HealthLimits::default(),
            sandbox: Sandbox::default(),
            ordered_at_ms: 0,
        };
        Self {
            folder,
            spec,
            secrets: BTreeMap::new(),
            variables: [("SECRET_OF_THE_SERVER".into(), "hidden".into())].into(),
        }
    }

    /// Changes the config that the model gets.
    pub fn config(&mut self) -> &mut Value {
        match &mut self.spec.program {
            Program::Truss { config, .. } => config,
            Program::Server { .. } => panic!("a server has no config"),
        }
    }

    /// The folder that will be `/app`.
    pub fn app(&self) -> PathBuf {
        self.folder.path().join("deployment")
    }

    /// The folder that everything is in.
    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it.
    pub fn start(self) -> Replica {
        let program = Command::new(env!("CARGO_BIN_EXE_replica"));
        self.start_by(program)
    }

    /// Starts it as another user, who can reach its program only in its own folder, and waits until it is ready.
    pub async fn ready_as(self, user: u32) -> Replica {
        let program = self.folder.path().join("program");
        std::fs::create_dir(&program).unwrap();
        let program = program.join("replica");
        std::fs::copy(env!("CARGO_BIN_EXE_replica"), &program).unwrap();
        let directory = self.folder.path().join("replicas/one");
        std::fs::create_dir_all(&directory).unwrap();
        chown(&directory, Some(user), Some(user)).unwrap();
        let mut command = Command::new(program);
        command.uid(user).gid(user);
        let replica = self.start_by(command);
        replica.phase("ready", |phase| matches!(phase, Phase::Ready)).await;
        replica
    }

    /// Starts it where there are no namespaces to be had, and waits until it is ready.
    pub async fn ready_without_namespaces(self) -> Replica {
        let none = "for kind in user mnt; do echo 0 >/proc/sys/user/max_${kind}_namespaces; done; exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", none, "sh", env!("CARGO_BIN_EXE_replica")]);
        let replica = self.start_by(command);
        replica.phase("ready", |phase| matches!(phase, Phase::Ready)).await;
        replica
    }

    fn start_by(self, mut program: Command) -> Replica {
        let directory = self.folder.path().join("replicas/one");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(file::SPEC), serde_json::to_vec(&self.spec).unwrap()).unwrap();
        let mut child =
            program.arg(&directory).envs(&self.variables).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        serde_json::to_writer(child.stdin.take().unwrap(), &self.secrets).unwrap();
        Replica { directory, child, folder: self.folder }
    }

    /// Lets it stand by until it has its order.
    pub fn stand_by(self) -> Standby {
        let directory = self.folder.path().join("replicas/standby");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(file::SPEC), serde_json::to_vec(&self.spec).unwrap()).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_replica"));
        program.arg(&directory).arg("standby").envs(&self.variables);
        let child = program.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        Standby { directory, child, draft: self }
    }

    /// Starts it and waits until it is ready.
    pub async fn ready(self) -> Replica {
        let replica = self.start();
        replica.phase("ready", |phase| matches!(phase, Phase::Ready)).await;
        replica
    }
}

/// One that stands by.
pub struct Standby {
    pub directory: PathBuf,
    pub child: Child,
    pub draft: Draft,
}

impl Standby {
    /// Waits until it has been made ready.
    pub async fn prepared(&mut self) {
        let prepared = self.directory.join(file::PREPARED);
        self.until(|child| {
            prepared.exists().then_some(()).or_else(|| child.try_wait().unwrap().map(|_| panic!("it ended")))
        })
        .await;
    }

    /// Waits for its end, and says whether that was a good one.
    pub async fn ends_well(&mut self) -> bool {
        self.until(|child| child.try_wait().unwrap()).await.success()
    }

    async fn until<T>(&mut self, look: impl Fn(&mut Child) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look(&mut self.child) {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "it stands by, and nothing happens");
            // polls for a condition
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Gives it its order, under another name.
    pub fn order(mut self) -> Replica {
        let directory = self.draft.folder.path().join("replicas/one");
        std::fs::write(self.directory.join(file::SPEC), serde_json::to_vec(&self.draft.spec).unwrap()).unwrap();
        std::fs::rename(&self.directory, &directory).unwrap();
        serde_json::to_writer(self.child.stdin.take().unwrap(), &self.draft.secrets).unwrap();
        Replica { directory, child: self.child, folder: self.draft.folder }
    }
}

/// A replica that runs.
pub struct Replica {
    pub directory: PathBuf,
    pub child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Replica {
    /// What it last said of itself.
    pub fn status(&self) -> Option<Status> {
        serde_json::from_slice(&std::fs::read(self.directory.join(file::STATUS)).ok()?).ok()
    }

    /// Waits for a phase.
    pub async fn phase(&self, label: &str, matches: impl Fn(&Phase) -> bool) -> Status {
        self.until(label, || self.status().filter(|status| matches(&status.phase))).await
    }

    /// Waits until so many requests have been accepted and not answered.
    pub async fn in_flight(&self, count: u32) {
        let start = Instant::now();
        loop {
            let status: Status = serde_json::from_str(&self.get("/_greenroom/status").await.1).unwrap();
            if status.in_flight >= count {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{} requests are in flight", status.in_flight);
        }
    }

    /// The folder that everything of it is in.
    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    /// A file in its own folder: `tmp/x` is what its model calls `/tmp/x`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Everything that it has started, by the ids of the machine.
    pub fn processes(&self) -> Vec<i32> {
        let mut found = vec![self.child.id() as i32];
        let mut next = 0;
        while let Some(parent) = found.get(next) {
            let threads = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten();
            let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok());
            let lists: Vec<String> = lists.collect();
            found.extend(lists.iter().flat_map(|list| list.split_whitespace()).map(|id| id.parse::<i32>().unwrap()));
            next += 1;
        }
        found.split_off(1)
    }

    /// Waits for the end.
    pub async fn exit(&self) -> Exit {
        let status = self.phase("the end", |phase| matches!(phase, Phase::Exited(_))).await;
        match status.phase {
            Phase::Exited(exit) => exit,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until `look` sees something.
    pub async fn until<T>(&self, label: &str, look: impl Fn() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "no {label}; status {:?}; log {:#?}", self.status(), self.log());
            // polls for a condition
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// All log lines so far.
    pub fn log(&self) -> Vec<LogLine> {
        let text = std::fs::read_to_string(self.directory.join(file::LOG)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Whether the log has a line with this part.
    pub fn says(&self, part: &str) -> bool {
        self.log().iter().any(|line| line.message.contains(part))
    }

    /// Waits for a log line.
    pub async fn log_line(&self, part: &str) -> LogLine {
        self.until(part, || self.log().into_iter().find(|line| line.message.contains(part))).await
    }

    /// Sends a request over a connection of its own. The body of the answer has not been read.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Response<hyper::body::Incoming> {
        let stream = tokio::net::UnixStream::connect(self.directory.join(file::SOCKET)).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap()
    }

    /// Status and text of an answer.
    pub async fn exchange(&self, request: Request<Full<Bytes>>) -> (u16, String) {
        let answer = self.send(request).await;
        let status = answer.status().as_u16();
        let body = tokio::time::timeout(PATIENCE, answer.into_body().collect()).await.unwrap().unwrap().to_bytes();
        (status, String::from_utf8(body.into()).unwrap())
    }

    /// GETs a path.
    pub async fn get(&self, path: &str) -> (u16, String) {
        self.exchange(request("GET", path, "")).await
    }

    /// Calls `predict`.
    pub async fn predict(&self, body: Value) -> (u16, String) {
        self.exchange(request("POST", "/v1/models/model:predict", body.to_string())).await
    }

    /// The JSON that `predict` answers.
    pub async fn predicted(&self, body: Value) -> Value {
        let (status, text) = self.predict(body).await;
        assert_eq!(status, 200, "{text}; {:#?}", self.log());
        serde_json::from_str(&text).unwrap()
    }
}

/// A request with a body.
pub fn request(method: &str, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(path).header("host", "model").body(Full::new(body.into())).unwrap()
}
