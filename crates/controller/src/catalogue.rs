//! Deployments with their parsed configs, kept between passes: a pass over a thousand deployments reads only those that changed.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    id::DeploymentId,
    truss_config::{self, TrussConfig},
};
use store::{Store, domain::Deployment};
use tokio::sync::Mutex;

use crate::Error;

/// One deployment, as last read.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub deployment: Deployment,
    pub config: Arc<TrussConfig>,
}

/// Every deployment by id. Reading brings it up to date.
pub(crate) struct Catalogue {
    store: Store,
    entries: Mutex<BTreeMap<DeploymentId, Arc<Entry>>>,
}

impl Catalogue {
    pub fn new(store: Store) -> Self {
        Self { store, entries: Mutex::default() }
    }

    /// Every deployment as it is now.
    pub async fn read(&self) -> Result<BTreeMap<DeploymentId, Arc<Entry>>, Error> {
        let mut entries = self.entries.lock().await;
        let generations = self.store.deployment_generations().await?;
        let mut next = BTreeMap::new();
        for (id, generation) in generations {
            let known = entries.get(&id).filter(|entry| entry.deployment.generation == generation).cloned();
            let entry = match known {
                Some(entry) => entry,
                None => match self.store.deployment(&id).await {
                    Ok(deployment) => Arc::new(enter(deployment, entries.get(&id))),
                    // Deleted since the generations were read.
                    Err(store::Error::NotFound { .. }) => continue,
                    Err(error) => return Err(error.into()),
                },
            };
            next.insert(id, entry);
        }
        entries.clone_from(&next);
        Ok(next)
    }
}

fn enter(deployment: Deployment, before: Option<&Arc<Entry>>) -> Entry {
    let same_config = before.filter(|before| before.deployment.config == deployment.config);
    let config = same_config.map_or_else(|| Arc::new(parse(&deployment)), |before| before.config.clone());
    Entry { deployment, config }
}

/// Configs are checked when they are pushed. One that a later version of this program does not read any more keeps running with
/// the defaults, which is told once.
fn parse(deployment: &Deployment) -> TrussConfig {
    truss_config::from_value(deployment.config.clone()).unwrap_or_else(|error| {
        tracing::error!(deployment.id = %deployment.id, %error, "cannot read a stored config; using the defaults");
        TrussConfig::default()
    })
}
