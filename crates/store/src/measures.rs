//! What was counted and measured: totals and samples of deployments, and what there is to pay for each day.

use api::{
    id::{DeploymentId, ModelId},
    internal::{
        measures::Measures,
        replica::{ExitCause, Phase, StartTimes},
        tokens::Tokens,
    },
};
use planner::Timestamp;
use sqlx::any::AnyRow;

use crate::{
    Error, Store, Topic,
    columns::{Columns, bigint, json},
    database::Write,
    domain::{Durations, Replica, Sample, Standing, Total, UsageDay, Used},
};

const DAY_MS: u64 = 24 * 3600 * 1000;
/// How many samples are deleted in one transaction, so that pruning never holds up other writers for long.
const PRUNE_BATCH: i64 = 5000;

/// Whose samples.
#[derive(Debug, Clone, Copy)]
pub enum MeasuredOf<'a> {
    /// Of one deployment.
    Deployment(&'a DeploymentId),
    /// Of whatever was in an environment of a model then.
    Environment(&'a ModelId, &'a str),
}

impl Store {
    /// Adds what was counted to totals and samples, and what there is to pay to that of its day. Deployments that are gone are
    /// passed over.
    pub async fn record_samples(&self, samples: &[Sample], used: &[Used]) -> Result<(), Error> {
        if samples.is_empty() && used.is_empty() {
            return Ok(());
        }
        let mut write = self.write(&[Topic::Measures]).await?;
        for sample in samples {
            record_sample(&mut write, sample).await?;
        }
        for used in used {
            record_used(&mut write, used).await?;
        }
        write.commit().await
    }

    /// What was counted in all, of each deployment that anything was counted of.
    pub async fn totals(&self) -> Result<Vec<Total>, Error> {
        let rows = sqlx::query("SELECT * FROM totals ORDER BY deployment_id").fetch_all(self.readers()).await?;
        rows.iter().map(total).collect()
    }

    /// The samples whose span ended after `from` and not after `to`, oldest first, after the newest one from before that.
    pub async fn samples(&self, of: MeasuredOf<'_>, from: Timestamp, to: Timestamp) -> Result<Vec<Sample>, Error> {
        let (deployment, environment) = match of {
            MeasuredOf::Deployment(id) => (id.as_str(), None),
            MeasuredOf::Environment(model, name) => (model.as_str(), Some(name)),
        };
        let rows = sqlx::query(
            "WITH own AS (
                 SELECT * FROM samples WHERE until <= $2 AND
                     (deployment_id = $3 OR
                      environment = $4 AND deployment_id IN (SELECT id FROM deployments WHERE model_id = $3))
             )
             SELECT * FROM own WHERE until > $1 OR id = (SELECT MAX(id) FROM own WHERE until <= $1)
             ORDER BY until, id",
        )
        .bind(bigint(from.0))
        .bind(bigint(to.0))
        .bind(deployment)
        .bind(environment)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(sample).collect()
    }

    /// The samples of all deployments whose span ended after `from`, oldest first.
    pub async fn recent_samples(&self, from: Timestamp) -> Result<Vec<Sample>, Error> {
        let rows = sqlx::query("SELECT * FROM samples WHERE until > $1 ORDER BY until, id")
            .bind(bigint(from.0))
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(sample).collect()
    }

    /// Counts a build of a deployment that took so many milliseconds. One that is gone is passed over.
    pub async fn count_build(
        &self,
        deployment: &DeploymentId,
        succeeded: bool,
        took_ms: u64,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut write = self.write(&[]).await?;
        let mut counted = Counted::of(&mut write, deployment).await?;
        let Durations { builds, failed_builds, .. } = &mut counted.durations;
        if succeeded { builds } else { failed_builds }.record(seconds(took_ms));
        counted.save(&mut write, deployment, now).await?;
        write.commit().await
    }

    /// Forgets samples whose span ended before `before`.
    pub async fn prune_samples(&self, before: Timestamp) -> Result<(), Error> {
        loop {
            let mut write = self.write(&[]).await?;
            let pruned = sqlx::query(
                "DELETE FROM samples WHERE id IN (SELECT id FROM samples WHERE until < $1 ORDER BY until LIMIT $2)",
            )
            .bind(bigint(before.0))
            .bind(PRUNE_BATCH)
            .execute(write.on())
            .await?;
            write.commit().await?;
            if pruned.rows_affected() < PRUNE_BATCH.unsigned_abs() {
                return Ok(());
            }
        }
    }

    /// What there is to pay for the days that began within `from..to`, by day.
    pub async fn usage(&self, from: Timestamp, to: Timestamp) -> Result<Vec<UsageDay>, Error> {
        let rows = sqlx::query(
            "SELECT usage_days.*, CAST(CASE WHEN deployments.id IS NULL THEN 1 ELSE 0 END AS BIGINT) AS is_deleted
             FROM usage_days LEFT JOIN deployments ON deployments.id = usage_days.deployment_id
             WHERE day >= $1 AND day < $2 ORDER BY day, deployment_id, environment",
        )
        .bind(bigint(from.0))
        .bind(bigint(to.0))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(usage_day).collect()
    }
}

