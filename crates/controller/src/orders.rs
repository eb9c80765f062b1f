//! Brings the backend and the stored replicas together: starts what is ordered, as far as there is room, tells replicas to stop that
//! no request can reach any more, and clears away what is gone.

use std::{collections::HashMap, sync::Arc};

use api::{
    id::{DeploymentId, ReplicaId, TeamId},
    internal::replica::{Exit, ExitCause, Level, Phase, Secrets, StartTimes, Status},
    truss_config::TrussConfig,
};
use backends::{Artifact, StartError, StartReplica};
use futures::StreamExt;
use planner::{
    Timestamp,
    capacity::{Amount, Claim, Usage, amount},
    lifecycle::Build,
    promotion::Room,
};
use store::{
    Placement,
    domain::{Deployment, Replica},
};

use crate::{
    Error,
    capacity::{Divided, Reserved, admit, set_aside, sides},
    driver::chain,
    fences::{Attached, Fences},
    mirror::{Entry, View},
    publish::is_listed,
    rooms::Rooms,
    settings::millis,
    shared::{Observation, Shared, line, record},
};

/// Replicas that are started at one time.
const STARTS_AT_ONCE: usize = 8;
/// What a deployment hears whose secrets were sealed with another key than this server's.
const FOREIGN_SECRETS: &str = "the server's secret does not fit the stored secrets that this model declares: name the one they were sealed \
                               with as `server_secret.previous_file`, or restore the file server-secret from a backup, and start \
                               the server again; or delete the secrets and set them anew";

/// Carries orders out.
pub(crate) struct Orders {
    shared: Shared,
    /// When a replica was last told to stop.
    told_to_stop: HashMap<ReplicaId, Timestamp>,
    /// Replicas that were started, whether or not they have been seen since, with the positions of their locations.
    started: HashMap<ReplicaId, usize>,
}

/// A replica to start, and what it is a copy of.
struct Order {
    replica: ReplicaId,
    environment: Option<String>,
    /// When it was decided.
    ordered_at: Timestamp,
    /// What it was last found to wait for.
    waits_for: Option<String>,
    /// Where it was last sent.
    location: Option<String>,
    /// Whether it tries a patch: then the entry is what that makes of the deployment.
    tries_patch: bool,
    entry: Arc<Entry>,
}

impl Orders {
    pub fn new(shared: Shared) -> Self {
        Self { shared, told_to_stop: HashMap::new(), started: HashMap::new() }
    }

    /// Makes what is stored of replicas true.
    pub async fn carry_out(
        &mut self,
        now: Timestamp,
        view: &View,
        observation: &Observation,
        fences: &mut Fences,
    ) -> Result<(), Error> {
        self.told_to_stop.retain(|id, _| view.replica(id).is_some());
        self.started.retain(|id, _| view.replica(id).is_some());
        let orders = self.settle(now, view, observation).await?;
        let fitting = self.admit(now, orders, view, observation, fences).await?;
        self.start(now, fitting).await
    }

    /// Clears rows of replicas that are gone, tells replicas to stop, and says which ones are ordered and not started.
    async fn settle(&mut self, now: Timestamp, view: &View, observation: &Observation) -> Result<Vec<Order>, Error> {
        let store = self.shared.parts.store.clone();
        let published = self.shared.published();
        let mut orders = Vec::new();
        for row in view.all_replicas() {
            let entry = view.entries.get(&row.deployment_id);
            let is_unseen = is_unseen(row, observation);
            let is_unwanted = entry.is_none() || row.stopping_since.is_some();
            match (entry, is_unwanted) {
                (_, true) if row.has_ended() || is_unseen => store.delete_replica(&row.id).await?,
                (None, _) if row.stopping_since.is_none() => store.mark_replica_stopping(&row.id, now, None).await?,
                (_, true) if !is_listed(published.as_deref(), &row.id) => {
                    self.tell_to_stop(now, row, observation).await;
                }
                // Still in the table: publishing one without it wakes this task.
                (_, true) => {}
                (Some(entry), false) if is_unseen => orders.extend(order(row, entry)),
                (Some(_) | None, false) => {}
            }
        }
        // First come, first served.
        orders.sort_by(|one, other| (one.ordered_at, &one.replica).cmp(&(other.ordered_at, &other.replica)));
        Ok(orders)
    }

