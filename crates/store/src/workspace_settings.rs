//! What holds for the whole workspace.

use crate::{
    Error, Store, Topic, audit,
    columns::{Columns, bigint, json},
    domain::{AuditEvent, WorkspaceSettings},
};

impl Store {
    /// What holds for the whole workspace.
    pub async fn workspace_settings(&self) -> Result<WorkspaceSettings, Error> {
        let row = sqlx::query("SELECT * FROM workspace_settings").fetch_one(self.readers()).await?;
        Ok(WorkspaceSettings {
            default_environment: row.maybe_text("default_environment")?,
            initial_environments: row.json("initial_environments")?,
            generation: row.number("generation")?,
        })
    }

    /// Saves settings read before; `Conflict` when they have changed since. On success `generation` has grown.
    pub async fn save_workspace_settings(
        &self,
        settings: &mut WorkspaceSettings,
        audit: Option<&AuditEvent>,
    ) -> Result<(), Error> {
        let mut write = self.write(&[Topic::Environments]).await?;
        let saved = sqlx::query(
            "UPDATE workspace_settings
             SET default_environment = $1, initial_environments = $2, generation = generation + 1 WHERE generation = $3",
        )
        .bind(&settings.default_environment)
        .bind(json(&settings.initial_environments))
        .bind(bigint(settings.generation))
        .execute(write.on())
        .await?;
        if saved.rows_affected() == 0 {
            return Err(Error::conflict("workspace", "settings"));
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await?;
        settings.generation += 1;
        Ok(())
    }
}
