//! Gives each deployment the replicas it should have. The decision is `planner::deployment`'s, within the bounds that promotions
//! set; here it is fed and saved. Orders carry it out: replicas are ordered in the store before they are started, and leave the
//! route table before they are told to stop.

use std::{collections::HashMap, ops::Bound, sync::Arc, time::Duration};

use api::{
    id::DeploymentId,
    internal::{replica::Level, routes::Load},
};
use planner::{
    Timestamp, autoscale,
    deployment::{self, Seen, State},
    lifecycle::{Lifecycle, Run},
    location::Fence,
    replica_set::{Action, Stay},
};
use store::domain::{Deployment, Replica, ScalingDecision};
use tokio::time::Instant;

use crate::{
    Error,
    belonging::Belonging,
    driver::{Next, Task},
    facts,
    fences::{Attached, Fences},
    holds::{Holds, InForce},
    loads,
    mirror::{Entries, Entry},
    orders::{self, Orders},
    settings::millis,
    shared::{Observation, Shared, line, record},
};

/// While requests are under way, the load is looked at this often.
pub(crate) const LOAD_ROUND: Duration = Duration::from_secs(2);
/// A pass decides for at most this long before it acts; the next one goes on where it stopped.
const DECIDING: Duration = Duration::from_millis(200);

/// The task.
pub(crate) struct Deployments {
    shared: Shared,
    orders: Orders,
    fences: Fences,
    /// What is remembered of the load of each deployment that this process has looked at; a restart forgets it, and then holds each
    /// size for one window.
    loads: HashMap<DeploymentId, LoadMemory>,
    /// Deployments about which there is nothing to decide until something changes.
    settled: HashMap<DeploymentId, Settled>,
    /// The deployment that was decided about last.
    last: Option<DeploymentId>,
    /// When the last pass was.
    last_pass: Timestamp,
}

#[derive(Clone, Default)]
struct LoadMemory {
    scaling: autoscale::Memory,
    /// Counters of the gateways, as last read.
    last: Load,
}

/// What a decision about one deployment is fed with.
struct Case<'a> {
    entry: &'a Arc<Entry>,
    replicas: Option<&'a Arc<Vec<Replica>>>,
    load: Load,
    in_force: InForce,
    /// The environment that its replicas are told they are in.
    environment: Option<&'a str>,
    /// Where its replicas may run.
    fence: Arc<Fence>,
}

/// What a decision was fed with that changed nothing, and until when it holds.
struct Settled {
    entry: Arc<Entry>,
    replicas: Option<Arc<Vec<Replica>>>,
    load: Load,
    in_force: InForce,
    environment: Option<String>,
    fence: Arc<Fence>,
    wake_at: Option<Timestamp>,
}

impl Settled {
    fn of(case: &Case<'_>, wake_at: Option<Timestamp>) -> Self {
        Self {
            entry: case.entry.clone(),
            replicas: case.replicas.cloned(),
            load: case.load.clone(),
            in_force: case.in_force.clone(),
            environment: case.environment.map(str::to_owned),
            fence: case.fence.clone(),
            wake_at,
        }
    }

    /// Whether deciding again would come to the same.
    fn holds(&self, now: Timestamp, case: &Case<'_>) -> bool {
        let same_replicas = match (&self.replicas, case.replicas) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_replicas
            && Arc::ptr_eq(&self.entry, case.entry)
            && self.wake_at.is_none_or(|wake_at| now < wake_at)
            // What is under way makes a load that changes with time.
            && loads::is_idle(&case.load)
            && self.load == case.load
            && self.in_force == case.in_force
            && self.environment.as_deref() == case.environment
            && (Arc::ptr_eq(&self.fence, &case.fence) || self.fence == case.fence)
    }
}

impl Deployments {
    pub fn new(shared: Shared) -> Self {
        Self {
            orders: Orders::new(shared.clone()),
            fences: Fences::new(shared.sites.clone(), shared.settings.instance_types.clone()),
            shared,
            loads: HashMap::new(),
            settled: HashMap::new(),
            last: None,
            last_pass: Timestamp(0),
        }
    }
}

impl Task for Deployments {
    const NAME: &'static str = "deployments";