    /// Tells a replica to stop; again after a while, in case it was not heard.
    async fn tell_to_stop(&mut self, now: Timestamp, row: &Replica, observation: &Observation) {
        let (settings, id) = (&self.shared.settings, &row.id);
        let was_told = self.told_to_stop.get(id).is_some_and(|at| now.since(*at) < millis(settings.slow_round));
        if let (false, Some(backend)) = (was_told, self.shared.sites.backend_of(row, observation)) {
            self.told_to_stop.insert(id.clone(), now);
            backend.stop(id, settings.request_timeout_ms()).await;
        }
    }

    /// The orders for which there is a place, each with its location's position. The others wait: their rows say for what, and so do
    /// their deployments' logs, once.
    async fn admit(
        &self,
        now: Timestamp,
        orders: Vec<Order>,
        view: &View,
        observation: &Observation,
        fences: &mut Fences,
    ) -> Result<Vec<(Order, usize)>, Error> {
        let (begun, orders): (Vec<_>, Vec<_>) =
            orders.into_iter().partition(|order| self.started.contains_key(&order.replica));
        let begun = begun.into_iter().map(|order| {
            let at = self.started[&order.replica];
            (order, at)
        });
        if orders.is_empty() {
            return Ok(begun.collect());
        }
        let Divided { mut fitting, waiting } = self.divide(orders, view, observation, fences);
        let mut news: HashMap<&DeploymentId, &str> = HashMap::new();
        let mut placements: Vec<(ReplicaId, Placement)> = Vec::new();
        for (order, text) in &waiting {
            let id = &order.entry.deployment.id;
            let is_said = |row: &Replica| row.waits_for.as_ref() == Some(text);
            if !view.replicas_of(id).iter().any(is_said) {
                news.insert(id, text);
            }
            if order.waits_for.as_ref() != Some(text) {
                placements.push((order.replica.clone(), Placement::WaitsFor(text.clone())));
            }
        }
        for (order, at) in &fitting {
            let name = self.shared.sites.name(*at);
            if order.waits_for.is_some() || order.location.as_deref() != Some(name) {
                placements.push((order.replica.clone(), Placement::In(name.to_owned())));
            }
        }
        let store = &self.shared.parts.store;
        let told: Vec<_> =
            news.into_iter().map(|(id, text)| record(id, None, line(now, Level::Warning, text))).collect();
        if !told.is_empty() {
            store.append_logs(&told).await?;
        }
        store.record_placements(&placements).await?;
        fitting.extend(begun);
        Ok(fitting)
    }

    /// Divides orders into those that have a place, and those that wait, with what for. Replicas that drain hold their room.
    fn divide(
        &self,
        orders: Vec<Order>,
        view: &View,
        observation: &Observation,
        fences: &mut Fences,
    ) -> Divided<Order> {
        let catalogue = &self.shared.settings.instance_types;
        let has_begun = |row: &Replica| self.started.contains_key(&row.id) || !is_unseen(row, observation);
        let claims = view.all_replicas().filter_map(|row| Some(Claim { waits: !has_begun(row), ..row.claim()? }));
        let usage = Usage::of(catalogue, claims);
        let each = |id: &DeploymentId| {
            view.entries.get(id).map(|entry| amount(catalogue, &entry.deployment.instance_type)).unwrap_or_default()
        };
        let in_place = || view.promotions.iter().filter(|promotion| promotion.settings.room == Room::InPlace);
        let mut reserved: Vec<Reserved<'_>> =
            in_place().map(|promotion| Reserved::new(promotion, &usage, each)).collect();
        let asked = |order: &Order| {
            let deployment = &order.entry.deployment;
            (deployment.id.clone(), amount(catalogue, &deployment.instance_type))
        };
        let used = usage.by_all().clone();
        let health = self.shared.health();
        let sides = in_place().flat_map(sides).cloned();
        let placed = orders.iter().map(|order| order.entry.deployment.id.clone());
        let mut rooms = Rooms::new(&self.shared.sites, &health, placed.chain(sides));
        for row in view.all_replicas().filter(|row| !row.has_ended() && has_begun(row)) {
            let started = self.started.get(&row.id).copied();
            if let Some(at) = started.or_else(|| self.shared.sites.position_of(row, observation)) {
                rooms.take(at, row, &amount(catalogue, &row.instance_type));
            }
        }
        let attached = Attached::new(view);
        set_aside(&mut reserved, &rooms, |side| {
            Some((fences.of(&view.entries.get(side)?.deployment, &attached), each(side)))
        });
        let place = |order: &Order, asked: &Amount, kept: &[Amount]| {
            let deployment = &order.entry.deployment;
            rooms.place(&deployment.id, &fences.of(deployment, &attached), asked, kept)
        };
        admit(&self.shared.settings.capacity, used, reserved, orders, asked, place)
    }

