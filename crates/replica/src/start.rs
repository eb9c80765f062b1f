//! The start of a model process in two steps: what can be done before the order, and what needs it.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use api::internal::replica::{Program as Wanted, Spec};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::UnixStream, sync::mpsc};

use crate::{
    Error,
    arena::{self, Incoming, Outgoing},
    channel::{Channel, Deadlines},
    control::{Control, Event},
    guard::Launch,
    launch::{self, WorkerEnds},
    limits::Enforced,
    log::Log,
    modules,
    namespace::Isolation,
    order::Order,
    payload,
    process::Process,
    protocol::Block,
    truss::Truss,
};

/// What a start needs before the order.
pub struct Ground {
    /// The replica's folder by the name that it has now.
    pub directory: PathBuf,
    /// What to run.
    pub spec: Spec,
    /// What it may use.
    pub limits: Enforced,
    /// Where its output goes.
    pub log: Rc<Log>,
}

/// A started model process and how to talk to it.
pub struct Running {
    /// The process.
    pub process: Process,
    /// What the worker says of its start. Closed from the beginning for a server.
    pub events: mpsc::Receiver<Event>,
    /// Where it is a worker of ours.
    pub worker: Option<Worker>,
}

/// A worker of ours.
pub struct Worker {
    /// What answers with it.
    pub truss: Rc<Truss>,
    /// Its requests.
    pub channel: Rc<Channel>,
    /// Its questions.
    pub control: Rc<Control>,
}

/// A worker that has everything but its order: the interpreter runs in its sandbox.
pub struct Waiting {
    pub process: Process,
    control: UnixStream,
    data: UnixStream,
    incoming: Incoming,
    read: mpsc::Receiver<Block>,
}

impl Waiting {
    /// Whether it may wait long: it has a file system of its own, which is where its folder goes by any name.
    pub fn can_wait(&self) -> bool {
        self.process.isolation != Isolation::None
    }
}

impl Ground {
    /// Starts a worker as far as it goes without an order. One that stands by imports what the model needed the last time.
    pub async fn prepare(&self, outgoing: &Outgoing, stands_by: bool) -> Result<Waiting, Error> {
        let Wanted::Truss { python, modules, .. } = &self.spec.program else {
            unreachable!("a Truss runs in a worker")
        };
        let shared = self.directory.parent().unwrap_or(&self.directory);
        let package = payload::lay_out(shared).map_err(|source| Error::file(shared.to_owned(), source))?;
        let sockets = |source| Error::Machine { what: "the sockets of the worker", source };
        let (data, worker_data) = socket_pair().map_err(sockets)?;
        let (mut control, worker_control) = socket_pair().map_err(sockets)?;
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
        let process = self.spawn(&launch::worker(&self.spec, &self.directory, &ends)).await?;
        drop((worker_data, worker_control));
        tokio::task::spawn_local(payload::compile(package, python.clone()));
        if let Some(names) = modules.as_deref().filter(|_| stands_by).map(modules::read) {
            let line = format!("{}\n", json!({ "modules": names }));
            control.write_all(line.as_bytes()).await.map_err(sockets)?;
        }
        Ok(Waiting { process, control, data, incoming, read })
    }

    /// Gives a worker its order.
    pub async fn begin(&self, order: &Order, waiting: Waiting, truss: Rc<Truss>) -> Result<Running, Error> {
        let Order { spec, secrets } = order;
        let Wanted::Truss { config, packages, .. } = &spec.program else { unreachable!("a Truss runs in a worker") };
        let Waiting { mut process, control, data, incoming, read } = waiting;
        if !secrets.0.is_empty() {
            let given = process.give_secrets(&secrets.0).await;
            given.map_err(|source| Error::Machine { what: "a place for the secrets", source })?;
        }
        let packages = match process.isolation {
            Isolation::Whole | Isolation::Files => packages.as_ref().map(|_| Path::new("/packages")),
            Isolation::None => packages.as_deref(),
        };
        let concurrency = spec.predict_concurrency.max(1);
        let (control, events) = Control::new(control);
        control.set_up(&json!({
            "config": config,
            "secrets": secrets.0,
            "environment": spec.environment,
            "packages": packages,
            "predict_concurrency": concurrency,
        }));
        let deadlines = Deadlines {
            request: Duration::from_millis(spec.request_timeout_ms),
            chunk: Duration::from_millis(spec.streaming_read_timeout_ms),
        };
        let channel = Channel::new(data, incoming, read, concurrency, deadlines);
        Ok(Running { process, events, worker: Some(Worker { truss, channel, control }) })
    }

    /// Starts a server of the user's own on `port`. It needs its secrets from the first moment.
    pub async fn start_server(&self, order: &Order, port: u16) -> Result<Running, Error> {
        let process = self.spawn(&launch::server(&order.spec, &order.secrets, &self.directory, port)).await?;
        Ok(Running { process, events: mpsc::channel(1).1, worker: None })
    }

    async fn spawn(&self, launch: &Launch) -> Result<Process, Error> {
        let started = Process::start(launch, &self.limits, &self.log).await;
        started.map_err(|source| Error::Machine { what: "the model process", source })
    }
}

fn socket_pair() -> std::io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let theirs = OwnedFd::from(theirs);
    fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok((UnixStream::from_std(ours)?, theirs))
}
