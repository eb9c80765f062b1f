//! How starts of replicas went: the newest of each deployment. A start is written down in the transaction that records its end.

use api::{
    id::{DeploymentId, ModelId},
    internal::replica::{ExitCause, Phase, Status},
};
use planner::Timestamp;
use sqlx::any::AnyRow;

use crate::{
    Error, Store,
    columns::{Columns, bigint, json},
    database::Write,
    domain::{Replica, StartOutcome, Startup},
    measures,
};

/// Starts that are kept of each deployment, and read at once.
const KEPT: u32 = 1000;

/// Whose starts.
#[derive(Debug, Clone, Copy)]
pub enum StartsOf<'a> {
    /// Of one deployment.
    Deployment(&'a DeploymentId),
    /// Of whatever was in an environment of a model when it started.
    Environment(&'a ModelId, &'a str),
}

impl Store {
    /// The newest starts that began within `from..=to`, newest first, at most a thousand.
    pub async fn startups(&self, of: StartsOf<'_>, from: Timestamp, to: Timestamp) -> Result<Vec<Startup>, Error> {
        let (deployment, environment) = match of {
            StartsOf::Deployment(id) => (id.as_str(), None),
            StartsOf::Environment(model, name) => (model.as_str(), Some(name)),
        };
        let rows = sqlx::query(
            "SELECT * FROM startups WHERE started_at BETWEEN $1 AND $2
                 AND (deployment_id = $3 OR
                      environment = $4 AND deployment_id IN (SELECT id FROM deployments WHERE model_id = $3))
             ORDER BY started_at DESC, id DESC LIMIT $5",
        )
        .bind(bigint(from.0))
        .bind(bigint(to.0))
        .bind(deployment)
        .bind(environment)
        .bind(i64::from(KEPT))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(startup).collect()
    }
}

/// Writes down a start that has come to its end with this status, if it is one: the first time counts.
pub(crate) async fn record(write: &mut Write, replica: &Replica, status: &Status, now: Timestamp) -> Result<(), Error> {
    let Some(outcome) = outcome(&status.phase) else { return Ok(()) };
    let added = sqlx::query(
        "INSERT INTO startups (replica_id, deployment_id, environment, started_at, ended_at, outcome, times)
             SELECT $1, id, $3, $4, $5, $6, $7 FROM deployments WHERE id = $2
             ON CONFLICT DO NOTHING",
    )
    .bind(replica.id.as_str())
    .bind(replica.deployment_id.as_str())
    .bind(&replica.environment)
    .bind(bigint(replica.created_at.0))
    .bind(bigint(now.0))
    .bind(json(&outcome))
    .bind(json(&status.start))
    .execute(write.on())
    .await?;
    if added.rows_affected() == 0 {
        return Ok(());
    }
    if outcome == StartOutcome::Success {
        let took = now.0.saturating_sub(replica.created_at.0);
        measures::count_start(write, &replica.deployment_id, took, &status.start, now).await?;
    }
    sqlx::query(
        "DELETE FROM startups WHERE deployment_id = $1 AND id <=
             (SELECT id FROM startups WHERE deployment_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)",
    )
    .bind(replica.deployment_id.as_str())
    .bind(i64::from(KEPT))
    .execute(write.on())
    .await?;
    Ok(())
}

/// What a phase says of the start before it; none while it goes on, or when it was ended by somebody.
fn outcome(phase: &Phase) -> Option<StartOutcome> {
    match phase {
        Phase::Ready => Some(StartOutcome::Success),
        Phase::Exited(exit) => match exit.cause {
            ExitCause::Stopped => None,
            ExitCause::StartTimeout => Some(StartOutcome::Stalled),
            _ => Some(StartOutcome::Failed),
        },
        Phase::Starting | Phase::Loading | Phase::Unhealthy | Phase::Draining => None,
    }
}

fn startup(row: &AnyRow) -> Result<Startup, Error> {
    Ok(Startup {
        replica_id: row.id("replica_id")?,
        deployment_id: row.id("deployment_id")?,
        environment: row.maybe_text("environment")?,
        started_at: row.time("started_at")?,
        ended_at: row.time("ended_at")?,
        outcome: row.json("outcome")?,
        times: row.json("times")?,
    })
}
