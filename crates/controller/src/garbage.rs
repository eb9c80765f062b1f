//! Removes what nobody needs any more: archives, artifacts, old log lines and samples. Slowly, and never while something might still need it.

use std::{collections::BTreeSet, time::Duration};

use backends::Artifact;
use planner::{Timestamp, lifecycle::Build, reload::Reload};
use store::domain::Deployment;

use crate::{
    Error,
    driver::{Next, Task},
    settings::millis,
    shared::Shared,
};

/// Archives are kept for this long before they count as unused. A push uploads first and refers later, by at most a day: that is
/// how long an unclaimed upload is kept.
const ARCHIVE_GRACE: Duration = Duration::from_secs(48 * 3600);
/// When builds or stopping replicas may still use artifacts: look again after this.
const BUSY_PAUSE: Duration = Duration::from_secs(60);

/// The task.
pub(crate) struct Garbage {
    pub shared: Shared,
}

impl Task for Garbage {
    const NAME: &'static str = "garbage";

    async fn pass(&mut self, now: Timestamp) -> Result<Next, Error> {
        let settings = &self.shared.settings;
        let parts = &self.shared.parts;
        parts.store.prune_logs(now.0.saturating_sub(millis(settings.log_retention)), settings.log_max_bytes).await?;

        parts.store.prune_samples(Timestamp(now.0.saturating_sub(millis(settings.measure_retention)))).await?;

        parts.store.delete_expired_keys(now).await?;
        parts.store.delete_expired_sign_ins(now).await?;
        self.shared.mirror.prune().await?;

        let settled = Timestamp(now.0.saturating_sub(millis(ARCHIVE_GRACE)));
        let kept: BTreeSet<String> = parts.store.archive_keys().await?.into_iter().collect();
        parts.blobs.sweep(&settings.archive_prefix, settled, |key| kept.contains(key)).await?;
        parts.blobs.sweep_interrupted(settled).await?;

        let is_done = self.collect_artifacts().await?;
        let next = if is_done { settings.garbage_round } else { BUSY_PAUSE };
        Ok(Next::IDLE.by(Some(now.plus(millis(next)))))
    }
}

/// The builds that a deployment needs: the one that it runs, and that of a patch.
fn artifacts(deployment: &Deployment) -> impl Iterator<Item = Artifact> {
    let own = match &deployment.lifecycle.build {
        Build::Succeeded { artifact, .. } => Some(artifact),
        Build::Pending { .. } | Build::Failed { .. } | Build::Stopped { .. } => None,
    };
    let staged = match deployment.reload() {
        Some(Reload::Starting { artifact, .. }) => Some(artifact),
        None | Some(Reload::Staged | Reload::Building { .. } | Reload::Failed { .. }) => None,
    };
    own.into_iter().chain(staged).map(|artifact| Artifact(artifact.clone()))
}

impl Garbage {
    /// Whether it could: not while a build runs, whose artifact is not recorded yet, nor while a replica stops, whose deployment
    /// may be gone or have another artifact by now.
    async fn collect_artifacts(&self) -> Result<bool, Error> {
        let Ok(_nobody_builds) = self.shared.building.try_write() else {
            return Ok(false);
        };
        let parts = &self.shared.parts;
        let view = self.shared.mirror.look().await?;
        let is_settled = view
            .all_replicas()
            .all(|replica| replica.stopping_since.is_none() && view.entries.contains_key(&replica.deployment_id));
        if !is_settled {
            return Ok(false);
        }
        let keep = view.entries.values().flat_map(|entry| artifacts(&entry.deployment)).collect();
        parts.builder.collect_garbage(&keep).await?;
        Ok(true)
    }
}
