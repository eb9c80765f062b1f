//! Writes what gateways say of single requests into the logs of their deployments.

use std::time::Duration;

use api::{
    id::{DeploymentId, ReplicaId},
    internal::{
        access::{Access, Accesses, Outcome},
        replica::{Level, LogLine},
    },
};
use planner::Timestamp;
use store::domain::{Component, LogRecord};

use crate::{
    Error,
    driver::{Next, Task},
    shared::Shared,
};

/// The task.
pub(crate) struct WriteAccesses {
    shared: Shared,
    /// What could not be written yet.
    left: Vec<LogRecord>,
}

/// Lines that are kept for a store that does not take them; of more, the newest go.
const MOST_LEFT: usize = 10_000;

impl WriteAccesses {
    pub fn new(shared: Shared) -> Self {
        Self { shared, left: Vec::new() }
    }
}

impl Task for WriteAccesses {
    const NAME: &'static str = "accesses";
    const PAUSE: Duration = Duration::from_secs(1);

    async fn pass(&mut self, now: Timestamp) -> Result<Next, Error> {
        let parts = &self.shared.parts;
        self.left.extend(records(now, parts.gateways.accesses()));
        self.left.truncate(MOST_LEFT);
        parts.store.append_logs(&self.left).await?;
        self.left.clear();
        Ok(Next::IDLE)
    }
}

fn records(now: Timestamp, accesses: Accesses) -> Vec<LogRecord> {
    let requests = accesses.requests.into_iter().map(|access| {
        let age = i64::try_from(access.age.as_nanos()).unwrap_or(i64::MAX);
        let line = LogLine {
            timestamp_ns: now.as_nanos().saturating_sub(age),
            level: Some(level(&access)),
            message: text(&access),
            request_id: Some(access.request_id),
        };
        record(access.deployment_id, access.replica_id, line)
    });
    let omitted = accesses.omitted.into_iter().map(|(deployment, count)| {
        let message = format!("… and {count} requests more like these within the same second");
        let line = LogLine { timestamp_ns: now.as_nanos(), level: Some(Level::Warning), message, request_id: None };
        record(deployment, None, line)
    });
    requests.chain(omitted).collect()
}

fn record(deployment_id: DeploymentId, replica_id: Option<ReplicaId>, line: LogLine) -> LogRecord {
    LogRecord { deployment_id, replica_id, component: Component::Access, line }
}

fn level(access: &Access) -> Level {
    match (access.outcome, access.status) {
        (Outcome::BrokenOff, _) | (Outcome::Answered, Some(500..)) => Level::Error,
        (Outcome::Left, _) | (Outcome::Answered, Some(400..500) | None) => Level::Warning,
        (Outcome::Answered, Some(..400)) => Level::Info,
    }
}

/// `POST /production/predict 500 in 12.3 ms (waited 1.2 ms), 48 bytes`
fn text(access: &Access) -> String {
    let Access { method, path, status, outcome, took, waited, response_bytes, .. } = access;
    let ms = |duration: &Duration| format!("{:.1} ms", duration.as_secs_f64() * 1000.0);
    let status = match (status, outcome) {
        (None, _) => "499 (the client left)".to_owned(),
        (Some(status), Outcome::Answered) => status.to_string(),
        (Some(status), Outcome::Left) => format!("{status} (the client left during the answer)"),
        (Some(status), Outcome::BrokenOff) => format!("{status} (the answer broke off)"),
    };
    let waited =
        waited.as_ref().map_or_else(|| "never had a slot".to_owned(), |waited| format!("waited {}", ms(waited)));
    format!("{method} {path} {status} in {} ({waited}), {response_bytes} bytes", ms(took))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(status: Option<u16>) -> Access {
        Access {
            deployment_id: "abcdefg".parse().expect("an id"),
            age: Duration::from_millis(500),
            request_id: "r1".into(),
            method: "POST".into(),
            path: "/production/predict".into(),
            status,
            outcome: if status.is_some() { Outcome::Answered } else { Outcome::Left },
            took: Duration::from_micros(12_340),
            waited: status.map(|_| Duration::from_micros(1_200)),
            replica_id: None,
            response_bytes: 48,
        }
    }

    #[test]
    fn a_line_says_what_came_of_a_request_and_when() {
        let now = Timestamp(10_000);
        let written = records(now, Accesses { requests: vec![access(Some(500)), access(None)], omitted: vec![] });
        let told: Vec<_> = written.iter().map(|one| (one.line.level, one.line.message.as_str())).collect();
        assert_eq!(
            told,
            [
                (Some(Level::Error), "POST /production/predict 500 in 12.3 ms (waited 1.2 ms), 48 bytes"),
                (
                    Some(Level::Warning),
                    "POST /production/predict 499 (the client left) in 12.3 ms (never had a slot), 48 bytes"
                ),
            ]
        );
        assert_eq!(written[0].line.timestamp_ns, 9_500_000_000);
        assert_eq!(written[0].line.request_id.as_deref(), Some("r1"));
    }

    #[test]
    fn an_answer_that_did_not_go_out_whole_says_so() {
        let cut = |outcome| {
            records(Timestamp(1), Accesses { requests: vec![Access { outcome, ..access(Some(200)) }], omitted: vec![] })
        };
        let [left, broken] = [Outcome::Left, Outcome::BrokenOff].map(|outcome| cut(outcome).remove(0).line);
        assert!(left.message.contains("200 (the client left during the answer)") && left.level == Some(Level::Warning));
        assert!(broken.message.contains("200 (the answer broke off)") && broken.level == Some(Level::Error));
    }

    #[test]
    fn a_flood_is_told_in_numbers() {
        let omitted = vec![("abcdefg".parse().expect("an id"), 1234)];
        let written = records(Timestamp(1), Accesses { requests: vec![], omitted });
        assert!(written[0].line.message.contains("1234 requests more"));
    }
}
