//! What promotions change, as it was shown to whoever asked for them.

use std::collections::BTreeMap;

use api::id::ModelId;

use crate::{
    Error, Store,
    columns::{Columns, bigint, json},
    database::Write,
    domain::Difference,
};

impl Store {
    /// What the newest promotions of an environment, at most `limit`, change: by promotion, without those that nobody asked for.
    pub async fn promotion_differences(
        &self,
        model: &ModelId,
        environment: &str,
        limit: u32,
    ) -> Result<BTreeMap<u64, Difference>, Error> {
        let rows = sqlx::query(
            "SELECT promotion_id, difference FROM promotion_differences WHERE promotion_id IN
                 (SELECT id FROM promotions WHERE model_id = $1 AND environment = $2 ORDER BY id DESC LIMIT $3)",
        )
        .bind(model.as_str())
        .bind(environment)
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(|row| Ok((row.number("promotion_id")?, row.json("difference")?))).collect()
    }
}

pub(super) async fn insert(write: &mut Write, promotion: u64, difference: &Difference) -> Result<(), Error> {
    sqlx::query("INSERT INTO promotion_differences (promotion_id, difference) VALUES ($1, $2)")
        .bind(bigint(promotion))
        .bind(json(difference))
        .execute(write.on())
        .await?;
    Ok(())
}
