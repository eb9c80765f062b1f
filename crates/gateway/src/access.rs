//! The access log: requests that are over, kept until somebody fetches them to write them down. Of each deployment only so many at a time:
//! a flood of failures is told in numbers.

use std::collections::HashMap;

use api::{
    id::DeploymentId,
    internal::access::{Access, Accesses, Outcome},
};
use http::StatusCode;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{
    headers::shortened,
    measure::{End, Ended},
};

/// Requests of one deployment that are kept between two fetches.
const MOST_OF_ONE: u64 = 50;
/// Requests that are kept in all.
const MOST: usize = 5000;

/// Which requests are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLog {
    /// None.
    Off,
    /// Those that failed, and those whose clients left.
    #[default]
    Failures,
    /// All.
    All,
}

/// What waits to be fetched.
#[derive(Default)]
pub(crate) struct Waiting {
    kept: Mutex<Kept>,
    some: Notify,
}

#[derive(Default)]
struct Kept {
    requests: Vec<(Instant, Access)>,
    counts: HashMap<DeploymentId, u64>,
}

impl From<End> for Outcome {
    fn from(end: End) -> Self {
        match end {
            End::Whole => Outcome::Answered,
            End::Open => Outcome::Left,
            End::Broken => Outcome::BrokenOff,
        }
    }
}

impl AccessLog {
    fn takes(self, ended: &Ended<'_>) -> bool {
        let has_failed = |status: StatusCode| status.is_client_error() || status.is_server_error();
        match self {
            AccessLog::Off => false,
            AccessLog::Failures => ended.end != End::Whole || ended.status.is_none_or(has_failed),
            AccessLog::All => true,
        }
    }
}

impl Waiting {
    /// Keeps a request that is over, where `log` wants it.
    pub(crate) fn note(&self, log: AccessLog, ended: &Ended<'_>) {
        if !log.takes(ended) {
            return;
        }
        let id = ended.deployment.id();
        let mut kept = self.kept.lock();
        let Kept { requests, counts } = &mut *kept;
        let count = match counts.get_mut(id) {
            Some(count) => count,
            None => counts.entry(id.clone()).or_default(),
        };
        *count += 1;
        if *count > MOST_OF_ONE || requests.len() >= MOST {
            return;
        }
        let access = Access {
            deployment_id: id.clone(),
            age: Default::default(),
            request_id: ended.line.id.to_string(),
            method: ended.line.method.to_string(),
            path: shortened(ended.line.uri.path()),
            status: ended.status.map(|status| status.as_u16()),
            outcome: ended.end.into(),
            took: ended.took,
            waited: ended.taken.map(|taken| taken.waited),
            replica_id: ended.taken.map(|taken| taken.replica.endpoint().replica_id.clone()),
            response_bytes: ended.response_bytes,
        };
        requests.push((Instant::now(), access));
        drop(kept);
        self.some.notify_one();
    }

    /// Completes when there is something to fetch.
    pub(crate) async fn some(&self) {
        self.some.notified().await;
    }

    /// All that was kept since the last time.
    pub(crate) fn fetch(&self) -> Accesses {
        let Kept { requests, mut counts } = std::mem::take(&mut *self.kept.lock());
        let requests: Vec<Access> =
            requests.into_iter().map(|(ended, access)| Access { age: ended.elapsed(), ..access }).collect();
        for access in &requests {
            *counts.entry(access.deployment_id.clone()).or_default() -= 1;
        }
        let mut omitted: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
        omitted.sort_unstable();
        Accesses { requests, omitted }
    }
}
