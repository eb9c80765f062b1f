//! Starts the tasks, wakes them, and ends them. One controller acts at a time: with several servers on one database, the others
//! wait until they lead.

use std::time::Duration;

use api::internal::replica::Phase;
use backends::Backend;
use futures::future::join_all;
use store::{Leadership, Topic};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    Error, Parts, Settings, TaskStatus,
    accesses::WriteAccesses,
    builds::{self, Builds},
    deployments::Deployments,
    driver::{Bell, Board, Driver, chain},
    export::Export,
    garbage::Garbage,
    heartbeat::Heartbeat,
    logs::Logs,
    measure::Measure,
    observe::Observe,
    promotions::Promotions,
    publish::Publish,
    reloads::Reloads,
    shared::Shared,
    standby::StandBy,
    tell::Tell,
};

/// How often a server that does not lead asks, and one that leads makes sure.
const LEADER_ROUND: Duration = Duration::from_secs(2);

/// What happens to replicas when a controller shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// They finish what they have accepted and end: nothing of ours stays behind.
    StopReplicas,
    /// They run on, and the next controller finds them.
    LeaveReplicas,
}

/// The controller of one server.
pub struct Controller;

impl Controller {
    /// Starts the tasks. Intent that is stored already is taken up, survivors of an earlier process are found again.
    pub fn start(settings: Settings, parts: Parts) -> Result<Handle, Error> {
        builds::clean(&settings.work_dir).map_err(|source| Error::File { path: settings.work_dir.clone(), source })?;
        let shared = Shared::new(parts, settings)?;
        let (stop, stopped) = watch::channel(false);
        let board = Board::default();
        let run = tokio::spawn(lead(shared.clone(), board.clone(), stopped));
        Ok(Handle { shared, board, stop, run })
    }
}

/// A running controller. Dropping it ends the tasks where they stand, which loses nothing.
pub struct Handle {
    shared: Shared,
    board: Board,
    stop: watch::Sender<bool>,
    /// Ends when told to stop, with the leadership that it then held.
    run: JoinHandle<Option<Leadership>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.run.abort();
    }
}

impl Handle {
    /// How each task is doing.
    pub fn tasks(&self) -> Vec<TaskStatus> {
        self.board.read()
    }

    /// Whether routes have been published.
    pub fn is_ready(&self) -> bool {
        self.shared.published().is_some()
    }

    /// Completes when routes have been published.
    pub async fn ready(&self) {
        let mut published = self.shared.published.subscribe();
        published.wait_for(Option::is_some).await.expect("the sender lives in self");
    }

    /// Lets each task finish its pass and ends it; then does with the replicas as told. Builds under way are dropped and begin
    /// again with the next controller. Replicas are the leader's: a controller that does not lead leaves them as they are.
    pub async fn shutdown(mut self, replicas: Shutdown) -> Result<(), Error> {
        self.stop.send_replace(true);
        let leadership = (&mut self.run).await.unwrap_or_else(|error| {
            tracing::error!(error = chain(&error), "the controller did not end well");
            None
        });
        match (replicas, leadership) {
            (Shutdown::LeaveReplicas, _) | (Shutdown::StopReplicas, None) => Ok(()),
            // Nobody else leads while they stop.
            (Shutdown::StopReplicas, Some(_leadership)) => stop_replicas(&self.shared).await,
        }
    }
}

/// Waits to lead, runs the tasks while leading, and begins again when another server takes over. Ends when told to stop, with the
/// leadership if it led then.
async fn lead(shared: Shared, board: Board, mut stop: watch::Receiver<bool>) -> Option<Leadership> {
    loop {
        let mut leadership = tokio::select! {
            biased;
            () = told_to_stop(&mut stop) => return None,
            leadership = become_leader(&shared) => leadership,
        };
        shared.observation.send_replace(None);
        shared.mirror.forget().await;
        let mut tasks = start_tasks(&shared, &board, &stop);
        let wakers = start_wakers(&shared);
        tokio::select! {
            () = keep_leading(&mut leadership) => {
                tracing::warn!("another server may lead now: the tasks of this one end");
            }
            () = told_to_stop(&mut stop) => {
                drop(wakers);
                while tasks.join_next().await.is_some() {}
                keep_counts(&shared).await;
                return Some(leadership);
            }
        }
    }
}

/// Records what has been counted of limited tokens since the last time: an orderly end forgets none.
async fn keep_counts(shared: &Shared) {
    let counted = shared.parts.gateways.counted();
    if let Err(error) = shared.parts.store.record_tokens(&counted, (shared.parts.clock)()).await {
        tracing::warn!(error = chain(&error), "cannot record what was counted of limited tokens");
    }
}

/// Completes when the controller is to end, also when its handle is gone.
async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop).await.ok();
}

async fn become_leader(shared: &Shared) -> Leadership {
    loop {
        match shared.parts.store.try_lead().await {
            Ok(Some(leadership)) => return leadership,
            Ok(None) => {}
            Err(error) => tracing::warn!(error = chain(&error), "cannot ask who leads"),
        }
        tokio::time::sleep(LEADER_ROUND).await;
    }
}

/// Returns when leadership is lost.
async fn keep_leading(leadership: &mut Leadership) {
    while leadership.confirm().await.is_ok() {
        tokio::time::sleep(LEADER_ROUND).await;
    }
}