    async fn pass(&mut self, now: Timestamp) -> Result<Next, Error> {
        // Before the first look at the backend, survivors of a restart seem to be missing.
        let Some(observation) = self.shared.observed() else {
            return Ok(Next::IDLE);
        };
        let view = self.shared.mirror.look().await?;
        let holds = Holds::new(&view.promotions, &view.environments);
        let belonging = Belonging::new(&view.promotions, &view.environments);
        self.fences.look(&view, self.shared.health());
        let attached = Attached::new(&view);
        let loads = self.shared.parts.gateways.loads();
        // More are known than there are: some have been deleted.
        if self.loads.len().max(self.settled.len()) > view.entries.len() {
            self.loads.retain(|id, _| view.entries.contains_key(id));
            self.settled.retain(|id, _| view.entries.contains_key(id));
        }
        if now < self.last_pass {
            // The clock was set back: moments to look again are further away than was meant.
            self.settled.clear();
        }
        self.last_pass = now;

        let began = Instant::now();
        let mut next = Next::IDLE;
        let mut has_acted = false;
        for entry in in_turn(&view.entries, self.last.take()) {
            let deployment = &entry.deployment;
            let id = &deployment.id;
            let case = Case {
                entry,
                replicas: view.replicas.get(id),
                load: loads.get(id).cloned().unwrap_or_default(),
                in_force: holds.of(deployment),
                environment: belonging.of(deployment),
                fence: self.fences.of(deployment, &attached),
            };
            if let Some(settled) = self.settled.get(id).filter(|settled| settled.holds(now, &case)) {
                next = next.by(settled.wake_at);
                continue;
            }
            let decided = self.decide(now, &case, &observation).await?;
            next = next.by(decided.wake_at);
            has_acted |= decided.has_acted;
            match decided.is_settled {
                true => drop(self.settled.insert(id.clone(), Settled::of(&case, decided.wake_at))),
                false => drop(self.settled.remove(id)),
            }
            if began.elapsed() > DECIDING {
                self.last = Some(id.clone());
                self.shared.bells.deployments.ring();
                break;
            }
        }
        if loads::any(&loads) {
            next = next.by(Some(now.plus(millis(LOAD_ROUND))));
        }

        let view = if has_acted { self.shared.mirror.look().await? } else { view };
        self.orders.carry_out(now, &view, &observation, &mut self.fences).await?;
        Ok(next)
    }
}

/// Every deployment once, those after `last` first.
fn in_turn(entries: &Entries, last: Option<DeploymentId>) -> impl Iterator<Item = &Arc<Entry>> {
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
    /// Whether nothing was changed.
    is_settled: bool,
}

impl Deployments {
    /// Decides about one deployment and saves what follows.
    async fn decide(&mut self, now: Timestamp, case: &Case<'_>, observation: &Observation) -> Result<Decided, Error> {
        let Case { entry, replicas, load, in_force, environment, fence } = case;
        let replicas = replicas.map_or(&[][..], |replicas| replicas.as_slice());
        let deployment = &entry.deployment;
        let memory = self.loads.get(&deployment.id).cloned();
        let (sites, enforcement) = (&self.shared.sites, self.shared.settings.enforcement);
        let stay = |replica: &Replica| {
            sites.position_of(replica, observation).map_or(Stay::Stays, |at| fence.stay(at, enforcement))
        };
        let for_planner = facts::placed(replicas, stay);
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
            load: loads::demand(&memory.last, load, deployment, replicas),
            settings: &in_force.settings,
            hold: in_force.hold,
            deploy_timeout_ms: deployment.deploy_timeout_ms,
        };
        let decision = deployment::decide(now, &state, &seen);

        let mut after = deployment.clone();
        after.lifecycle = decision.next.lifecycle;
        after.target_replicas = decision.next.target;
        after.replica_memory = decision.next.starts;
        let is_changed = after != *deployment;
        if is_changed {
            match self.shared.parts.store.save_deployment(&mut after, None).await {
                Ok(()) => {}
                // Somebody else was faster; their change wakes this task. The others need not wait for it.
                Err(store::Error::Conflict { .. }) => return Ok(Decided::default()),
                Err(error) => return Err(error.into()),
            }
        }
        let has_scaled = after.target_replicas != deployment.target_replicas;
        if let Some((inputs, why)) = decision.output.scaling.filter(|_| has_scaled) {
            let (deployment_id, replicas) = (deployment.id.clone(), after.target_replicas);
            let decided = ScalingDecision { deployment_id, at: now, replicas, why, inputs };
            self.shared.parts.store.add_scaling_decision(&decided).await?;
        }
        // Only now has the load been taken into account.
        self.loads.insert(deployment.id.clone(), LoadMemory { scaling: decision.next.scaling, last: load.clone() });
        if let Some((level, text)) = sentence(&deployment.lifecycle, &after, &decision.why) {
            tracing::info!(deployment.id = %deployment.id, why = %decision.why, "{text}");
            let told = record(&deployment.id, None, line(now, level, text));
            self.shared.parts.store.append_logs(&[told]).await?;
        }
        let has_acted = !decision.output.actions.is_empty();
        for action in decision.output.actions {
            self.record_action(now, deployment, *environment, action).await?;
        }
        // More than the minimum is there for a load, which comes and goes without anybody ringing.
        let is_watched = after.target_replicas > seen.bounds().min;
        let wake_at = decision.wake_at.into_iter().chain(is_watched.then(|| now.plus(millis(LOAD_ROUND)))).min();
        Ok(Decided { wake_at, has_acted, is_settled: !has_acted && !is_changed })
    }

    /// Makes an action a fact; orders carry it out from there.
    async fn record_action(
        &self,
        now: Timestamp,
        deployment: &Deployment,
        environment: Option<&str>,
        action: Action,
    ) -> Result<(), Error> {
        let store = &self.shared.parts.store;
        match action {
            Action::Start(count) => {
                for _ in 0..count {
                    store.add_replica(&orders::ordered(&self.shared, deployment, environment, now)).await?;
                }
            }
            Action::Stop(id) => store.mark_replica_stopping(&id, now, None).await?,
            Action::Forget(id) => store.delete_replica(&id).await?,
        }
        Ok(())
    }
}

/// Whether it has been seen, and not its end: one that is only ordered is nobody's survivor.
fn is_alive(replica: &Replica) -> bool {
    replica.status.is_some() && !replica.has_ended()
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
