//! Promotions: begun, commanded, saved under a generation, ended with all that follows from their end.

mod begin;
mod differences;
mod finish;

use api::id::ModelId;
use planner::promotion::Command;
use sqlx::any::AnyRow;

pub use self::begin::{Candidate, CopyOf, NewPromotion};
pub(crate) use self::finish::{end_with_environment, retire};
use crate::{
    Error, Store, Topic, audit,
    columns::{Columns, bigint, json, maybe_bigint, word},
    database::Write,
    domain::{AuditEvent, Promotion},
};

const TOPICS: &[Topic] = &[Topic::Promotions];

impl Store {
    /// The promotion with this id, under way or ended.
    pub async fn promotion(&self, id: u64) -> Result<Promotion, Error> {
        let row = sqlx::query("SELECT * FROM promotions WHERE id = $1")
            .bind(bigint(id))
            .fetch_optional(self.readers())
            .await?;
        promotion(&row.ok_or_else(|| Error::not_found("promotion", id))?)
    }

    /// Every promotion that is under way, in the order of their beginnings.
    pub async fn active_promotions(&self) -> Result<Vec<Promotion>, Error> {
        let rows = sqlx::query("SELECT * FROM promotions WHERE ended_at IS NULL ORDER BY id")
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(promotion).collect()
    }

    /// The promotion that is under way in an environment, if one is.
    pub async fn active_promotion(&self, model: &ModelId, environment: &str) -> Result<Option<Promotion>, Error> {
        let row = sqlx::query("SELECT * FROM promotions WHERE model_id = $1 AND environment = $2 AND ended_at IS NULL")
            .bind(model.as_str())
            .bind(environment)
            .fetch_optional(self.readers())
            .await?;
        row.as_ref().map(promotion).transpose()
    }

    /// The newest promotions of an environment, at most `limit`, newest first, the one under way included. It outlives the
    /// environment, and goes with the model.
    pub async fn promotion_history(
        &self,
        model: &ModelId,
        environment: &str,
        limit: u32,
    ) -> Result<Vec<Promotion>, Error> {
        let rows =
            sqlx::query("SELECT * FROM promotions WHERE model_id = $1 AND environment = $2 ORDER BY id DESC LIMIT $3")
                .bind(model.as_str())
                .bind(environment)
                .bind(i64::from(limit))
                .fetch_all(self.readers())
                .await?;
        rows.iter().map(promotion).collect()
    }

    /// Records what somebody asks of a promotion; the next decision consumes it. It takes the place of a command that nobody has
    /// looked at yet, unless that one ends the promotion and this one does not. `NotFound` when there is no such promotion,
    /// `Conflict` when it has ended or is about to.
    pub async fn command_promotion(&self, id: u64, command: Command, audit: Option<&AuditEvent>) -> Result<(), Error> {
        let mut write = self.write(TOPICS).await?;
        let row =
            sqlx::query("SELECT * FROM promotions WHERE id = $1").bind(bigint(id)).fetch_optional(write.on()).await?;
        let known = promotion(&row.ok_or_else(|| Error::not_found("promotion", id))?)?;
        let keeps = known.command.is_some_and(|pending| ends(pending) && !ends(command));
        if known.ended_at.is_some() || keeps {
            return Err(Error::conflict("promotion", id));
        }
        let recorded = sqlx::query(
            "UPDATE promotions SET command = $1, generation = generation + 1
             WHERE id = $2 AND generation = $3 AND ended_at IS NULL",
        )
        .bind(word(&command))
        .bind(bigint(id))
        .bind(bigint(known.generation))
        .execute(write.on())
        .await?;
        if recorded.rows_affected() == 0 {
            return Err(Error::conflict("promotion", id));
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }

    /// Saves a promotion read before, as far as it changes while it is under way: state, targets, why, and the command, which is
    /// none once it has been consumed. `Conflict` when it has changed or ended since. On success `generation` has grown.
    pub async fn save_promotion(&self, promotion: &mut Promotion) -> Result<(), Error> {
        let mut write = self.write(TOPICS).await?;
        save(&mut write, promotion).await?;
        write.commit().await?;
        promotion.generation += 1;
        Ok(())
    }
}

/// Whether a command is about the end of a promotion.
fn ends(command: Command) -> bool {
    match command {
        Command::Pause | Command::Resume => false,
        Command::Cancel | Command::ForceCancel | Command::ForceRollForward => true,
    }
}

async fn save(write: &mut Write, promotion: &Promotion) -> Result<(), Error> {
    let saved = sqlx::query(
        "UPDATE promotions SET ended_at = $1, state = $2, targets = $3, why = $4, command = $5, generation = generation + 1
         WHERE id = $6 AND generation = $7 AND ended_at IS NULL",
    )
    .bind(maybe_bigint(promotion.ended_at))
    .bind(json(&promotion.state))
    .bind(json(&promotion.targets))
    .bind(&promotion.why)
    .bind(promotion.command.as_ref().map(word))
    .bind(bigint(promotion.id))
    .bind(bigint(promotion.generation))
    .execute(write.on())
    .await?;
    if saved.rows_affected() == 0 {
        return Err(Error::conflict("promotion", promotion.id));
    }
    Ok(())
}

/// The promotion that is under way in an environment, read in a transaction.
async fn active(write: &mut Write, model: &ModelId, environment: &str) -> Result<Option<Promotion>, Error> {
    let row = sqlx::query("SELECT * FROM promotions WHERE model_id = $1 AND environment = $2 AND ended_at IS NULL")
        .bind(model.as_str())
        .bind(environment)
        .fetch_optional(write.on())
        .await?;
    row.as_ref().map(promotion).transpose()
}

pub(crate) fn promotion(row: &AnyRow) -> Result<Promotion, Error> {
    Ok(Promotion {
        id: row.number("id")?,
        model_id: row.id("model_id")?,
        environment: row.text("environment")?,
        candidate: row.id("candidate")?,
        previous: row.maybe_id("previous")?,
        origin: row.word("origin")?,
        started_at: row.time("started_at")?,
        ended_at: row.maybe_time("ended_at")?,
        settings: row.json("settings")?,
        state: row.json("state")?,
        targets: row.json("targets")?,
        why: row.text("why")?,
        command: row.maybe_word("command")?,
        requested_by: row.maybe_text("requested_by")?,
        generation: row.number("generation")?,
    })
}
