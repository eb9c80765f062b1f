//! One server at a time runs the controller. On SQLite there is only one server; on PostgreSQL an advisory lock chooses.

use sqlx::AnyConnection;

use crate::{
    database::{Dialect, Store},
    error::Error,
};

/// The advisory lock's number, the same in every release.
const LOCK: i64 = 0x6772_6565_6e72_6f6f;

/// Proof of being the one that acts. Ends when it is dropped, when the process dies, or when the database's connection is lost.
pub struct Leadership(Option<AnyConnection>);

impl Store {
    /// Becomes the leader, unless another server is.
    pub async fn try_lead(&self) -> Result<Option<Leadership>, Error> {
        if self.dialect() == Dialect::Sqlite {
            return Ok(Some(Leadership(None)));
        }
        let mut connection = self.detached_connection().await?;
        let taken: i64 =
            sqlx::query_scalar("SELECT CASE WHEN pg_try_advisory_lock($1) THEN 1::BIGINT ELSE 0::BIGINT END")
                .bind(LOCK)
                .fetch_one(&mut connection)
                .await?;
        Ok((taken == 1).then_some(Leadership(Some(connection))))
    }
}

impl Leadership {
    /// Whether it still holds; after an error it does not. Ask before each pass that acts.
    pub async fn confirm(&mut self) -> Result<(), Error> {
        if let Some(connection) = &mut self.0 {
            sqlx::query("SELECT 1").execute(connection).await?;
        }
        Ok(())
    }
}
