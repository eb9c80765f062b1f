//! Gives each deployment the replicas it should have. The decision is `planner::deployment`'s; here it is fed, saved, and carried
//! out: replicas are ordered in the store before they are started, and leave the route table before they are told to stop.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use api::{
    id::{DeploymentId, ReplicaId, TeamId},
    internal::{
        replica::{Exit, ExitCause, Level, Phase, Secrets, StartTimes, Status},
        routes::Load,
    },
    truss_config::TrussConfig,
};
use backends::{Artifact, StartError, StartReplica};
use futures::StreamExt;
use planner::{
    Timestamp, autoscale,
    deployment::{self, Seen, State},
    lifecycle::{Build, Lifecycle, Run},
    replica_set::Action,
};
use store::domain::{Deployment, PRODUCTION, Replica};
use tokio::time::Instant;

use crate::{
    Error,
    catalogue::Entry,
    driver::{Next, Task, chain},
    facts,
    publish::is_listed,
    settings::millis,
    shared::{Observation, Shared, line, record},
};

/// While requests are under way, deployments look at their load this often.
const LOAD_ROUND: Duration = Duration::from_secs(2);
/// A pass decides for at most this long before it acts; the next one goes on where it stopped.
const DECIDING: Duration = Duration::from_millis(200);
/// Replicas that are started at one time.
const STARTS_AT_ONCE: usize = 8;
/// What a deployment hears whose secrets were sealed with another key than this server's.
const FOREIGN_SECRETS: &str = "the server's secret key does not fit the stored secrets that this model declares: restore the file \
                               server-secret from a backup and start the server again, or delete the secrets and set them anew";

/// The task.
pub(crate) struct Deployments {
    shared: Shared,
    /// What is remembered of the load of each deployment that this process has looked at; forgetting it in a restart costs one
    /// scale-down delay at most.
    loads: HashMap<DeploymentId, LoadMemory>,
    /// When a replica was last told to stop.
    told_to_stop: HashMap<ReplicaId, Timestamp>,
    /// The deployment that was decided about last.
    last: Option<DeploymentId>,
}

#[derive(Clone, Default)]
struct LoadMemory {
    scaling: autoscale::Memory,
    /// Counters of the gateways, as last read.
    last: Load,
}

/// A replica to start, and what it is a copy of.
struct Order {
    replica: ReplicaId,
    entry: Arc<Entry>,
}

impl Deployments {
    pub fn new(shared: Shared) -> Self {
        Self { shared, loads: HashMap::new(), told_to_stop: HashMap::new(), last: None }
    }
}

impl Task for Deployments {
    const NAME: &'static str = "deployments";

    async fn pass(&mut self, now: Timestamp) -> Result<Next, Error> {
        // Before the first look at the backend, survivors of a restart seem to be missing.
        let Some(observation) = self.shared.observed() else {
            return Ok(Next::IDLE);
        };
        let entries = self.shared.catalogue.read().await?;
        let replicas = facts::by_deployment(self.shared.parts.store.replicas(None).await?);
        let loads = self.shared.parts.gateways.loads();
        self.loads.retain(|id, _| entries.contains_key(id));

        let began = Instant::now();
        let mut next = Next::IDLE;
        let mut has_acted = false;
        for entry in in_turn(&entries, self.last.take()) {
            let id = &entry.deployment.id;
            let replicas = replicas.get(id).map_or(&[][..], Vec::as_slice);
            let load = loads.get(id).cloned().unwrap_or_default();
            let decided = self.decide(now, entry, replicas, load).await?;
            next = next.by(decided.wake_at);
            has_acted |= decided.has_acted;
            if began.elapsed() > DECIDING {
                self.last = Some(id.clone());
                self.shared.bells.deployments.ring();
                break;
            }
        }
        if loads.values().any(|load| load.in_flight > 0 || load.queued > 0) {
            next = next.by(Some(now.plus(millis(LOAD_ROUND))));
        }

        let rows = match has_acted {
            true => self.shared.parts.store.replicas(None).await?,
            false => replicas.into_values().flatten().collect(),
        };
        let orders = self.settle(now, &rows, &entries, &observation).await?;
        self.start(now, orders).await?;
        Ok(next)
    }
}

/// Every deployment once, those after `last` first.
fn in_turn(
    entries: &BTreeMap<DeploymentId, Arc<Entry>>,
    last: Option<DeploymentId>,
) -> impl Iterator<Item = &Arc<Entry>> {
    let (after, upto) = match last {
        Some(last) => (entries.range((Bound::Excluded(last.clone()), Bound::Unbounded)), Some(entries.range(..=last))),
        None => (entries.range::<DeploymentId, _>(..), None),
    };
    after.chain(upto.into_iter().flatten()).map(|(_, entry)| entry)
}