fn start_tasks(shared: &Shared, board: &Board, stop: &watch::Receiver<bool>) -> JoinSet<()> {
    let driver = Driver {
        clock: shared.parts.clock.clone(),
        slow_round: shared.settings.slow_round,
        board: board.clone(),
        stop: stop.clone(),
    };
    let slow_driver = Driver { slow_round: shared.settings.garbage_round, ..driver.clone() };
    let bells = &shared.bells;
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.clone().run(Observe::new(shared.clone()), bells.observe.clone()));
    tasks.spawn(driver.clone().run(Builds::new(shared.clone()), bells.builds.clone()));
    tasks.spawn(driver.clone().run(Deployments::new(shared.clone()), bells.deployments.clone()));
    tasks.spawn(driver.clone().run(Publish { shared: shared.clone() }, bells.routes.clone()));
    tasks.spawn(driver.clone().run(Promotions::new(shared.clone()), bells.promotions.clone()));
    tasks.spawn(driver.clone().run(Reloads { shared: shared.clone() }, bells.reloads.clone()));
    tasks.spawn(driver.clone().run(Tell::new(shared.clone()), bells.tell.clone()));
    tasks.spawn(driver.clone().run(StandBy::new(shared.clone()), bells.standby.clone()));
    tasks.spawn(driver.clone().run(Heartbeat::new(shared.clone()), bells.heartbeat.clone()));
    tasks.spawn(driver.clone().run(Logs::new(shared.clone()), bells.logs.clone()));
    tasks.spawn(driver.clone().run(WriteAccesses::new(shared.clone()), bells.accesses.clone()));
    if let Some(to) = &shared.parts.log_export {
        tasks.spawn(driver.clone().run(Export::new(shared.clone(), to.clone()), bells.export.clone()));
    }
    tasks.spawn(driver.run(Measure::new(shared.clone()), Bell::default()));
    tasks.spawn(slow_driver.run(Garbage { shared: shared.clone() }, Bell::default()));
    tasks
}

/// Who is woken by what.
fn start_wakers(shared: &Shared) -> JoinSet<()> {
    let bells = &shared.bells;
    let by_topic: [(Topic, &[&Bell]); 7] = [
        (
            Topic::Deployments,
            &[
                &bells.builds,
                &bells.deployments,
                &bells.promotions,
                &bells.routes,
                &bells.reloads,
                &bells.tell,
                &bells.standby,
            ],
        ),
        (Topic::Environments, &[&bells.deployments, &bells.promotions, &bells.routes, &bells.tell, &bells.standby]),
        (Topic::Promotions, &[&bells.promotions, &bells.deployments, &bells.routes, &bells.tell]),
        (
            Topic::Replicas,
            &[&bells.deployments, &bells.promotions, &bells.routes, &bells.reloads, &bells.observe, &bells.tell],
        ),
        (Topic::Keys, &[&bells.routes]),
        (Topic::Secrets, &[&bells.tell]),
        (Topic::Logs, &[&bells.export]),
    ];
    let mut wakers = JoinSet::new();
    for (topic, bells) in by_topic {
        let bells: Vec<Bell> = bells.iter().copied().cloned().collect();
        let mut changes = shared.parts.store.changes(&[topic]);
        wakers.spawn(async move {
            loop {
                changes.wait().await;
                bells.iter().for_each(Bell::ring);
            }
        });
    }
    for site in shared.sites.iter() {
        let (backend, observe) = (site.backend.clone(), bells.observe.clone());
        wakers.spawn(async move {
            let mut seen = 0;
            loop {
                seen = backend.changed(seen).await;
                observe.ring();
            }
        });
    }
    let (gateways, accesses) = (shared.parts.gateways.clone(), bells.accesses.clone());
    wakers.spawn(async move {
        loop {
            gateways.accessed().await;
            accesses.ring();
        }
    });
    let gateways = shared.parts.gateways.clone();
    let (deployments, promotions) = (bells.deployments.clone(), bells.promotions.clone());
    wakers.spawn(async move {
        loop {
            gateways.activity().await;
            deployments.ring();
            promotions.ring();
        }
    });
    wakers
}

/// Ends every replica, each recorded as asked to stop before it is told, and keeps what they write until they have ended.
async fn stop_replicas(shared: &Shared) -> Result<(), Error> {
    let parts = &shared.parts;
    let grace_ms = shared.settings.shutdown_limit_ms();
    let observation = shared.observed().unwrap_or_default();
    for replica in parts.store.replicas(None).await? {
        parts.store.mark_replica_stopping(&replica.id, (parts.clock)(), None).await?;
        if let Some(backend) = shared.sites.backend_of(&replica, &observation) {
            backend.stop(&replica.id, grace_ms).await;
        }
    }
    // A replica ends itself after the grace; a little longer is waited for those that do not.
    let limit = shared.settings.shutdown_limit + Duration::from_secs(5);
    let all_ended = join_all(shared.sites.iter().map(|site| wait_for_ends(site.backend.as_ref())));
    let ended = tokio::time::timeout(limit, all_ended).await;
    ended.map_or_else(
        |_| {
            tracing::warn!("some replicas have not ended in time; the next start ends them");
            Ok(())
        },
        |ended| ended.into_iter().collect(),
    )?;
    let mut observe = Observe::new(shared.clone());
    crate::driver::Task::pass(&mut observe, (parts.clock)()).await?;
    Ok(())
}

async fn wait_for_ends(backend: &dyn Backend) -> Result<(), Error> {
    let mut seen = 0;
    loop {
        seen = backend.changed(seen).await;
        let listed = backend.list().await?;
        if listed.iter().all(|observed| matches!(observed.status.phase, Phase::Exited(_))) {
            return Ok(());
        }
    }
}
