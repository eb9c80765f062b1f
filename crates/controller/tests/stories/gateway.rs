//! Gateways in memory: what they were told, and what they tell. They remember each division of traffic, and notice one that sends
//! requests where nothing is ready while something is, or where nobody waits for what is being promoted.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use api::{
    id::{DeploymentId, ModelId, ReplicaId},
    internal::{
        access::Accesses,
        measures::Measures,
        routes::{Availability, DeploymentRoute, Load, Split, Table},
        tokens::Counted,
    },
};
use async_trait::async_trait;
use controller::Gateways;
use tokio::sync::{Notify, watch};

/// What the gateways were told, and what they tell.
#[derive(Default)]
pub struct Gateway {
    pub table: watch::Sender<Option<Arc<Table>>>,
    loads: Mutex<HashMap<DeploymentId, Load>>,
    counted: Mutex<Vec<Counted>>,
    activity: Notify,
    shares: Mutex<Vec<Share>>,
    unlawful: Mutex<Vec<String>>,
}

/// How an environment's traffic was divided while it was, with the replicas that each side had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub percent: u8,
    pub candidate: usize,
    pub previous: usize,
}

#[async_trait]
impl Gateways for Gateway {
    async fn publish(&self, table: Table) {
        let before = self.table.borrow().clone();
        self.watch(before.as_deref(), &table);
        self.table.send_replace(Some(Arc::new(table)));
    }

    fn loads(&self) -> HashMap<DeploymentId, Load> {
        self.loads.lock().unwrap().clone()
    }

    fn measures(&self) -> HashMap<DeploymentId, Measures> {
        HashMap::new()
    }

    fn counted(&self) -> Vec<Counted> {
        self.counted.lock().unwrap().clone()
    }

    fn accesses(&self) -> Accesses {
        Accesses::default()
    }

    async fn accessed(&self) {
        std::future::pending().await
    }

    async fn activity(&self) {
        self.activity.notified().await;
    }
}

impl Gateway {
    /// What happens without a change of loads: the clock was moved.
    pub fn nudge(&self) {
        self.activity.notify_one();
    }

    /// What a gateway has counted of limited tokens.
    pub fn count(&self, counted: Counted) {
        self.counted.lock().unwrap().push(counted);
    }

    /// Every division of traffic that was published, in order.
    pub fn shares(&self) -> Vec<Share> {
        self.shares.lock().unwrap().clone()
    }

    /// Whether any traffic ever went to a candidate beside a previous deployment.
    pub fn has_moved(&self) -> bool {
        self.shares().iter().any(|share| share.percent > 0)
    }

    /// Tables that sent requests where nothing was ready while something was, or that turned away who has nowhere else to go.
    pub fn unlawful(&self) -> Vec<String> {
        self.unlawful.lock().unwrap().clone()
    }

    fn watch(&self, before: Option<&Table>, table: &Table) {
        let ready = |id: &DeploymentId| table.deployments.get(id).map_or(0, |route| route.replicas.len());
        for (model, routes) in &table.models {
            for (name, split) in &routes.environments {
                let Some(split) = split else { continue };
                if let Some((candidate, percent)) = &split.candidate {
                    let share =
                        Share { percent: *percent, candidate: ready(candidate), previous: ready(&split.stable) };
                    let mut shares = self.shares.lock().unwrap();
                    if shares.last() != Some(&share) {
                        shares.push(share);
                    }
                    let is_closed = |route: &DeploymentRoute| route.availability != Availability::Serve;
                    let nobody_waits = table.deployments.get(candidate).is_none_or(|route| is_closed(route));
                    if share.percent > 0 && share.previous == 0 && nobody_waits {
                        let version = table.version;
                        let text = format!("table {version}: {name} sends {percent} % to {candidate}, which is closed");
                        self.unlawful.lock().unwrap().push(text);
                    }
                }
                let known: HashSet<DeploymentId> = sides(split)
                    .into_iter()
                    .chain(before.and_then(|before| division(before, model, name)).into_iter().flat_map(sides))
                    .map(|(id, _)| id)
                    .collect();
                for (id, weight) in sides(split) {
                    if weight > 0 && ready(&id) == 0 && known.iter().any(|other| ready(other) > 0) {
                        let version = table.version;
                        self.unlawful.lock().unwrap().push(format!("table {version}: {name} sends {weight} % to {id}"));
                    }
                }
            }
        }
    }

    pub fn set_load(&self, deployment: &DeploymentId, load: Load) {
        self.loads.lock().unwrap().insert(deployment.clone(), load);
        self.activity.notify_one();
    }

    pub fn route(&self, deployment: &DeploymentId) -> Option<Arc<DeploymentRoute>> {
        self.table.borrow().as_ref()?.deployments.get(deployment).cloned()
    }

    pub fn lists(&self, replica: &ReplicaId) -> bool {
        let table = self.table.borrow();
        let routes = table.iter().flat_map(|table| table.deployments.values());
        routes.flat_map(|route| &route.replicas).any(|endpoint| endpoint.replica_id == *replica)
    }
}

/// Each side of a division with its weight.
fn sides(split: &Split) -> Vec<(DeploymentId, u8)> {
    let share = split.candidate.as_ref().map_or(0, |(_, share)| *share);
    let candidate = split.candidate.iter().cloned();
    candidate.chain([(split.stable.clone(), 100 - share)]).collect()
}

fn division<'t>(table: &'t Table, model: &ModelId, environment: &str) -> Option<&'t Split> {
    table.models.get(model)?.environments.get(environment)?.as_ref()
}