/// What came of deciding about one deployment.
#[derive(Default)]
struct Decided {
    /// When to decide again.
    wake_at: Option<Timestamp>,
    /// Whether replicas were ordered, told to stop or cleared away in the store.
    has_acted: bool,
}

impl Deployments {
    /// Decides about one deployment and saves what follows.
    async fn decide(
        &mut self,
        now: Timestamp,
        entry: &Entry,
        replicas: &[Replica],
        load: Load,
    ) -> Result<Decided, Error> {
        let deployment = &entry.deployment;
        let memory = self.loads.get(&deployment.id).cloned();
        let for_planner = facts::for_planner(replicas);
        let lifecycle = deployment.lifecycle.clone();
        let lifecycle = match &memory {
            None if !replicas.iter().any(is_alive) => lifecycle.resumed_without_replicas(now),
            None | Some(_) => lifecycle,
        };
        let memory = memory.unwrap_or_default();
        let state = State {
            lifecycle,
            target: deployment.target_replicas,
            starts: deployment.replica_memory.clone(),
            scaling: memory.scaling,
        };
        let seen = Seen {
            replicas: &for_planner,
            load: load_since(&memory.last, &load),
            settings: &deployment.autoscaling,
            hold: None,
            deploy_timeout_ms: deployment.deploy_timeout_ms,
        };
        let decision = deployment::decide(now, &state, &seen);

        let mut after = deployment.clone();
        after.lifecycle = decision.next.lifecycle;
        after.target_replicas = decision.next.target;
        after.replica_memory = decision.next.starts;
        if after != *deployment {
            match self.shared.parts.store.save_deployment(&mut after, None).await {
                Ok(()) => {}
                // Somebody else was faster; their change wakes this task. The others need not wait for it.
                Err(store::Error::Conflict { .. }) => return Ok(Decided::default()),
                Err(error) => return Err(error.into()),
            }
        }
        // Only now has the load been taken into account.
        self.loads.insert(deployment.id.clone(), LoadMemory { scaling: decision.next.scaling, last: load });
        if let Some((level, text)) = sentence(&deployment.lifecycle, &after, &decision.why) {
            tracing::info!(deployment.id = %deployment.id, why = %decision.why, "{text}");
            let told = record(&deployment.id, None, line(now, level, text));
            self.shared.parts.store.append_logs(&[told]).await?;
        }
        let has_acted = !decision.output.is_empty();
        for action in decision.output {
            self.record_action(now, &deployment.id, action).await?;
        }
        Ok(Decided { wake_at: decision.wake_at, has_acted })
    }

    /// Makes an action a fact; `settle` carries it out from there.
    async fn record_action(&self, now: Timestamp, deployment: &DeploymentId, action: Action) -> Result<(), Error> {
        let store = &self.shared.parts.store;
        match action {
            Action::Start(count) => {
                for _ in 0..count {
                    let replica = Replica {
                        id: ReplicaId::from_entropy((self.shared.parts.entropy)()),
                        deployment_id: deployment.clone(),
                        created_at: now,
                        stopping_since: None,
                        status: None,
                        seen_at: None,
                        log_cursor: 0,
                        environment: None,
                    };
                    store.add_replica(&replica).await?;
                }
            }
            Action::Stop(id) => store.mark_replica_stopping(&id, now).await?,
            Action::Forget(id) => store.delete_replica(&id).await?,
        }
        Ok(())
    }

