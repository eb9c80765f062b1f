//! Asks each location every few seconds whether it can run replicas. What the answers mean is `planner::heartbeat`'s to say; what
//! changes is stored, for people, and shared with the task that places replicas.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use planner::{Timestamp, heartbeat::Health};

use crate::{
    Error,
    driver::{Next, Task},
    settings::millis,
    shared::Shared,
    sites::Site,
};

/// How long a location may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The task.
pub(crate) struct Heartbeat {
    shared: Shared,
    /// When each was last asked; none before the first time, when what is stored is taken up.
    last_beat: Option<Timestamp>,
}

impl Heartbeat {
    pub fn new(shared: Shared) -> Self {
        Self { shared, last_beat: None }
    }
}

impl Task for Heartbeat {
    const NAME: &'static str = "heartbeat";

    async fn pass(&mut self, now: Timestamp) -> Result<Next, Error> {
        let interval = millis(self.shared.settings.heartbeat);
        let before = match self.last_beat {
            None => self.stored().await?,
            // The clock may have been set back.
            Some(last) if last <= now && now.since(last) < interval => {
                return Ok(Next::IDLE.by(Some(last.plus(interval))));
            }
            Some(_) => self.shared.health().to_vec(),
        };
        let answers = join_all(self.shared.sites.iter().map(ask)).await;
        let after: Vec<Health> = before.iter().zip(answers).map(|(before, answer)| before.after(now, answer)).collect();
        for ((site, before), after) in self.shared.sites.iter().zip(&before).zip(&after) {
            if before.is_healthy() != after.is_healthy() {
                self.shared.parts.store.record_location_health(&site.name, after).await?;
                tell(&site.name, after);
            }
        }
        if *self.shared.health() != after {
            self.shared.health.send_replace(Arc::new(after));
            self.shared.bells.deployments.ring();
            self.shared.bells.standby.ring();
        }
        self.last_beat = Some(now);
        Ok(Next::IDLE.by(Some(now.plus(interval))))
    }
}

impl Heartbeat {
    /// What an earlier process has found.
    async fn stored(&self) -> Result<Vec<Health>, Error> {
        let mut stored = self.shared.parts.store.location_health().await?;
        let of = |site: &Site| {
            let known = stored.iter().position(|(name, _)| *name == site.name);
            known.map(|known| stored.swap_remove(known).1).unwrap_or_default()
        };
        Ok(self.shared.sites.iter().map(of).collect())
    }
}

async fn ask(site: &Site) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, site.backend.check()).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

fn tell(name: &str, health: &Health) {
    match health {
        Health::Healthy { .. } => tracing::info!(location = name, "the location is healthy again"),
        Health::Unhealthy { reason, .. } => tracing::warn!(
            location = name,
            reason,
            "the location is not healthy: it gets no replicas, and those in it are replaced where others may take their place"
        ),
    }
}
