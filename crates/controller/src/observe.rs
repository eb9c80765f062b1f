//! Looks at what the backend owns and stores what replicas say of themselves. Ends what belongs to nobody, and writes down how each
//! replica ended before it is forgotten.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use api::{
    id::ReplicaId,
    internal::replica::{Exit, ExitCause, Level, Phase, Status},
};
use backends::{BackendError, Observed};
use futures::future::join_all;
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
    shared::{Observation, Seen, Shared, line, record},
};

/// Lines that the platform may have written about one replica.
const LINES_OF_A_REPLICA: u32 = 100;

/// How long the log of a replica that has ended is tried, before its end counts without its last lines.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a location may take to say what it runs.
const LIST_PATIENCE: Duration = Duration::from_secs(5);
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
        // In this order: a replica that is ordered and started in between is in the store, not an orphan.
        let listed = self.list().await?;
        let view = self.shared.mirror.look().await?;
        let mut observation = Observation::new();
        for (at, replicas) in &listed {
            for observed in replicas {
                match view.replica(&observed.replica_id).filter(|row| self.is_sent_to(row, *at)) {
                    Some(row) => {
                        self.note(now, row, &observed.status, Some(*at)).await?;
                        observation.insert(observed.replica_id.clone(), Seen::new(*at, observed));
                    }
                    None => self.end_orphan(*at, observed).await,
                }
            }
        }
        self.keep_silent(&listed, &mut observation);
        for row in view.all_replicas() {
            if let (false, Some(status)) = (observation.contains_key(&row.id), &row.status)
                && self.would_be_listed(row, &listed)
            {
                self.note(now, row, &self.vanished(row, status), None).await?;
            }
        }
        self.unread.retain(|id, _| view.replica(id).is_some());
        let retry_at = self.unread.values().any(|since| since.elapsed() < PATIENCE).then(|| now.plus(RETRY_MS));
        self.tell(observation);
        Ok(Next::IDLE.by(retry_at))
    }
}

impl Observe {
    /// What each location runs, by position. Those that do not answer are left out, unless none does.
    async fn list(&self) -> Result<BTreeMap<usize, Vec<Observed>>, Error> {
        let asked = self.shared.sites.iter().map(|site| async move {
            let answer = tokio::time::timeout(LIST_PATIENCE, site.backend.list()).await;
            answer.unwrap_or_else(|_| {
                let source = std::io::ErrorKind::TimedOut.into();
                Err(BackendError { what: format!("location {} does not say what it runs", site.name), source })
            })
        });
        let (mut listed, mut failed) = (BTreeMap::new(), None);
        for (at, answer) in join_all(asked).await.into_iter().enumerate() {
            match answer {
                Ok(replicas) => drop(listed.insert(at, replicas)),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if listed.is_empty() => Err(error.into()),
            // Its health tells people.
            Some(error) => {
                tracing::debug!(error = chain(&error), "a location does not answer");
                Ok(listed)
            }
            None => Ok(listed),
        }
    }

    /// Whether a replica that runs in a location belongs there: not where it was sent elsewhere since.
    fn is_sent_to(&self, row: &Replica, at: usize) -> bool {
        row.location.as_ref().is_none_or(|name| name == self.shared.sites.name(at))
    }

    /// A location that does not answer runs what it ran when it last did, as far as anybody knows.
    fn keep_silent(&self, listed: &BTreeMap<usize, Vec<Observed>>, observation: &mut Observation) {
        let Some(last) = self.shared.observed() else { return };
        for (id, seen) in last.iter().filter(|(_, seen)| !listed.contains_key(&seen.at)) {
            observation.entry(id.clone()).or_insert_with(|| seen.clone());
        }
    }

    /// Whether a replica would be among what was listed, if it ran still.
    fn would_be_listed(&self, row: &Replica, listed: &BTreeMap<usize, Vec<Observed>>) -> bool {
        match row.location.as_deref().map(|name| self.shared.sites.position(name)) {
            Some(Some(at)) => listed.contains_key(&at),
            // Its location is not there any more.
            Some(None) => true,
            // It may be in any.
            None => listed.len() == self.shared.sites.len(),
        }
    }

    /// A replica that was seen once and that its location does not know any more has ended, whatever ended it.
    fn vanished(&self, row: &Replica, last: &Status) -> Status {
        let message = match row.location.as_deref().filter(|name| self.shared.sites.position(name).is_none()) {
            Some(name) => format!("its location {name} is not configured any more"),
            None => "its process and its folder are gone".to_owned(),
        };
        let exit = Exit { cause: ExitCause::Lost, message, detail: None };
        Status { sequence: last.sequence + 1, phase: Phase::Exited(exit), in_flight: 0, ..last.clone() }
    }

    /// Where a replica is, in words; nothing where it could not be anywhere else.
    fn whereabouts(&self, at: Option<usize>) -> String {
        let sites = &self.shared.sites;
        at.filter(|_| sites.len() > 1).map(|at| format!(" in {}", sites.name(at))).unwrap_or_default()
    }

    /// Stores what is new about a replica.
    async fn note(&mut self, now: Timestamp, row: &Replica, status: &Status, at: Option<usize>) -> Result<(), Error> {
        if row.status.as_ref().is_some_and(|known| !is_news(known, status)) {
            return Ok(());
        }
        let store = self.shared.parts.store.clone();
        match &status.phase {
            // In this order, so that ending this process in between repeats the steps: whoever sees the end has the whole story.
            Phase::Exited(exit) => {
                if let Err(error) = self.tell_story(now, row, exit, at).await {
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
                if !is_known && let Some((level, text)) = sentence(&row.id, phase, status, &self.whereabouts(at)) {
                    store.append_logs(&[record(&row.deployment_id, Some(&row.id), line(now, level, text))]).await?;
                }
            }
        }
        Ok(())
    }

    /// Stores the last that a replica has written, and how it ended; the latter also when the former cannot be had.
    async fn tell_story(&self, now: Timestamp, row: &Replica, exit: &Exit, at: Option<usize>) -> Result<(), Error> {
        let (store, sites) = (&self.shared.parts.store, &self.shared.sites);
        let last_lines = match (at, store.log_cursor(&row.id).await?) {
            (Some(at), Some(cursor)) => catch_up(store, sites.backend(at).as_ref(), &row.id, cursor).await,
            (None, _) | (_, None) => Ok(()),
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
    async fn end_orphan(&self, at: usize, observed: &Observed) {
        let backend = self.shared.sites.backend(at);
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

/// What a person wants to know of a new phase. `whereabouts` go after what tells of the beginning.
fn sentence(id: &ReplicaId, phase: &Phase, status: &Status, whereabouts: &str) -> Option<(Level, String)> {
    match phase {
        Phase::Starting | Phase::Draining | Phase::Exited(_) => None,
        Phase::Loading => Some((Level::Info, format!("replica {id} loads the model{whereabouts}"))),
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
