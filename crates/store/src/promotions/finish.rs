//! The end of a promotion, with all that follows from it, in one transaction.

use api::{
    id::{DeploymentId, ModelId},
    internal::replica::{Level, LogLine},
};
use planner::{
    Timestamp, autoscale,
    lifecycle::{Lifecycle, Wanted},
    promotion::{Cleanup, Ending, Phase, Room, Settings, State},
};

use super::{active, save};
use crate::{
    Error, Store, Topic, audit,
    columns::{Columns, json, maybe_json},
    database::Write,
    deployments,
    domain::{AuditEvent, Component, LogRecord, Promotion},
    environments, logs, replicas,
};

const TOPICS: &[Topic] = &[Topic::Promotions, Topic::Environments, Topic::Deployments, Topic::Replicas, Topic::Logs];

/// Whether somebody other than its owner counts on a deployment: an environment that serves it, a promotion that brings it.
const IS_COUNTED_ON: &str = "SELECT current_deployment FROM environments WHERE current_deployment = $1
                             UNION SELECT candidate FROM promotions WHERE candidate = $1 AND ended_at IS NULL";

impl Store {
    /// Ends a promotion whose state has come to its end. With success the environment points at the candidate, which takes the
    /// environment's autoscaling, and the previous deployment is cleaned up as the promotion's settings say, unless another
    /// environment serves it; one for which there is no room is not kept running. Else the candidate goes to zero, unless an
    /// environment serves it, and the environment is as it was.
    ///
    /// `Conflict` when the promotion has changed or ended since it was read, `NeverActive` when the candidate has never been
    /// active, `NotFound` when it or the environment is gone. On success `generation` has grown.
    pub async fn finish_promotion(
        &self,
        promotion: &mut Promotion,
        now: Timestamp,
        audit: Option<&AuditEvent>,
    ) -> Result<(), Error> {
        let mut write = self.write(TOPICS).await?;
        deployments::lock_model(&mut write, &promotion.model_id).await?;
        let ended = Promotion { ended_at: Some(now), command: None, ..promotion.clone() };
        save(&mut write, &ended).await?;
        match promotion.state.ending() {
            Some(Ending::Succeeded) => succeed(&mut write, promotion, now).await?,
            Some(Ending::Failed { .. } | Ending::Canceled { .. }) | None => give_up(&mut write, promotion, now).await?,
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await?;
        *promotion = Promotion { generation: ended.generation + 1, ..ended };
        Ok(())
    }
}

/// The pointer moves.
async fn succeed(write: &mut Write, promotion: &Promotion, now: Timestamp) -> Result<(), Error> {
    let candidate = deployments::of_model(write, &promotion.model_id, &promotion.candidate).await?;
    if candidate.lifecycle.first_ready.is_none() {
        return Err(Error::NeverActive { id: candidate.id.to_string() });
    }
    let environment = environments::locked(write, &promotion.model_id, &promotion.environment).await?;
    sqlx::query(
        "UPDATE environments SET current_deployment = $1, generation = generation + 1 WHERE model_id = $2 AND name = $3",
    )
    .bind(candidate.id.as_str())
    .bind(promotion.model_id.as_str())
    .bind(&promotion.environment)
    .execute(write.on())
    .await?;
    sqlx::query(
        "UPDATE deployments SET autoscaling = $1, backpressure = $2, generation = generation + 1 WHERE id = $3",
    )
    .bind(json(&environment.autoscaling))
    .bind(maybe_json(&environment.backpressure))
    .bind(candidate.id.as_str())
    .execute(write.on())
    .await?;
    let Settings { cleanup, room, .. } = promotion.settings;
    let reason = format!("environment {} is served by deployment {} since then", promotion.environment, candidate.id);
    match (environment.current, cleanup, room) {
        (Some(previous), _, _) if previous == candidate.id => Ok(()),
        (Some(previous), Cleanup::Deactivate, _) => {
            change(write, &previous, now, |lifecycle| lifecycle.deactivated_because(reason)).await
        }
        // Where there is no room for both, one that is kept would take the room of the candidate's next replica.
        (Some(previous), Cleanup::ScaleToZero, _) | (Some(previous), Cleanup::Keep, Room::InPlace) => {
            retire(write, &previous, now, &reason).await
        }
        (Some(_), Cleanup::Keep, Room::Beside) | (None, _, _) => Ok(()),
    }
}

/// The candidate becomes a deployment of its own.
async fn give_up(write: &mut Write, promotion: &Promotion, now: Timestamp) -> Result<(), Error> {
    let name = &promotion.environment;
    let reason = match promotion.state.ending() {
        Some(Ending::Failed { reason }) => format!("its promotion to environment {name} failed: {reason}"),
        Some(Ending::Canceled { reason }) => format!("its promotion to environment {name} was canceled: {reason}"),
        Some(Ending::Succeeded) | None => format!("its promotion to environment {name} has ended"),
    };
    retire(write, &promotion.candidate, now, &reason).await
}

/// Ends the promotion into an environment that goes away, and with it the hope of its candidate.
pub(crate) async fn end_with_environment(
    write: &mut Write,
    model: &ModelId,
    environment: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(promotion) = active(write, model, environment).await? else { return Ok(()) };
    let reason = format!("environment {environment} was deleted");
    let phase = Phase::Ended { at: now, ending: Ending::Canceled { reason: reason.clone() } };
    let state = State { phase, ..promotion.state.clone() };
    let ended = Promotion { state, ended_at: Some(now), command: None, why: reason, ..promotion };
    save(write, &ended).await?;
    give_up(write, &ended, now).await
}

/// Lets a deployment that nobody counts on any more go to zero replicas, and stay there until somebody asks for it. One that has
/// never been active is deactivated, and its log says for which reason.
pub(crate) async fn retire(write: &mut Write, id: &DeploymentId, now: Timestamp, reason: &str) -> Result<(), Error> {
    change(write, id, now, |lifecycle| lifecycle.retired(now, reason)).await
}

/// Changes how far a deployment is that nobody counts on any more. It has no replicas from this moment on, and wants none.
async fn change(
    write: &mut Write,
    id: &DeploymentId,
    now: Timestamp,
    change: impl FnOnce(Lifecycle) -> Lifecycle,
) -> Result<(), Error> {
    if is_counted_on(write, id).await? {
        return Ok(());
    }
    let Some((autoscaling, before)) = locked(write, id).await? else { return Ok(()) };
    let after = change(before.clone());
    let resting = match after.wanted {
        Wanted::Running => autoscale::Settings { min_replica: 0, ..autoscaling },
        Wanted::Inactive => autoscaling,
    };
    sqlx::query(
        "UPDATE deployments SET autoscaling = $1, lifecycle = $2, target_replicas = 0, generation = generation + 1
         WHERE id = $3",
    )
    .bind(json(&resting))
    .bind(json(&after))
    .bind(id.as_str())
    .execute(write.on())
    .await?;
    replicas::stop_all(write, id, now).await?;
    match &after.rests_because {
        Some(reason) if before.wanted != after.wanted => {
            let message = format!("deactivated: {reason}");
            let line = LogLine { timestamp_ns: now.as_nanos(), level: Some(Level::Warning), request_id: None, message };
            let component = Component::Deploy;
            logs::insert(write, &[LogRecord { deployment_id: id.clone(), replica_id: None, component, line }]).await
        }
        Some(_) | None => Ok(()),
    }
}

/// How a deployment scales and how far it is; nobody changes it before the transaction ends. None when it is gone.
async fn locked(write: &mut Write, id: &DeploymentId) -> Result<Option<(autoscale::Settings, Lifecycle)>, Error> {
    // As for environments: writing locks.
    let row = sqlx::query("UPDATE deployments SET id = id WHERE id = $1 RETURNING autoscaling, lifecycle")
        .bind(id.as_str())
        .fetch_optional(write.on())
        .await?;
    row.map(|row| Ok((row.json("autoscaling")?, row.json("lifecycle")?))).transpose()
}

async fn is_counted_on(write: &mut Write, id: &DeploymentId) -> Result<bool, Error> {
    Ok(sqlx::query(IS_COUNTED_ON).bind(id.as_str()).fetch_optional(write.on()).await?.is_some())
}
