//! Ending replicas: asked politely on their socket, then by a signal, then with everything they started.

use std::{io, time::Duration};

use api::{id::ReplicaId, internal::replica::Drain};
use hyper::Method;
use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::{
    Local, process,
    replicas::{STOPPED_FILE, write_private},
};

/// How long a replica may take to answer that it will drain.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// On top of the grace that a replica was given: to end its model and write its last status.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an ending replica is looked at.
const END_POLL: Duration = Duration::from_millis(50);

impl Local {
    pub(super) fn stop_replica(&self, id: &ReplicaId, grace_ms: u64) {
        if !self.replica_folder(id).exists() {
            return;
        }
        let deadline = Instant::now() + Duration::from_millis(grace_ms) + END_TIMEOUT;
        {
            let mut stopping = self.stopping.lock().expect("no holder of this lock panics");
            if stopping.get(id).is_some_and(|earlier| *earlier <= deadline) {
                return;
            }
            stopping.insert(id.clone(), deadline);
        }
        let (Some(local), id) = (self.me.upgrade(), id.clone()) else {
            return;
        };
        tokio::spawn(async move {
            local.end(&id, grace_ms, deadline).await;
            local.stopping.lock().expect("no holder of this lock panics").remove(&id);
            local.bump();
        });
    }

    /// Asks politely, then less so.
    async fn end(&self, id: &ReplicaId, grace_ms: u64, deadline: Instant) {
        let folder = self.replica_folder(id);
        if self.is_alive(id) {
            // From here on its end is what was asked for, however it comes.
            if let Err(error) = write_private(&folder.join(STOPPED_FILE), b"") {
                tracing::warn!(replica.id = %id, %error, "cannot note down that a replica is stopped");
            }
            let asked = tokio::time::timeout(DRAIN_TIMEOUT, self.ask_to_drain(id, grace_ms)).await;
            if !matches!(asked, Ok(Ok(()))) {
                self.process(id).into_iter().for_each(|(pid, _)| process::signal(pid, Signal::SIGTERM));
            }
            while self.is_alive(id) && Instant::now() < deadline {
                tokio::time::sleep(END_POLL).await;
            }
        }
        if let Some((pid, name)) = self.process(id) {
            process::kill_session(pid, &name);
        }
    }

    async fn ask_to_drain(&self, id: &ReplicaId, timeout_ms: u64) -> io::Result<()> {
        self.tell_replica(id, Method::POST, "/_greenroom/drain", serde_json::to_vec(&Drain { timeout_ms })?).await
    }
}
