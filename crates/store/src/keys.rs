//! API keys: their hashes, whose they are and what they may do. A revoked key is gone.

use std::num::NonZeroU32;

use api::id::UserId;
use planner::Timestamp;
use sqlx::any::AnyRow;

use crate::{
    Error, Store, Topic, audit,
    columns::{Columns, bigint, hash, maybe_bigint, maybe_json, or_name_taken, word},
    database::Write,
    domain::{ApiKey, AuditEvent, KeyOwner},
};

impl Store {
    /// Adds a key. `NameTaken` when its owner has one of that name, or the prefix is in use.
    pub async fn add_key(&self, key: &ApiKey, audit: Option<&AuditEvent>) -> Result<(), Error> {
        let mut write = self.write(&[Topic::Keys]).await?;
        insert(&mut write, key).await?;
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }

    /// Adds a key that expires to those of its user, of whom at most `most` such keys are kept, those that last longest. `NotFound`
    /// where it is for a client whose credential, of this public part, is not there any more.
    pub async fn add_token(
        &self,
        key: &ApiKey,
        most: u32,
        client_id: Option<&str>,
        audit: Option<&AuditEvent>,
    ) -> Result<(), Error> {
        let mut write = self.write(&[Topic::Keys]).await?;
        if let Some(client_id) = client_id {
            // A write, so that none replaces it meanwhile.
            let sql = "UPDATE client_credentials SET client_id = client_id WHERE client_id = $1";
            let held = sqlx::query(sql).bind(client_id).execute(write.on()).await?;
            if held.rows_affected() == 0 {
                return Err(Error::not_found("client", client_id));
            }
        }
        insert(&mut write, key).await?;
        if let KeyOwner::User(user) = &key.owner {
            keep_tokens(&mut write, user, most).await?;
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }

    /// Deletes the keys that have expired.
    pub async fn delete_expired_keys(&self, now: Timestamp) -> Result<(), Error> {
        let mut write = self.write(&[Topic::Keys]).await?;
        sqlx::query("DELETE FROM api_keys WHERE expires_at <= $1").bind(bigint(now.0)).execute(write.on()).await?;
        write.commit().await
    }

    /// Every living key, oldest first.
    pub async fn keys(&self) -> Result<Vec<ApiKey>, Error> {
        let rows = sqlx::query("SELECT * FROM api_keys ORDER BY created_at, prefix").fetch_all(self.readers()).await?;
        rows.iter().map(key).collect()
    }

    /// The living key with this prefix.
    pub async fn key(&self, prefix: &str) -> Result<ApiKey, Error> {
        let row =
            sqlx::query("SELECT * FROM api_keys WHERE prefix = $1").bind(prefix).fetch_optional(self.readers()).await?;
        key(&row.ok_or_else(|| Error::not_found("API key", prefix))?)
    }

    /// Revokes a key for good.
    pub async fn revoke_key(&self, prefix: &str, audit: Option<&AuditEvent>) -> Result<(), Error> {
        let mut write = self.write(&[Topic::Keys]).await?;
        let deleted = sqlx::query("DELETE FROM api_keys WHERE prefix = $1").bind(prefix).execute(write.on()).await?;
        if deleted.rows_affected() == 0 {
            return Err(Error::not_found("API key", prefix));
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }
}

/// Deletes a person's or program's tokens that expire first, until at most so many are left.
async fn keep_tokens(write: &mut Write, user: &UserId, most: u32) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM api_keys WHERE user_id = $1 AND expires_at IS NOT NULL AND prefix NOT IN (
             SELECT prefix FROM api_keys WHERE user_id = $1 AND expires_at IS NOT NULL
             ORDER BY expires_at DESC, prefix LIMIT $2)",
    )
    .bind(user.as_str())
    .bind(i64::from(most))
    .execute(write.on())
    .await?;
    Ok(())
}

fn limit(row: &AnyRow) -> Result<Option<NonZeroU32>, Error> {
    let limit = row.maybe_number("requests_per_minute")?;
    let limit = limit.map(u32::try_from).transpose().map_err(|error| Error::damaged("requests_per_minute", error))?;
    Ok(limit.and_then(NonZeroU32::new))
}

pub(crate) async fn insert(write: &mut Write, key: &ApiKey) -> Result<(), Error> {
    let (user, team) = match &key.owner {
        KeyOwner::User(id) => (Some(id.as_str()), None),
        KeyOwner::Team(id) => (None, Some(id.as_str())),
    };
    sqlx::query(
        "INSERT INTO api_keys (prefix, hash, name, kind, user_id, team_id, model_ids, created_at, environment_names,
             requests_per_minute, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(&key.prefix)
    .bind(hex::encode(key.hash))
    .bind(&key.name)
    .bind(word(&key.kind))
    .bind(user)
    .bind(team)
    .bind(maybe_json(&key.model_ids))
    .bind(bigint(key.created_at.0))
    .bind(maybe_json(&key.environment_names))
    .bind(key.requests_per_minute.map(|limit| i64::from(limit.get())))
    .bind(maybe_bigint(key.expires_at))
    .execute(write.on())
    .await
    .map_err(or_name_taken("API key", key.name.as_deref().unwrap_or(&key.prefix)))?;
    Ok(())
}

pub(crate) fn key(row: &AnyRow) -> Result<ApiKey, Error> {
    let owner = match row.maybe_id("user_id")? {
        Some(user) => KeyOwner::User(user),
        None => KeyOwner::Team(row.id("team_id")?),
    };
    Ok(ApiKey {
        prefix: row.text("prefix")?,
        hash: hash(row, "hash")?,
        name: row.maybe_text("name")?,
        kind: row.word("kind")?,
        owner,
        model_ids: row.maybe_json("model_ids")?,
        environment_names: row.maybe_json("environment_names")?,
        requests_per_minute: limit(row)?,
        expires_at: row.maybe_time("expires_at")?,
        created_at: row.time("created_at")?,
    })
}
