//! Users: people and service accounts, and what the latter identify themselves with.

use api::id::UserId;
use sqlx::any::AnyRow;

use crate::{
    Error, Store, Topic, audit,
    columns::{Columns, bigint, hash, json, or_name_taken, word},
    database::Write,
    domain::{ApiKey, AuditEvent, ClientCredential, User},
    keys,
};

/// What somebody can begin with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beginning<'a> {
    /// A key.
    pub key: Option<&'a ApiKey>,
    /// What they ask for tokens with.
    pub credential: Option<&'a ClientCredential>,
}

impl Store {
    /// Adds a user. `NameTaken` when there is one of that address, or of that name at the provider.
    pub async fn add_user(
        &self,
        user: &User,
        beginning: Beginning<'_>,
        audit: Option<&AuditEvent>,
    ) -> Result<(), Error> {
        let mut write = self.write(&[Topic::Keys]).await?;
        insert(&mut write, user).await?;
        if let Some(key) = beginning.key {
            keys::insert(&mut write, key).await?;
        }
        if let Some(credential) = beginning.credential {
            insert_credential(&mut write, credential).await?;
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }

    /// Changes a user, as `change` says, which sees nobody else's change between. `InUse` when no administrator would be left.
    pub async fn change_user<E: From<Error>>(
        &self,
        id: &UserId,
        audit: Option<&AuditEvent>,
        change: impl FnOnce(&mut User) -> Result<(), E>,
    ) -> Result<User, E> {
        let mut write = self.write(&[Topic::Keys]).await?;
        // Taken for writing before it is read: PostgreSQL lets others write at the same time.
        touch(&mut write, id).await?;
        let row = sqlx::query("SELECT * FROM users WHERE id = $1")
            .bind(id.as_str())
            .fetch_one(write.on())
            .await
            .map_err(Error::from)?;
        let mut user = user(&row)?;
        change(&mut user)?;
        let saved = sqlx::query(
            "UPDATE users SET email = $1, name = $2, is_admin = $3, teams = $4, subject = $5 WHERE id = $6",
        )
        .bind(&user.email)
        .bind(&user.name)
        .bind(i64::from(user.is_admin))
        .bind(json(&user.teams))
        .bind(&user.subject)
        .bind(id.as_str())
        .execute(write.on())
        .await;
        saved.map_err(or_name_taken("user", &user.email))?;
        require_an_administrator(&mut write, id).await?;
        audit::insert(&mut write, audit).await?;
        write.commit().await?;
        Ok(user)
    }

    /// Deletes a user and all keys of theirs. `InUse` when no administrator would be left.
    pub async fn delete_user(&self, id: &UserId, audit: Option<&AuditEvent>) -> Result<(), Error> {
        let mut write = self.write(&[Topic::Keys]).await?;
        touch(&mut write, id).await?;
        for sql in ["DELETE FROM api_keys WHERE user_id = $1", "DELETE FROM users WHERE id = $1"] {
            sqlx::query(sql).bind(id.as_str()).execute(write.on()).await?;
        }
        require_an_administrator(&mut write, id).await?;
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }

    /// All users, those who joined first first.
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        let rows = sqlx::query("SELECT * FROM users ORDER BY created_at, id").fetch_all(self.readers()).await?;
        rows.iter().map(user).collect()
    }

    /// The user with this id.
    pub async fn user(&self, id: &UserId) -> Result<User, Error> {
        let row =
            sqlx::query("SELECT * FROM users WHERE id = $1").bind(id.as_str()).fetch_optional(self.readers()).await?;
        user(&row.ok_or_else(|| Error::not_found("user", id))?)
    }

    /// Gives a service account another credential; the one before is worth nothing any more, nor is any token or key that was got by it.
    pub async fn set_client_credential(
        &self,
        credential: &ClientCredential,
        audit: Option<&AuditEvent>,
    ) -> Result<(), Error> {
        let mut write = self.write(&[Topic::Keys]).await?;
        for sql in ["DELETE FROM client_credentials WHERE user_id = $1", "DELETE FROM api_keys WHERE user_id = $1"] {
            sqlx::query(sql).bind(credential.user_id.as_str()).execute(write.on()).await?;
        }
        insert_credential(&mut write, credential).await?;
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }

    /// The credential with this public part.
    pub async fn client_credential(&self, client_id: &str) -> Result<ClientCredential, Error> {
        let row = sqlx::query("SELECT * FROM client_credentials WHERE client_id = $1")
            .bind(client_id)
            .fetch_optional(self.readers())
            .await?;
        credential(&row.ok_or_else(|| Error::not_found("client", client_id))?)
    }

    /// Every credential.
    pub async fn client_credentials(&self) -> Result<Vec<ClientCredential>, Error> {
        let rows = sqlx::query("SELECT * FROM client_credentials").fetch_all(self.readers()).await?;
        rows.iter().map(credential).collect()
    }
}

pub(crate) async fn insert(write: &mut Write, user: &User) -> Result<(), Error> {
    let User { id, kind, email, name, is_admin, teams, subject, created_at } = user;
    sqlx::query(
        "INSERT INTO users (id, kind, email, name, is_admin, teams, subject, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id.as_str())
    .bind(word(kind))
    .bind(email)
    .bind(name)
    .bind(i64::from(*is_admin))
    .bind(json(teams))
    .bind(subject)
    .bind(bigint(created_at.0))
    .execute(write.on())
    .await
    .map_err(or_name_taken("user", email))?;
    Ok(())
}

async fn insert_credential(write: &mut Write, credential: &ClientCredential) -> Result<(), Error> {
    sqlx::query("INSERT INTO client_credentials (client_id, user_id, hash, created_at) VALUES ($1, $2, $3, $4)")
        .bind(&credential.client_id)
        .bind(credential.user_id.as_str())
        .bind(hex::encode(credential.hash))
        .bind(bigint(credential.created_at.0))
        .execute(write.on())
        .await
        .map_err(or_name_taken("client", &credential.client_id))?;
    Ok(())
}

/// Locks all administrators and the row of a user against other writers; `NotFound` where there is no such user.
async fn touch(write: &mut Write, id: &UserId) -> Result<(), Error> {
    let touched = sqlx::query("UPDATE users SET is_admin = is_admin WHERE is_admin = 1 OR id = $1 RETURNING id")
        .bind(id.as_str())
        .fetch_all(write.on())
        .await?;
    let is_there = touched.iter().any(|row| row.text("id").is_ok_and(|found| found == id.as_str()));
    if is_there { Ok(()) } else { Err(Error::not_found("user", id)) }
}

async fn require_an_administrator(write: &mut Write, id: &UserId) -> Result<(), Error> {
    let left = sqlx::query("SELECT id FROM users WHERE is_admin = 1 AND kind = 'person' LIMIT 1")
        .fetch_optional(write.on())
        .await?;
    left.map(drop).ok_or_else(|| Error::InUse { kind: "user", id: id.to_string() })
}

pub(crate) fn user(row: &AnyRow) -> Result<User, Error> {
    Ok(User {
        id: row.id("id")?,
        kind: row.word("kind")?,
        email: row.text("email")?,
        name: row.maybe_text("name")?,
        is_admin: row.flag("is_admin")?,
        teams: row.json("teams")?,
        subject: row.maybe_text("subject")?,
        created_at: row.time("created_at")?,
    })
}

fn credential(row: &AnyRow) -> Result<ClientCredential, Error> {
    Ok(ClientCredential {
        client_id: row.text("client_id")?,
        hash: hash(row, "hash")?,
        user_id: row.id("user_id")?,
        created_at: row.time("created_at")?,
    })
}
