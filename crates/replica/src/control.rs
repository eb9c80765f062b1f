//! The control socket: one JSON document a line. The worker answers it on a thread of its own, so that a busy model can still
//! be asked how it does.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    rc::Rc,
    time::Duration,
};

use api::internal::replica::{NotSwapped, Secrets};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
};

use crate::swap::Changes;

/// How long the model has to say whether it is healthy before its last word counts.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the import of new code may take.
const SWAP_TIMEOUT: Duration = Duration::from_secs(30);

/// Questions that may wait for a worker that reads none. Beyond that, new ones are dropped: the answers would be stale.
const UNSENT_LIMIT: usize = 64;

/// What the worker says while it loads the model.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The model's module has been imported.
    Imported {
        /// How long it took.
        import_ms: u64,
    },
    /// The model is ready.
    Loaded(Loaded),
    /// The model cannot be loaded.
    Failed {
        /// One sentence.
        message: String,
        /// The traceback.
        detail: String,
    },
    /// Other code answers from now on.
    Swapped {
        /// Which question.
        id: u64,
        /// What the model is like with it.
        #[serde(flatten)]
        loaded: Loaded,
    },
    /// The code is what it was.
    NotSwapped {
        /// Which question.
        id: u64,
        /// Why.
        #[serde(flatten)]
        why: NotSwapped,
    },
    /// An answer to a question about health.
    Health {
        /// Which question.
        id: u64,
        /// The answer, where the model has an opinion.
        healthy: Option<bool>,
    },
}

/// What a loaded model is like.
#[derive(Debug, Deserialize)]
pub struct Loaded {
    /// How long construction and `load` took.
    pub load_ms: u64,
    /// Whether some method looks at requests.
    pub wants_headers: bool,
    /// Whether it has `is_healthy`.
    pub checks_health: bool,
    /// The JSON schema of its input and output.
    pub schema: Option<String>,
    /// Modules of the environment that it has imported.
    #[serde(default)]
    pub modules: Vec<String>,
}

/// The replica's end of the control socket.
pub struct Control {
    outbox: mpsc::Sender<String>,
    questions: RefCell<HashMap<u64, oneshot::Sender<bool>>>,
    swaps: RefCell<HashMap<u64, oneshot::Sender<Result<Loaded, NotSwapped>>>>,
    next_question: Cell<u64>,
}

impl Control {
    /// Takes the socket over. What the worker says of its start comes out of the receiver, which closes with the socket.
    pub fn new(stream: UnixStream) -> (Rc<Self>, mpsc::Receiver<Event>) {
        let (reader, writer) = stream.into_split();
        let (outbox, unsent) = mpsc::channel(UNSENT_LIMIT);
        let (events, receiver) = mpsc::channel(8);
        let control = Rc::new(Self {
            outbox,
            questions: RefCell::default(),
            swaps: RefCell::default(),
            next_question: Cell::new(0),
        });
        tokio::task::spawn_local(write(writer, unsent));
        tokio::task::spawn_local(control.clone().read(reader, events));
        (control, receiver)
    }

    /// Sends the first document: what to load, and how.
    pub fn set_up(&self, setup: &Value) {
        self.send(setup);
    }

    /// Tells the model of another environment.
    pub fn set_environment(&self, environment: Value) {
        self.send(&json!({"call": "environment", "environment": environment}));
    }

    /// Tells the model's process of other values of its secrets. Refused while too much else waits to be told.
    pub fn set_secrets(&self, secrets: &Secrets) -> io::Result<()> {
        let document = json!({"call": "secrets", "secrets": secrets.0});
        let sent = self.outbox.try_send(format!("{document}\n"));
        sent.map_err(|_| io::Error::other("the model takes note of nothing at the moment"))
    }

    /// Asks whether the model is healthy. None when it does not answer in time, or has no opinion.
    pub async fn health(&self) -> Option<bool> {
        let id = self.next_question.replace(self.next_question.get() + 1);
        let (sender, receiver) = oneshot::channel();
        self.questions.borrow_mut().insert(id, sender);
        self.send(&json!({"call": "health", "id": id}));
        let answer = tokio::time::timeout(HEALTH_TIMEOUT, receiver).await;
        self.questions.borrow_mut().remove(&id);
        answer.ok()?.ok()
    }

    /// Asks the model to go on with these changes of its code. None when it does not answer in time.
    pub async fn swap(&self, changes: &Changes) -> Option<Result<Loaded, NotSwapped>> {
        let id = self.next_question.replace(self.next_question.get() + 1);
        let (sender, receiver) = oneshot::channel();
        self.swaps.borrow_mut().insert(id, sender);
        self.send(&json!({"call": "swap", "id": id, "files": changes}));
        let answer = tokio::time::timeout(SWAP_TIMEOUT, receiver).await;
        self.swaps.borrow_mut().remove(&id);
        answer.ok()?.ok()
    }

    fn send(&self, document: &Value) {
        let _ = self.outbox.try_send(format!("{document}\n"));
    }

    fn end_swap(&self, id: u64, result: Result<Loaded, NotSwapped>) {
        if let Some(swap) = self.swaps.borrow_mut().remove(&id) {
            let _ = swap.send(result);
        }
    }

    async fn read(self: Rc<Self>, reader: OwnedReadHalf, events: mpsc::Sender<Event>) {
        let mut lines = BufReader::new(reader).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            match serde_json::from_str(&line) {
                Ok(Event::Health { id, healthy }) => {
                    if let (Some(question), Some(healthy)) = (self.questions.borrow_mut().remove(&id), healthy) {
                        let _ = question.send(healthy);
                    }
                }
                Ok(Event::Swapped { id, loaded }) => self.end_swap(id, Ok(loaded)),
                Ok(Event::NotSwapped { id, why }) => self.end_swap(id, Err(why)),
                Ok(event) => {
                    if events.send(event).await.is_err() {
                        tracing::debug!("the worker spoke of its start after the start");
                    }
                }
                Err(error) => tracing::warn!(%error, "the worker sent a document that is none"),
            }
        }
    }
}

async fn write(mut writer: OwnedWriteHalf, mut unsent: mpsc::Receiver<String>) {
    while let Some(line) = unsent.recv().await {
        if writer.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}
