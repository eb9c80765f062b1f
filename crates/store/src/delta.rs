//! What has changed since it was last read, so that a copy in memory follows the database at the price of the changes. Triggers
//! write a row of the table `changes` for each row that changes; reading them and the rows that they name is one snapshot.

use std::collections::BTreeMap;

use api::{
    id::{DeploymentId, ModelId, ReplicaId, UserId},
    internal::tokens::Metered,
};
use planner::policy::Policy;
use sqlx::{Any, AnyConnection, Transaction, any::AnyRow};

use crate::{
    Error, Store,
    columns::{Columns, bigint},
    database::Dialect,
    deployments,
    domain::{ApiKey, Deployment, Environment, Model, Promotion, Replica, User},
    environments, keys, models, people, promotions, replicas, tokens,
};

/// Rows by their keys; none for one that is gone.
pub type Rows<K, T> = BTreeMap<K, Option<T>>;

/// Everything that tasks decide on and that has changed between two moments.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delta {
    /// The later moment, for [`Store::changed_since`].
    pub moment: u64,
    /// Models.
    pub models: Rows<ModelId, Model>,
    /// Deployments.
    pub deployments: Rows<DeploymentId, Deployment>,
    /// Environments, by model and name.
    pub environments: Rows<(ModelId, String), Environment>,
    /// Promotions under way; one that has ended is gone.
    pub promotions: Rows<u64, Promotion>,
    /// Replicas, those of deleted deployments included.
    pub replicas: Rows<ReplicaId, Replica>,
    /// Keys by prefix.
    pub keys: Rows<String, ApiKey>,
    /// People and service accounts.
    pub users: Rows<UserId, User>,
    /// Policies by name.
    pub policies: Rows<String, Policy>,
    /// The names of the policies of environments and deployments, in the order in which they were attached.
    pub attached: Rows<Metered, Vec<String>>,
}

/// Every policy that is attached to something, with what that is.
const ATTACHED: &str = "SELECT id, policy FROM (
         SELECT model_id || '/' || environment AS id, policy, place FROM environment_policies
         UNION ALL SELECT deployment_id AS id, policy, place FROM deployment_policies
     ) AS attached ORDER BY id, place";
/// Those that are attached to one thing.
const ATTACHED_TO: &str = "SELECT policy FROM (
         SELECT model_id || '/' || environment AS id, policy, place FROM environment_policies
         UNION ALL SELECT deployment_id AS id, policy, place FROM deployment_policies
     ) AS attached WHERE id = $1 ORDER BY place";

impl Store {
    /// All there is, as what has changed since the beginning.
    pub async fn everything(&self) -> Result<Delta, Error> {
        let mut snapshot = self.snapshot().await?;
        let row = sqlx::query("SELECT COALESCE(MAX(seq), 0) AS seq FROM changes").fetch_one(&mut *snapshot).await?;
        let mut delta = Delta { moment: row.number("seq")?, ..Delta::default() };
        for row in all(&mut snapshot, "SELECT * FROM models").await? {
            let model = models::model(&row)?;
            delta.models.insert(model.id.clone(), Some(model));
        }
        for row in all(&mut snapshot, "SELECT * FROM deployments").await? {
            let deployment = deployments::deployment(&row)?;
            delta.deployments.insert(deployment.id.clone(), Some(deployment));
        }
        for row in all(&mut snapshot, "SELECT * FROM environments").await? {
            let environment = environments::environment(&row)?;
            delta.environments.insert((environment.model_id.clone(), environment.name.clone()), Some(environment));
        }
        for row in all(&mut snapshot, "SELECT * FROM promotions WHERE ended_at IS NULL").await? {
            let promotion = promotions::promotion(&row)?;
            delta.promotions.insert(promotion.id, Some(promotion));
        }
        for row in all(&mut snapshot, "SELECT * FROM replicas").await? {
            let replica = replicas::replica(&row)?;
            delta.replicas.insert(replica.id.clone(), Some(replica));
        }
        for row in all(&mut snapshot, "SELECT * FROM api_keys").await? {
            let key = keys::key(&row)?;
            delta.keys.insert(key.prefix.clone(), Some(key));
        }
        for row in all(&mut snapshot, "SELECT * FROM users").await? {
            let user = people::user(&row)?;
            delta.users.insert(user.id.clone(), Some(user));
        }
        for row in all(&mut snapshot, "SELECT * FROM policies").await? {
            delta.policies.insert(row.text("name")?, Some(row.json("policy")?));
        }
        for row in all(&mut snapshot, ATTACHED).await? {
            let of = tokens::metered(&row.text("id")?)?;
            delta.attached.entry(of).or_default().get_or_insert_default().push(row.text("policy")?);
        }
        Ok(delta)
    }

