//! Puts deployments on stage: the environment that a deployment was pushed for points at it as soon as it has been active.

use std::{collections::BTreeMap, sync::Arc};

use api::{id::DeploymentId, internal::replica::Level};
use planner::Timestamp;
use store::domain::{AuditEvent, Environment};

use crate::{
    Error,
    catalogue::Entry,
    driver::{Next, Task},
    shared::{Shared, line, record},
};

/// The task.
pub(crate) struct Stage {
    pub shared: Shared,
}

/// What should happen to a deployment that has been active and is meant for an environment.
#[derive(Debug, PartialEq, Eq)]
enum Step<'a> {
    /// The environment serves it from now on.
    Stage(&'a str),
    /// A newer deployment got there first: it stays a deployment of its own.
    GiveWay(&'a str),
}

impl Task for Stage {
    const NAME: &'static str = "stage";

    async fn pass(&mut self, now: Timestamp) -> Result<Next, Error> {
        let entries = self.shared.catalogue.read().await?;
        let is_due = |entry: &&Arc<Entry>| {
            entry.deployment.target_environment.is_some() && entry.deployment.lifecycle.first_ready.is_some()
        };
        let mut due: Vec<&Arc<Entry>> = entries.values().filter(is_due).collect();
        if due.is_empty() {
            return Ok(Next::IDLE);
        }
        due.sort_by_key(|entry| (entry.deployment.created_at, entry.deployment.id.clone()));
        for entry in due {
            // Read again for each: the one before may have gone to the same environment.
            let environments = self.shared.parts.store.environments(Some(&entry.deployment.model_id)).await?;
            match step(entry, &environments, &entries) {
                Some(Step::Stage(name)) => self.stage(now, entry, name).await?,
                Some(Step::GiveWay(name)) => self.give_way(now, entry, name).await?,
                None => {}
            }
        }
        Ok(Next::IDLE)
    }
}

/// What to do with a deployment that is due. Nothing when its environment is gone.
fn step<'a>(
    entry: &'a Entry,
    environments: &[Environment],
    entries: &BTreeMap<DeploymentId, Arc<Entry>>,
) -> Option<Step<'a>> {
    let name = entry.deployment.target_environment.as_deref()?;
    let environment = environments.iter().find(|environment| environment.name == name)?;
    let current = environment.current.as_ref().and_then(|current| entries.get(current));
    let is_overtaken = current.is_some_and(|current| current.deployment.created_at > entry.deployment.created_at);
    Some(if is_overtaken { Step::GiveWay(name) } else { Step::Stage(name) })
}

impl Stage {
    async fn stage(&self, now: Timestamp, entry: &Entry, name: &str) -> Result<(), Error> {
        let deployment = &entry.deployment;
        let event = AuditEvent {
            at: now,
            event_type: "MODEL_DEPLOYMENT_PROMOTED".into(),
            event_data: serde_json::json!({ "deployment_id": deployment.id, "environment": name }),
            api_key_prefix: None,
            model_id: Some(deployment.model_id.clone()),
        };
        let store = &self.shared.parts.store;
        store.stage(&deployment.id, name, Some(&event)).await?;
        let text = format!("environment {name} is served by this deployment from now on");
        store.append_logs(&[record(&deployment.id, None, line(now, Level::Info, text))]).await?;
        Ok(())
    }

    async fn give_way(&self, now: Timestamp, entry: &Entry, name: &str) -> Result<(), Error> {
        let id = &entry.deployment.id;
        let store = &self.shared.parts.store;
        store
            .change_deployment(id, None, |deployment| {
                deployment.target_environment = None;
                Ok::<(), store::Error>(())
            })
            .await?;
        let text = format!("environment {name} stays with a deployment that was pushed later");
        store.append_logs(&[record(id, None, line(now, Level::Warning, text))]).await?;
        Ok(())
    }
}
