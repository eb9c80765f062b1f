//! The life of a replica: start the model process, watch over it, drain, and say how it ended.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use api::internal::replica::{Exit, ExitCause, Level, Phase, Program as Wanted, Secrets, Spec, file};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde_json::json;
use tokio::{
    net::{UnixListener, UnixStream},
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    arena::{self, Incoming, Outgoing},
    channel::{Channel, Deadlines},
    control::{Control, Event},
    http::{App, serve},
    launch::{self, WorkerEnds},
    limits::{Enforced, exceeded},
    log::Log,
    namespace::Isolation,
    payload,
    process::{End, Process},
    program::Program,
    server::Server,
    status::Board,
    truss::Truss,
};

/// How often a model is asked whether it is healthy, as the contract's probes do.
const HEALTH_INTERVAL: Duration = Duration::from_secs(10);

/// How often a starting server is asked whether it is ready.
const READINESS_INTERVAL: Duration = Duration::from_millis(100);

/// How long requests may be on their way that were sent before their sender knew that nothing new is taken.
const LATECOMERS: Duration = Duration::from_millis(250);

/// How long a model process may take to end by itself when nothing is left to do.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How long clients may take to read the last answers.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Listens on the socket in `directory`, however deep that lies: a socket's address has room for 107 bytes, and an open folder
/// has a short name.
fn bind(directory: &Path) -> std::io::Result<UnixListener> {
    let folder = std::fs::File::open(directory)?;
    UnixListener::bind(format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), file::SOCKET))
}

/// Runs a replica from its start to its end, inside a local set.
pub async fn run(directory: &Path, spec: Spec, secrets: Secrets) -> Result<(), Error> {
    let log = Log::open(&directory.join(file::LOG)).map_err(|source| Error::file(directory.join(file::LOG), source))?;
    let board = Board::new(directory).map_err(|source| Error::file(directory.join(file::STATUS), source))?;
    let environment_file = prepare(directory, &spec)?;
    let limits = Enforced::new(spec.replica_id.as_str(), &spec.limits);
    for note in &limits.notes {
        log.say(Level::Debug, note.clone());
    }
    let socket = directory.join(file::SOCKET);
    let _ = std::fs::remove_file(&socket);
    let listener = bind(directory).map_err(|source| Error::file(socket.clone(), source))?;
    let (drain, drains) = watch::channel(None);
    let (program, model) = Model::new(directory, &spec, environment_file)?;
    let app = Rc::new(App { board: board.clone(), program, drain });
    let closing = CancellationToken::new();
    let serving = tokio::task::spawn_local(serve(listener, app.clone(), closing.clone()));

    let life = Life { directory, spec: &spec, board: &board, log: &log, limits: &limits, app: &app };
    let exit = life.live(model, &secrets, drains).await;
    log.say(if exit.cause == ExitCause::Stopped { Level::Info } else { Level::Error }, exit.message.clone());
    board.exit(exit).map_err(|source| Error::file(directory.join(file::STATUS), source))?;
    closing.cancel();
    let _ = timeout(CLOSE_PATIENCE, serving).await;
    let _ = std::fs::remove_file(&socket);
    Ok(())
}

/// Makes the folders of the replica and writes the environment file.
fn prepare(directory: &Path, spec: &Spec) -> Result<PathBuf, Error> {
    for name in ["home", "tmp", "workspace", "dynamic_config"] {
        let folder = directory.join(name);
        std::fs::create_dir_all(&folder).map_err(|source| Error::file(folder, source))?;
    }
    let environment = directory.join("dynamic_config/environment");
    if let Some(document) = &spec.environment {
        std::fs::write(&environment, document.to_string())
            .map_err(|source| Error::file(environment.clone(), source))?;
    }
    Ok(environment)
}

/// What only one kind of program has.
enum Model {
    Truss { truss: Rc<Truss>, outgoing: Outgoing },
    Server { server: Rc<Server>, port: u16 },
}

