//! Brings the backend and the stored replicas together: starts what is ordered, as far as there is room, tells replicas to stop that
//! no request can reach any more, and clears away what is gone.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use api::{
    id::{DeploymentId, ReplicaId, TeamId},
    internal::replica::{Exit, ExitCause, Level, Phase, Secrets, StartTimes, Status},
    truss_config::TrussConfig,
};
use backends::{Artifact, StartError, StartReplica};
use futures::StreamExt;
use planner::{
    Timestamp,
    capacity::{Amount, Capacity},
    lifecycle::Build,
};
use store::domain::Replica;

use crate::{
    Error,
    capacity::{admit, amount},
    catalogue::Entry,
    driver::chain,
    publish::is_listed,
    settings::millis,
    shared::{Observation, Shared, line, record},
};

/// Replicas that are started at one time.
const STARTS_AT_ONCE: usize = 8;
/// What a deployment hears whose secrets were sealed with another key than this server's.
const FOREIGN_SECRETS: &str = "the server's secret key does not fit the stored secrets that this model declares: restore the file \
                               server-secret from a backup and start the server again, or delete the secrets and set them anew";

type Entries = BTreeMap<DeploymentId, Arc<Entry>>;

/// Carries orders out.
pub(crate) struct Orders {
    shared: Shared,
    /// When a replica was last told to stop.
    told_to_stop: HashMap<ReplicaId, Timestamp>,
    /// Replicas that the backend has started, whether or not they have been seen since.
    started: HashSet<ReplicaId>,
    /// What orders of which deployment wait for, so that it is said once.
    waiting: HashMap<DeploymentId, String>,
}

/// A replica to start, and what it is a copy of.
struct Order {
    replica: ReplicaId,
    environment: Option<String>,
    entry: Arc<Entry>,
}

impl Orders {
    pub fn new(shared: Shared) -> Self {
        Self { shared, told_to_stop: HashMap::new(), started: HashSet::new(), waiting: HashMap::new() }
    }

    /// Makes what is stored of replicas true.
    pub async fn carry_out(
        &mut self,
        now: Timestamp,
        rows: Vec<Replica>,
        entries: &Entries,
        observation: &Observation,
    ) -> Result<(), Error> {
        self.told_to_stop.retain(|id, _| rows.iter().any(|row| row.id == *id));
        self.started.retain(|id| rows.iter().any(|row| row.id == *id));
        let orders = self.settle(now, &rows, entries, observation).await?;
        let used = self.used(&rows, entries, observation);
        let fitting = self.admit(now, orders, used).await?;
        self.start(now, fitting).await
    }

    /// Clears rows of replicas that are gone, tells replicas to stop, and says which ones are ordered and not started.
    async fn settle(
        &mut self,
        now: Timestamp,
        rows: &[Replica],
        entries: &Entries,
        observation: &Observation,
    ) -> Result<Vec<Order>, Error> {
        let store = self.shared.parts.store.clone();
        let published = self.shared.published();
        let mut orders = Vec::new();
        for row in rows {
            let entry = entries.get(&row.deployment_id);
            let is_unseen = is_unseen(row, observation);
            let is_unwanted = entry.is_none() || row.stopping_since.is_some();
            match (entry, is_unwanted) {
                (_, true) if has_ended(row) || is_unseen => store.delete_replica(&row.id).await?,
                (None, _) if row.stopping_since.is_none() => store.mark_replica_stopping(&row.id, now).await?,
                (_, true) if !is_listed(published.as_deref(), &row.id) => self.tell_to_stop(now, &row.id).await,
                // Still in the table: publishing one without it wakes this task.
                (_, true) => {}
                (Some(entry), false) if is_unseen => {
                    let (replica, environment) = (row.id.clone(), row.environment.clone());
                    orders.push(Order { replica, environment, entry: entry.clone() });
                }
                (Some(_) | None, false) => {}
            }
        }
        Ok(orders)
    }

    /// Tells a replica to stop; again after a while, in case it was not heard.
    async fn tell_to_stop(&mut self, now: Timestamp, id: &ReplicaId) {
        let settings = &self.shared.settings;
        let was_told = self.told_to_stop.get(id).is_some_and(|at| now.since(*at) < millis(settings.slow_round));
        if !was_told {
            self.told_to_stop.insert(id.clone(), now);
            self.shared.parts.backend.stop(id, settings.request_timeout_ms()).await;
        }
    }

    /// What replicas use that have been started and have not ended; those that drain included.
    fn used(&self, rows: &[Replica], entries: &Entries, observation: &Observation) -> Amount {
        let has_begun = |row: &Replica| self.started.contains(&row.id) || !is_unseen(row, observation);
        let holds = |row: &&Replica| has_begun(row) && !has_ended(row);
        let types = rows.iter().filter(holds).filter_map(|row| entries.get(&row.deployment_id));
        types.fold(Amount::default(), |used, entry| used.plus(&self.amount(entry)))
    }

    fn amount(&self, entry: &Entry) -> Amount {
        amount(&self.shared.settings.instance_types, &entry.deployment.instance_type)
    }

