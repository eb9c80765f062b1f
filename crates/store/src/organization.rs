//! The installation: one organization, and its teams.

use api::id::TeamId;
use sqlx::any::AnyRow;

use crate::{
    Error, Store, Topic, audit,
    columns::{Columns, bigint, or_in_use, or_name_taken},
    database::Write,
    domain::{ApiKey, AuditEvent, Organization, Team, User},
    keys, people,
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
        insert_team(&mut write, &first.team).await?;
        people::insert(&mut write, &first.admin).await?;
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

    /// Adds a team. `NameTaken` when there is one of that name.
    pub async fn add_team(&self, team: &Team, audit: Option<&AuditEvent>) -> Result<(), Error> {
        let mut write = self.write(&[Topic::Keys]).await?;
        insert_team(&mut write, team).await?;
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }

    /// Gives a team another name. `NameTaken` when there is one of that name.
    pub async fn rename_team(&self, id: &TeamId, name: &str, audit: Option<&AuditEvent>) -> Result<(), Error> {
        let mut write = self.write(&[Topic::Keys]).await?;
        let renamed = sqlx::query("UPDATE teams SET name = $1 WHERE id = $2")
            .bind(name)
            .bind(id.as_str())
            .execute(write.on())
            .await
            .map_err(or_name_taken("team", name))?;
        if renamed.rows_affected() == 0 {
            return Err(Error::not_found("team", id));
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }

    /// Deletes a team, and what was said about its environments. `InUse` while it has members, models, secrets or keys.
    pub async fn delete_team(&self, id: &TeamId, audit: Option<&AuditEvent>) -> Result<(), Error> {
        let mut write = self.write(&[Topic::Keys]).await?;
        for row in sqlx::query("SELECT * FROM users").fetch_all(write.on()).await? {
            if people::user(&row)?.teams.contains_key(id) {
                return Err(Error::InUse { kind: "team", id: id.to_string() });
            }
        }
        sqlx::query("DELETE FROM environment_groups WHERE team_id = $1").bind(id.as_str()).execute(write.on()).await?;
        let deleted = sqlx::query("DELETE FROM teams WHERE id = $1")
            .bind(id.as_str())
            .execute(write.on())
            .await
            .map_err(or_in_use("team", id.as_str()))?;
        if deleted.rows_affected() == 0 {
            return Err(Error::not_found("team", id));
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }
}

async fn insert_team(write: &mut Write, team: &Team) -> Result<(), Error> {
    sqlx::query("INSERT INTO teams (id, name, is_default, created_at) VALUES ($1, $2, $3, $4)")
        .bind(team.id.as_str())
        .bind(&team.name)
        .bind(i64::from(team.is_default))
        .bind(bigint(team.created_at.0))
        .execute(write.on())
        .await
        .map_err(or_name_taken("team", &team.name))?;
    Ok(())
}

fn team(row: &AnyRow) -> Result<Team, Error> {
    Ok(Team {
        id: row.id("id")?,
        name: row.text("name")?,
        is_default: row.flag("is_default")?,
        created_at: row.time("created_at")?,
    })
}