impl Model {
    fn new(directory: &Path, spec: &Spec, environment_file: PathBuf) -> Result<(Program, Self), Error> {
        match &spec.program {
            Wanted::Truss { .. } => {
                let outgoing =
                    Outgoing::new().map_err(|error| Error::Machine { what: "shared memory", source: error.into() })?;
                let truss = Truss::new(outgoing.clone(), spec.max_body_bytes, environment_file);
                Ok((Program::Truss(truss.clone()), Model::Truss { truss, outgoing }))
            }
            Wanted::Server { .. } => {
                let port = free_port().map_err(|source| Error::Machine { what: "a free port", source })?;
                let request_timeout = Duration::from_millis(spec.request_timeout_ms);
                let server = Server::new(&spec.program, port, spec.max_body_bytes, request_timeout, environment_file);
                tracing::debug!(port, directory = %directory.display(), "assigned a port");
                Ok((Program::Server(server.clone()), Model::Server { server, port }))
            }
        }
    }
}

/// A port of this machine that nobody listens on now.
fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// What every step of a life needs.
struct Life<'a> {
    directory: &'a Path,
    spec: &'a Spec,
    board: &'a Rc<Board>,
    log: &'a Rc<Log>,
    limits: &'a Enforced,
    app: &'a Rc<App>,
}

/// A started model process and how to talk to it.
struct Running {
    process: Process,
    /// What the worker says of its start. Closed from the beginning for a server.
    events: mpsc::Receiver<Event>,
    worker: Option<Worker>,
}

struct Worker {
    truss: Rc<Truss>,
    channel: Rc<Channel>,
    control: Rc<Control>,
}

