//! The life of a replica: start the model process, watch over it, drain, and say how it ended.

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    pin::{Pin, pin},
    rc::Rc,
    time::Duration,
};

use api::internal::replica::{Exit, ExitCause, Level, Phase, Program as Wanted, Secrets, Spec, StartTimes, file};
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Readiness,
    arena::Outgoing,
    control::Event,
    health::{Health, watch_model, watch_server},
    http::{App, NewSecrets, serve},
    limits::Enforced,
    log::{Log, now_ns},
    modules,
    order::{self, Order},
    program::Program,
    server::Server,
    start::{Ground, Running, Waiting},
    status::Board,
    truss::Truss,
};

/// Where the model sees which environment it is in, below the replica's folder.
const ENVIRONMENT: &str = "dynamic_config/environment";

/// How long clients may take to read the last answers.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Runs a replica from its start to its end, inside a local set. `directory` is the working directory, as it is called now.
pub async fn run(directory: &Path, input: OwnedFd, readiness: Readiness) -> Result<(), Error> {
    let log = Log::open(file::LOG.as_ref()).map_err(|source| Error::file(file::LOG.into(), source))?;
    let spec = order::specification()?;
    make_folders()?;
    let limits = Enforced::new(spec.replica_id.as_str(), &spec.limits);
    for note in &limits.notes {
        log.say(Level::Debug, note.clone());
    }
    let kind = Kind::new(&spec)?;
    let ground = Ground { directory: directory.to_owned(), spec, limits, log };
    let mut preparing = pin!(kind.prepare(&ground, readiness));
    let Some((order, prepared)) = until_ordered(input, preparing.as_mut(), readiness).await? else {
        return Ok(());
    };

    let start = Instant::now();
    let board = Board::new(times_until(&order)).map_err(|source| Error::file(file::STATUS.into(), source))?;
    tell_environment(&order.spec)?;
    let _ = std::fs::remove_file(file::SOCKET);
    let listener = bind().map_err(|source| Error::file(file::SOCKET.into(), source))?;
    let (drain, drains) = watch::channel(None);
    let program = kind.program(&order.spec);
    let (secrets, new_secrets) = mpsc::channel(1);
    let app = Rc::new(App { board: board.clone(), program: program.clone(), drain, secrets });
    let closing = CancellationToken::new();
    let serving = tokio::task::spawn_local(serve(listener, app, closing.clone()));

    let prepared = match prepared {
        Some(prepared) => prepared,
        None => preparing.await,
    };
    let life = Life { ground: &ground, order: &order, board: &board, health: Health::new(order.spec.health) };
    let exit = life.live(prepared, program, start, Asked { drains, new_secrets }).await;
    ground.log.say(if exit.cause == ExitCause::Stopped { Level::Info } else { Level::Error }, exit.message.clone());
    board.exit(exit).map_err(|source| Error::file(file::STATUS.into(), source))?;
    closing.cancel();
    let _ = timeout(CLOSE_PATIENCE, serving).await;
    let _ = std::fs::remove_file(file::SOCKET);
    Ok(())
}

type Prepared = Result<Option<Waiting>, Error>;

/// Waits for the order while everything is made ready. One that stands by without success, or loses what was made ready, has
/// nothing to wait for.
async fn until_ordered(
    input: OwnedFd,
    mut preparing: Pin<&mut impl Future<Output = Prepared>>,
    readiness: Readiness,
) -> Result<Option<(Order, Option<Prepared>)>, Error> {
    let stands_by = readiness == Readiness::Standby;
    let mut order = pin!(order::wait(input));
    let mut prepared = None;
    loop {
        tokio::select! {
            ordered = &mut order => return Ok(ordered?.map(|order| (order, prepared))),
            now = preparing.as_mut(), if prepared.is_none() => match now {
                Err(error) if stands_by => return Err(error),
                Ok(waiting) if stands_by && !waiting.as_ref().is_some_and(Waiting::can_wait) => return Ok(None),
                now => {
                    if stands_by {
                        std::fs::write(file::PREPARED, "").map_err(|source| Error::file(file::PREPARED.into(), source))?;
                    }
                    prepared = Some(now);
                }
            },
            () = lost(&mut prepared), if stands_by => return Ok(None),
        }
    }
}

