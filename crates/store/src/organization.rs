//! The installation: one organization, its teams, its people.

use api::id::{TeamId, UserId};
use sqlx::any::AnyRow;

use crate::{
    Error, Store, Topic,
    columns::{Columns, bigint},
    domain::{ApiKey, Organization, Team, User},
    keys,
};

/// What a first start makes.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The organization.
    pub organization: Organization,
    /// Its default team.
    pub team: Team,
    /// Its administrator.
    pub admin: User,
    /// The administrator's key.
    pub admin_key: ApiKey,
}

impl Store {
    /// Makes the organization unless there is one already. Whether this call made it.
    pub async fn ensure_installed(&self, first: &Installation) -> Result<bool, Error> {
        let mut write = self.write(&[Topic::Keys]).await?;
        let made =
            sqlx::query("INSERT INTO organization (singleton, id, name) VALUES (1, $1, $2) ON CONFLICT DO NOTHING")
                .bind(&first.organization.id)
                .bind(&first.organization.name)
                .execute(write.on())
                .await?;
        if made.rows_affected() == 0 {
            return Ok(false);
        }
        let Team { id, name, is_default, created_at } = &first.team;
        sqlx::query("INSERT INTO teams (id, name, is_default, created_at) VALUES ($1, $2, $3, $4)")
            .bind(id.as_str())
            .bind(name)
            .bind(i64::from(*is_default))
            .bind(bigint(created_at.0))
            .execute(write.on())
            .await?;
        let User { id, email, name, is_admin, created_at } = &first.admin;
        sqlx::query("INSERT INTO users (id, email, name, is_admin, created_at) VALUES ($1, $2, $3, $4, $5)")
            .bind(id.as_str())
            .bind(email)
            .bind(name)
            .bind(i64::from(*is_admin))
            .bind(bigint(created_at.0))
            .execute(write.on())
            .await?;
        keys::insert(&mut write, &first.admin_key).await?;
        write.commit().await?;
        Ok(true)
    }

    /// The organization; none before the first start.
    pub async fn organization(&self) -> Result<Option<Organization>, Error> {
        let row = sqlx::query("SELECT id, name FROM organization").fetch_optional(self.readers()).await?;
        row.map(|row| Ok(Organization { id: row.text("id")?, name: row.text("name")? })).transpose()
    }

    /// All teams, the default one first.
    pub async fn teams(&self) -> Result<Vec<Team>, Error> {
        let rows = sqlx::query("SELECT * FROM teams ORDER BY is_default DESC, name").fetch_all(self.readers()).await?;
        rows.iter().map(team).collect()
    }

    /// The team with this id.
    pub async fn team(&self, id: &TeamId) -> Result<Team, Error> {
        let row =
            sqlx::query("SELECT * FROM teams WHERE id = $1").bind(id.as_str()).fetch_optional(self.readers()).await?;
        team(&row.ok_or_else(|| Error::not_found("team", id))?)
    }

    /// All people, those who joined first first.
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        let rows = sqlx::query("SELECT * FROM users ORDER BY created_at, id").fetch_all(self.readers()).await?;
        rows.iter().map(user).collect()
    }

    /// The person with this id.
    pub async fn user(&self, id: &UserId) -> Result<User, Error> {
        let row =
            sqlx::query("SELECT * FROM users WHERE id = $1").bind(id.as_str()).fetch_optional(self.readers()).await?;
        user(&row.ok_or_else(|| Error::not_found("user", id))?)
    }
}

fn team(row: &AnyRow) -> Result<Team, Error> {
    Ok(Team {
        id: row.id("id")?,
        name: row.text("name")?,
        is_default: row.flag("is_default")?,
        created_at: row.time("created_at")?,
    })
}

fn user(row: &AnyRow) -> Result<User, Error> {
    Ok(User {
        id: row.id("id")?,
        email: row.text("email")?,
        name: row.maybe_text("name")?,
        is_admin: row.flag("is_admin")?,
        created_at: row.time("created_at")?,
    })
}