impl Life<'_> {
    /// From the start of the model process to its end.
    async fn live(&self, model: Model, secrets: &Secrets, drains: watch::Receiver<Option<Duration>>) -> Exit {
        let start = Instant::now();
        let mut running = match self.start(model, secrets).await {
            Ok(running) => running,
            Err(error) => {
                let message = format!("the model process cannot be started: {error}");
                return Exit { cause: ExitCause::LoadFailed, message, detail: None };
            }
        };
        for note in &running.process.notes {
            self.log.say(Level::Warning, note.clone());
        }
        self.save(self.board.note_start(|times| times.spawn_ms = Some(millis(start.elapsed()))));
        self.save(self.board.enter(Phase::Loading));
        let exit = self.watch(&mut running, start, drains).await;
        if let Some(worker) = &running.worker {
            worker.channel.close();
        }
        running.process.finish().await;
        exit
    }

    async fn start(&self, model: Model, secrets: &Secrets) -> Result<Running, Error> {
        match model {
            Model::Truss { truss, outgoing } => self.start_worker(truss, &outgoing, secrets).await,
            Model::Server { server, port } => {
                let launch = launch::server(self.spec, secrets, self.directory, port);
                let process = self.spawn(&launch).await?;
                tokio::task::spawn_local(watch_server(server, self.board.clone()));
                Ok(Running { process, events: mpsc::channel(1).1, worker: None })
            }
        }
    }

    async fn spawn(&self, launch: &crate::guard::Launch) -> Result<Process, Error> {
        let started = Process::start(launch, self.limits, self.log).await;
        started.map_err(|source| Error::Machine { what: "the model process", source })
    }

    async fn start_worker(&self, truss: Rc<Truss>, outgoing: &Outgoing, secrets: &Secrets) -> Result<Running, Error> {
        let Wanted::Truss { config, packages, python, .. } = &self.spec.program else {
            unreachable!("a Truss runs in a worker")
        };
        let shared = self.directory.parent().unwrap_or(self.directory);
        let package = payload::lay_out(shared).map_err(|source| Error::file(shared.to_owned(), source))?;
        let sockets = |source| Error::Machine { what: "the sockets of the worker", source };
        let (data, worker_data) = socket_pair().map_err(sockets)?;
        let (control, worker_control) = socket_pair().map_err(sockets)?;
        let (incoming, read) =
            Incoming::new().map_err(|error| Error::Machine { what: "shared memory", source: error.into() })?;
        let ends = WorkerEnds {
            descriptors: [
                worker_data.as_raw_fd(),
                worker_control.as_raw_fd(),
                outgoing.descriptor(),
                incoming.descriptor(),
            ],
            arena_size: arena::SIZE,
            package: package.clone(),
        };
        let process = self.spawn(&launch::worker(self.spec, secrets, self.directory, &ends)).await?;
        drop((worker_data, worker_control));
        tokio::task::spawn_local(payload::compile(package, python.clone()));
        let packages = match process.isolation {
            Isolation::Whole | Isolation::Files => packages.as_ref().map(|_| Path::new("/packages")),
            Isolation::None => packages.as_deref(),
        };
        let (control, events) = Control::new(control);
        control.set_up(&json!({
            "config": config,
            "secrets": secrets.0,
            "environment": self.spec.environment,
            "packages": packages,
            "predict_concurrency": self.spec.predict_concurrency.max(1),
        }));
        let deadlines = Deadlines {
            request: Duration::from_millis(self.spec.request_timeout_ms),
            chunk: Duration::from_millis(self.spec.streaming_read_timeout_ms),
        };
        let channel = Channel::new(data, incoming, read, self.spec.predict_concurrency.max(1), deadlines);
        Ok(Running { process, events, worker: Some(Worker { truss, channel, control }) })
    }

    /// Reacts to what happens until there is nothing left to watch.
    async fn watch(
        &self,
        running: &mut Running,
        start: Instant,
        mut drains: watch::Receiver<Option<Duration>>,
    ) -> Exit {
        let start_limit = Duration::from_millis(self.spec.start_timeout_ms);
        let mut start_deadline = std::pin::pin!(sleep((start + start_limit).saturating_duration_since(Instant::now())));
        let mut terminations = signal(SignalKind::terminate()).expect("the handler can be installed once");
        let mut out_of_memory = std::pin::pin!(self.out_of_memory(running.process.ancestor()));
        loop {
            let drain_limit = tokio::select! {
                biased;
                Some(event) = running.events.recv() => {
                    match self.hear(running, event) {
                        None => continue,
                        Some(exit) => return exit,
                    }
                }
                end = running.process.ended() => return self.explain(running, end).await,
                exit = &mut out_of_memory => return exit,
                () = &mut start_deadline, if !start_deadline.is_elapsed() => {
                    if !matches!(self.board.phase(), Phase::Starting | Phase::Loading) {
                        continue;
                    }
                    let message = format!("the model was not ready within {} s", start_limit.as_secs_f64());
                    return Exit { cause: ExitCause::StartTimeout, message, detail: self.log.last_lines() };
                }
                Some(()) = terminations.recv() => Duration::from_millis(self.spec.request_timeout_ms),
                Ok(()) = drains.changed() => match *drains.borrow_and_update() {
                    Some(limit) => limit,
                    None => continue,
                },
            };
            return self.stop(running, drain_limit, out_of_memory).await;
        }
    }

    /// Takes in what the worker says of its start. Gives an end when that was it.
    fn hear(&self, running: &Running, event: Event) -> Option<Exit> {
        match event {
            Event::Imported { import_ms } => {
                self.save(self.board.note_start(|times| times.import_ms = Some(import_ms)));
                None
            }
            Event::Loaded(loaded) => {
                let worker = running.worker.as_ref().expect("only a worker speaks of its start");
                self.save(self.board.note_start(|times| times.load_ms = Some(loaded.load_ms)));
                self.log.say(Level::Info, format!("Completed model.load() execution in {} ms", loaded.load_ms));
                let checks_health = loaded.checks_health;
                worker.truss.loaded(worker.channel.clone(), worker.control.clone(), loaded);
                self.save(self.board.enter(Phase::Ready));
                if checks_health {
                    tokio::task::spawn_local(watch_health(worker.truss.clone(), self.app.clone()));
                }
                None
            }
            Event::Failed { message, detail } => {
                let detail = Some(detail).filter(|detail| !detail.is_empty());
                Some(Exit { cause: ExitCause::LoadFailed, message, detail })
            }
            Event::Health { .. } => None,
        }
    }

    /// Why the process ended by itself.
    async fn explain(&self, running: &mut Running, end: End) -> Exit {
        // It may have said why just before; the receiver closes with its socket.
        while let Ok(Some(event)) = timeout(Duration::from_secs(1), running.events.recv()).await {
            if let Some(exit) = self.hear(running, event) {
                return exit;
            }
        }
        if self.limits.ran_out_of_memory() {
            return self.memory_exit(None);
        }
        let (cause, message) = match end {
            End::Code(code) => (ExitCause::Code { code }, format!("the model process exited with code {code}")),
            End::Signal(number) => {
                let name = nix::sys::signal::Signal::try_from(number).map_or("unknown", |signal| signal.as_str());
                (
                    ExitCause::Signal { signal: number },
                    format!("the model process was ended by signal {number} ({name})"),
                )
            }
            End::Unknown => {
                (ExitCause::Signal { signal: libc::SIGKILL }, "the model process was ended from outside".into())
            }
        };
        Exit { cause, message, detail: self.log.last_lines() }
    }

    /// Completes when a watched process is over its memory limit.
    async fn out_of_memory(&self, process: nix::unistd::Pid) -> Exit {
        match self.spec.limits.memory_bytes {
            Some(limit) if !self.limits.limits_memory() => {
                let used = exceeded(process, limit).await;
                self.memory_exit(Some(used))
            }
            _ => std::future::pending().await,
        }
    }

    fn memory_exit(&self, used: Option<u64>) -> Exit {
        const MIB: u64 = 1 << 20;
        let limit = self.spec.limits.memory_bytes.unwrap_or_default() / MIB;
        let used = used.map(|used| format!(" with {} MiB", used / MIB)).unwrap_or_default();
        let message = format!("the model went{used} over its memory limit of {limit} MiB");
        Exit { cause: ExitCause::OutOfMemory, message, detail: self.log.last_lines() }
    }

    /// Drains and ends the model process.
    async fn stop(
        &self,
        running: &mut Running,
        limit: Duration,
        mut out_of_memory: std::pin::Pin<&mut impl Future<Output = Exit>>,
    ) -> Exit {
        let was_serving = self.board.serves();
        if was_serving {
            sleep(LATECOMERS).await;
        }
        self.save(self.board.enter(Phase::Draining));
        if was_serving {
            tokio::select! {
                drained = timeout(limit, self.board.idle()) => if drained.is_err() {
                    self.log.say(Level::Warning, format!("requests were still running after {} s", limit.as_secs_f64()));
                },
                end = running.process.ended() => return self.explain(running, end).await,
                exit = &mut out_of_memory => return exit,
            }
            match &running.worker {
                Some(worker) => worker.channel.finish(),
                None => running.process.terminate().await,
            }
            let _ = timeout(STOP_PATIENCE, running.process.ended()).await;
        }
        Exit { cause: ExitCause::Stopped, message: "stopped as asked".into(), detail: None }
    }

    /// A status that cannot be written is a full disk: the model goes on, and the log says so.
    fn save(&self, saved: std::io::Result<()>) {
        if let Err(error) = saved {
            tracing::error!(%error, "cannot write the status");
        }
    }
}

async fn watch_health(truss: Rc<Truss>, app: Rc<App>) {
    while app.board.serves() {
        sleep(HEALTH_INTERVAL).await;
        truss.is_healthy(&app.board).await;
    }
}

async fn watch_server(server: Rc<Server>, board: Rc<Board>) {
    let start = Instant::now();
    loop {
        let was_serving = board.serves();
        if server.check(&board).await
            && !was_serving
            && let Err(error) = board.note_start(|times| times.load_ms = Some(millis(start.elapsed())))
        {
            tracing::error!(%error, "cannot write the status");
        }
        match board.phase() {
            Phase::Starting | Phase::Loading => sleep(READINESS_INTERVAL).await,
            Phase::Ready | Phase::Unhealthy => sleep(HEALTH_INTERVAL).await,
            Phase::Draining | Phase::Exited(_) => return,
        }
    }
}

fn socket_pair() -> std::io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let theirs = OwnedFd::from(theirs);
    fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok((UnixStream::from_std(ours)?, theirs))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