    /// The orders for which there is room. The others wait, and their deployments' logs say for what.
    async fn admit(&mut self, now: Timestamp, orders: Vec<Order>, used: Amount) -> Result<Vec<Order>, Error> {
        let capacity = &self.shared.settings.capacity;
        if *capacity == Capacity::default() {
            return Ok(orders);
        }
        let (begun, orders): (Vec<_>, Vec<_>) =
            orders.into_iter().partition(|order| self.started.contains(&order.replica));
        let (mut fitting, waiting) = admit(capacity, used, orders, |order| self.amount(&order.entry));
        fitting.extend(begun);
        let waiting: HashMap<DeploymentId, String> = waiting
            .into_iter()
            .map(|(order, shortage)| (order.entry.deployment.id.clone(), format!("waiting for capacity: {shortage}")))
            .collect();
        for (id, text) in &waiting {
            if self.waiting.get(id) != Some(text) {
                let told = record(id, None, line(now, Level::Warning, text.as_str()));
                self.shared.parts.store.append_logs(&[told]).await?;
            }
        }
        self.waiting = waiting;
        Ok(fitting)
    }

    /// Starts what is ordered; what keeps one from starting does not keep the others. Starting one again that runs already does
    /// nothing.
    async fn start(&mut self, now: Timestamp, orders: Vec<Order>) -> Result<(), Error> {
        let this = &*self;
        let starts = orders.into_iter().map(|order| async move {
            let id = order.replica.clone();
            this.start_one(now, order).await.map(|has_begun| has_begun.then_some(id))
        });
        let results: Vec<Result<Option<ReplicaId>, Error>> =
            futures::stream::iter(starts).buffer_unordered(STARTS_AT_ONCE).collect().await;
        self.started.extend(results.iter().filter_map(|result| result.as_ref().ok().cloned().flatten()));
        results.into_iter().try_for_each(|result| result.map(drop))
    }

    /// Whether the backend has begun to run it.
    async fn start_one(&self, now: Timestamp, order: Order) -> Result<bool, Error> {
        let Order { replica, environment, entry } = order;
        let parts = &self.shared.parts;
        let deployment = &entry.deployment;
        let Build::Succeeded { artifact, .. } = &deployment.lifecycle.build else {
            return Ok(false);
        };
        let model = match parts.store.model(&deployment.model_id).await {
            Ok(model) => model,
            // Deleted in this moment; the next pass sees that.
            Err(store::Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let secrets = match self.secrets(&entry.config, &model.team_id).await {
            Ok(secrets) => secrets,
            Err(store::Error::Damaged { .. }) => {
                let error = StartError::Impossible(FOREIGN_SECRETS.into());
                self.start_failed(now, &replica, &entry, error).await?;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        let start = StartReplica {
            spec: crate::template::replica(
                replica.clone(),
                deployment,
                &entry.config,
                environment.as_deref(),
                &self.shared.settings,
            ),
            artifact: Artifact(artifact.clone()),
            config: entry.config.clone(),
            secrets,
        };
        match parts.backend.start(start).await {
            Ok(()) => Ok(true),
            Err(error) => self.start_failed(now, &replica, &entry, error).await.map(|()| false),
        }
    }

    /// What the config declares of the team's secrets. One that declares none depends on none.
    async fn secrets(&self, config: &TrussConfig, team: &TeamId) -> Result<Secrets, store::Error> {
        if config.secrets.is_empty() {
            return Ok(Secrets::default());
        }
        let values = self.shared.parts.store.secret_values(team).await?;
        Ok(crate::template::secrets(config, &values))
    }

    /// A start that failed is a replica that ended at once: the next decision counts it as one.
    async fn start_failed(
        &self,
        now: Timestamp,
        replica: &ReplicaId,
        entry: &Entry,
        error: StartError,
    ) -> Result<(), Error> {
        let store = &self.shared.parts.store;
        let id = &entry.deployment.id;
        let (cause, text) = match &error {
            StartError::NoArtifact(_) => {
                let text = "the build is no longer there: building again";
                store.append_logs(&[record(id, None, line(now, Level::Warning, text))]).await?;
                store
                    .change_deployment(id, None, |deployment| {
                        deployment.lifecycle = deployment.lifecycle.clone().artifact_lost(now);
                        Ok::<(), store::Error>(())
                    })
                    .await?;
                return Ok(store.delete_replica(replica).await?);
            }
            StartError::Impossible(_) => (ExitCause::LoadFailed, chain(&error)),
            StartError::Machine(_) => (ExitCause::Lost, chain(&error)),
        };
        let told = line(now, Level::Error, format!("replica {replica} cannot start: {text}"));
        store.append_logs(&[record(id, Some(replica), told)]).await?;
        let exit = Exit { cause, message: text, detail: None };
        let status =
            Status { sequence: 0, phase: Phase::Exited(exit), in_flight: 0, start: StartTimes::default(), pid: 0 };
        Ok(store.see_replica(replica, &status, now).await?)
    }
}

/// Whether it is only ordered, as far as anybody knows.
fn is_unseen(replica: &Replica, observation: &Observation) -> bool {
    replica.status.is_none() && !observation.contains_key(&replica.id)
}

/// Whether its end is known.
pub(crate) fn has_ended(replica: &Replica) -> bool {
    replica.status.as_ref().is_some_and(|status| matches!(status.phase, Phase::Exited(_)))
}