    /// What has changed since `moment`, which an earlier [`Delta`] has told.
    pub async fn changed_since(&self, moment: u64) -> Result<Delta, Error> {
        let mut snapshot = self.snapshot().await?;
        let changes = sqlx::query("SELECT kind, id, MAX(seq) AS seq FROM changes WHERE seq > $1 GROUP BY kind, id")
            .bind(bigint(moment))
            .fetch_all(&mut *snapshot)
            .await?;
        let mut delta = Delta { moment, ..Delta::default() };
        for change in &changes {
            delta.moment = delta.moment.max(change.number("seq")?);
            let id = change.text("id")?;
            read(&mut snapshot, &mut delta, &change.text("kind")?, &id).await?;
        }
        Ok(delta)
    }

    /// Forgets what led to `moment`: nobody will ask what has changed since an earlier one.
    pub async fn forget_changes(&self, moment: u64) -> Result<(), Error> {
        let mut write = self.write(&[]).await?;
        sqlx::query("DELETE FROM changes WHERE seq <= $1").bind(bigint(moment)).execute(write.on()).await?;
        write.commit().await
    }

    /// A transaction that sees one state of the database throughout.
    async fn snapshot(&self) -> Result<Transaction<'static, Any>, Error> {
        let mut snapshot = self.readers().begin().await?;
        match self.dialect() {
            // A reader's transaction is one.
            Dialect::Sqlite => {}
            Dialect::Postgres => {
                sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    .execute(&mut *snapshot)
                    .await?;
            }
        }
        Ok(snapshot)
    }
}

async fn all(snapshot: &mut AnyConnection, sql: &'static str) -> Result<Vec<AnyRow>, Error> {
    Ok(sqlx::query(sql).fetch_all(snapshot).await?)
}

/// Reads the row that a change names, as it is now.
async fn read(snapshot: &mut AnyConnection, delta: &mut Delta, kind: &str, id: &str) -> Result<(), Error> {
    let damaged = |error: &dyn ToString| Error::damaged("changes", error.to_string());
    match kind {
        "model" => {
            let row = one(snapshot, "SELECT * FROM models WHERE id = $1", id).await?;
            let row = row.as_ref().map(models::model).transpose()?;
            delta.models.insert(id.parse().map_err(|error| damaged(&error))?, row);
        }
        "deployment" => {
            let row = one(snapshot, "SELECT * FROM deployments WHERE id = $1", id).await?;
            let row = row.as_ref().map(deployments::deployment).transpose()?;
            delta.deployments.insert(id.parse().map_err(|error| damaged(&error))?, row);
        }
        "environment" => {
            let (model, name) = of_model(id)?;
            let row = sqlx::query("SELECT * FROM environments WHERE model_id = $1 AND name = $2")
                .bind(model)
                .bind(name)
                .fetch_optional(snapshot)
                .await?;
            let row = row.as_ref().map(environments::environment).transpose()?;
            delta.environments.insert((model.parse().map_err(|error| damaged(&error))?, name.into()), row);
        }
        "promotion" => {
            let number: u64 = id.parse().map_err(|error| damaged(&error))?;
            let row = sqlx::query("SELECT * FROM promotions WHERE id = $1 AND ended_at IS NULL")
                .bind(bigint(number))
                .fetch_optional(snapshot)
                .await?;
            delta.promotions.insert(number, row.as_ref().map(promotions::promotion).transpose()?);
        }
        "replica" => {
            let row = one(snapshot, "SELECT * FROM replicas WHERE id = $1", id).await?;
            let row = row.as_ref().map(replicas::replica).transpose()?;
            delta.replicas.insert(id.parse().map_err(|error| damaged(&error))?, row);
        }
        "key" => {
            let row = one(snapshot, "SELECT * FROM api_keys WHERE prefix = $1", id).await?;
            delta.keys.insert(id.into(), row.as_ref().map(keys::key).transpose()?);
        }
        "user" => {
            let row = one(snapshot, "SELECT * FROM users WHERE id = $1", id).await?;
            let row = row.as_ref().map(people::user).transpose()?;
            delta.users.insert(id.parse().map_err(|error| damaged(&error))?, row);
        }
        "policy" => {
            let row = one(snapshot, "SELECT * FROM policies WHERE name = $1", id).await?;
            delta.policies.insert(id.into(), row.as_ref().map(|row| row.json("policy")).transpose()?);
        }
        "attached" => {
            let rows = sqlx::query(ATTACHED_TO).bind(id.to_owned()).fetch_all(snapshot).await?;
            let names = rows.iter().map(|row| row.text("policy")).collect::<Result<Vec<_>, Error>>()?;
            delta.attached.insert(tokens::metered(id)?, (!names.is_empty()).then_some(names));
        }
        unknown => return Err(damaged(&format!("a change of kind {unknown:?}"))),
    }
    Ok(())
}

/// The model and the name that an environment goes by in the journal.
fn of_model(id: &str) -> Result<(&str, &str), Error> {
    id.split_once('/').ok_or_else(|| Error::damaged("changes", "an environment without a model".to_owned()))
}

async fn one(snapshot: &mut AnyConnection, sql: &'static str, id: &str) -> Result<Option<AnyRow>, Error> {
    Ok(sqlx::query(sql).bind(id.to_owned()).fetch_optional(snapshot).await?)
}
