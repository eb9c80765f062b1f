//! The audit log: who did what, written in the transaction that did it.

use api::id::ModelId;
use sqlx::any::AnyRow;

use crate::{
    Error, Store, Topic,
    columns::{Columns, bigint, json},
    database::Write,
    domain::{AuditEntry, AuditEvent, Deployment, Doer},
};

/// Which entries to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only those that concern this model.
    pub model_id: Option<ModelId>,
    /// Oldest first instead of newest first.
    pub oldest_first: bool,
    /// Only those that come after the entry with this id, in the order asked for.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: u32,
}

impl Store {
    /// A page of the audit log.
    pub async fn audit_log(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, Error> {
        let sql = if query.oldest_first {
            "SELECT * FROM audit_log WHERE ($1 IS NULL OR model_id = $1) AND id > $2 ORDER BY id LIMIT $3"
        } else {
            "SELECT * FROM audit_log WHERE ($1 IS NULL OR model_id = $1) AND id < $2 ORDER BY id DESC LIMIT $3"
        };
        let before_all = if query.oldest_first { 0 } else { u64::MAX };
        let rows = sqlx::query(sql)
            .bind(query.model_id.as_ref().map(ModelId::as_str))
            .bind(bigint(query.after.unwrap_or(before_all)))
            .bind(i64::from(query.limit))
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(entry).collect()
    }
}

/// Records a push under the id and the name that its deployment has been given, which nobody knows before.
pub(crate) async fn insert_push(
    write: &mut Write,
    event: Option<&AuditEvent>,
    deployment: &Deployment,
) -> Result<(), Error> {
    let event = event.cloned().map(|mut event| {
        event.event_data["deployment_id"] = deployment.id.as_str().into();
        event.event_data["deployment_name"] = deployment.name.as_str().into();
        event
    });
    insert(write, event.as_ref()).await
}

pub(crate) async fn insert(write: &mut Write, event: Option<&AuditEvent>) -> Result<(), Error> {
    let Some(event) = event else { return Ok(()) };
    write.announce(Topic::Audit);
    sqlx::query(
        "INSERT INTO audit_log (at, event_type, event_data, api_key_prefix, model_id, doer)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(bigint(event.at.0))
    .bind(&event.event_type)
    .bind(json(&event.event_data))
    .bind(&event.doer.api_key_prefix)
    .bind(event.model_id.as_ref().map(ModelId::as_str))
    .bind(json(&event.doer))
    .execute(write.on())
    .await?;
    Ok(())
}

fn entry(row: &AnyRow) -> Result<AuditEntry, Error> {
    // Entries from before doers were written down have the key's prefix only.
    let api_key_prefix = row.maybe_text("api_key_prefix")?;
    let doer = row.maybe_json("doer")?.unwrap_or_else(|| Doer { api_key_prefix, ..Doer::default() });
    Ok(AuditEntry {
        id: row.number("id")?,
        event: AuditEvent {
            at: row.time("at")?,
            event_type: row.text("event_type")?,
            event_data: row.json("event_data")?,
            doer,
            model_id: row.maybe_id("model_id")?,
        },
    })
}
