//! Secrets of teams. Values are sealed before they reach the database, and leave this room as `SecretString` only.

use api::id::TeamId;
use secrecy::SecretString;
use sqlx::any::AnyRow;

use crate::{
    Error, Store, Topic, audit,
    columns::{Columns, bigint, or_name_taken},
    domain::{AuditEvent, Secret, SecretValues, fold_secret_name},
};

impl Store {
    /// Sets a secret, or gives an existing one of the same folded name a new value and spelling; its id and time of creation stay.
    pub async fn set_secret(
        &self,
        secret: &Secret,
        value: &SecretString,
        audit: Option<&AuditEvent>,
    ) -> Result<Secret, Error> {
        let folded = fold_secret_name(&secret.name);
        let sealed = self.cipher().seal(value, &owner(&secret.team_id, &folded));
        let mut write = self.write(&[Topic::Secrets]).await?;
        let row = sqlx::query(
            "INSERT INTO secrets (id, team_id, folded_name, name, sealed, key_name, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (team_id, folded_name)
             DO UPDATE SET name = excluded.name, sealed = excluded.sealed, key_name = excluded.key_name
             RETURNING id, team_id, name, created_at",
        )
        .bind(secret.id.as_str())
        .bind(secret.team_id.as_str())
        .bind(folded)
        .bind(&secret.name)
        .bind(sealed)
        .bind(self.cipher().key_name())
        .bind(bigint(secret.created_at.0))
        .fetch_one(write.on())
        .await
        .map_err(or_name_taken("secret", &secret.name))?;
        audit::insert(&mut write, audit).await?;
        write.commit().await?;
        read(&row)
    }

    /// The secrets of one team, or of all, by name, without values.
    pub async fn secrets(&self, team: Option<&TeamId>) -> Result<Vec<Secret>, Error> {
        let rows = sqlx::query(
            "SELECT id, team_id, name, created_at FROM secrets WHERE $1 IS NULL OR team_id = $1 ORDER BY folded_name, team_id",
        )
        .bind(team.map(TeamId::as_str))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(read).collect()
    }

    /// Deletes a secret by any spelling of its name, and says what it was.
    pub async fn delete_secret(&self, team: &TeamId, name: &str, audit: Option<&AuditEvent>) -> Result<Secret, Error> {
        let mut write = self.write(&[Topic::Secrets]).await?;
        let row = sqlx::query(
            "DELETE FROM secrets WHERE team_id = $1 AND folded_name = $2 RETURNING id, team_id, name, created_at",
        )
        .bind(team.as_str())
        .bind(fold_secret_name(name))
        .fetch_optional(write.on())
        .await?;
        let row = row.ok_or_else(|| Error::not_found("secret", name))?;
        audit::insert(&mut write, audit).await?;
        write.commit().await?;
        read(&row)
    }

    /// The values of a team's secrets by folded name (see [`fold_secret_name`]).
    pub async fn secret_values(&self, team: &TeamId) -> Result<SecretValues, Error> {
        let rows = sqlx::query("SELECT team_id, folded_name, sealed, key_name FROM secrets WHERE team_id = $1")
            .bind(team.as_str())
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(|row| Ok((row.text("folded_name")?, self.value(row)?))).collect()
    }

    /// Seals with the server's present secret what is sealed with one that it had before. What opens with none of them stays as it is.
    ///
    /// Each step of it is a transaction of its own: one that is interrupted is gone on with by the next call.
    pub async fn reseal_secrets(&self) -> Result<Resealed, Error> {
        let mut resealed = Resealed::default();
        let mut after = String::new();
        loop {
            let mut write = self.write(&[]).await?;
            let rows = sqlx::query(
                "SELECT id, team_id, folded_name, name, sealed, key_name, created_at FROM secrets
                 WHERE id > $1 AND (key_name IS NULL OR key_name <> $2) ORDER BY id LIMIT $3",
            )
            .bind(after.clone())
            .bind(self.cipher().key_name())
            .bind(RESEALED_AT_ONCE)
            .fetch_all(write.on())
            .await?;
            let Some(last) = rows.last() else { return Ok(resealed) };
            after = last.text("id")?;
            for row in &rows {
                let Ok(value) = self.value(row) else {
                    resealed.unreadable.push(read(row)?);
                    continue;
                };
                let owner = owner(&row.id("team_id")?, &row.text("folded_name")?);
                // Another server may have set another value since it was read.
                let updated =
                    sqlx::query("UPDATE secrets SET sealed = $1, key_name = $2 WHERE id = $3 AND sealed = $4")
                        .bind(self.cipher().seal(&value, &owner))
                        .bind(self.cipher().key_name())
                        .bind(row.text("id")?)
                        .bind(row.text("sealed")?)
                        .execute(write.on())
                        .await?;
                resealed.count += updated.rows_affected();
            }
            write.commit().await?;
        }
    }

    /// The value in a row.
    fn value(&self, row: &AnyRow) -> Result<SecretString, Error> {
        let owner = owner(&row.id("team_id")?, &row.text("folded_name")?);
        self.cipher().open(&row.text("sealed")?, row.maybe_text("key_name")?.as_deref(), &owner)
    }
}

/// How many secrets are sealed anew in one transaction.
const RESEALED_AT_ONCE: i64 = 100;

/// What became of secrets that were not sealed with the server's present secret.
#[derive(Debug, Default)]
pub struct Resealed {
    /// How many are now.
    pub count: u64,
    /// Those that open with none of the server's secrets. They are as they were.
    pub unreadable: Vec<Secret>,
}

/// What a sealed value is bound to, so that one row's value cannot be moved into another.
fn owner(team: &TeamId, folded_name: &str) -> Vec<u8> {
    format!("{team}/{folded_name}").into_bytes()
}

fn read(row: &AnyRow) -> Result<Secret, Error> {
    Ok(Secret {
        id: row.id("id")?,
        team_id: row.id("team_id")?,
        name: row.text("name")?,
        created_at: row.time("created_at")?,
    })
}
