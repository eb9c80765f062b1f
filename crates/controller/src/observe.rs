//! Looks at what the backend owns and stores what replicas say of themselves. Ends what belongs to nobody, and writes down how each
//! replica ended before it is forgotten.

use std::{collections::HashMap, sync::Arc, time::Duration};

use api::{
    id::ReplicaId,
    internal::replica::{Exit, ExitCause, Level, Phase, Status},
};
use backends::Observed;
use planner::Timestamp;
use store::{
    LogQuery,
    domain::{Component, Replica},
};
use tokio::time::Instant;

use crate::{
    Error,
    driver::{Next, Task, chain},
    logs::catch_up,
    shared::{Observation, Shared, line, record},
};

/// Lines that the platform may have written about one replica.
const LINES_OF_A_REPLICA: u32 = 100;

/// How long the log of a replica that has ended is tried, before its end counts without its last lines.
const PATIENCE: Duration = Duration::from_millis(500);
/// The time between two tries.
const RETRY_MS: u64 = 200;

/// The task.
pub(crate) struct Observe {
    shared: Shared,
    /// Since when the last lines of which replica cannot be had.
    unread: HashMap<ReplicaId, Instant>,
}

impl Observe {
    pub fn new(shared: Shared) -> Self {
        Self { shared, unread: HashMap::new() }
    }
}

impl Task for Observe {
    const NAME: &'static str = "observe";
    const PAUSE: Duration = Duration::from_millis(5);

    async fn pass(&mut self, now: Timestamp) -> Result<Next, Error> {
        let parts = self.shared.parts.clone();
        // In this order: a replica that is ordered and started in between is in the store, not an orphan.
        let listed = parts.backend.list().await?;
        let view = self.shared.mirror.look().await?;
        for observed in &listed {
            match view.replica(&observed.replica_id) {
                Some(row) => self.note(now, row, &observed.status).await?,
                None => self.end_orphan(observed).await,
            }
        }
        let observation: Observation =
            listed.iter().map(|observed| (observed.replica_id.clone(), observed.into())).collect();
        for row in view.all_replicas() {
            if let (false, Some(status)) = (observation.contains_key(&row.id), &row.status) {
                self.note(now, row, &vanished(status)).await?;
            }
        }
        self.unread.retain(|id, _| view.replica(id).is_some());
        let retry_at = self.unread.values().any(|since| since.elapsed() < PATIENCE).then(|| now.plus(RETRY_MS));
        self.tell(observation);
        Ok(Next::IDLE.by(retry_at))
    }
}

impl Observe {
    /// Stores what is new about a replica.
    async fn note(&mut self, now: Timestamp, row: &Replica, status: &Status) -> Result<(), Error> {
        if row.status.as_ref().is_some_and(|known| !is_news(known, status)) {
            return Ok(());
        }
        let store = self.shared.parts.store.clone();
        match &status.phase {
            // In this order, so that ending this process in between repeats the steps: whoever sees the end has the whole story.
            Phase::Exited(exit) => {
                if let Err(error) = self.tell_story(now, row, exit).await {
                    let since = *self.unread.entry(row.id.clone()).or_insert_with(Instant::now);
                    if since.elapsed() < PATIENCE {
                        return Ok(());
                    }
                    // That it has ended matters more than its log.
                    tracing::warn!(replica.id = %row.id, deployment.id = %row.deployment_id, error = chain(&error), "the log of a replica that has ended is not complete");
                }
                store.see_replica(&row.id, status, now).await?;
            }
            phase => {
                store.see_replica(&row.id, status, now).await?;
                let is_known = row.status.as_ref().is_some_and(|known| known.phase == *phase);
                if !is_known && let Some((level, text)) = sentence(&row.id, phase, status) {
                    store.append_logs(&[record(&row.deployment_id, Some(&row.id), line(now, level, text))]).await?;
                }
            }
        }
        Ok(())
    }

    /// Stores the last that a replica has written, and how it ended; the latter also when the former cannot be had.
    async fn tell_story(&self, now: Timestamp, row: &Replica, exit: &Exit) -> Result<(), Error> {
        let parts = &self.shared.parts;
        let last_lines = match parts.store.log_cursor(&row.id).await? {
            Some(cursor) => catch_up(&parts.store, parts.backend.as_ref(), &row.id, cursor).await,
            None => Ok(()),
        };
        self.tell_end(now, row, exit).await?;
        last_lines
    }

