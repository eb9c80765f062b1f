//! Tells the locations which starts may come before long, so that it can make something ready for them. Which those are is decided by
//! `planner::deployment::may_start`.

use std::{cmp::Reverse, time::Duration};

use api::id::{DeploymentId, ReplicaId};
use backends::{Artifact, Likely};
use planner::{Timestamp, capacity::Amount, deployment, lifecycle::Build};

use crate::{
    Error,
    driver::{Next, Task},
    fences::{Attached, Fences},
    holds::Holds,
    mirror::{Entry, View},
    rooms::Rooms,
    shared::Shared,
    template,
};

/// No more than these are told.
const MOST: usize = 64;

/// The task.
pub(crate) struct StandBy {
    shared: Shared,
    fences: Fences,
    /// What was last told, by deployment and generation, with the location that was told.
    told: Option<Vec<(DeploymentId, u64, usize)>>,
}

impl StandBy {
    pub fn new(shared: Shared) -> Self {
        let fences = Fences::new(shared.sites.clone(), shared.settings.instance_types.clone());
        Self { shared, fences, told: None }
    }
}

impl Task for StandBy {
    const NAME: &'static str = "standby";
    const PAUSE: Duration = Duration::from_secs(1);

    async fn pass(&mut self, _now: Timestamp) -> Result<Next, Error> {
        let view = self.shared.mirror.look().await?;
        let entries = self.placed(&view, likely(&view));
        let told: Vec<(DeploymentId, u64, usize)> =
            entries.iter().map(|(entry, at)| (entry.deployment.id.clone(), entry.deployment.generation, *at)).collect();
        if self.told.as_ref() != Some(&told) {
            let mut by_site: Vec<Vec<Likely>> = vec![Vec::new(); self.shared.sites.len()];
            for (entry, at) in entries {
                by_site[at].extend(self.start_of(entry));
            }
            for (site, likely) in self.shared.sites.iter().zip(by_site) {
                site.backend.stand_by(likely).await;
            }
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
    /// Those that have a place, with where the next replica would go if all had room.
    fn placed<'a>(&mut self, view: &View, entries: Vec<&'a Entry>) -> Vec<(&'a Entry, usize)> {
        let (sites, health) = (self.shared.sites.clone(), self.shared.health());
        self.fences.look(view, health.clone());
        let attached = Attached::new(view);
        let observation = self.shared.observed().unwrap_or_default();
        let mut rooms = Rooms::new(&sites, &health, entries.iter().map(|entry| entry.deployment.id.clone()));
        let mut next = |entry: &Entry| {
            let deployment = &entry.deployment;
            for row in view.replicas_of(&deployment.id).iter().filter(|row| !row.has_ended()) {
                if let Some(at) = sites.position_of(row, &observation) {
                    rooms.take(at, row, &Amount::default());
                }
            }
            rooms.place(&deployment.id, &self.fences.of(deployment, &attached), &Amount::default(), &[]).ok()
        };
        entries.into_iter().filter_map(|entry| Some((entry, next(entry)?))).collect()
    }

    fn start_of(&self, entry: &Entry) -> Option<Likely> {
        let Build::Succeeded { artifact, .. } = &entry.deployment.lifecycle.build else { return None };
        let id = ReplicaId::from_entropy((self.shared.parts.entropy)());
        let never = Timestamp(0);
        let spec = template::replica(id, &entry.deployment, &entry.config, None, never, &self.shared.settings);
        Some(Likely { spec, artifact: Artifact(artifact.clone()), config: entry.config.clone() })
    }
}
