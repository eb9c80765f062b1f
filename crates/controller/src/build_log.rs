//! Carries the output of one build into the store: in order, a few lines at a time, without ever holding up the build.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api::{
    id::DeploymentId,
    internal::replica::{Level, LogLine},
};
use backends::BuildOutput;
use planner::Timestamp;
use store::{
    Store,
    domain::{Component, LogRecord},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{driver::chain, shared::line};

/// Lines that may wait for the store; a build that says more in that time has the rest counted instead of kept.
const WAITING_LINES: usize = 10_000;
/// Lines stored in one transaction.
const BATCH: usize = 500;
/// How long a line may wait for company.
const COMPANY: Duration = Duration::from_millis(100);
/// The last lines that go into the reason of a failure.
const LAST_LINES: usize = 20;

/// The end that the build talks to.
pub(crate) struct BuildLog {
    lines: mpsc::Sender<LogLine>,
    lost: AtomicU64,
    last: Mutex<VecDeque<String>>,
    closed: watch::Sender<bool>,
}

/// The end that writes to the store; runs beside the build.
pub(crate) struct Writer {
    store: Store,
    deployment: DeploymentId,
    log: Arc<BuildLog>,
    lines: mpsc::Receiver<LogLine>,
    closed: watch::Receiver<bool>,
}

impl BuildLog {
    pub fn open(store: Store, deployment: DeploymentId) -> (Arc<BuildLog>, Writer) {
        let (sender, lines) = mpsc::channel(WAITING_LINES);
        let (close, closed) = watch::channel(false);
        let log = Arc::new(BuildLog { lines: sender, lost: AtomicU64::new(0), last: Mutex::default(), closed: close });
        let writer = Writer { store, deployment, log: log.clone(), lines, closed };
        (log, writer)
    }

    /// A line of the platform.
    pub fn say(&self, now: Timestamp, level: Level, text: String) {
        self.send(line(now, level, text));
    }

    /// Nothing more will be said; the writer ends when everything is stored.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// What the build said last, if it said anything.
    pub fn last_lines(&self) -> Option<String> {
        let last = self.last.lock().expect("no holder of this lock panics");
        (!last.is_empty()).then(|| last.iter().map(String::as_str).collect::<Vec<_>>().join("\n"))
    }

    fn send(&self, line: LogLine) {
        if self.lines.try_send(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl BuildOutput for BuildLog {
    fn line(&self, line: LogLine) {
        {
            let mut last = self.last.lock().expect("no holder of this lock panics");
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(line.message.clone());
        }
        self.send(line);
    }
}

impl Writer {
    /// Stores lines until the log is closed and everything that was said is stored.
    pub async fn run(mut self) {
        let mut batch: Vec<LogRecord> = Vec::new();
        loop {
            let is_closed = self.gather(&mut batch).await;
            match self.store.append_logs(&batch).await {
                Ok(()) => batch.clear(),
                Err(error) if is_closed => {
                    tracing::warn!(deployment.id = %self.deployment, error = chain(&error), lines = batch.len(), "cannot store build output");
                    return;
                }
                // Kept for the next round: the channel holds what comes in between.
                Err(_) => tokio::time::sleep(COMPANY).await,
            }
            if is_closed && batch.is_empty() && self.lines.is_empty() {
                return;
            }
        }
    }

    /// Waits for a first line, and a little for others. Whether the log is closed.
    async fn gather(&mut self, batch: &mut Vec<LogRecord>) -> bool {
        let mut until: Option<Instant> = (!batch.is_empty()).then(Instant::now);
        let mut is_closed = *self.closed.borrow();
        while batch.len() < BATCH {
            if let Ok(line) = self.lines.try_recv() {
                until.get_or_insert_with(|| Instant::now() + COMPANY);
                batch.push(record(&self.deployment, line));
                continue;
            }
            if is_closed {
                break;
            }
            let deadline = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                line = self.lines.recv() => {
                    if let Some(line) = line {
                        until.get_or_insert_with(|| Instant::now() + COMPANY);
                        batch.push(record(&self.deployment, line));
                    }
                }
                _ = self.closed.wait_for(|closed| *closed) => is_closed = true,
                () = deadline => break,
            }
        }
        let lost = self.log.lost.swap(0, Ordering::Relaxed);
        if let (true, Some(last)) = (lost > 0, batch.last()) {
            let text = format!("{lost} lines of output are left out: they came faster than they could be stored");
            let note = LogLine { message: text, level: Some(Level::Warning), ..last.line.clone() };
            batch.push(record(&self.deployment, note));
        }
        is_closed
    }
}

fn record(deployment: &DeploymentId, line: LogLine) -> LogRecord {
    LogRecord { deployment_id: deployment.clone(), replica_id: None, component: Component::Build, line }
}
