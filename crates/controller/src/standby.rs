//! Tells the backend which starts may come before long, so that it can make something ready for them. Which those are is decided by
//! `planner::deployment::may_start`.

use std::{cmp::Reverse, time::Duration};

use api::id::{DeploymentId, ReplicaId};
use backends::{Artifact, Likely};
use planner::{Timestamp, deployment, lifecycle::Build};

use crate::{
    Error,
    driver::{Next, Task},
    holds::Holds,
    mirror::{Entry, View},
    shared::Shared,
    template,
};

/// No more than these are told.
const MOST: usize = 64;

/// The task.
pub(crate) struct StandBy {
    shared: Shared,
    /// What was last told, by deployment and generation.
    told: Option<Vec<(DeploymentId, u64)>>,
}

impl StandBy {
    pub fn new(shared: Shared) -> Self {
        Self { shared, told: None }
    }
}

impl Task for StandBy {
    const NAME: &'static str = "standby";
    const PAUSE: Duration = Duration::from_secs(1);

    async fn pass(&mut self, _now: Timestamp) -> Result<Next, Error> {
        let view = self.shared.mirror.look().await?;
        let entries = likely(&view);
        let told: Vec<(DeploymentId, u64)> =
            entries.iter().map(|entry| (entry.deployment.id.clone(), entry.deployment.generation)).collect();
        if self.told.as_ref() != Some(&told) {
            let likely = entries.into_iter().filter_map(|entry| self.start_of(entry)).collect();
            self.shared.parts.backend.stand_by(likely).await;
            self.told = Some(told);
        }
        Ok(Next::IDLE)
    }
}

/// Deployments whose starts are likely, those that changed last first.
fn likely(view: &View) -> Vec<&Entry> {
    let holds = Holds::new(&view.promotions, &view.environments);
    let since = |entry: &Entry| {
        let deployment = &entry.deployment;
        deployment::may_start(&deployment.lifecycle, deployment.target_replicas, holds.of(deployment).most())
    };
    let mut likely: Vec<(Timestamp, &Entry)> =
        view.entries.values().filter_map(|entry| Some((since(entry)?, &**entry))).collect();
    likely.sort_by_key(|(since, entry)| (Reverse(*since), &entry.deployment.id));
    likely.into_iter().take(MOST).map(|(_, entry)| entry).collect()
}

impl StandBy {
    fn start_of(&self, entry: &Entry) -> Option<Likely> {
        let Build::Succeeded { artifact, .. } = &entry.deployment.lifecycle.build else { return None };
        let id = ReplicaId::from_entropy((self.shared.parts.entropy)());
        let never = Timestamp(0);
        let spec = template::replica(id, &entry.deployment, &entry.config, None, never, &self.shared.settings);
        Some(Likely { spec, artifact: Artifact(artifact.clone()), config: entry.config.clone() })
    }
}
