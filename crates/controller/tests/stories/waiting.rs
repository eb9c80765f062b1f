//! Waiting in the small world. Nothing here sleeps: a test waits for a condition, and is woken by whatever could make it true.

use std::{future::Future, sync::Arc, time::Duration};

use api::{
    id::{DeploymentId, ModelId, ReplicaId},
    internal::routes::DeploymentRoute,
};
use backends::Backend;
use controller::Handle;
use planner::lifecycle::Status;
use store::{Topic, domain::Component};

use crate::world::World;

/// How long a condition may take to come true, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Steps of the clock that a condition may take to come true.
const MOST_STEPS: usize = 500;
const EVERYTHING: [Topic; 8] = [
    Topic::Deployments,
    Topic::Environments,
    Topic::Promotions,
    Topic::Replicas,
    Topic::Keys,
    Topic::Secrets,
    Topic::Logs,
    Topic::Locations,
];

impl World {
    /// Waits until the platform's lines in a deployment's log say so: a line follows what it tells of.
    pub async fn until_told(&self, id: &DeploymentId, part: &str) {
        self.eventually(&format!("the log of {id} says: {part}"), || async {
            self.messages(id, Component::Deploy).await.iter().any(|message| message.contains(part)).then_some(())
        })
        .await;
    }

    /// Waits until `condition` gives something; whatever changes in this world has it asked again.
    pub async fn eventually<T, F: Future<Output = Option<T>>>(&self, what: &str, condition: impl Fn() -> F) -> T {
        let mut changes = self.store.changes(&EVERYTHING);
        let mut table = self.gateway.table.subscribe();
        let mut backend = 0;
        let wait = async {
            loop {
                table.mark_unchanged();
                if let Some(found) = condition().await {
                    return found;
                }
                tokio::select! {
                    _ = changes.wait() => {}
                    _ = table.changed() => {}
                    seen = self.spy.changed(backend) => backend = seen,
                }
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(found) => found,
            Err(_) => panic!("never came true: {what}\n{}", self.describe().await),
        }
    }

    pub async fn until_status(&self, id: &DeploymentId, status: Status) {
        self.eventually(&format!("{id} is {status}"), || async { (self.status(id).await == status).then_some(()) })
            .await;
    }

    /// Waits for one replica that lives, and that is not one of `not`.
    pub async fn until_started(&self, id: &DeploymentId, not: &[ReplicaId]) -> ReplicaId {
        self.eventually(&format!("a replica of {id} is started"), || async {
            let live = self.backend.live();
            live.into_iter().find(|replica| !not.contains(replica) && self.is_of(replica, id))
        })
        .await
    }

    /// Waits until an environment points at a deployment, and its requests go there and nowhere else.
    pub async fn until_serves(&self, model: &ModelId, environment: &str, id: &DeploymentId) {
        self.eventually(&format!("{environment} serves {id}"), || async {
            let table = self.gateway.table.borrow().clone()?;
            let split = table.models.get(model)?.environments.get(environment)?.clone()?;
            let is_alone = split.stable == *id && split.candidate.is_none();
            (is_alone && self.current(model, environment).await.as_ref() == Some(id)).then_some(())
        })
        .await;
    }

    /// Waits until requests for a deployment would go to exactly these replicas.
    pub async fn until_routed(&self, id: &DeploymentId, replicas: &[ReplicaId]) -> Arc<DeploymentRoute> {
        self.eventually(&format!("requests for {id} go to {replicas:?}"), || async {
            let route = self.gateway.route(id)?;
            let listed: Vec<&ReplicaId> = route.replicas.iter().map(|endpoint| &endpoint.replica_id).collect();
            (listed == replicas.iter().collect::<Vec<_>>()).then_some(route)
        })
        .await
    }

    /// Brings a pushed deployment to one ready replica that requests go to.
    pub async fn until_active(&self, id: &DeploymentId) -> ReplicaId {
        let replica = self.until_started(id, &[]).await;
        self.backend.ready(&replica);
        self.until_routed(id, std::slice::from_ref(&replica)).await;
        self.until_status(id, Status::Active).await;
        replica
    }

    pub fn is_of(&self, replica: &ReplicaId, deployment: &DeploymentId) -> bool {
        self.backend.started_with(replica).is_some_and(|start| start.spec.deployment_id == *deployment)
    }

    /// Gives the tasks the chance to do what they should not do: every task has passed at least once more when this returns.
    pub async fn settle(&self, handle: &Handle) {
        let passes = |name: &str| handle.tasks().iter().find(|task| task.name == name).map_or(0, |task| task.passes);
        let before = ["deployments", "promotions", "observe"].map(|name| (name, passes(name)));
        self.gateway.nudge();
        self.spy.nudge();
        let wait = async {
            while before.iter().any(|(name, before)| passes(name) < before + 2) {
                self.gateway.nudge();
                self.spy.nudge();
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("tasks pass when they are woken");
    }

    /// Moves the clock step by step until `condition` gives something; everybody looks after each step.
    pub async fn as_time_passes<T, F: Future<Output = Option<T>>>(
        &self,
        handle: &Handle,
        step: Duration,
        what: &str,
        condition: impl Fn() -> F,
    ) -> T {
        for _ in 0..MOST_STEPS {
            if let Some(found) = condition().await {
                return found;
            }
            self.advance(step);
            self.settle(handle).await;
        }
        panic!("never came true: {what}\n{}", self.describe().await);
    }
}
