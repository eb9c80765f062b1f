//! A patch that takes over: the deployment, what it runs and its replicas change in one step.

use api::id::ReplicaId;
use planner::Timestamp;

use crate::{
    Error, Store, Topic,
    columns::{bigint, json, maybe_json, maybe_storable},
    domain::Deployment,
};

const TOPICS: &[Topic] = &[Topic::Deployments, Topic::Replicas];

impl Store {
    /// Saves a deployment read before whose patch has taken over, with the archive and the config that it runs from now on.
    /// `replica`, which has tried the patch, is one like any other from now on, and all others are told to stop. `Conflict` when
    /// the deployment has changed or gone since. On success `generation` has grown.
    pub async fn take_over(
        &self,
        deployment: &mut Deployment,
        replica: Option<&ReplicaId>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut write = self.write(TOPICS).await?;
        let saved = sqlx::query(
            "UPDATE deployments SET config = $1, raw_config = $2, archive_key = $3, archive_bytes = $4, lifecycle = $5,
                 replica_memory = $6, patches = $7, generation = generation + 1
             WHERE id = $8 AND generation = $9",
        )
        .bind(json(&deployment.config))
        .bind(maybe_storable(&deployment.raw_config))
        .bind(&deployment.archive.key)
        .bind(bigint(deployment.archive.bytes))
        .bind(json(&deployment.lifecycle))
        .bind(json(&deployment.replica_memory))
        .bind(maybe_json(&deployment.patches))
        .bind(deployment.id.as_str())
        .bind(bigint(deployment.generation))
        .execute(write.on())
        .await?;
        if saved.rows_affected() == 0 {
            return Err(Error::conflict("deployment", &deployment.id));
        }
        sqlx::query(
            "UPDATE replicas SET stopping_since = $1
             WHERE deployment_id = $2 AND stopping_since IS NULL AND ($3 IS NULL OR id <> $3)",
        )
        .bind(bigint(now.0))
        .bind(deployment.id.as_str())
        .bind(replica.map(ReplicaId::as_str))
        .execute(write.on())
        .await?;
        sqlx::query("UPDATE replicas SET tries_patch = 0 WHERE id = $1")
            .bind(replica.map(ReplicaId::as_str))
            .execute(write.on())
            .await?;
        write.commit().await?;
        deployment.generation += 1;
        Ok(())
    }
}
