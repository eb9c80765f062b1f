//! Brings patches of development deployments into what runs. The decision is `planner::reload`'s; here it is fed and carried out.
//! Builds are the builder's, and starting and stopping what is ordered is that of orders.

use std::sync::Arc;

use api::{id::ReplicaId, internal::replica::Level};
use backends::{Artifact, SwapError};
use planner::{
    Timestamp,
    lifecycle::Reason,
    location,
    reload::{self, Candidate, Reload, Step},
    replica_set::{self, Action},
};
use store::domain::{Deployment, PendingPatch, Replica};

use crate::{
    Error,
    driver::{Next, Task},
    facts,
    mirror::{Entry, View},
    orders,
    shared::{Shared, line, record},
};

/// The task.
pub(crate) struct Reloads {
    pub shared: Shared,
}

impl Task for Reloads {
    const NAME: &'static str = "reloads";

    async fn pass(&mut self, now: Timestamp) -> Result<Next, Error> {
        // Before the first look at the backend, replicas that try patches seem to be missing.
        if self.shared.observed().is_none() {
            return Ok(Next::IDLE);
        }
        let view = self.shared.mirror.look().await?;
        for entry in view.entries.values() {
            self.look(now, entry, &view).await?;
        }
        Ok(Next::IDLE)
    }
}

impl Reloads {
    async fn look(&self, now: Timestamp, entry: &Arc<Entry>, view: &View) -> Result<(), Error> {
        let deployment = &entry.deployment;
        let replicas = view.replicas_of(&deployment.id);
        let candidates: Vec<Candidate> = replicas.iter().filter(|replica| replica.tries_patch).map(candidate).collect();
        let pending = deployment.patches.as_ref().and_then(|patches| patches.pending.as_ref());
        if pending.is_none() && candidates.is_empty() {
            return Ok(());
        }
        let running = pending.filter(|pending| pending.keeps_process).and_then(|_| only_own(replicas));
        let step = reload::decide(deployment.reload(), &deployment.lifecycle, &candidates, running.as_ref());
        match (step, pending) {
            (Step::Try(actions), _) => {
                for action in actions {
                    self.record_action(now, deployment, action).await?;
                }
                Ok(())
            }
            (Step::TakeOver { artifact, replica }, Some(pending)) => {
                self.take_over(now, deployment, pending, artifact, replica.as_ref()).await
            }
            (Step::Swap { artifact, replica }, Some(pending)) => {
                self.swap(now, deployment, pending, artifact, &replica).await
            }
            (Step::Fail(reason), Some(_)) => self.fail(now, deployment, reason).await,
            (Step::TakeOver { .. } | Step::Swap { .. } | Step::Fail(_), None) => {
                unreachable!("without a patch nothing takes over or fails")
            }
        }
    }

    async fn record_action(&self, now: Timestamp, deployment: &Deployment, action: Action) -> Result<(), Error> {
        let store = &self.shared.parts.store;
        match action {
            Action::Start(count) => {
                for _ in 0..count {
                    let environment = deployment.target_environment.as_deref();
                    let ordered = orders::ordered(&self.shared, deployment, environment, now);
                    store.add_replica(&Replica { tries_patch: true, ..ordered }).await?;
                }
            }
            Action::Stop(id) => store.mark_replica_stopping(&id, now, None).await?,
            Action::Forget(id) => store.delete_replica(&id).await?,
        }
        Ok(())
    }

    async fn take_over(
        &self,
        now: Timestamp,
        deployment: &Deployment,
        pending: &PendingPatch,
        artifact: String,
        replica: Option<&ReplicaId>,
    ) -> Result<(), Error> {
        let store = &self.shared.parts.store;
        let mut after = deployment.clone();
        (after.lifecycle, after.replica_memory) = reload::taken_over(after.lifecycle, now, artifact);
        after.take_over(pending);
        if !saved(store.take_over(&mut after, replica, now).await)? {
            return Ok(());
        }
        let text = match replica {
            Some(_) => "the patch is in force: it answers from now on",
            None => "the patch is in force: the next replica runs it",
        };
        Ok(store.append_logs(&[record(&deployment.id, replica, line(now, Level::Info, text))]).await?)
    }

    async fn swap(
        &self,
        now: Timestamp,
        deployment: &Deployment,
        pending: &PendingPatch,
        artifact: String,
        replica: &ReplicaId,
    ) -> Result<(), Error> {
        let parts = &self.shared.parts;
        let at = self.shared.observed().and_then(|observation| Some(observation.get(replica)?.at));
        let swapped = match at {
            Some(at) => self.shared.sites.backend(at).swap_code(replica, &Artifact(artifact.clone())).await,
            None => Err(SwapError::Impossible(format!("replica {replica} is gone"))),
        };
        match swapped {
            Ok(()) => self.take_over(now, deployment, pending, artifact, Some(replica)).await,
            Err(SwapError::Broken { message, detail }) => {
                self.fail(now, deployment, Reason { message, hint: None, detail }).await
            }
            Err(SwapError::Impossible(why)) => {
                let mut after = deployment.clone();
                after.needs_process();
                if !saved(parts.store.save_deployment(&mut after, None).await)? {
                    return Ok(());
                }
                let text = format!("the patch gets a process of its own: {why}");
                let told = record(&deployment.id, Some(replica), line(now, Level::Info, text));
                Ok(parts.store.append_logs(&[told]).await?)
            }
        }
    }

    async fn fail(&self, now: Timestamp, deployment: &Deployment, reason: Reason) -> Result<(), Error> {
        let store = &self.shared.parts.store;
        let detail = reason.detail.as_ref().map(|detail| format!("\n{detail}")).unwrap_or_default();
        let text = format!("the patch is not in force, and what ran before runs on: {}{detail}", reason.message);
        let mut after = deployment.clone();
        after.change_reload(|_| Reload::Failed { at: now, reason });
        if !saved(store.save_deployment(&mut after, None).await)? {
            return Ok(());
        }
        Ok(store.append_logs(&[record(&deployment.id, None, line(now, Level::Error, text))]).await?)
    }
}

/// Whether it was saved. Somebody else may have been faster: their change wakes this task.
fn saved(outcome: Result<(), store::Error>) -> Result<bool, Error> {
    match outcome {
        Ok(()) => Ok(true),
        Err(store::Error::Conflict { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The replica that runs, where there is one only.
fn only_own(replicas: &[Replica]) -> Option<replica_set::Replica> {
    let mut own = replicas.iter().filter(|replica| !replica.tries_patch && !replica.has_ended());
    let only = own.next()?;
    own.next().is_none().then(|| facts::replica(only))
}

fn candidate(replica: &Replica) -> Candidate {
    Candidate {
        replica: facts::replica(replica),
        lacks_room: replica.waits_for.as_deref().is_some_and(location::is_shortage),
    }
}
