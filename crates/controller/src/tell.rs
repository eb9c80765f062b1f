//! Tells replicas which environment they are in when that changes: on promotion, and on demotion; and gives them the values of their
//! secrets when those change. One that cannot be told is its own trouble alone.

use std::collections::HashMap;

use api::{id::ReplicaId, internal::replica::Phase};
use futures::StreamExt;
use planner::Timestamp;
use store::domain::Replica;

use crate::{
    Error,
    belonging::Belonging,
    driver::{Next, Task, chain},
    mirror::View,
    shared::{Observation, Shared},
    tell_secrets::{Due, Given},
    template,
};

/// Replicas that are told at one time.
const TOLD_AT_ONCE: usize = 8;
/// One that could not be told is told again after this time.
const RETRY_MS: u64 = 1_000;

/// The task.
pub(crate) struct Tell {
    shared: Shared,
    given: Given,
    /// What was last wrong with telling which replica, so that it is said once.
    troubles: HashMap<ReplicaId, String>,
}

impl Tell {
    pub fn new(shared: Shared) -> Self {
        let given = Given::new(&shared);
        Self { shared, given, troubles: HashMap::new() }
    }
}

impl Task for Tell {
    const NAME: &'static str = "tell";

    async fn pass(&mut self, now: Timestamp) -> Result<Next, Error> {
        let Some(observation) = self.shared.observed() else {
            return Ok(Next::IDLE);
        };
        let view = self.shared.mirror.look().await?;
        let belonging = Belonging::new(&view.promotions, &view.environments);
        let listens = |replica: &Replica| {
            let seen = observation.get(&replica.id).map(|seen| &seen.phase);
            replica.stopping_since.is_none() && seen.is_some_and(|phase| !matches!(phase, Phase::Exited(_)))
        };
        let mut due: Vec<(usize, ReplicaId, Option<String>)> = Vec::new();
        for replica in view.all_replicas().filter(|replica| listens(replica)) {
            let Some(entry) = view.entries.get(&replica.deployment_id) else { continue };
            let environment = belonging.of(&entry.deployment);
            if environment != replica.environment.as_deref()
                && let Some(at) = self.shared.sites.position_of(replica, &observation)
            {
                due.push((at, replica.id.clone(), environment.map(str::to_owned)));
            }
        }
        let shared = &self.shared;
        let tells = due.into_iter().map(|(at, replica, environment)| async move {
            let told = tell(shared, at, &replica, environment.as_deref()).await;
            told.err().map(|error| (replica, chain(&error)))
        });
        let mut troubles: HashMap<ReplicaId, String> =
            futures::stream::iter(tells).buffer_unordered(TOLD_AT_ONCE).filter_map(std::future::ready).collect().await;
        // One whose model process does not run yet has been started with those of then, and is given newer ones when it does.
        let runs = |replica: &&Replica| {
            let seen = observation.get(&replica.id).map(|seen| &seen.phase);
            listens(replica) && matches!(seen, Some(Phase::Loading | Phase::Ready | Phase::Unhealthy))
        };
        let running: Vec<&Replica> = view.all_replicas().filter(runs).collect();
        let due = self.given.due(&self.shared, &view, &running).await?;
        troubles.extend(self.give(due, &view, &observation).await);
        for (replica, error) in &troubles {
            if self.troubles.get(replica) != Some(error) {
                tracing::warn!(replica.id = %replica, error, "a replica does not know its environment or its secrets; it will be told again");
            }
        }
        self.troubles = troubles;
        let retry_at = (!self.troubles.is_empty()).then(|| now.plus(RETRY_MS));
        Ok(Next::IDLE.by(retry_at))
    }
}

impl Tell {
    /// Gives replicas their secrets. Those that could not be given, with why.
    async fn give(&mut self, due: Vec<Due>, view: &View, observation: &Observation) -> Vec<(ReplicaId, String)> {
        let sites = &self.shared.sites;
        let placed = |due: Due| Some((sites.position_of(view.replica(&due.replica)?, observation)?, due));
        let due: Vec<(usize, Due)> = due.into_iter().filter_map(placed).collect();
        let gives = due.into_iter().map(|(at, due)| async move {
            let given = sites.backend(at).set_secrets(&due.replica, due.secrets.clone()).await;
            (due, given)
        });
        let results: Vec<_> = futures::stream::iter(gives).buffer_unordered(TOLD_AT_ONCE).collect().await;
        let mut troubles = Vec::new();
        for (due, given) in results {
            match given {
                Ok(()) => self.given.note(due),
                Err(error) => troubles.push((due.replica, chain(&error))),
            }
        }
        troubles
    }
}

/// Tells it, then records it: telling it twice does nothing.
async fn tell(shared: &Shared, at: usize, replica: &ReplicaId, environment: Option<&str>) -> Result<(), Error> {
    shared.sites.backend(at).set_environment(replica, environment.map(template::environment)).await?;
    Ok(shared.parts.store.record_environment_told(replica, environment).await?)
}
