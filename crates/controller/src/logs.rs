//! Moves what replicas write into the store, from the stored cursor on: each line once, whenever this is ended.

use std::time::Duration;

use api::id::ReplicaId;
use backends::Backend;
use futures::TryStreamExt;
use planner::Timestamp;
use store::Store;

use crate::{
    Error,
    driver::{Next, Task},
    shared::Shared,
};

/// Replicas whose logs are read at one time.
const READERS: usize = 8;

/// The task.
pub(crate) struct Logs {
    pub shared: Shared,
}

impl Task for Logs {
    const NAME: &'static str = "logs";
    const PAUSE: Duration = Duration::from_millis(50);

    async fn pass(&mut self, _now: Timestamp) -> Result<Next, Error> {
        let Some(observation) = self.shared.observed() else {
            return Ok(Next::IDLE);
        };
        let parts = &self.shared.parts;
        let replicas = parts.store.replicas(None).await?;
        let readable = replicas.into_iter().filter(|replica| observation.contains_key(&replica.id));
        futures::stream::iter(readable.map(Ok))
            .try_for_each_concurrent(READERS, |replica| async move {
                catch_up(&parts.store, parts.backend.as_ref(), &replica.id, replica.log_cursor).await
            })
            .await?;
        Ok(Next::IDLE)
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
