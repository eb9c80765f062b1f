//! Deployments: pushed, changed under a generation, deleted.

use api::{
    id::{DeploymentId, ModelId},
    internal::replica::{Level, LogLine},
    v1::backpressure::RequestBackpressurePolicy,
};
use planner::{Timestamp, autoscale, lifecycle::Lifecycle, replica_set};
use serde_json::Value;
use sqlx::any::AnyRow;

use crate::{
    Error, Store, Topic, audit,
    columns::{Columns, bigint, json, maybe_json, maybe_storable, or_in_use, or_name_taken, word},
    database::Write,
    domain::{Archive, AuditEvent, Component, Deployment, DeploymentKind, Environment, LogRecord, Patches},
    environments, logs, replicas,
};

/// A push, as its owner asked for it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDeployment {
    /// Its id, unless it overwrites the model's development deployment, which keeps its own.
    pub id: DeploymentId,
    /// Its model.
    pub model_id: ModelId,
    /// Unique within the model; none means `deployment-N`, with a number that the model has not used before.
    pub name: Option<String>,
    /// When it was pushed.
    pub created_at: Timestamp,
    /// Published or development.
    pub kind: DeploymentKind,
    /// Any JSON object.
    pub labels: Option<serde_json::Map<String, Value>>,
    /// The config as pushed.
    pub config: Value,
    /// The same as the user wrote it.
    pub raw_config: Option<String>,
    /// What the client said of itself.
    pub user_env: Option<Value>,
    /// The uploaded archive.
    pub archive: Archive,
    /// How long a start may take before it counts as failed.
    pub deploy_timeout_ms: u64,
    /// From the catalogue.
    pub instance_type: String,
    /// How it scales.
    pub autoscaling: autoscale::Settings,
    /// What happens to requests when every replica is busy.
    pub backpressure: Option<RequestBackpressurePolicy>,
    /// The environment that takes it when it is first ready.
    pub target_environment: Option<String>,
    /// Whether what that environment serves goes on running then.
    pub keep_previous: bool,
    /// Environments to make with it, each unless the model has one of that name by now, and the audit entries for that.
    pub missing_environments: Vec<(Environment, AuditEvent)>,
    /// Its first log line, from the platform: a log is never empty.
    pub first_log_line: String,
}

const TOPICS: &[Topic] = &[Topic::Deployments];
const PUSH_TOPICS: &[Topic] = &[Topic::Deployments, Topic::Environments, Topic::Replicas, Topic::Logs];
/// How often a change is tried on a deployment that others keep changing.
const TRIES: usize = 32;

impl Store {
    /// Adds a deployment to a model, or overwrites the model's development deployment in place with a development push,
    /// whose replicas are told to stop: they run the code that was there before. `NotFound` when the model or the target environment is gone, `NameTaken` when the name is.
    pub async fn add_deployment(&self, new: &NewDeployment, audit: Option<&AuditEvent>) -> Result<Deployment, Error> {
        let mut write = self.write(PUSH_TOPICS).await?;
        let deployment = push(&mut write, new).await?;
        audit::insert_push(&mut write, audit, &deployment).await?;
        write.commit().await?;
        Ok(deployment)
    }

