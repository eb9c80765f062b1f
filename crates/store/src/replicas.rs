//! Replicas: what was ordered and what was last seen. A row stays until its replica is known to be gone, even when its
//! deployment is deleted first.

use api::{
    id::{DeploymentId, ReplicaId},
    internal::replica::Status,
};
use planner::Timestamp;
use sqlx::any::AnyRow;

use crate::{
    Error, Store, Topic, audit,
    columns::{Columns, bigint, json, maybe_bigint, maybe_json},
    database::Write,
    domain::{AuditEvent, Replica},
    measures, startups,
};

const TOPICS: &[Topic] = &[Topic::Replicas];

/// What has become of an order before it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// It starts in this location.
    In(String),
    /// It waits for this, in a sentence.
    WaitsFor(String),
}

impl Store {
    /// Records that a replica is ordered, before it is started. `Conflict` when the id is in use: draw another.
    pub async fn add_replica(&self, replica: &Replica) -> Result<(), Error> {
        let mut write = self.write(TOPICS).await?;
        let added = sqlx::query(
            "INSERT INTO replicas (id, deployment_id, created_at, stopping_since, status, seen_at, log_cursor, environment,
                 instance_type, waits_for, tries_patch, location)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING",
        )
        .bind(replica.id.as_str())
        .bind(replica.deployment_id.as_str())
        .bind(bigint(replica.created_at.0))
        .bind(maybe_bigint(replica.stopping_since))
        .bind(maybe_json(&replica.status))
        .bind(maybe_bigint(replica.seen_at))
        .bind(bigint(replica.log_cursor))
        .bind(&replica.environment)
        .bind(&replica.instance_type)
        .bind(&replica.waits_for)
        .bind(i64::from(replica.tries_patch))
        .bind(&replica.location)
        .execute(write.on())
        .await?;
        if added.rows_affected() == 0 {
            return Err(Error::conflict("replica", &replica.id));
        }
        write.commit().await
    }

    /// Records what a replica says of itself, and how its start went when that is over. Older sequences and unknown replicas change nothing.
    pub async fn see_replica(&self, id: &ReplicaId, status: &Status, now: Timestamp) -> Result<(), Error> {
        let mut write = self.write(TOPICS).await?;
        let row =
            sqlx::query("SELECT * FROM replicas WHERE id = $1").bind(id.as_str()).fetch_optional(write.on()).await?;
        let Some(known) = row.as_ref().map(replica).transpose()? else {
            return Ok(());
        };
        if known.status.as_ref().is_some_and(|known| known.sequence > status.sequence || known == status) {
            return Ok(());
        }
        startups::record(&mut write, &known, status, now).await?;
        measures::count_restart(&mut write, &known, &status.phase, now).await?;
        sqlx::query("UPDATE replicas SET status = $1, seen_at = COALESCE(seen_at, $2) WHERE id = $3")
            .bind(json(status))
            .bind(bigint(now.0))
            .bind(id.as_str())
            .execute(write.on())
            .await?;
        write.commit().await
    }

    /// Records that a replica is told to stop, before it is told. The first time counts; unknown replicas change nothing.
    pub async fn mark_replica_stopping(
        &self,
        id: &ReplicaId,
        now: Timestamp,
        audit: Option<&AuditEvent>,
    ) -> Result<(), Error> {
        let mut write = self.write(TOPICS).await?;
        let marked = sqlx::query("UPDATE replicas SET stopping_since = $1 WHERE id = $2 AND stopping_since IS NULL")
            .bind(bigint(now.0))
            .bind(id.as_str())
            .execute(write.on())
            .await?;
        if marked.rows_affected() == 0 {
            return Ok(());
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }

    /// Records that a replica has been told that it is in another environment, or in none. Unknown replicas change nothing.
    pub async fn record_environment_told(&self, id: &ReplicaId, environment: Option<&str>) -> Result<(), Error> {
        let mut write = self.write(TOPICS).await?;
        sqlx::query("UPDATE replicas SET environment = $1 WHERE id = $2")
            .bind(environment)
            .bind(id.as_str())
            .execute(write.on())
            .await?;
        write.commit().await
    }

    /// Records where ordered replicas are sent, or what they wait for. Unknown replicas change nothing.
    pub async fn record_placements(&self, placements: &[(ReplicaId, Placement)]) -> Result<(), Error> {
        if placements.is_empty() {
            return Ok(());
        }
        let mut write = self.write(TOPICS).await?;
        for (id, placement) in placements {
            let (location, waits_for) = match placement {
                Placement::In(location) => (Some(location), None),
                Placement::WaitsFor(what) => (None, Some(what)),
            };
            sqlx::query("UPDATE replicas SET location = $1, waits_for = $2 WHERE id = $3")
                .bind(location)
                .bind(waits_for)
                .bind(id.as_str())
                .execute(write.on())
                .await?;
        }
        write.commit().await
    }

    /// Forgets a replica that is gone. Its log lines stay.
    pub async fn delete_replica(&self, id: &ReplicaId) -> Result<(), Error> {
        let mut write = self.write(TOPICS).await?;
        sqlx::query("DELETE FROM replicas WHERE id = $1").bind(id.as_str()).execute(write.on()).await?;
        write.commit().await
    }

    /// The replicas of one deployment, or of all, those of deleted deployments included, oldest first.
    pub async fn replicas(&self, deployment: Option<&DeploymentId>) -> Result<Vec<Replica>, Error> {
        let rows = sqlx::query("SELECT * FROM replicas WHERE $1 IS NULL OR deployment_id = $1 ORDER BY created_at, id")
            .bind(deployment.map(DeploymentId::as_str))
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(replica).collect()
    }
}

/// Records that every replica of a deployment is told to stop. Announcing it is up to the caller.
pub(crate) async fn stop_all(write: &mut Write, deployment: &DeploymentId, now: Timestamp) -> Result<(), Error> {
    sqlx::query("UPDATE replicas SET stopping_since = $1 WHERE deployment_id = $2 AND stopping_since IS NULL")
        .bind(bigint(now.0))
        .bind(deployment.as_str())
        .execute(write.on())
        .await?;
    Ok(())
}

pub(crate) fn replica(row: &AnyRow) -> Result<Replica, Error> {
    Ok(Replica {
        id: row.id("id")?,
        deployment_id: row.id("deployment_id")?,
        created_at: row.time("created_at")?,
        stopping_since: row.maybe_time("stopping_since")?,
        status: row.maybe_json("status")?,
        seen_at: row.maybe_time("seen_at")?,
        log_cursor: row.number("log_cursor")?,
        environment: row.maybe_text("environment")?,
        instance_type: row.text("instance_type")?,
        waits_for: row.maybe_text("waits_for")?,
        tries_patch: row.flag("tries_patch")?,
        location: row.maybe_text("location")?,
    })
}
