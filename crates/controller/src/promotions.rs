//! Carries promotions on. The decision is `planner::promotion`'s; here it is fed, saved and told. Replica counts and routes follow
//! from what is saved, and what the gateways then have is seen by the next decision.

use std::collections::HashMap;

use api::{
    id::DeploymentId,
    internal::{replica::Level, routes::Load},
};
use planner::{
    Timestamp, autoscale, lifecycle,
    promotion::{self, Cleanup, Ending, Memory, Room, Seen, Side, Status},
};
use store::domain::{Promotion, Replica};

use crate::{
    Error,
    deployments::LOAD_ROUND,
    driver::{Next, Task},
    facts,
    holds::is_into,
    loads,
    mirror::{Entry, View},
    pushes,
    settings::millis,
    shared::{Shared, line, record},
    splits::share_in,
};

/// The task.
pub(crate) struct Promotions {
    shared: Shared,
    /// What is remembered of the load of each promotion; forgetting it in a restart costs one scale-down delay at most.
    memories: HashMap<u64, Remembered>,
}

#[derive(Clone, Default)]
struct Remembered {
    memory: Memory,
    /// Counters of the gateways, as last read: the candidate's, and the previous deployment's.
    last: [Load; 2],
}

/// All that is looked at in one pass.
pub(crate) struct World {
    pub view: View,
    pub loads: HashMap<DeploymentId, Load>,
}

impl World {
    /// None when nothing is under way, and nothing waits to be.
    async fn read(shared: &Shared) -> Result<Option<Self>, Error> {
        let view = shared.mirror.look().await?;
        let waits = |entry: &Entry| entry.deployment.target_environment.is_some();
        let is_any = !view.promotions.is_empty() || view.entries.values().any(|entry| waits(entry));
        Ok(is_any.then(|| Self { view, loads: shared.parts.gateways.loads() }))
    }

    /// A deployment as a side of a promotion; none when it is gone.
    pub fn side(&self, id: &DeploymentId) -> Option<Side<'_>> {
        let deployment = &self.view.entries.get(id)?.deployment;
        let observed = lifecycle::Observed::of(&facts::for_planner(self.replicas_of(id)));
        Some(Side::of(&deployment.lifecycle, &observed, deployment.target_replicas, &deployment.replica_memory))
    }

    pub fn replicas_of(&self, id: &DeploymentId) -> &[Replica] {
        self.view.replicas_of(id)
    }

    fn demand(&self, id: &DeploymentId, last: &Load, load: &Load) -> autoscale::Load {
        let entry = self.view.entries.get(id);
        entry.map_or_else(autoscale::Load::default, |entry| {
            loads::demand(last, load, &entry.deployment, self.replicas_of(id))
        })
    }
}

impl Promotions {
    pub fn new(shared: Shared) -> Self {
        Self { shared, memories: HashMap::new() }
    }
}

impl Task for Promotions {
    const NAME: &'static str = "promotions";

    async fn pass(&mut self, now: Timestamp) -> Result<Next, Error> {
        // Before the first look at the backend, survivors of a restart seem to be missing.
        if self.shared.observed().is_none() {
            return Ok(Next::IDLE);
        }
        let Some(world) = World::read(&self.shared).await? else {
            self.memories.clear();
            return Ok(Next::IDLE);
        };
        self.memories.retain(|id, _| world.view.promotions.iter().any(|promotion| promotion.id == *id));
        let mut next = Next::IDLE;
        for promotion in world.view.promotions.iter() {
            next = next.by(self.go_on(now, promotion, &world).await?);
        }
        pushes::take_up(&self.shared, now, &world).await?;
        if !world.view.promotions.is_empty() && loads::any(&world.loads) {
            next = next.by(Some(now.plus(millis(LOAD_ROUND))));
        }
        Ok(next)
    }
}

