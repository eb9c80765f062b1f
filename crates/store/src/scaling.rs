//! Decisions about numbers of replicas, with what they were worked out from: the newest of each deployment.

use api::id::DeploymentId;
use sqlx::any::AnyRow;

use crate::{
    Error, Store,
    columns::{Columns, bigint, json},
    domain::ScalingDecision,
};

/// Decisions that are kept of each deployment.
const KEPT: u32 = 200;

impl Store {
    /// Keeps a decision, and forgets the oldest ones of the deployment. Nobody is told: it explains, and changes nothing.
    pub async fn add_scaling_decision(&self, decision: &ScalingDecision) -> Result<(), Error> {
        let mut write = self.write(&[]).await?;
        sqlx::query(
            "INSERT INTO scaling_decisions (deployment_id, at, replicas, why, inputs) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(decision.deployment_id.as_str())
        .bind(bigint(decision.at.0))
        .bind(i64::from(decision.replicas))
        .bind(json(&decision.why))
        .bind(json(&decision.inputs))
        .execute(write.on())
        .await?;
        sqlx::query(
            "DELETE FROM scaling_decisions WHERE deployment_id = $1 AND id <=
                 (SELECT id FROM scaling_decisions WHERE deployment_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)",
        )
        .bind(decision.deployment_id.as_str())
        .bind(i64::from(KEPT))
        .execute(write.on())
        .await?;
        write.commit().await
    }

    /// The newest decisions about a deployment, newest first, at most `limit`.
    pub async fn scaling_decisions(
        &self,
        deployment: &DeploymentId,
        limit: u32,
    ) -> Result<Vec<ScalingDecision>, Error> {
        let rows = sqlx::query("SELECT * FROM scaling_decisions WHERE deployment_id = $1 ORDER BY id DESC LIMIT $2")
            .bind(deployment.as_str())
            .bind(i64::from(limit))
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(decision).collect()
    }
}

fn decision(row: &AnyRow) -> Result<ScalingDecision, Error> {
    Ok(ScalingDecision {
        deployment_id: row.id("deployment_id")?,
        at: row.time("at")?,
        replicas: row.small_number("replicas")?,
        why: row.json("why")?,
        inputs: row.json("inputs")?,
    })
}
