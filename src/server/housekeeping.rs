//! Removes what uploads left behind: archives that nobody claimed, parts that nobody completed.

use std::time::Duration;

use planner::time::Clock;
use store::Blobs;

/// How often to look.
const ROUND: Duration = Duration::from_secs(3600);
/// Longer than any upload credential lives.
const AGE_MS: u64 = 24 * 3_600_000;

/// Goes on until it is dropped.
pub async fn run(blobs: Blobs, clock: Clock) {
    let mut rounds = tokio::time::interval(ROUND);
    loop {
        rounds.tick().await;
        match uploads::sweep(&blobs, clock(), AGE_MS).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed abandoned uploads"),
            Err(error) => tracing::warn!(%error, "cannot remove abandoned uploads; trying again later"),
        }
    }
}