impl Promotions {
    /// Decides about one promotion and saves what follows; says when to decide again.
    async fn go_on(
        &mut self,
        now: Timestamp,
        promotion: &Promotion,
        world: &World,
    ) -> Result<Option<Timestamp>, Error> {
        let environment = world.view.environments.iter().find(|environment| is_into(promotion, environment));
        let (Some(environment), Some(candidate)) = (environment, world.side(&promotion.candidate)) else {
            // Deleted in this moment, and the promotion with it; the next pass sees that.
            return Ok(None);
        };
        let sides = [Some(&promotion.candidate), environment.current.as_ref()];
        let (remembered, state) = match self.memories.get(&promotion.id) {
            Some(remembered) => (remembered.clone(), promotion.state.clone()),
            None => (Remembered::default(), promotion.state.clone().resumed_by_another_server(now)),
        };
        let counters = sides.map(|id| id.and_then(|id| world.loads.get(id)).cloned().unwrap_or_default());
        let demand = |n: usize| sides[n].map(|id| world.demand(id, &remembered.last[n], &counters[n]));
        let published = self.shared.published();
        let seen = Seen {
            candidate,
            previous: environment.current.as_ref().and_then(|current| world.side(current)),
            load: loads::sum(demand(0).unwrap_or_default(), demand(1).unwrap_or_default()),
            autoscaling: &environment.autoscaling,
            published_percent: published.and_then(|published| share_in(&published.table, promotion)),
        };
        let settings = &promotion.settings;
        let decision = promotion::decide(now, &state, &remembered.memory, promotion.command, settings, &seen);

        let (state, memory) = decision.next;
        let why = decision.why.to_string();
        let mut after = Promotion { state, targets: decision.output, why, command: None, ..promotion.clone() };
        if after != *promotion {
            let store = &self.shared.parts.store;
            let saved = match after.state.ending() {
                Some(_) => store.finish_promotion(&mut after, now, None).await,
                None => store.save_promotion(&mut after).await,
            };
            match saved {
                Ok(()) => {}
                // Somebody else was faster; their change wakes this task.
                Err(store::Error::Conflict { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        // Only now has the load been taken into account.
        self.memories.insert(promotion.id, Remembered { memory, last: counters });
        tell(&self.shared, now, promotion, &after).await?;
        Ok(decision.wake_at)
    }
}

/// Writes what has become of a promotion into the logs of both of its deployments.
pub(crate) async fn tell(shared: &Shared, now: Timestamp, before: &Promotion, after: &Promotion) -> Result<(), Error> {
    let Some((level, candidate, previous)) = news(before, after) else { return Ok(()) };
    tracing::info!(environment = after.environment, deployment.id = %after.candidate, why = after.why, "{candidate}");
    let mut told = vec![record(&after.candidate, None, line(now, level, candidate))];
    told.extend(after.previous.iter().map(|id| record(id, None, line(now, level, previous.as_str()))));
    Ok(shared.parts.store.append_logs(&told).await?)
}

/// What a person wants to know of a change: how bad it is, and how the candidate's log and the previous deployment's say it.
fn news(before: &Promotion, after: &Promotion) -> Option<(Level, String, String)> {
    let (name, candidate) = (&after.environment, &after.candidate);
    let share = after.targets.candidate_percent;
    let promotion = format!("the promotion of deployment {candidate} to environment {name}");
    let both = |level: Level, what: &str| {
        Some((level, format!("the promotion to environment {name} {what}"), format!("{promotion} {what}")))
    };
    let (was, is) = (before.state.status(), after.state.status());
    match (was, is) {
        (was, is) if was == is => {}
        (_, Status::Succeeded) => {
            let fate = match (after.settings.cleanup, after.settings.room) {
                (Cleanup::Keep, Room::Beside) => "this one keeps running",
                (Cleanup::Keep, Room::InPlace) => "this one goes to zero replicas: there is no room for both",
                (Cleanup::ScaleToZero, _) => "this one goes to zero replicas",
                (Cleanup::Deactivate, _) => "this one is deactivated",
            };
            return Some((
                Level::Info,
                format!("environment {name} is served by this deployment from now on"),
                format!("environment {name} is served by deployment {candidate} from now on; {fate}"),
            ));
        }
        (_, Status::Failed | Status::Canceled) => {
            return match after.state.ending() {
                Some(Ending::Failed { reason }) => both(Level::Error, &format!("failed: {reason}")),
                Some(Ending::Canceled { reason }) => both(Level::Warning, &format!("was canceled: {reason}")),
                Some(Ending::Succeeded) | None => None,
            };
        }
        (_, Status::Paused) => return both(Level::Info, &format!("is paused with {share} % of the traffic moved")),
        (_, Status::RampingDown) => return both(Level::Warning, &format!("goes back: {}", after.why)),
        (Status::Paused, _) => return both(Level::Info, "goes on"),
        (_, Status::Releasing | Status::RampingUp) => {}
    }
    (share != before.targets.candidate_percent && after.previous.is_some()).then(|| {
        (
            Level::Info,
            format!("environment {name} sends {share} % of its traffic here"),
            format!("environment {name} sends {share} % of its traffic to deployment {candidate}"),
        )
    })
}
