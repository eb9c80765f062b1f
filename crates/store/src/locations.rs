//! Which locations do not answer. One that is not here has always answered.

use planner::{Timestamp, heartbeat::Health};

use crate::{
    Error, Store, Topic,
    columns::{Columns, bigint},
};

impl Store {
    /// The health of locations by name.
    pub async fn location_health(&self) -> Result<Vec<(String, Health)>, Error> {
        let rows = sqlx::query("SELECT * FROM locations ORDER BY name").fetch_all(self.readers()).await?;
        let health = |row: &sqlx::any::AnyRow| {
            let since: Option<Timestamp> = row.maybe_time("ill_since")?;
            let reason = row.maybe_text("ill_because")?.unwrap_or_default();
            let health = since.map_or_else(Health::default, |since| Health::Unhealthy { since, reason });
            Ok((row.text("name")?, health))
        };
        rows.iter().map(health).collect()
    }

    /// Records that a location answers, or that it does not.
    pub async fn record_location_health(&self, name: &str, health: &Health) -> Result<(), Error> {
        let (since, reason) = match health {
            Health::Healthy { .. } => (None, None),
            Health::Unhealthy { since, reason } => (Some(bigint(since.0)), Some(reason.as_str())),
        };
        let mut write = self.write(&[Topic::Locations]).await?;
        sqlx::query(
            "INSERT INTO locations (name, ill_since, ill_because) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET ill_since = excluded.ill_since, ill_because = excluded.ill_because",
        )
        .bind(name)
        .bind(since)
        .bind(reason)
        .execute(write.on())
        .await?;
        write.commit().await
    }
}
