//! Sign-ins that have begun and are not finished. Each is known by a secret of which only the hash is kept, and is used up once.

use planner::Timestamp;
use sqlx::any::AnyRow;

use crate::{
    Error, Store, Topic, audit,
    columns::{Columns, bigint, json, or_name_taken},
    domain::{AuditEvent, Device, SignIn, SignInState},
};

impl Store {
    /// Keeps a sign-in that has begun. `NameTaken` when another has its user code; `InUse` when as many as `most` are on their way,
    /// those whose time is over not counted.
    pub async fn begin_sign_in(&self, sign_in: &SignIn, now: Timestamp, most: u32) -> Result<(), Error> {
        let mut write = self.write(&[]).await?;
        sqlx::query("DELETE FROM sign_ins WHERE expires_at <= $1").bind(bigint(now.0)).execute(write.on()).await?;
        let row = sqlx::query("SELECT COUNT(*) AS waiting FROM sign_ins").fetch_one(write.on()).await?;
        if row.number("waiting")? >= u64::from(most) {
            return Err(Error::InUse { kind: "room for sign-ins", id: most.to_string() });
        }
        sqlx::query("INSERT INTO sign_ins (hash, user_code, state, expires_at) VALUES ($1, $2, $3, $4)")
            .bind(hex::encode(sign_in.hash))
            .bind(&sign_in.user_code)
            .bind(json(&sign_in.state))
            .bind(bigint(sign_in.expires_at.0))
            .execute(write.on())
            .await
            .map_err(or_name_taken("code", sign_in.user_code.as_deref().unwrap_or_default()))?;
        write.commit().await
    }

    /// The sign-in that is known by this hash.
    pub async fn sign_in(&self, hash: &[u8; 32], now: Timestamp) -> Result<SignIn, Error> {
        let row = sqlx::query("SELECT * FROM sign_ins WHERE hash = $1 AND expires_at > $2")
            .bind(hex::encode(hash))
            .bind(bigint(now.0))
            .fetch_optional(self.readers())
            .await?;
        read(&row.ok_or_else(|| Error::not_found("sign-in", "of that code"))?)
    }

    /// Uses up the sign-in that is known by this hash: of several who try at once, one does.
    pub async fn use_sign_in(&self, hash: &[u8; 32], now: Timestamp) -> Result<SignIn, Error> {
        let mut write = self.write(&[]).await?;
        let row = sqlx::query("DELETE FROM sign_ins WHERE hash = $1 AND expires_at > $2 RETURNING *")
            .bind(hex::encode(hash))
            .bind(bigint(now.0))
            .fetch_optional(write.on())
            .await?;
        let sign_in = read(&row.ok_or_else(|| Error::not_found("sign-in", "of that code"))?)?;
        write.commit().await?;
        Ok(sign_in)
    }

    /// Gives the sign-in with this user code, which waits for an answer, this state. The first answer counts.
    pub async fn answer_sign_in(
        &self,
        user_code: &str,
        state: &SignInState,
        now: Timestamp,
        audit: Option<&AuditEvent>,
    ) -> Result<(), Error> {
        let mut write = self.write(&[Topic::Audit]).await?;
        let answered =
            sqlx::query("UPDATE sign_ins SET state = $1 WHERE user_code = $2 AND expires_at > $3 AND state = $4")
                .bind(json(state))
                .bind(user_code)
                .bind(bigint(now.0))
                .bind(json(&SignInState::OnDevice(Device::Waits)))
                .execute(write.on())
                .await?;
        if answered.rows_affected() == 0 {
            return Err(Error::not_found("sign-in", user_code));
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }

    /// Forgets the sign-ins whose time is over.
    pub async fn delete_expired_sign_ins(&self, now: Timestamp) -> Result<(), Error> {
        let mut write = self.write(&[]).await?;
        sqlx::query("DELETE FROM sign_ins WHERE expires_at <= $1").bind(bigint(now.0)).execute(write.on()).await?;
        write.commit().await
    }
}

fn read(row: &AnyRow) -> Result<SignIn, Error> {
    Ok(SignIn {
        hash: crate::columns::hash(row, "hash")?,
        user_code: row.maybe_text("user_code")?,
        state: row.json("state")?,
        expires_at: row.time("expires_at")?,
    })
}
