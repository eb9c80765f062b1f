//! Policies, and what they are attached to.

use api::id::{DeploymentId, ModelId};
use planner::{Timestamp, policy::Policy};
use sqlx::any::AnyRow;

use crate::{
    Error, Store, Topic, audit,
    columns::{Columns, bigint, json, or_name_taken},
    database::Write,
    domain::{AuditEvent, PolicyUse, StoredPolicy},
};

/// What policies are attached to.
#[derive(Debug, Clone, Copy)]
pub enum PoliciesOf<'a> {
    /// An environment of a model.
    Environment(&'a ModelId, &'a str),
    /// A deployment.
    Deployment(&'a DeploymentId),
}

const TOPICS: &[Topic] = &[Topic::Environments, Topic::Deployments];

impl Store {
    /// All policies by name, with how often each is in use.
    pub async fn policies(&self) -> Result<Vec<StoredPolicy>, Error> {
        let rows = sqlx::query(
            "SELECT policies.*,
                 (SELECT COUNT(*) FROM environment_policies WHERE policy = name) AS environments,
                 (SELECT COUNT(*) FROM deployment_policies WHERE policy = name) AS deployments
             FROM policies ORDER BY name",
        )
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(stored).collect()
    }

    /// Makes a policy.
    pub async fn add_policy(&self, policy: &Policy, now: Timestamp, audit: Option<&AuditEvent>) -> Result<(), Error> {
        let name = policy.name().as_str();
        let mut write = self.write(TOPICS).await?;
        sqlx::query("INSERT INTO policies (name, policy, created_at, updated_at) VALUES ($1, $2, $3, $3)")
            .bind(name)
            .bind(json(policy))
            .bind(bigint(now.0))
            .execute(write.on())
            .await
            .map_err(or_name_taken("policy", name))?;
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }

    /// Gives a policy another rule. What it is attached to stays.
    pub async fn replace_policy(
        &self,
        policy: &Policy,
        now: Timestamp,
        audit: Option<&AuditEvent>,
    ) -> Result<(), Error> {
        let name = policy.name().as_str();
        let mut write = self.write(TOPICS).await?;
        let changed = sqlx::query("UPDATE policies SET policy = $2, updated_at = $3 WHERE name = $1")
            .bind(name)
            .bind(json(policy))
            .bind(bigint(now.0))
            .execute(write.on())
            .await?;
        if changed.rows_affected() == 0 {
            return Err(Error::not_found("policy", name));
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }

    /// Deletes a policy. One that is attached to something only by force; it is then attached to nothing.
    pub async fn delete_policy(&self, name: &str, by_force: bool, audit: Option<&AuditEvent>) -> Result<(), Error> {
        let mut write = self.write(TOPICS).await?;
        let uses: i64 = sqlx::query_scalar(
            "SELECT (SELECT COUNT(*) FROM environment_policies WHERE policy = $1)
                  + (SELECT COUNT(*) FROM deployment_policies WHERE policy = $1)",
        )
        .bind(name)
        .fetch_one(write.on())
        .await?;
        if uses > 0 && !by_force {
            return Err(Error::InUse { kind: "policy", id: name.into() });
        }
        // It goes with what ties it to environments and deployments.
        let deleted = sqlx::query("DELETE FROM policies WHERE name = $1").bind(name).execute(write.on()).await?;
        if deleted.rows_affected() == 0 {
            return Err(Error::not_found("policy", name));
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }

    /// What a policy is attached to: environments, then deployments.
    pub async fn uses_of_policy(&self, name: &str) -> Result<Vec<PolicyUse>, Error> {
        let of_environment = |row: &AnyRow| {
            Ok(PolicyUse::Environment { model_id: row.id("model_id")?, environment: row.text("environment")? })
        };
        let rows = sqlx::query("SELECT * FROM environment_policies WHERE policy = $1 ORDER BY model_id, environment")
            .bind(name)
            .fetch_all(self.readers())
            .await?;
        let mut uses = rows.iter().map(of_environment).collect::<Result<Vec<_>, Error>>()?;
        let rows = sqlx::query("SELECT * FROM deployment_policies WHERE policy = $1 ORDER BY deployment_id")
            .bind(name)
            .fetch_all(self.readers())
            .await?;
        for row in &rows {
            uses.push(PolicyUse::Deployment { deployment_id: row.id("deployment_id")? });
        }
        Ok(uses)
    }

    /// The names of what is attached, in the order in which it was.
    pub async fn policies_of(&self, of: PoliciesOf<'_>) -> Result<Vec<String>, Error> {
        let rows = match of {
            PoliciesOf::Environment(model, name) => {
                let sql =
                    "SELECT policy FROM environment_policies WHERE model_id = $1 AND environment = $2 ORDER BY place";
                sqlx::query(sql).bind(model.as_str()).bind(name).fetch_all(self.readers()).await?
            }
            PoliciesOf::Deployment(id) => {
                let sql = "SELECT policy FROM deployment_policies WHERE deployment_id = $1 ORDER BY place";
                sqlx::query(sql).bind(id.as_str()).fetch_all(self.readers()).await?
            }
        };
        rows.iter().map(|row| row.text("policy")).collect()
    }

    /// Attaches these, in place of what was attached before.
    pub async fn attach_policies(
        &self,
        of: PoliciesOf<'_>,
        names: &[String],
        audit: Option<&AuditEvent>,
    ) -> Result<(), Error> {
        let mut write = self.write(TOPICS).await?;
        detach(&mut write, of).await?;
        for (place, name) in names.iter().enumerate() {
            attach(&mut write, of, name, place as u64).await?;
        }
        audit::insert(&mut write, audit).await?;
        write.commit().await
    }
}

/// Attaches to one deployment what is attached to another.
pub(crate) async fn copy(write: &mut Write, from: &DeploymentId, to: &DeploymentId) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO deployment_policies (deployment_id, policy, place)
         SELECT $2, policy, place FROM deployment_policies WHERE deployment_id = $1",
    )
    .bind(from.as_str())
    .bind(to.as_str())
    .execute(write.on())
    .await?;
    Ok(())
}

async fn detach(write: &mut Write, of: PoliciesOf<'_>) -> Result<(), Error> {
    match of {
        PoliciesOf::Environment(model, name) => {
            let sql = "DELETE FROM environment_policies WHERE model_id = $1 AND environment = $2";
            sqlx::query(sql).bind(model.as_str()).bind(name).execute(write.on()).await?;
        }
        PoliciesOf::Deployment(id) => {
            let sql = "DELETE FROM deployment_policies WHERE deployment_id = $1";
            sqlx::query(sql).bind(id.as_str()).execute(write.on()).await?;
        }
    }
    Ok(())
}

async fn attach(write: &mut Write, of: PoliciesOf<'_>, policy: &str, place: u64) -> Result<(), Error> {
    match of {
        PoliciesOf::Environment(model, name) => {
            let sql = "INSERT INTO environment_policies (model_id, environment, policy, place) VALUES ($1, $2, $3, $4)";
            let insert = sqlx::query(sql).bind(model.as_str()).bind(name).bind(policy).bind(bigint(place));
            insert.execute(write.on()).await?;
        }
        PoliciesOf::Deployment(id) => {
            let sql = "INSERT INTO deployment_policies (deployment_id, policy, place) VALUES ($1, $2, $3)";
            sqlx::query(sql).bind(id.as_str()).bind(policy).bind(bigint(place)).execute(write.on()).await?;
        }
    }
    Ok(())
}

fn stored(row: &AnyRow) -> Result<StoredPolicy, Error> {
    Ok(StoredPolicy {
        policy: row.json("policy")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        environments: row.number("environments")?,
        deployments: row.number("deployments")?,
    })
}