    /// The deployment with this id.
    pub async fn deployment(&self, id: &DeploymentId) -> Result<Deployment, Error> {
        let row = sqlx::query("SELECT * FROM deployments WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(self.readers())
            .await?;
        deployment(&row.ok_or_else(|| Error::not_found("deployment", id))?)
    }

    /// The deployments of one model, newest first; with `name`, only the one of exactly that name.
    pub async fn deployments(&self, model: &ModelId, name: Option<&str>) -> Result<Vec<Deployment>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM deployments WHERE model_id = $1 AND ($2 IS NULL OR name = $2) ORDER BY created_at DESC, id",
        )
        .bind(model.as_str())
        .bind(name)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(deployment).collect()
    }

    /// Every deployment of every model.
    pub async fn all_deployments(&self) -> Result<Vec<Deployment>, Error> {
        let rows = sqlx::query("SELECT * FROM deployments ORDER BY created_at, id").fetch_all(self.readers()).await?;
        rows.iter().map(deployment).collect()
    }

    /// Saves a deployment read before; `Conflict` when it has changed or gone since, `NameTaken` when its new name is taken.
    /// On success `generation` has grown. Id, model, kind and what was pushed stay as they were.
    pub async fn save_deployment(&self, deployment: &mut Deployment, audit: Option<&AuditEvent>) -> Result<(), Error> {
        let mut write = self.write(TOPICS).await?;
        let saved = sqlx::query(
            "UPDATE deployments SET name = $1, autoscaling = $2, target_environment = $3, lifecycle = $4, target_replicas = $5,
                 replica_memory = $6, instance_type = $7, backpressure = $8, patches = $9, generation = generation + 1
             WHERE id = $10 AND generation = $11",
        )
        .bind(&deployment.name)
        .bind(json(&deployment.autoscaling))
        .bind(&deployment.target_environment)
        .bind(json(&deployment.lifecycle))
        .bind(i64::from(deployment.target_replicas))
        .bind(json(&deployment.replica_memory))
        .bind(&deployment.instance_type)
        .bind(maybe_json(&deployment.backpressure))
        .bind(maybe_json(&deployment.patches))
        .bind(deployment.id.as_str())
        .bind(bigint(deployment.generation))
        .execute(write.on())
        .await
        .map_err(or_name_taken("deployment", &deployment.name))?;
        if saved.rows_affected() == 0 {
            return Err(Error::conflict("deployment", &deployment.id));
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await?;
        deployment.generation += 1;
        Ok(())
    }

    /// Reads a deployment, lets `change` decide, and saves; over again when somebody else was faster. Saves nothing when `change`
    /// fails or changes nothing.
    pub async fn change_deployment<T, E: From<Error>>(
        &self,
        id: &DeploymentId,
        audit: Option<&AuditEvent>,
        mut change: impl FnMut(&mut Deployment) -> Result<T, E>,
    ) -> Result<(Deployment, T), E> {
        for _ in 0..TRIES {
            let before = self.deployment(id).await?;
            let mut after = before.clone();
            let answer = change(&mut after)?;
            if after == before {
                return Ok((after, answer));
            }
            match self.save_deployment(&mut after, audit).await {
                Ok(()) => return Ok((after, answer)),
                Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::conflict("deployment", id).into())
    }

    /// Deletes a deployment; `InUse` while an environment serves it, or a promotion uses it. Its replicas stay listed, for whoever
    /// stops replicas that belong to nothing; its archive and log lines go with the next collection of garbage.
    pub async fn delete_deployment(&self, id: &DeploymentId, audit: Option<&AuditEvent>) -> Result<(), Error> {
        let mut write = self.write(TOPICS).await?;
        let row = sqlx::query("SELECT model_id FROM deployments WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(write.on())
            .await?;
        let model: ModelId = row.ok_or_else(|| Error::not_found("deployment", id))?.id("model_id")?;
        // No promotion of it begins meanwhile.
        lock_model(&mut write, &model).await?;
        let promotion =
            sqlx::query("SELECT id FROM promotions WHERE ended_at IS NULL AND (candidate = $1 OR previous = $1)")
                .bind(id.as_str())
                .fetch_optional(write.on())
                .await?;
        if promotion.is_some() {
            return Err(Error::InUse { kind: "deployment", id: id.to_string() });
        }
        let deleted = sqlx::query("DELETE FROM deployments WHERE id = $1")
            .bind(id.as_str())
            .execute(write.on())
            .await
            .map_err(or_in_use("deployment", id.as_str()))?;
        if deleted.rows_affected() == 0 {
            return Err(Error::not_found("deployment", id));
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }

    /// The blob keys of every archive that a deployment still needs.
    pub async fn archive_keys(&self) -> Result<Vec<String>, Error> {
        let rows = sqlx::query("SELECT archive_key, patches FROM deployments").fetch_all(self.readers()).await?;
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            let patches: Option<Patches> = row.maybe_json("patches")?;
            keys.push(row.text("archive_key")?);
            keys.extend(patches.and_then(|patches| patches.pending).map(|pending| pending.archive.key));
        }
        Ok(keys)
    }
}

/// Makes other pushes to the model wait until this transaction ends. The model's last used deployment number.
pub(crate) async fn lock_model(write: &mut Write, id: &ModelId) -> Result<u64, Error> {
    // Writing a row locks it on PostgreSQL; on SQLite the one writer is alone anyway.
    let row = sqlx::query(
        "UPDATE models SET last_deployment_number = last_deployment_number WHERE id = $1 RETURNING last_deployment_number",
    )
    .bind(id.as_str())
    .fetch_optional(write.on())
    .await?;
    row.ok_or_else(|| Error::not_found("model", id))?.number("last_deployment_number")
}

pub(crate) async fn push(write: &mut Write, new: &NewDeployment) -> Result<Deployment, Error> {
    let last_number = lock_model(write, &new.model_id).await?;
    for (missing, event) in &new.missing_environments {
        environments::insert_missing(write, missing, event).await?;
    }
    if let Some(name) = &new.target_environment {
        let found = sqlx::query("SELECT name FROM environments WHERE model_id = $1 AND name = $2")
            .bind(new.model_id.as_str())
            .bind(name)
            .fetch_optional(write.on())
            .await?;
        found.ok_or_else(|| Error::not_found("environment", name))?;
    }
    let overwritten = match new.kind {
        DeploymentKind::Development => development(write, &new.model_id).await?,
        DeploymentKind::Published => None,
    };
    let (sql, id, name, generation) = match overwritten {
        Some(old) => {
            replicas::stop_all(write, &old.id, new.created_at).await?;
            (OVERWRITE, old.id, old.name, old.generation + 1)
        }
        None => (INSERT, new.id.clone(), choose_name(write, new, last_number).await?, 1),
    };
    let deployment = Deployment {
        id,
        model_id: new.model_id.clone(),
        name,
        created_at: new.created_at,
        kind: new.kind,
        labels: new.labels.clone(),
        config: new.config.clone(),
        raw_config: new.raw_config.clone(),
        user_env: new.user_env.clone(),
        archive: new.archive.clone(),
        deploy_timeout_ms: new.deploy_timeout_ms,
        instance_type: new.instance_type.clone(),
        autoscaling: new.autoscaling.clone(),
        backpressure: new.backpressure,
        patches: None,
        target_environment: new.target_environment.clone(),
        keep_previous: new.keep_previous,
        lifecycle: Lifecycle::pushed(new.created_at),
        target_replicas: 0,
        replica_memory: replica_set::Memory::default(),
        generation,
    };
    put(write, sql, &deployment).await?;
    let line = LogLine {
        timestamp_ns: new.created_at.as_nanos(),
        level: Some(Level::Info),
        request_id: None,
        message: new.first_log_line.clone(),
    };
    let deployment_id = deployment.id.clone();
    logs::insert(write, &[LogRecord { deployment_id, replica_id: None, component: Component::Deploy, line }]).await?;
    Ok(deployment)
}

/// Adds a deployment whose name its maker has chosen; `NameTaken` when it is taken. The model is locked.
pub(crate) async fn insert(write: &mut Write, deployment: &Deployment) -> Result<(), Error> {
    if name_exists(write, &deployment.model_id, &deployment.name).await? {
        return Err(Error::NameTaken { kind: "deployment", name: deployment.name.clone() });
    }
    put(write, INSERT, deployment).await
}

/// A deployment of a model, read in a transaction; `NotFound` when it is another model's, too.
pub(crate) async fn of_model(write: &mut Write, model: &ModelId, id: &DeploymentId) -> Result<Deployment, Error> {
    let row = sqlx::query("SELECT * FROM deployments WHERE id = $1 AND model_id = $2")
        .bind(id.as_str())
        .bind(model.as_str())
        .fetch_optional(write.on())
        .await?;
    deployment(&row.ok_or_else(|| Error::not_found("deployment", id))?)
}

async fn development(write: &mut Write, model: &ModelId) -> Result<Option<Deployment>, Error> {
    let row = sqlx::query("SELECT * FROM deployments WHERE model_id = $1 AND kind = $2")
        .bind(model.as_str())
        .bind(word(&DeploymentKind::Development))
        .fetch_optional(write.on())
        .await?;
    row.as_ref().map(deployment).transpose()
}

async fn choose_name(write: &mut Write, new: &NewDeployment, last_number: u64) -> Result<String, Error> {
    if let Some(name) = &new.name {
        return if name_exists(write, &new.model_id, name).await? {
            Err(Error::NameTaken { kind: "deployment", name: name.clone() })
        } else {
            Ok(name.clone())
        };
    }
    let mut number = last_number + 1;
    while name_exists(write, &new.model_id, &format!("deployment-{number}")).await? {
        number += 1;
    }
    sqlx::query("UPDATE models SET last_deployment_number = $1 WHERE id = $2")
        .bind(bigint(number))
        .bind(new.model_id.as_str())
        .execute(write.on())
        .await?;
    Ok(format!("deployment-{number}"))
}

async fn name_exists(write: &mut Write, model: &ModelId, name: &str) -> Result<bool, Error> {
    let row = sqlx::query("SELECT id FROM deployments WHERE model_id = $1 AND name = $2")
        .bind(model.as_str())
        .bind(name)
        .fetch_optional(write.on())
        .await?;
    Ok(row.is_some())
}

const INSERT: &str =
    "INSERT INTO deployments (id, model_id, name, created_at, kind, labels, config, raw_config, user_env, archive_key,
         archive_bytes, deploy_timeout_ms, instance_type, autoscaling, target_environment, lifecycle, target_replicas,
         replica_memory, generation, keep_previous, backpressure, patches)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)";