/// Completes when a process that was made ready has ended.
async fn lost(prepared: &mut Option<Prepared>) {
    match prepared {
        Some(Ok(Some(waiting))) => drop(waiting.process.ended().await),
        _ => std::future::pending().await,
    }
}

/// How long it took until the order came.
fn times_until(order: &Order) -> StartTimes {
    let since = |decided_ms: u64| u64::try_from(now_ns() / 1_000_000).unwrap_or(decided_ms).saturating_sub(decided_ms);
    let decided = Some(order.spec.ordered_at_ms).filter(|at| *at > 0);
    StartTimes { decide_ms: decided.map(since), ..StartTimes::default() }
}

/// Listens on the socket in the working directory, however deep that lies: a socket's address has room for 107 bytes.
fn bind() -> std::io::Result<UnixListener> {
    UnixListener::bind(file::SOCKET)
}

fn make_folders() -> Result<(), Error> {
    for name in ["home", "tmp", "workspace", "dynamic_config"] {
        std::fs::create_dir_all(name).map_err(|source| Error::file(name.into(), source))?;
    }
    Ok(())
}

/// Writes the environment file.
fn tell_environment(spec: &Spec) -> Result<(), Error> {
    let Some(document) = &spec.environment else { return Ok(()) };
    std::fs::write(ENVIRONMENT, document.to_string()).map_err(|source| Error::file(ENVIRONMENT.into(), source))
}

/// What only one kind of program has.
enum Kind {
    Truss { outgoing: Outgoing },
    Server { port: u16 },
}

impl Kind {
    fn new(spec: &Spec) -> Result<Self, Error> {
        Ok(match &spec.program {
            Wanted::Truss { .. } => {
                let outgoing = Outgoing::new();
                let failed = |error: nix::Error| Error::Machine { what: "shared memory", source: error.into() };
                Kind::Truss { outgoing: outgoing.map_err(failed)? }
            }
            Wanted::Server { .. } => {
                let port = free_port().map_err(|source| Error::Machine { what: "a free port", source })?;
                tracing::debug!(port, "assigned a port");
                Kind::Server { port }
            }
        })
    }

    /// Does what can be done before the order. A server of the user's own is started by it, and not before.
    async fn prepare(&self, ground: &Ground, readiness: Readiness) -> Prepared {
        match self {
            Kind::Truss { outgoing } => ground.prepare(outgoing, readiness == Readiness::Standby).await.map(Some),
            Kind::Server { .. } => Ok(None),
        }
    }

    fn program(&self, spec: &Spec) -> Program {
        match self {
            Kind::Truss { outgoing } => Program::Truss(Truss::new(outgoing.clone(), spec, ENVIRONMENT.into())),
            Kind::Server { port } => Program::Server(Server::new(spec, *port, ENVIRONMENT.into())),
        }
    }
}

/// A port of this machine that nobody listens on now.
fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// What is asked of a replica while it lives.
struct Asked {
    drains: watch::Receiver<Option<Duration>>,
    new_secrets: mpsc::Receiver<NewSecrets>,
}

/// Gives a model other secrets: as files first, then to the worker that looks them up for it.
async fn give(running: &mut Running, secrets: &Secrets) -> io::Result<()> {
    running.process.give_secrets(&secrets.0).await?;
    running.worker.as_ref().map_or(Ok(()), |worker| worker.control.set_secrets(secrets))
}

/// What every step of a life needs.
pub struct Life<'a> {
    /// What its start needed.
    pub ground: &'a Ground,
    /// What it was told to be.
    pub order: &'a Order,
    /// Where it stands.
    pub board: &'a Rc<Board>,
    health: Rc<Health>,
}

