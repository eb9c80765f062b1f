//! Environments: stable endpoints that point at deployments.

use api::id::{DeploymentId, ModelId};
use planner::Timestamp;
use sqlx::any::AnyRow;

use crate::{
    Error, Store, Topic, audit,
    columns::{Columns, bigint, json, maybe_json, or_name_taken},
    database::Write,
    deployments,
    domain::{AuditEvent, Environment},
    promotions,
};

const TOPICS: &[Topic] = &[Topic::Environments];
const SETTINGS_TOPICS: &[Topic] = &[Topic::Environments, Topic::Deployments];
const END_TOPICS: &[Topic] =
    &[Topic::Environments, Topic::Promotions, Topic::Deployments, Topic::Replicas, Topic::Logs];

impl Store {
    /// Makes an environment. `NameTaken` when the model has one of that name, `NotFound` when there is no such model.
    pub async fn create_environment(&self, environment: &Environment, audit: Option<&AuditEvent>) -> Result<(), Error> {
        let mut write = self.write(TOPICS).await?;
        insert(&mut write, environment).await?;
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }

    /// The environment of this model and name.
    pub async fn environment(&self, model: &ModelId, name: &str) -> Result<Environment, Error> {
        let row = sqlx::query("SELECT * FROM environments WHERE model_id = $1 AND name = $2")
            .bind(model.as_str())
            .bind(name)
            .fetch_optional(self.readers())
            .await?;
        environment(&row.ok_or_else(|| Error::not_found("environment", name))?)
    }

    /// The environments of one model, or of all, oldest first.
    pub async fn environments(&self, model: Option<&ModelId>) -> Result<Vec<Environment>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM environments WHERE $1 IS NULL OR model_id = $1 ORDER BY model_id, created_at, name",
        )
        .bind(model.map(ModelId::as_str))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(environment).collect()
    }

    /// Saves an environment read before, and lends its settings to what it serves; `Conflict` when it has changed since. On
    /// success `generation` has grown.
    pub async fn save_environment(
        &self,
        environment: &mut Environment,
        audit: Option<&AuditEvent>,
    ) -> Result<(), Error> {
        let mut write = self.write(SETTINGS_TOPICS).await?;
        let saved = sqlx::query(
            "UPDATE environments SET current_deployment = $1, autoscaling = $2, promotion_settings = $3, backpressure = $4,
                 generation = generation + 1
             WHERE model_id = $5 AND name = $6 AND generation = $7",
        )
        .bind(environment.current.as_ref().map(DeploymentId::as_str))
        .bind(json(&environment.autoscaling))
        .bind(json(&environment.promotion_settings))
        .bind(maybe_json(&environment.backpressure))
        .bind(environment.model_id.as_str())
        .bind(&environment.name)
        .bind(bigint(environment.generation))
        .execute(write.on())
        .await?;
        if saved.rows_affected() == 0 {
            return Err(Error::conflict("environment", &environment.name));
        }
        sqlx::query(
            "UPDATE deployments SET autoscaling = $1, backpressure = $2, generation = generation + 1
             WHERE id = $3 AND (autoscaling <> $1 OR COALESCE(backpressure, '') <> COALESCE($2, ''))",
        )
        .bind(json(&environment.autoscaling))
        .bind(maybe_json(&environment.backpressure))
        .bind(environment.current.as_ref().map(DeploymentId::as_str))
        .execute(write.on())
        .await?;
        audit::insert(&mut write, audit).await?;
        write.commit().await?;
        environment.generation += 1;
        Ok(())
    }

    /// Deletes an environment. Its deployments stay, no push is on its way to it any more, a promotion into it ends as canceled,
    /// and what it served goes to zero replicas unless another environment serves it.
    pub async fn delete_environment(
        &self,
        model: &ModelId,
        name: &str,
        now: Timestamp,
        audit: Option<&AuditEvent>,
    ) -> Result<(), Error> {
        let mut write = self.write(END_TOPICS).await?;
        deployments::lock_model(&mut write, model).await?;
        let row =
            sqlx::query("DELETE FROM environments WHERE model_id = $1 AND name = $2 RETURNING current_deployment")
                .bind(model.as_str())
                .bind(name)
                .fetch_optional(write.on())
                .await?;
        let served: Option<DeploymentId> =
            row.ok_or_else(|| Error::not_found("environment", name))?.maybe_id("current_deployment")?;
        sqlx::query(
            "UPDATE deployments SET target_environment = NULL, generation = generation + 1
             WHERE model_id = $1 AND target_environment = $2",
        )
        .bind(model.as_str())
        .bind(name)
        .execute(write.on())
        .await?;
        promotions::end_with_environment(&mut write, model, name, now).await?;
        if let Some(served) = served {
            let reason = format!("environment {name}, which it served, was deleted");
            promotions::retire(&mut write, &served, now, &reason).await?;
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }
}

/// The environment, read in a transaction; nobody changes it before the transaction ends.
pub(crate) async fn locked(write: &mut Write, model: &ModelId, name: &str) -> Result<Environment, Error> {
    // Writing a row locks it on PostgreSQL; on SQLite the one writer is alone anyway.
    let row = sqlx::query("UPDATE environments SET name = name WHERE model_id = $1 AND name = $2 RETURNING *")
        .bind(model.as_str())
        .bind(name)
        .fetch_optional(write.on())
        .await?;
    environment(&row.ok_or_else(|| Error::not_found("environment", name))?)
}

pub(crate) async fn insert(write: &mut Write, environment: &Environment) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO environments (model_id, name, created_at, current_deployment, autoscaling, promotion_settings, backpressure,
             generation)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1)",
    )
    .bind(environment.model_id.as_str())
    .bind(&environment.name)
    .bind(bigint(environment.created_at.0))
    .bind(environment.current.as_ref().map(DeploymentId::as_str))
    .bind(json(&environment.autoscaling))
    .bind(json(&environment.promotion_settings))
    .bind(maybe_json(&environment.backpressure))
    .execute(write.on())
    .await
    .map_err(|error| match error.as_database_error() {
        Some(cause) if cause.is_foreign_key_violation() => Error::not_found("model", &environment.model_id),
        _ => or_name_taken("environment", &environment.name)(error),
    })?;
    Ok(())
}

/// Makes an environment, with its audit entry, unless the model has it. The model is locked.
pub(crate) async fn insert_missing(
    write: &mut Write,
    environment: &Environment,
    event: &AuditEvent,
) -> Result<(), Error> {
    let found = sqlx::query("SELECT name FROM environments WHERE model_id = $1 AND name = $2")
        .bind(environment.model_id.as_str())
        .bind(&environment.name)
        .fetch_optional(write.on())
        .await?;
    if found.is_none() {
        insert(write, environment).await?;
        audit::insert(write, Some(event)).await?;
    }
    Ok(())
}

pub(crate) fn environment(row: &AnyRow) -> Result<Environment, Error> {
    Ok(Environment {
        model_id: row.id("model_id")?,
        name: row.text("name")?,
        created_at: row.time("created_at")?,
        current: row.maybe_id("current_deployment")?,
        autoscaling: row.json("autoscaling")?,
        backpressure: row.maybe_json("backpressure")?,
        promotion_settings: row.json("promotion_settings")?,
        generation: row.number("generation")?,
    })
}
