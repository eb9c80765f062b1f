//! Reads a deployment's log as it grows. Lines of different sources arrive a little out of order, so each read looks back a moment
//! and leaves out what it has seen.

use std::collections::HashSet;

use api::v1::{
    deployments::Deployment,
    logs::{GetLogsResponse, Log},
};

use crate::{client::Client, failure::Result};

/// How far back each read looks again.
const OVERLAP_MS: u64 = 5_000;
/// The most that one read may ask for.
const PAGE: usize = 1_000;

/// Where reading a log has got to.
pub struct Tail {
    path: [String; 6],
    query: Vec<(&'static str, String)>,
    start_ms: u64,
    seen: HashSet<(String, Option<String>, String)>,
}

impl Tail {
    /// Reads `deployment`'s log from `start_ms` on. `query` holds further conditions, with the API's names.
    pub fn new(deployment: &Deployment, start_ms: u64, query: Vec<(&'static str, String)>) -> Self {
        let path = ["v1", "models", &deployment.model_id, "deployments", &deployment.id, "logs"].map(str::to_owned);
        Self { path, query, start_ms, seen: HashSet::new() }
    }

    /// Reads what `deployment` will say after what it has said so far, by the server's clock.
    pub async fn from_end(client: &Client, deployment: &Deployment) -> Result<Self> {
        let mut tail = Self::new(deployment, 0, Vec::new());
        let path = tail.path.each_ref().map(String::as_str);
        let newest = [("direction", "desc".to_owned()), ("limit", "1".to_owned())];
        let newest: GetLogsResponse = client.get_where(&path, &newest).await?;
        tail.start_ms = newest.logs.first().map_or(0, |line| millis(&line.timestamp));
        tail.skip(&newest.logs);
        Ok(tail)
    }

    /// Leaves out lines that were read otherwise.
    pub fn skip(&mut self, lines: &[Log]) {
        self.seen.extend(lines.iter().map(identity));
    }

    /// The lines that were not there at the last call, oldest first.
    pub async fn read(&mut self, client: &Client) -> Result<Vec<Log>> {
        let path = self.path.each_ref().map(String::as_str);
        let mut fresh = Vec::new();
        loop {
            let mut query = self.query.clone();
            query.push(("direction", "asc".to_owned()));
            query.push(("limit", PAGE.to_string()));
            query.push(("start_epoch_millis", self.start_ms.to_string()));
            let page: GetLogsResponse = client.get_where(&path, &query).await?;
            let is_full = page.logs.len() == PAGE;
            let newest_ms = page.logs.last().map_or(0, |line| millis(&line.timestamp));
            fresh.extend(page.logs.into_iter().filter(|line| self.seen.insert(identity(line))));
            if is_full {
                // A millisecond with more lines than a page is passed over: there is no way to ask for its rest.
                self.start_ms = newest_ms.max(self.start_ms + 1);
                continue;
            }
            self.start_ms = self.start_ms.max(newest_ms.saturating_sub(OVERLAP_MS));
            self.seen.retain(|(timestamp, ..)| millis(timestamp) >= self.start_ms);
            return Ok(fresh);
        }
    }
}

fn identity(line: &Log) -> (String, Option<String>, String) {
    (line.timestamp.clone(), line.replica.clone(), line.message.clone())
}

/// The milliseconds of a timestamp in nanoseconds.
pub fn millis(timestamp: &str) -> u64 {
    timestamp.parse::<u64>().unwrap_or_default() / 1_000_000
}