impl Life<'_> {
    /// From the order to the end of the model process.
    async fn live(&self, prepared: Prepared, program: Program, start: Instant, asked: Asked) -> Exit {
        let running = match prepared {
            Ok(waiting) => self.begin(waiting, program).await,
            Err(error) => Err(error),
        };
        let mut running = match running {
            Ok(running) => running,
            Err(error) => {
                let message = format!("the model process cannot be started: {error}");
                return Exit { cause: ExitCause::LoadFailed, message, detail: None };
            }
        };
        for note in &running.process.notes {
            self.ground.log.say(Level::Warning, note.clone());
        }
        let loading = |times: &mut StartTimes| times.spawn_ms = Some(millis(start.elapsed()));
        self.save(self.board.enter_noting(Phase::Loading, loading));
        let exit = self.watch(&mut running, start, asked).await;
        if let Some(worker) = &running.worker {
            worker.channel.close();
        }
        running.process.finish().await;
        exit
    }

    async fn begin(&self, waiting: Option<Waiting>, program: Program) -> Result<Running, Error> {
        match (program, waiting) {
            (Program::Truss(truss), Some(waiting)) => self.ground.begin(self.order, waiting, truss).await,
            (Program::Server(server), _) => {
                let running = self.ground.start_server(self.order, server.port()).await?;
                let (board, health) = (self.board.clone(), self.health.clone());
                tokio::task::spawn_local(watch_server(server, board, health));
                Ok(running)
            }
            (Program::Truss(_), None) => unreachable!("a Truss is made ready before it begins"),
        }
    }

    /// Reacts to what happens until there is nothing left to watch.
    async fn watch(&self, running: &mut Running, start: Instant, Asked { mut drains, mut new_secrets }: Asked) -> Exit {
        let start_limit = Duration::from_millis(self.order.spec.start_timeout_ms);
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
                exit = self.health.hopeless() => return exit,
                () = &mut start_deadline, if !start_deadline.is_elapsed() => {
                    if !matches!(self.board.phase(), Phase::Starting | Phase::Loading) {
                        continue;
                    }
                    let message = format!("the model was not ready within {} s", start_limit.as_secs_f64());
                    return Exit { cause: ExitCause::StartTimeout, message, detail: self.ground.log.last_lines() };
                }
                Some(()) = terminations.recv() => Duration::from_millis(self.order.spec.request_timeout_ms),
                Some(NewSecrets { secrets, given }) = new_secrets.recv() => {
                    // One that does not wait for the answer any more asks again.
                    let _ = given.send(give(running, &secrets).await);
                    continue;
                }
                Ok(()) = drains.changed() => match *drains.borrow_and_update() {
                    Some(limit) => limit,
                    None => continue,
                },
            };
            return self.stop(running, drain_limit, out_of_memory).await;
        }
    }

    /// Takes in what the worker says of its start. Gives an end when that was it.
    pub fn hear(&self, running: &Running, event: Event) -> Option<Exit> {
        match event {
            Event::Imported { import_ms } => {
                self.save(self.board.note_start(|times| times.import_ms = Some(import_ms)));
                None
            }
            Event::Loaded(loaded) => {
                let worker = running.worker.as_ref().expect("only a worker speaks of its start");
                self.ground.log.say(Level::Info, format!("Completed model.load() execution in {} ms", loaded.load_ms));
                self.note_modules(&loaded.modules);
                let (load_ms, checks_health) = (loaded.load_ms, loaded.checks_health);
                let loaded_after = move |times: &mut StartTimes| times.load_ms = Some(load_ms);
                worker.truss.loaded(worker.channel.clone(), worker.control.clone(), loaded);
                if checks_health {
                    self.save(self.board.note_start(loaded_after));
                    let (board, health) = (self.board.clone(), self.health.clone());
                    tokio::task::spawn_local(watch_model(worker.truss.clone(), board, health));
                } else {
                    self.save(self.board.enter_noting(Phase::Ready, loaded_after));
                }
                None
            }
            Event::Failed { message, detail } => {
                let detail = Some(detail).filter(|detail| !detail.is_empty());
                Some(Exit { cause: ExitCause::LoadFailed, message, detail })
            }
            Event::Health { .. } | Event::Swapped { .. } | Event::NotSwapped { .. } => None,
        }
    }

    /// Notes down what those that stand by should import. Without it they are merely slower.
    fn note_modules(&self, names: &[String]) {
        if let Wanted::Truss { modules: Some(path), .. } = &self.order.spec.program
            && let Err(error) = modules::note(path, names)
        {
            tracing::warn!(%error, "cannot note down which modules the model needs");
        }
    }

    /// A status that cannot be written is a full disk: the model goes on, and the log says so.
    pub fn save(&self, saved: std::io::Result<()>) {
        if let Err(error) = saved {
            tracing::error!(%error, "cannot write the status");
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