/// Counts the end of a replica that nobody asked for.
pub(crate) async fn count_restart(
    write: &mut Write,
    replica: &Replica,
    phase: &Phase,
    now: Timestamp,
) -> Result<(), Error> {
    let is_restart = matches!(phase, Phase::Exited(exit) if exit.cause != ExitCause::Stopped);
    if !is_restart || replica.has_ended() {
        return Ok(());
    }
    let mut counted = Counted::of(write, &replica.deployment_id).await?;
    counted.restarts += 1;
    counted.save(write, &replica.deployment_id, now).await
}

/// Counts a start that took so many milliseconds in all.
pub(crate) async fn count_start(
    write: &mut Write,
    deployment: &DeploymentId,
    took_ms: u64,
    times: &StartTimes,
    now: Timestamp,
) -> Result<(), Error> {
    let mut counted = Counted::of(write, deployment).await?;
    let parts = [
        ("total", Some(took_ms)),
        ("decide", times.decide_ms),
        ("spawn", times.spawn_ms),
        ("import", times.import_ms),
        ("load", times.load_ms),
        ("first_probe", times.first_probe_ms),
    ];
    for (name, ms) in parts {
        if let Some(ms) = ms {
            counted.durations.starts.entry(name.to_owned()).or_default().record(seconds(ms));
        }
    }
    counted.save(write, deployment, now).await
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// A row of totals, to count on.
#[derive(Default)]
struct Counted {
    measures: Measures,
    standing: Standing,
    durations: Durations,
    restarts: u64,
    sampled: u64,
}

impl Counted {
    async fn of(write: &mut Write, deployment: &DeploymentId) -> Result<Self, Error> {
        let row = sqlx::query("SELECT * FROM totals WHERE deployment_id = $1")
            .bind(deployment.as_str())
            .fetch_optional(write.on())
            .await?;
        let Some(row) = row else { return Ok(Self::default()) };
        Ok(Self {
            measures: row.json("measures")?,
            standing: row.json("standing")?,
            durations: row.json("durations")?,
            restarts: row.number("restarts")?,
            sampled: row.number("sampled")?,
        })
    }

    /// A deployment that is gone is passed over.
    async fn save(&self, write: &mut Write, deployment: &DeploymentId, at: Timestamp) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO totals (deployment_id, at, measures, standing, durations, restarts, sampled)
                 SELECT id, $2, $3, $4, $5, $6, $7 FROM deployments WHERE id = $1
                 ON CONFLICT (deployment_id) DO UPDATE
                     SET at = excluded.at, measures = excluded.measures, standing = excluded.standing,
                         durations = excluded.durations, restarts = excluded.restarts, sampled = excluded.sampled",
        )
        .bind(deployment.as_str())
        .bind(bigint(at.0))
        .bind(json(&self.measures))
        .bind(json(&self.standing))
        .bind(json(&self.durations))
        .bind(bigint(self.restarts))
        .bind(bigint(self.sampled))
        .execute(write.on())
        .await?;
        Ok(())
    }
}

