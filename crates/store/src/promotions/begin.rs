//! The beginning of a promotion, with the copy that it may need, in one transaction.

use api::{
    id::{DeploymentId, ModelId},
    internal::replica::{Level, LogLine},
};
use planner::{
    Timestamp,
    lifecycle::{Build, Lifecycle},
    promotion::{Settings, State, Targets},
    replica_set,
};

use super::{active, differences, promotion};
use crate::{
    Error, Store, Topic, audit,
    columns::{Columns, bigint, json, word},
    database::Write,
    deployments,
    domain::{AuditEvent, Component, Deployment, DeploymentKind, Difference, LogRecord, Origin, Promotion},
    logs, policies,
};

const TOPICS: &[Topic] = &[Topic::Promotions, Topic::Environments, Topic::Deployments, Topic::Logs];

/// A promotion to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPromotion {
    /// Whose environment.
    pub model_id: ModelId,
    /// Its name.
    pub environment: String,
    /// What is being promoted.
    pub candidate: Candidate,
    /// What the environment points at, as far as the caller knows.
    pub previous: Option<DeploymentId>,
    /// How it came about.
    pub origin: Origin,
    /// When it begins.
    pub started_at: Timestamp,
    /// How it goes.
    pub settings: Settings,
    /// Where it begins.
    pub state: State,
    /// What should be true at first.
    pub targets: Targets,
    /// Why, in a sentence.
    pub why: String,
    /// The key that begins it; none when the system does.
    pub requested_by: Option<String>,
    /// What it changes, as it was shown to whoever asked for it; none where nobody did.
    pub difference: Option<Difference>,
}

/// What is promoted.
#[derive(Debug, Clone, PartialEq)]
pub enum Candidate {
    /// A deployment that there is.
    Existing(DeploymentId),
    /// One that rests: it is activated with the promotion's beginning.
    Resting(DeploymentId),
    /// A published copy of one.
    Copy(Box<CopyOf>),
}

/// A copy to make of a deployment: the same archive, config and labels, and the same build where there is one. A copy of what is
/// still being built is built itself.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyOf {
    /// Of which.
    pub source: DeploymentId,
    /// The deployment whose policies it has too; none for a copy without policies.
    pub policies_of: Option<DeploymentId>,
    /// The copy's id.
    pub id: DeploymentId,
    /// The copy's name.
    pub name: String,
    /// When it is made.
    pub created_at: Timestamp,
    /// From the catalogue.
    pub instance_type: String,
    /// Its first log line, from the platform.
    pub first_log_line: String,
}

impl Store {
    /// Begins a promotion. A candidate that was pushed for the environment is on its way no more: it is there. Where a push begins
    /// it, earlier pushes for the environment give way.
    ///
    /// `NotFound` when the environment, the deployment or its source is gone; `InUse` when the environment has a promotion under
    /// way (kind `environment`) or the deployment is a candidate already (kind `deployment`); `Conflict` when the environment
    /// points elsewhere by now, or what rested has failed meanwhile; `NameTaken` when the copy's name is.
    pub async fn begin_promotion(
        &self,
        new: &NewPromotion,
        audit: impl IntoIterator<Item = &AuditEvent>,
    ) -> Result<Promotion, Error> {
        let mut write = self.write(TOPICS).await?;
        // Two that begin at once go one after the other, and nothing of the model is deleted meanwhile.
        deployments::lock_model(&mut write, &new.model_id).await?;
        check_environment(&mut write, new).await?;
        let candidate = match &new.candidate {
            Candidate::Existing(id) => deployments::of_model(&mut write, &new.model_id, id).await?,
            Candidate::Resting(id) => activate(&mut write, &new.model_id, id, new.started_at).await?,
            Candidate::Copy(copy) => make_copy(&mut write, &new.model_id, copy).await?,
        };
        if is_candidate(&mut write, &candidate.id).await? {
            return Err(Error::InUse { kind: "deployment", id: candidate.id.to_string() });
        }
        clear_targets(&mut write, new, &candidate).await?;
        let begun = insert(&mut write, new, &candidate.id).await?;
        for event in audit {
            audit::insert(&mut write, Some(event)).await?;
        }
        write.commit().await?;
        Ok(begun)
    }
}

/// Whether the environment is there, as the caller knows it, and free.
async fn check_environment(write: &mut Write, new: &NewPromotion) -> Result<(), Error> {
    let row = sqlx::query("SELECT current_deployment FROM environments WHERE model_id = $1 AND name = $2")
        .bind(new.model_id.as_str())
        .bind(&new.environment)
        .fetch_optional(write.on())
        .await?;
    let current: Option<DeploymentId> =
        row.ok_or_else(|| Error::not_found("environment", &new.environment))?.maybe_id("current_deployment")?;
    if active(write, &new.model_id, &new.environment).await?.is_some() {
        return Err(Error::InUse { kind: "environment", id: new.environment.clone() });
    }
    if current != new.previous {
        return Err(Error::conflict("environment", &new.environment));
    }
    Ok(())
}

