//! Environment groups: the environments of one name in all models of a team, and who may change them.

use api::id::TeamId;
use sqlx::any::AnyRow;

use crate::{
    Error, Store, Topic, audit,
    columns::{Columns, json},
    domain::{AuditEvent, EnvironmentGroup},
};

impl Store {
    /// What has been said about the groups of a team, by name. A group that nothing has been said about is open to all.
    pub async fn environment_groups(&self, team: &TeamId) -> Result<Vec<EnvironmentGroup>, Error> {
        let rows = sqlx::query("SELECT * FROM environment_groups WHERE team_id = $1 ORDER BY name")
            .bind(team.as_str())
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(group).collect()
    }

    /// Says who may change the environments of a group, in place of what was said before. With `keeps_users` those who are named stay
    /// as they are by then.
    pub async fn set_environment_group(
        &self,
        group: &EnvironmentGroup,
        keeps_users: bool,
        audit: Option<&AuditEvent>,
    ) -> Result<(), Error> {
        let mut write = self.write(&[Topic::Environments]).await?;
        sqlx::query(
            "INSERT INTO environment_groups (team_id, name, is_restricted, user_ids) VALUES ($1, $2, $3, $4)
             ON CONFLICT (team_id, name) DO UPDATE SET is_restricted = excluded.is_restricted,
                 user_ids = CASE WHEN $5 = 1 THEN environment_groups.user_ids ELSE excluded.user_ids END",
        )
        .bind(group.team_id.as_str())
        .bind(&group.name)
        .bind(i64::from(group.is_restricted))
        .bind(json(&group.user_ids))
        .bind(i64::from(keeps_users))
        .execute(write.on())
        .await?;
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }
}

fn group(row: &AnyRow) -> Result<EnvironmentGroup, Error> {
    Ok(EnvironmentGroup {
        team_id: row.id("team_id")?,
        name: row.text("name")?,
        is_restricted: row.flag("is_restricted")?,
        user_ids: row.json("user_ids")?,
    })
}
