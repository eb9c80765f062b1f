//! What gateways have counted within the windows in which policies limit tokens.

use std::num::NonZeroU32;

use api::internal::tokens::{Counted, Granularity, Metered, Period, Spent, Tokens};
use planner::{Timestamp, policy::tokens::Window};
use sqlx::any::AnyRow;

use crate::{
    Error, Store,
    columns::{Columns, bigint},
};

impl Store {
    /// Records what gateways have counted so far, each in the place of what it had counted before, and forgets windows that are over.
    pub async fn record_tokens(&self, counted: &[Counted], now: Timestamp) -> Result<(), Error> {
        let mut write = self.write(&[]).await?;
        sqlx::query("DELETE FROM token_windows WHERE ends_at <= $1").bind(bigint(now.0)).execute(write.on()).await?;
        for Counted { by, of, spent } in counted {
            let until = Window::at(Timestamp(spent.from_ms), spent.period).until;
            if until <= now {
                continue;
            }
            sqlx::query(
                "INSERT INTO token_windows (metered, granularity, step, gateway, began_at, ends_at, input, output)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                     ON CONFLICT (metered, granularity, step, gateway) DO UPDATE
                         SET began_at = excluded.began_at, ends_at = excluded.ends_at, input = excluded.input,
                             output = excluded.output",
            )
            .bind(metered_id(of))
            .bind(spent.period.granularity.as_str())
            .bind(bigint(spent.period.step.get().into()))
            .bind(by.as_str())
            .bind(bigint(spent.from_ms))
            .bind(bigint(until.0))
            .bind(bigint(spent.tokens.input))
            .bind(bigint(spent.tokens.output))
            .execute(write.on())
            .await?;
        }
        write.commit().await
    }

    /// What is recorded of windows that are not over.
    pub async fn counted_tokens(&self, now: Timestamp) -> Result<Vec<Counted>, Error> {
        let rows =
            sqlx::query("SELECT * FROM token_windows WHERE ends_at > $1 ORDER BY metered, granularity, step, gateway")
                .bind(bigint(now.0))
                .fetch_all(self.readers())
                .await?;
        rows.iter().map(counted).collect()
    }
}

/// What stands for something that is metered: a deployment's id, or `MODEL/ENVIRONMENT`.
fn metered_id(of: &Metered) -> String {
    match of {
        Metered::Environment(model, name) => format!("{model}/{name}"),
        Metered::Deployment(id) => id.to_string(),
    }
}

pub(crate) fn metered(id: &str) -> Result<Metered, Error> {
    let damaged = |error| Error::damaged("metered", error);
    Ok(match id.split_once('/') {
        Some((model, name)) => Metered::Environment(model.parse().map_err(damaged)?, name.to_owned()),
        None => Metered::Deployment(id.parse().map_err(damaged)?),
    })
}

fn counted(row: &AnyRow) -> Result<Counted, Error> {
    let granularity = row.text("granularity")?;
    let period = Period {
        granularity: Granularity::from_name(&granularity).ok_or_else(|| Error::damaged("granularity", granularity))?,
        step: NonZeroU32::new(row.small_number("step")?).ok_or_else(|| Error::damaged("step", "it is 0"))?,
    };
    let tokens = Tokens { input: row.number("input")?, output: row.number("output")? };
    let spent = Spent { period, from_ms: row.number("began_at")?, tokens };
    Ok(Counted { by: row.id("gateway")?, of: metered(&row.text("metered")?)?, spent })
}
