//! Publishes the route table whenever what it depends on has changed. What stands in it is decided by `routes`.

use std::{collections::HashMap, sync::Arc};

use api::{
    id::{DeploymentId, ReplicaId},
    internal::{replica::Phase, routes::Endpoint},
};
use planner::{Timestamp, lifecycle};
use store::{ModelFilter, domain::Replica};

use crate::{
    Error,
    catalogue::Entry,
    driver::{Next, Task},
    facts,
    holds::Holds,
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

    async fn pass(&mut self, _now: Timestamp) -> Result<Next, Error> {
        // Before the first look at the backend every deployment seems to have no replica.
        let Some(observation) = self.shared.observed() else {
            return Ok(Next::IDLE);
        };
        let store = &self.shared.parts.store;
        // Promotions before environments: one that ends in between has given its traffic over already, whichever way it ended.
        let promotions = store.active_promotions().await?;
        let models = store.models(&ModelFilter::default()).await?;
        let environments = store.environments(None).await?;
        let keys = store.keys().await?;
        let entries = self.shared.catalogue.read().await?;
        let replicas = facts::by_deployment(store.replicas(None).await?);

        let holds = Holds::new(&promotions, &environments);
        let deployed: Vec<Deployed<'_>> =
            entries.values().map(|entry| self.deployed(entry, &holds, &replicas, &observation)).collect();
        let picture = Picture {
            models: &models,
            environments: &environments,
            promotions: &promotions,
            deployments: &deployed,
            keys: &keys,
        };
        let published = self.shared.published();
        let Some(table) = routes::table(&picture, published.as_ref().map(|published| &published.table)) else {
            return Ok(Next::IDLE);
        };
        self.shared.parts.gateways.publish(table.clone()).await;
        let listed = table.deployments.values().flat_map(|route| &route.replicas);
        let replicas = listed.map(|endpoint| endpoint.replica_id.clone()).collect();
        self.shared.published.send_replace(Some(Arc::new(Published { table, replicas })));
        // Replicas that have left the table may be told to stop now, and what waits for a share has it.
        self.shared.bells.deployments.ring();
        self.shared.bells.promotions.ring();
        Ok(Next::IDLE)
    }
}

impl Publish {
    fn deployed<'a>(
        &self,
        entry: &'a Entry,
        holds: &Holds<'_>,
        replicas: &HashMap<DeploymentId, Vec<Replica>>,
        observation: &Observation,
    ) -> Deployed<'a> {
        let deployment = &entry.deployment;
        let replicas = replicas.get(&deployment.id).map_or(&[][..], Vec::as_slice);
        let counts = lifecycle::Observed::of(&facts::for_planner(replicas));
        let endpoint = |replica: &Replica| -> Option<Endpoint> {
            let seen = observation.get(&replica.id)?;
            let takes_requests = seen.phase == Phase::Ready && replica.stopping_since.is_none();
            takes_requests.then(|| Endpoint { replica_id: replica.id.clone(), address: seen.address.clone() })
        };
        Deployed {
            deployment,
            status: lifecycle::status(&deployment.lifecycle, &counts),
            endpoints: replicas.iter().filter_map(endpoint).collect(),
            slots_per_replica: template::slots_per_replica(&holds.of(deployment), &entry.config),
            limits: template::request_limits(&self.shared.settings),
        }
    }
}

/// Whether a request may still be sent to a replica.
pub(crate) fn is_listed(published: Option<&Published>, replica: &ReplicaId) -> bool {
    published.is_none_or(|published| published.replicas.contains(replica))
}