    /// Brings the backend and the rows together: clears rows of replicas that are gone, tells replicas to stop that no request can
    /// reach any more, and says which ones are ordered and not started.
    async fn settle(
        &mut self,
        now: Timestamp,
        rows: &[Replica],
        entries: &BTreeMap<DeploymentId, Arc<Entry>>,
        observation: &Observation,
    ) -> Result<Vec<Order>, Error> {
        let store = self.shared.parts.store.clone();
        let published = self.shared.published();
        let mut orders = Vec::new();
        self.told_to_stop.retain(|id, _| rows.iter().any(|row| row.id == *id));
        for row in rows {
            let entry = entries.get(&row.deployment_id);
            let is_unseen = row.status.is_none() && !observation.contains_key(&row.id);
            let is_unwanted = entry.is_none() || row.stopping_since.is_some();
            match (entry, is_unwanted) {
                (_, true) if has_ended(row) || is_unseen => store.delete_replica(&row.id).await?,
                (None, _) if row.stopping_since.is_none() => store.mark_replica_stopping(&row.id, now).await?,
                (_, true) if !is_listed(published.as_deref(), &row.id) => self.tell_to_stop(now, &row.id).await,
                // Still in the table: publishing one without it wakes this task.
                (_, true) => {}
                (Some(entry), false) if is_unseen => {
                    orders.push(Order { replica: row.id.clone(), entry: entry.clone() });
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

    /// Starts what is ordered; what keeps one from starting does not keep the others. Starting one again that runs already does
    /// nothing.
    async fn start(&self, now: Timestamp, orders: Vec<Order>) -> Result<(), Error> {
        let starts = orders.into_iter().map(|order| self.start_one(now, order));
        let results: Vec<Result<(), Error>> =
            futures::stream::iter(starts).buffer_unordered(STARTS_AT_ONCE).collect().await;
        results.into_iter().collect()
    }

    async fn start_one(&self, now: Timestamp, order: Order) -> Result<(), Error> {
        let Order { replica, entry } = order;
        let parts = &self.shared.parts;
        let deployment = &entry.deployment;
        let Build::Succeeded { artifact, .. } = &deployment.lifecycle.build else {
            return Ok(());
        };
        let model = match parts.store.model(&deployment.model_id).await {
            Ok(model) => model,
            // Deleted in this moment; the next pass sees that.
            Err(store::Error::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let secrets = match self.secrets(&entry.config, &model.team_id).await {
            Ok(secrets) => secrets,
            Err(store::Error::Damaged { .. }) => {
                let error = StartError::Impossible(FOREIGN_SECRETS.into());
                return self.start_failed(now, &replica, &entry, error).await;
            }
            Err(error) => return Err(error.into()),
        };
        let environments = parts.store.environments(Some(&deployment.model_id)).await?;
        let environment = environment_of(deployment, &environments);
        let start = StartReplica {
            spec: crate::template::replica(
                replica.clone(),
                deployment,
                &entry.config,
                environment,
                &self.shared.settings,
            ),
            artifact: Artifact(artifact.clone()),
            config: entry.config.clone(),
            secrets,
        };
        match parts.backend.start(start).await {
            Ok(()) => Ok(()),
            Err(error) => self.start_failed(now, &replica, &entry, error).await,
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

/// Whether it has been seen, and not its end: one that is only ordered is nobody's survivor.
fn is_alive(replica: &Replica) -> bool {
    replica.status.is_some() && !has_ended(replica)
}

fn has_ended(replica: &Replica) -> bool {
    replica.status.as_ref().is_some_and(|status| matches!(status.phase, Phase::Exited(_)))
}

/// What has come since the counters were `last`. A counter that is lower than before began again with its gateway.
fn load_since(last: &Load, load: &Load) -> autoscale::Load {
    let since = |before: u64, now: u64| if now >= before { now - before } else { now };
    autoscale::Load {
        in_flight: load.in_flight,
        queued: load.queued,
        finished: since(last.finished, load.finished),
        woken: since(last.wakes, load.wakes) > 0,
    }
}

/// The environment that a deployment's replicas are told they are in: the one it serves, or the one it is meant for.
fn environment_of<'a>(deployment: &'a Deployment, environments: &'a [store::domain::Environment]) -> Option<&'a str> {
    let serving = environments.iter().filter(|environment| environment.current.as_ref() == Some(&deployment.id));
    let name = serving.map(|environment| environment.name.as_str()).max_by_key(|name| *name == PRODUCTION);
    name.or(deployment.target_environment.as_deref())
}

/// What a person wants to know of a change in a run.
fn sentence(before: &Lifecycle, after: &Deployment, why: &deployment::Why) -> Option<(Level, String)> {
    if std::mem::discriminant(&before.run) == std::mem::discriminant(&after.lifecycle.run) {
        return None;
    }
    Some(match &after.lifecycle.run {
        Run::Idle => (Level::Info, format!("no replica is wanted: {why}")),
        Run::Starting { .. } => (Level::Info, "starting".into()),
        Run::Serving { .. } => (Level::Info, "the deployment is active".into()),
        Run::AtZero { .. } => (Level::Info, format!("scaled to zero: {why}")),
        Run::Waking { .. } => (Level::Info, "waking up".into()),
        Run::Failed { reason, .. } => {
            let hint = reason.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            (Level::Error, format!("the deployment failed: {}{hint}", reason.message))
        }
    })
}
