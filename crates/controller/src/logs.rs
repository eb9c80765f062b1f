//! Moves what replicas write into the store, from the stored cursor on: each line once, whenever this is ended. A log that cannot
//! be moved is its replica's trouble alone.

use std::{collections::HashMap, time::Duration};

use api::id::ReplicaId;
use backends::Backend;
use futures::StreamExt;
use planner::Timestamp;
use store::Store;

use crate::{
    Error,
    driver::{Next, Task, chain},
    shared::Shared,
};

/// Replicas whose logs are read at one time.
const READERS: usize = 8;
/// A log that could not be moved is tried again after this time.
const RETRY_MS: u64 = 1_000;

/// The task.
pub(crate) struct Logs {
    shared: Shared,
    /// What was last wrong with which replica's log, so that it is said once.
    troubles: HashMap<ReplicaId, String>,
}

impl Logs {
    pub fn new(shared: Shared) -> Self {
        Self { shared, troubles: HashMap::new() }
    }
}

impl Task for Logs {
    const NAME: &'static str = "logs";
    const PAUSE: Duration = Duration::from_millis(50);

    async fn pass(&mut self, now: Timestamp) -> Result<Next, Error> {
        let Some(observation) = self.shared.observed() else {
            return Ok(Next::IDLE);
        };
        let parts = &self.shared.parts;
        let replicas = parts.store.replicas(None).await?;
        let sites = &self.shared.sites;
        let readable = replicas.into_iter().filter_map(|replica| Some((observation.get(&replica.id)?.at, replica)));
        let reads = readable.map(|(at, replica)| async move {
            let read = catch_up(&parts.store, sites.backend(at).as_ref(), &replica.id, replica.log_cursor).await;
            read.err().map(|error| (replica.id, chain(&error)))
        });
        let troubles: HashMap<ReplicaId, String> =
            futures::stream::iter(reads).buffer_unordered(READERS).filter_map(std::future::ready).collect().await;
        for (replica, error) in &troubles {
            if self.troubles.get(replica) != Some(error) {
                tracing::warn!(replica.id = %replica, error, "cannot store what a replica writes; it will be tried again");
            }
        }
        self.troubles = troubles;
        let retry_at = (!self.troubles.is_empty()).then(|| now.plus(RETRY_MS));
        Ok(Next::IDLE.by(retry_at))
    }
}

/// Reads one replica's log from `cursor` to its present end. Two who do so at the same time do not store a line twice.
pub(crate) async fn catch_up(
    store: &Store,
    backend: &dyn Backend,
    replica: &ReplicaId,
    mut cursor: u64,
) -> Result<(), Error> {
    loop {
        let chunk = backend.read_log(replica, cursor).await?;
        if chunk.cursor != cursor {
            store.append_replica_log(replica, cursor, chunk.cursor, &chunk.lines).await?;
        }
        cursor = chunk.cursor;
        if !chunk.more {
            return Ok(());
        }
    }
}
