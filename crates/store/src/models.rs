//! Models: names with deployments and environments.

use api::id::{ModelId, TeamId};
use sqlx::any::AnyRow;

use crate::{
    Error, NewDeployment, Store, Topic, audit,
    columns::{Columns, bigint, or_name_taken},
    deployments,
    domain::{AuditEvent, Deployment, Environment, Model},
    environments,
};

/// Which models to list; everything by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelFilter {
    /// Only this team's.
    pub team_id: Option<TeamId>,
    /// Only those of exactly this name.
    pub name: Option<String>,
}

const TOPICS: &[Topic] = &[Topic::Deployments, Topic::Environments, Topic::Promotions, Topic::Logs];

impl Store {
    /// Makes a model with its production environment, its first deployment, that one's first log line, and an audit entry.
    /// `NameTaken` when the team has a model of that name.
    pub async fn create_model(
        &self,
        model: &Model,
        production: &Environment,
        first: &NewDeployment,
        audit: Option<&AuditEvent>,
    ) -> Result<Deployment, Error> {
        let mut write = self.write(TOPICS).await?;
        sqlx::query(
            "INSERT INTO models (id, team_id, name, created_at, archive_download_disabled, last_deployment_number)
             VALUES ($1, $2, $3, $4, $5, 0)",
        )
        .bind(model.id.as_str())
        .bind(model.team_id.as_str())
        .bind(&model.name)
        .bind(bigint(model.created_at.0))
        .bind(i64::from(model.archive_download_disabled))
        .execute(write.on())
        .await
        .map_err(or_name_taken("model", &model.name))?;
        environments::insert(&mut write, production).await?;
        let deployment = deployments::push(&mut write, first).await?;
        audit::insert_push(&mut write, audit, &deployment).await?;
        write.commit().await?;
        Ok(deployment)
    }

    /// The model with this id.
    pub async fn model(&self, id: &ModelId) -> Result<Model, Error> {
        let row =
            sqlx::query("SELECT * FROM models WHERE id = $1").bind(id.as_str()).fetch_optional(self.readers()).await?;
        model(&row.ok_or_else(|| Error::not_found("model", id))?)
    }

    /// Models by time of creation, newest first.
    pub async fn models(&self, filter: &ModelFilter) -> Result<Vec<Model>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM models WHERE ($1 IS NULL OR team_id = $1) AND ($2 IS NULL OR name = $2)
             ORDER BY created_at DESC, id",
        )
        .bind(filter.team_id.as_ref().map(TeamId::as_str))
        .bind(&filter.name)
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(model).collect()
    }

    /// The team's model of this name, if it has one.
    pub async fn model_by_name(&self, team: &TeamId, name: &str) -> Result<Option<Model>, Error> {
        let filter = ModelFilter { team_id: Some(team.clone()), name: Some(name.into()) };
        Ok(self.models(&filter).await?.pop())
    }

    /// Gives a model another name; `NameTaken` when the team has a model of that name.
    pub async fn rename_model(&self, id: &ModelId, name: &str, audit: Option<&AuditEvent>) -> Result<Model, Error> {
        let mut write = self.write(&[Topic::Deployments]).await?;
        let row = sqlx::query("UPDATE models SET name = $1 WHERE id = $2 RETURNING *")
            .bind(name)
            .bind(id.as_str())
            .fetch_optional(write.on())
            .await
            .map_err(or_name_taken("model", name))?;
        let renamed = model(&row.ok_or_else(|| Error::not_found("model", id))?)?;
        audit::insert(&mut write, audit).await?;
        write.commit().await?;
        Ok(renamed)
    }

    /// Deletes a model with its environments and deployments. Their replicas stay listed, for whoever stops replicas that belong
    /// to nothing; their archives and log lines go with the next collection of garbage.
    pub async fn delete_model(&self, id: &ModelId, audit: Option<&AuditEvent>) -> Result<(), Error> {
        let mut write = self.write(TOPICS).await?;
        deployments::lock_model(&mut write, id).await?;
        for sql in [
            "DELETE FROM promotions WHERE model_id = $1",
            "DELETE FROM environments WHERE model_id = $1",
            "DELETE FROM deployments WHERE model_id = $1",
            "DELETE FROM models WHERE id = $1",
        ] {
            sqlx::query(sql).bind(id.as_str()).execute(write.on()).await?;
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }
}

pub(crate) fn model(row: &AnyRow) -> Result<Model, Error> {
    Ok(Model {
        id: row.id("id")?,
        team_id: row.id("team_id")?,
        name: row.text("name")?,
        created_at: row.time("created_at")?,
        archive_download_disabled: row.flag("archive_download_disabled")?,
    })
}