const OVERWRITE: &str =
    "UPDATE deployments SET name = $3, created_at = $4, kind = $5, labels = $6, config = $7, raw_config = $8, user_env = $9,
         archive_key = $10, archive_bytes = $11, deploy_timeout_ms = $12, instance_type = $13, autoscaling = $14,
         target_environment = $15, lifecycle = $16, target_replicas = $17, replica_memory = $18, generation = $19, keep_previous = $20,
         backpressure = $21, patches = $22
     WHERE id = $1 AND model_id = $2";

async fn put(write: &mut Write, sql: &'static str, deployment: &Deployment) -> Result<(), Error> {
    sqlx::query(sql)
        .bind(deployment.id.as_str())
        .bind(deployment.model_id.as_str())
        .bind(&deployment.name)
        .bind(bigint(deployment.created_at.0))
        .bind(word(&deployment.kind))
        .bind(maybe_json(&deployment.labels))
        .bind(json(&deployment.config))
        .bind(maybe_storable(&deployment.raw_config))
        .bind(maybe_json(&deployment.user_env))
        .bind(&deployment.archive.key)
        .bind(bigint(deployment.archive.bytes))
        .bind(bigint(deployment.deploy_timeout_ms))
        .bind(&deployment.instance_type)
        .bind(json(&deployment.autoscaling))
        .bind(&deployment.target_environment)
        .bind(json(&deployment.lifecycle))
        .bind(i64::from(deployment.target_replicas))
        .bind(json(&deployment.replica_memory))
        .bind(bigint(deployment.generation))
        .bind(i64::from(deployment.keep_previous))
        .bind(maybe_json(&deployment.backpressure))
        .bind(maybe_json(&deployment.patches))
        .execute(write.on())
        .await
        .map_err(|error| match error.as_database_error() {
            // Names are known to be free here.
            Some(cause) if cause.is_unique_violation() => Error::conflict("deployment", &deployment.id),
            _ => error.into(),
        })?;
    Ok(())
}

pub(crate) fn deployment(row: &AnyRow) -> Result<Deployment, Error> {
    Ok(Deployment {
        id: row.id("id")?,
        model_id: row.id("model_id")?,
        name: row.text("name")?,
        created_at: row.time("created_at")?,
        kind: row.word("kind")?,
        labels: row.maybe_json("labels")?,
        config: row.json("config")?,
        raw_config: row.maybe_text("raw_config")?,
        user_env: row.maybe_json("user_env")?,
        archive: Archive { key: row.text("archive_key")?, bytes: row.number("archive_bytes")? },
        deploy_timeout_ms: row.number("deploy_timeout_ms")?,
        instance_type: row.text("instance_type")?,
        autoscaling: row.json("autoscaling")?,
        backpressure: row.maybe_json("backpressure")?,
        patches: row.maybe_json("patches")?,
        target_environment: row.maybe_text("target_environment")?,
        keep_previous: row.flag("keep_previous")?,
        lifecycle: row.json("lifecycle")?,
        target_replicas: row.small_number("target_replicas")?,
        replica_memory: row.json("replica_memory")?,
        generation: row.number("generation")?,
    })
}