    /// Starts what is ordered; what keeps one from starting does not keep the others. Starting one again that runs already does
    /// nothing.
    async fn start(&mut self, now: Timestamp, orders: Vec<(Order, usize)>) -> Result<(), Error> {
        let this = &*self;
        let starts = orders.into_iter().map(|(order, at)| async move {
            let id = order.replica.clone();
            this.start_one(now, order, at).await.map(|has_begun| has_begun.then_some((id, at)))
        });
        let results: Vec<Result<Option<(ReplicaId, usize)>, Error>> =
            futures::stream::iter(starts).buffer_unordered(STARTS_AT_ONCE).collect().await;
        self.started.extend(results.iter().filter_map(|result| result.as_ref().ok().cloned().flatten()));
        results.into_iter().try_for_each(|result| result.map(drop))
    }

    /// Whether the location has begun to run it.
    async fn start_one(&self, now: Timestamp, order: Order, at: usize) -> Result<bool, Error> {
        let Order { replica, environment, ordered_at, tries_patch, entry, .. } = order;
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
                self.start_failed(now, &replica, &entry, tries_patch, error).await?;
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
                ordered_at,
                &self.shared.settings,
            ),
            artifact: Artifact(artifact.clone()),
            config: entry.config.clone(),
            secrets,
        };
        match self.shared.sites.backend(at).start(start).await {
            Ok(()) => Ok(true),
            Err(error) => self.start_failed(now, &replica, &entry, tries_patch, error).await.map(|()| false),
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
        tries_patch: bool,
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
                        if tries_patch {
                            deployment.change_reload(|reload| reload.artifact_lost(now));
                        } else {
                            deployment.lifecycle = deployment.lifecycle.clone().artifact_lost(now);
                        }
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

/// The order that a row stands for. One to try a patch that has been replaced or withdrawn is none: it is about to be told to stop.
fn order(row: &Replica, entry: &Arc<Entry>) -> Option<Order> {
    Some(Order {
        ordered_at: row.created_at,
        replica: row.id.clone(),
        environment: row.environment.clone(),
        waits_for: row.waits_for.clone(),
        location: row.location.clone(),
        tries_patch: row.tries_patch,
        entry: if row.tries_patch { Arc::new(entry.staged()?) } else { entry.clone() },
    })
}

/// A replica of a deployment, as it is ordered.
pub(crate) fn ordered(shared: &Shared, deployment: &Deployment, environment: Option<&str>, now: Timestamp) -> Replica {
    Replica {
        id: ReplicaId::from_entropy((shared.parts.entropy)()),
        deployment_id: deployment.id.clone(),
        created_at: now,
        stopping_since: None,
        status: None,
        seen_at: None,
        log_cursor: 0,
        environment: environment.map(str::to_owned),
        instance_type: deployment.instance_type.clone(),
        waits_for: None,
        tries_patch: false,
        location: shared.sites.only().map(str::to_owned),
    }
}

/// Whether it is only ordered, as far as anybody knows.
fn is_unseen(replica: &Replica, observation: &Observation) -> bool {
    replica.status.is_none() && !observation.contains_key(&replica.id)
}
