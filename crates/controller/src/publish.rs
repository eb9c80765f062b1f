//! Publishes the route table whenever what it depends on has changed. What stands in it is decided by `routes`.

use std::sync::Arc;

use api::{
    id::ReplicaId,
    internal::{replica::Phase, routes::Endpoint},
};
use planner::{Timestamp, lifecycle};
use store::domain::{ApiKey, Replica};

use crate::{
    Error, allowances,
    driver::{Next, Task},
    facts,
    holds::Holds,
    mirror::{Entry, View},
    routes::{self, Deployed, Picture},
    shared::{Observation, Published, Shared},
    template,
};

/// The task.
pub(crate) struct Publish {
    pub shared: Shared,
}

impl Task for Publish {
    const NAME: &'static str = "routes";

    async fn pass(&mut self, now: Timestamp) -> Result<Next, Error> {
        // Before the first look at the backend every deployment seems to have no replica.
        let Some(observation) = self.shared.observed() else {
            return Ok(Next::IDLE);
        };
        let view = self.shared.mirror.look().await?;
        let holds = Holds::new(&view.promotions, &view.environments);
        let deployed: Vec<Deployed<'_>> =
            view.entries.values().map(|entry| self.deployed(entry, &holds, &view, &observation)).collect();
        let (keys, next) = valid(&view.keys, now);
        let mut allowances = allowances::limits(&view.policies, &view.attached);
        if !allowances.is_empty() {
            allowances::count(&mut allowances, self.shared.parts.store.counted_tokens(now).await?);
        }
        let picture = Picture {
            models: &view.models,
            environments: &view.environments,
            promotions: &view.promotions,
            deployments: &deployed,
            keys: &keys,
            users: &view.users,
            allowances,
        };
        let published = self.shared.published();
        let Some(table) = routes::table(&picture, published.as_ref().map(|published| &published.table)) else {
            return Ok(next);
        };
        self.shared.parts.gateways.publish(table.clone()).await;
        let listed = table.deployments.values().flat_map(|route| &route.replicas);
        let replicas = listed.map(|endpoint| endpoint.replica_id.clone()).collect();
        self.shared.published.send_replace(Some(Arc::new(Published { table, replicas })));
        // Replicas that have left the table may be told to stop now, and what waits for a share has it.
        self.shared.bells.deployments.ring();
        self.shared.bells.promotions.ring();
        Ok(next)
    }
}

impl Publish {
    fn deployed<'a>(
        &self,
        entry: &'a Entry,
        holds: &Holds<'_>,
        view: &View,
        observation: &Observation,
    ) -> Deployed<'a> {
        let deployment = &entry.deployment;
        let replicas = view.replicas_of(&deployment.id);
        let counts = lifecycle::Observed::of(&facts::for_planner(replicas));
        let endpoint = |replica: &Replica| -> Option<Endpoint> {
            let seen = observation.get(&replica.id)?;
            let takes_requests = seen.phase == Phase::Ready && replica.stopping_since.is_none() && !replica.tries_patch;
            takes_requests.then(|| Endpoint {
                replica_id: replica.id.clone(),
                address: seen.address.clone(),
                start: seen.start.unwrap_or_default(),
            })
        };
        Deployed {
            deployment,
            recovers: lifecycle::recovers(&deployment.lifecycle, &counts, &deployment.replica_memory),
            status: lifecycle::status(&deployment.lifecycle, &counts),
            endpoints: replicas.iter().filter_map(endpoint).collect(),
            slots_per_replica: template::slots_per_replica(deployment, &holds.of(deployment), &entry.config),
            limits: template::request_limits(deployment, &entry.config, &self.shared.settings),
            protocol: entry.config.protocol(),
        }
    }
}

/// The keys that are worth something now, and when the first of them is so no more.
fn valid(keys: &[ApiKey], now: Timestamp) -> (Vec<&ApiKey>, Next) {
    let valid: Vec<_> = keys.iter().filter(|key| key.is_valid_at(now)).collect();
    let first = valid.iter().filter_map(|key| key.expires_at).min();
    (valid, Next::IDLE.by(first))
}

/// Whether a request may still be sent to a replica.
pub(crate) fn is_listed(published: Option<&Published>, replica: &ReplicaId) -> bool {
    published.is_none_or(|published| published.replicas.contains(replica))
}