    /// Writes how a replica ended into its deployment's log, unless it stands there.
    async fn tell_end(&self, now: Timestamp, row: &Replica, exit: &Exit) -> Result<(), Error> {
        let was_asked = exit.cause == ExitCause::Stopped && row.stopping_since.is_some();
        let level = if was_asked { Level::Info } else { Level::Error };
        let mut text = format!("replica {} ended: {}", row.id, exit.message);
        if let Some(detail) = &exit.detail {
            text.push('\n');
            text.push_str(detail);
        }
        let query = LogQuery {
            deployments: vec![row.deployment_id.clone()],
            end_ms: u64::MAX,
            limit: LINES_OF_A_REPLICA,
            replica: Some(row.id.to_string()),
            component: Some(Component::Deploy),
            ..LogQuery::default()
        };
        let store = &self.shared.parts.store;
        if store.logs(&query).await?.iter().any(|record| record.line.message == text) {
            return Ok(());
        }
        store.append_logs(&[record(&row.deployment_id, Some(&row.id), line(now, level, text))]).await?;
        Ok(())
    }

    /// A replica that is not in the store belongs to nobody: its deployment's story has been told, or it was never ours.
    async fn end_orphan(&self, observed: &Observed) {
        let backend = &self.shared.parts.backend;
        match observed.status.phase {
            Phase::Exited(_) => backend.forget(&observed.replica_id).await,
            Phase::Starting | Phase::Loading | Phase::Ready | Phase::Unhealthy | Phase::Draining => {
                tracing::info!(replica.id = %observed.replica_id, deployment.id = %observed.deployment_id, "ending a replica that nobody owns");
                backend.stop(&observed.replica_id, 0).await;
            }
        }
    }

    /// Lets the other tasks see it, and wakes them.
    fn tell(&self, observation: Observation) {
        let bells = &self.shared.bells;
        bells.logs.ring();
        let is_new = self.shared.observation.send_if_modified(|last| {
            let is_new = last.as_deref() != Some(&observation);
            if is_new {
                *last = Some(Arc::new(observation));
            }
            is_new
        });
        if is_new {
            bells.deployments.ring();
            bells.promotions.ring();
            bells.routes.ring();
            bells.reloads.ring();
            bells.tell.ring();
        }
    }
}

/// Whether a status says more than a known one. Requests in flight change with every request and decide nothing here.
fn is_news(known: &Status, status: &Status) -> bool {
    let has_ended = matches!(known.phase, Phase::Exited(_));
    !has_ended && status.sequence >= known.sequence && (known.phase != status.phase || known.start != status.start)
}

/// A replica that was seen once and that the backend does not know any more has ended, whatever ended it.
fn vanished(last: &Status) -> Status {
    let exit = Exit { cause: ExitCause::Lost, message: "its process and its folder are gone".into(), detail: None };
    Status { sequence: last.sequence + 1, phase: Phase::Exited(exit), in_flight: 0, ..last.clone() }
}

/// What a person wants to know of a new phase.
fn sentence(id: &ReplicaId, phase: &Phase, status: &Status) -> Option<(Level, String)> {
    match phase {
        Phase::Starting | Phase::Draining | Phase::Exited(_) => None,
        Phase::Loading => Some((Level::Info, format!("replica {id} loads the model"))),
        Phase::Unhealthy => Some((Level::Warning, format!("replica {id} says that it is not healthy"))),
        Phase::Ready => {
            let part = |name: &str, ms: Option<u64>| ms.map(|ms| format!("{name} {ms} ms"));
            let parts: Vec<String> = [
                part("decide", status.start.decide_ms),
                part("spawn", status.start.spawn_ms),
                part("import", status.start.import_ms),
                part("load", status.start.load_ms),
                part("first probe", status.start.first_probe_ms),
            ]
            .into_iter()
            .flatten()
            .collect();
            let times = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
            Some((Level::Info, format!("replica {id} is ready{times}")))
        }
    }
}