async fn is_candidate(write: &mut Write, id: &DeploymentId) -> Result<bool, Error> {
    let row = sqlx::query("SELECT id FROM promotions WHERE candidate = $1 AND ended_at IS NULL")
        .bind(id.as_str())
        .fetch_optional(write.on())
        .await?;
    Ok(row.is_some())
}

async fn activate(write: &mut Write, model: &ModelId, id: &DeploymentId, now: Timestamp) -> Result<Deployment, Error> {
    let resting = deployments::of_model(write, model, id).await?;
    let lifecycle = resting.lifecycle.clone().activate(now).map_err(|_| Error::conflict("deployment", id))?;
    let activated = sqlx::query(
        "UPDATE deployments SET lifecycle = $1, generation = generation + 1 WHERE id = $2 AND generation = $3",
    )
    .bind(json(&lifecycle))
    .bind(id.as_str())
    .bind(bigint(resting.generation))
    .execute(write.on())
    .await?;
    if activated.rows_affected() == 0 {
        return Err(Error::conflict("deployment", id));
    }
    Ok(Deployment { lifecycle, generation: resting.generation + 1, ..resting })
}

async fn make_copy(write: &mut Write, model: &ModelId, copy: &CopyOf) -> Result<Deployment, Error> {
    let source = deployments::of_model(write, model, &copy.source).await?;
    let build = match source.lifecycle.build {
        Build::Pending { .. } => Build::Pending { since: copy.created_at },
        built @ (Build::Succeeded { .. } | Build::Failed { .. } | Build::Stopped { .. }) => built,
    };
    let made = Deployment {
        id: copy.id.clone(),
        name: copy.name.clone(),
        created_at: copy.created_at,
        kind: DeploymentKind::Published,
        patches: None,
        instance_type: copy.instance_type.clone(),
        target_environment: None,
        keep_previous: false,
        lifecycle: Lifecycle { build, ..Lifecycle::pushed(copy.created_at) },
        target_replicas: 0,
        replica_memory: replica_set::Memory::default(),
        generation: 1,
        ..source
    };
    deployments::insert(write, &made).await?;
    if let Some(from) = &copy.policies_of {
        policies::copy(write, from, &made.id).await?;
    }
    let line = LogLine {
        timestamp_ns: copy.created_at.as_nanos(),
        level: Some(Level::Info),
        request_id: None,
        message: copy.first_log_line.clone(),
    };
    let record = LogRecord { deployment_id: made.id.clone(), replica_id: None, component: Component::Deploy, line };
    logs::insert(write, &[record]).await?;
    Ok(made)
}

async fn clear_targets(write: &mut Write, new: &NewPromotion, candidate: &Deployment) -> Result<(), Error> {
    let earlier = match new.origin {
        Origin::Push => bigint(candidate.created_at.0),
        // Pushes wait until this one has ended.
        Origin::Person | Origin::Rollback => -1,
    };
    sqlx::query(
        "UPDATE deployments SET target_environment = NULL, generation = generation + 1
         WHERE model_id = $1 AND target_environment = $2 AND (id = $3 OR created_at <= $4)",
    )
    .bind(new.model_id.as_str())
    .bind(&new.environment)
    .bind(candidate.id.as_str())
    .bind(earlier)
    .execute(write.on())
    .await?;
    Ok(())
}

async fn insert(write: &mut Write, new: &NewPromotion, candidate: &DeploymentId) -> Result<Promotion, Error> {
    let row = sqlx::query(
        "INSERT INTO promotions (model_id, environment, candidate, previous, origin, started_at, settings, state, targets, why,
             requested_by, generation)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1) RETURNING *",
    )
    .bind(new.model_id.as_str())
    .bind(&new.environment)
    .bind(candidate.as_str())
    .bind(new.previous.as_ref().map(DeploymentId::as_str))
    .bind(word(&new.origin))
    .bind(bigint(new.started_at.0))
    .bind(json(&new.settings))
    .bind(json(&new.state))
    .bind(json(&new.targets))
    .bind(&new.why)
    .bind(&new.requested_by)
    .fetch_one(write.on())
    .await?;
    let begun = promotion(&row)?;
    if let Some(difference) = &new.difference {
        differences::insert(write, begun.id, difference).await?;
    }
    Ok(begun)
}