async fn record_sample(write: &mut Write, sample: &Sample) -> Result<(), Error> {
    let mut counted = Counted::of(write, &sample.deployment_id).await?;
    let restarts = counted.restarts.saturating_sub(counted.sampled);
    counted.measures.add(&sample.measures);
    counted.standing = sample.standing.clone();
    counted.sampled = counted.restarts;
    counted.save(write, &sample.deployment_id, sample.until).await?;
    sqlx::query(
        "INSERT INTO samples (deployment_id, environment, since, until, measures, standing, restarts)
             SELECT id, $2, $3, $4, $5, $6, $7 FROM deployments WHERE id = $1",
    )
    .bind(sample.deployment_id.as_str())
    .bind(&sample.environment)
    .bind(bigint(sample.since.0))
    .bind(bigint(sample.until.0))
    .bind(json(&sample.measures))
    .bind(json(&sample.standing))
    .bind(bigint(restarts))
    .execute(write.on())
    .await?;
    Ok(())
}

/// Tokens that are added at a time: with the bound on what they are added to, in the statement, no sum leaves a BIGINT.
const MOST_TOKENS: u64 = 1 << 60;

async fn record_used(write: &mut Write, used: &Used) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO usage_days (day, deployment_id, environment, deployment_name, model_id, model_name, team_id, instance_type,
                 replica_ms, requests, input_tokens, output_tokens)
             SELECT $1, deployments.id, $3, deployments.name, models.id, models.name, models.team_id, instance_type, $4, $5, $6, $7
             FROM deployments JOIN models ON models.id = deployments.model_id WHERE deployments.id = $2
             ON CONFLICT (day, deployment_id, environment) DO UPDATE
                 SET deployment_name = excluded.deployment_name, model_name = excluded.model_name,
                     team_id = excluded.team_id, instance_type = excluded.instance_type,
                     replica_ms = usage_days.replica_ms + excluded.replica_ms,
                     requests = usage_days.requests + excluded.requests,
                     input_tokens = CASE WHEN usage_days.input_tokens > 4611686018427387904 THEN usage_days.input_tokens
                         ELSE usage_days.input_tokens + excluded.input_tokens END,
                     output_tokens = CASE WHEN usage_days.output_tokens > 4611686018427387904 THEN usage_days.output_tokens
                         ELSE usage_days.output_tokens + excluded.output_tokens END",
    )
    .bind(bigint(used.since.0 - used.since.0 % DAY_MS))
    .bind(used.deployment_id.as_str())
    .bind(used.environment.as_deref().unwrap_or_default())
    .bind(bigint(used.replica_ms))
    .bind(bigint(used.requests))
    .bind(bigint(used.tokens.input.min(MOST_TOKENS)))
    .bind(bigint(used.tokens.output.min(MOST_TOKENS)))
    .execute(write.on())
    .await?;
    Ok(())
}

fn total(row: &AnyRow) -> Result<Total, Error> {
    Ok(Total {
        deployment_id: row.id("deployment_id")?,
        at: row.time("at")?,
        measures: row.json("measures")?,
        standing: row.json("standing")?,
        durations: row.json("durations")?,
        restarts: row.number("restarts")?,
    })
}

fn sample(row: &AnyRow) -> Result<Sample, Error> {
    Ok(Sample {
        deployment_id: row.id("deployment_id")?,
        environment: row.maybe_text("environment")?,
        since: row.time("since")?,
        until: row.time("until")?,
        measures: row.json("measures")?,
        standing: row.json("standing")?,
        restarts: row.number("restarts")?,
    })
}

fn usage_day(row: &AnyRow) -> Result<UsageDay, Error> {
    let environment = row.text("environment")?;
    Ok(UsageDay {
        day: row.time("day")?,
        deployment_id: row.id("deployment_id")?,
        environment: (!environment.is_empty()).then_some(environment),
        deployment_name: row.text("deployment_name")?,
        model_id: row.id("model_id")?,
        model_name: row.text("model_name")?,
        team_id: row.id("team_id")?,
        instance_type: row.text("instance_type")?,
        replica_ms: row.number("replica_ms")?,
        requests: row.number("requests")?,
        tokens: Tokens { input: row.number("input_tokens")?, output: row.number("output_tokens")? },
        is_deleted: row.flag("is_deleted")?,
    })
}
