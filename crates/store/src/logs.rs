//! Log lines: appended exactly once, searched, and pruned.

use api::{
    id::{DeploymentId, ReplicaId},
    internal::replica::{Level, LogLine},
};
use sqlx::{AssertSqlSafe, any::AnyRow};

use crate::{
    Error, Store, Topic,
    columns::{Columns, bigint, maybe_storable, storable, word},
    database::Write,
    domain::{Component, LogRecord},
};

/// Which log lines to read.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Of these deployments.
    pub deployments: Vec<DeploymentId>,
    /// Not before, epoch milliseconds.
    pub start_ms: u64,
    /// Not after, epoch milliseconds, the whole last millisecond included.
    pub end_ms: u64,
    /// Newest first, or oldest first.
    pub newest_first: bool,
    /// At most so many.
    pub limit: u32,
    /// Only lines with a level, and at least this one.
    pub min_level: Option<Level>,
    /// Only this replica's.
    pub replica: Option<String>,
    /// Only this request's.
    pub request_id: Option<String>,
    /// Only from here.
    pub component: Option<Component>,
    /// Only lines whose message matches.
    pub pattern: Option<Pattern>,
    /// Only lines whose message contains each of these.
    pub includes: Vec<String>,
    /// No lines whose message contains one of these.
    pub excludes: Vec<String>,
}

/// How far somebody has read who follows a log: the number of the last line, which grows with every line that is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition(pub i64);

impl LogPosition {
    fn before(number: i64) -> Self {
        Self(number.saturating_sub(1))
    }
}

/// A regular expression in the syntax of RE2; it takes time linear in the text, whatever it is.
#[derive(Debug, Clone)]
pub struct Pattern(regex::Regex);

/// Why a text is not a [`Pattern`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(#[from] regex::Error);

impl std::str::FromStr for Pattern {
    type Err = InvalidPattern;
    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        Ok(Self(regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES).build()?))
    }
}

/// How large a compiled pattern may be.
const PATTERN_BYTES: usize = 1 << 20;
/// How many rows are read at a time where lines are picked by their message.
const PAGE: u32 = 2000;
/// How many rows one who follows a log is given at a time, who may be slow to take them.
const FOLLOWED_PAGE: u32 = 200;
/// How many lines are deleted in one transaction, so that pruning never holds up other writers for long.
const PRUNE_BATCH: i64 = 5000;
/// How many lines go into one statement.
const INSERT_BATCH: usize = 64;
/// What a line takes beside its message.
const OVERHEAD_BYTES: u64 = 100;

impl Store {
    /// Appends lines.
    pub async fn append_logs(&self, records: &[LogRecord]) -> Result<(), Error> {
        if records.is_empty() {
            return Ok(());
        }
        let mut write = self.write(&[Topic::Logs]).await?;
        insert(&mut write, records).await?;
        write.commit().await
    }

    /// Appends what was read of a replica's log between two cursors, and remembers how far that was. When the replica's cursor is
    /// not `from` any more, that part is stored already and nothing is appended: a part read twice is stored once.
    pub async fn append_replica_log(
        &self,
        replica: &ReplicaId,
        from: u64,
        to: u64,
        lines: &[LogLine],
    ) -> Result<(), Error> {
        let mut write = self.write(&[Topic::Logs]).await?;
        let row = sqlx::query(
            "UPDATE replicas SET log_cursor = $1 WHERE id = $2 AND log_cursor = $3 RETURNING deployment_id",
        )
        .bind(bigint(to))
        .bind(replica.as_str())
        .bind(bigint(from))
        .fetch_optional(write.on())
        .await?;
        let Some(row) = row else { return Ok(()) };
        let deployment_id: DeploymentId = row.id("deployment_id")?;
        let record = |line: &LogLine| LogRecord {
            deployment_id: deployment_id.clone(),
            replica_id: Some(replica.clone()),
            component: Component::Model,
            line: line.clone(),
        };
        insert(&mut write, &lines.iter().map(record).collect::<Vec<_>>()).await?;
        write.commit().await
    }

    /// How far a replica's log has been stored; none when nobody knows the replica.
    pub async fn log_cursor(&self, replica: &ReplicaId) -> Result<Option<u64>, Error> {
        let row = sqlx::query("SELECT log_cursor FROM replicas WHERE id = $1")
            .bind(replica.as_str())
            .fetch_optional(self.readers())
            .await?;
        row.map(|row| row.number("log_cursor")).transpose()
    }

    /// Lines by time, and within one moment in the order they were appended.
    pub async fn logs(&self, query: &LogQuery) -> Result<Vec<LogRecord>, Error> {
        let mut found = Vec::new();
        if query.deployments.is_empty() || query.limit == 0 {
            return Ok(found);
        }
        let limit = query.limit as usize;
        let page = if query.picks_by_message() { PAGE.max(query.limit) } else { query.limit };
        let mut last = None;
        loop {
            let rows = self.log_page(query, page, last).await?;
            for row in &rows {
                let record = record(row)?;
                if query.picks(&record.line.message) {
                    found.push(record);
                }
                if found.len() == limit {
                    return Ok(found);
                }
            }
            let Some(row) = rows.last().filter(|_| rows.len() == page as usize) else {
                return Ok(found);
            };
            last = Some((row.signed("timestamp_ns")?, row.signed("id")?));
        }
    }

    /// The number before those of all lines of a deployment since `start_ms` (epoch milliseconds), or before those that come from now on.
    pub async fn log_position(&self, deployment: &DeploymentId, start_ms: Option<u64>) -> Result<LogPosition, Error> {
        // Asked first: a line that is appended in between comes after it.
        let last = self.last_log_position().await?;
        let Some(start_ms) = start_ms else { return Ok(last) };
        let first: Option<i64> =
            sqlx::query_scalar("SELECT MIN(id) FROM logs WHERE deployment_id = $1 AND timestamp_ns >= $2")
                .bind(deployment.as_str())
                .bind(nanos(start_ms))
                .fetch_one(self.readers())
                .await?;
        Ok(first.map_or(last, LogPosition::before))
    }

    /// The number of the last line.
    pub async fn last_log_position(&self) -> Result<LogPosition, Error> {
        let last: Option<i64> = sqlx::query_scalar("SELECT MAX(id) FROM logs").fetch_one(self.readers()).await?;
        Ok(LogPosition(last.unwrap_or(0)))
    }

    /// Lines in the order they were appended, each with its number, from `position` on, which moves behind them. What `query` says of
    /// the end, direction and limit does not count; one call reads a bounded number of lines, and says whether that was all there is.
    pub async fn logs_from(
        &self,
        query: &LogQuery,
        position: &mut LogPosition,
    ) -> Result<(Vec<(LogPosition, LogRecord)>, bool), Error> {
        let last = self.last_log_position().await?;
        // The comparison with a made text keeps the planner from the index of all lines of the deployment: what is new is at the end
        // of the table, and the index by number leads there.
        let sql = format!(
            "SELECT * FROM logs WHERE (deployment_id || '') IN {} AND id > $1 AND id <= $2
                 AND timestamp_ns >= $3 AND ($4 IS NULL OR level >= $4) AND ($5 IS NULL OR replica_id = $5)
                 AND ($6 IS NULL OR request_id = $6) AND ($7 IS NULL OR component = $7)
             ORDER BY id LIMIT $8",
            placeholders(9, query.deployments.len())
        );
        let mut select = sqlx::query(AssertSqlSafe(sql))
            .bind(position.0)
            .bind(last.0)
            .bind(nanos(query.start_ms))
            .bind(query.min_level.map(rank))
            .bind(maybe_storable(&query.replica))
            .bind(maybe_storable(&query.request_id))
            .bind(query.component.as_ref().map(word))
            .bind(i64::from(FOLLOWED_PAGE));
        for id in &query.deployments {
            select = select.bind(id.as_str());
        }
        let rows = select.fetch_all(self.readers()).await?;
        let mut found = Vec::new();
        for row in &rows {
            let number = row.signed("id")?;
            let record = record(row)?;
            if query.picks(&record.line.message) {
                found.push((LogPosition(number), record));
            }
        }
        let is_all = rows.len() < FOLLOWED_PAGE as usize;
        // What was written for others meanwhile is not looked at again.
        *position = if is_all { last } else { LogPosition(rows[rows.len() - 1].signed("id")?) };
        Ok((found, is_all))
    }

    /// Lines of all deployments in the order they were appended, each with its number, after `position`: as many as one call reads.
    pub async fn all_logs_from(&self, position: LogPosition) -> Result<Vec<(LogPosition, LogRecord)>, Error> {
        let rows = sqlx::query("SELECT * FROM logs WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(position.0)
            .bind(i64::from(PAGE))
            .fetch_all(self.readers())
            .await?;
        rows.iter().map(|row| Ok((LogPosition(row.signed("id")?), record(row)?))).collect()
    }

    /// How far the one of this name has got with the lines; none when it has not begun.
    pub async fn position(&self, name: &str) -> Result<Option<LogPosition>, Error> {
        let position = sqlx::query_scalar("SELECT position FROM positions WHERE name = $1");
        Ok(position.bind(name).fetch_optional(self.readers()).await?.map(LogPosition))
    }

    /// Remembers how far it has got.
    pub async fn set_position(&self, name: &str, position: LogPosition) -> Result<(), Error> {
        let mut write = self.write(&[]).await?;
        sqlx::query(
            "INSERT INTO positions (name, position) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET position = excluded.position",
        )
        .bind(name)
        .bind(position.0)
        .execute(write.on())
        .await?;
        write.commit().await
    }

    async fn log_page(&self, query: &LogQuery, page: u32, last: Option<(i64, i64)>) -> Result<Vec<AnyRow>, Error> {
        const FIXED: usize = 9;
        let (after, order, beginning) =
            if query.newest_first { ("<", "DESC", (i64::MAX, i64::MAX)) } else { (">", "ASC", (i64::MIN, i64::MIN)) };
        let last = last.unwrap_or(beginning);
        // Text that is put together here holds operators and placeholders only; every value is bound.
        let sql = format!(
            "SELECT * FROM logs WHERE deployment_id IN {} AND timestamp_ns >= $1 AND timestamp_ns <= $2
                 AND ($3 IS NULL OR level >= $3) AND ($4 IS NULL OR replica_id = $4) AND ($5 IS NULL OR request_id = $5)
                 AND ($6 IS NULL OR component = $6) AND (timestamp_ns, id) {after} ($7, $8)
             ORDER BY timestamp_ns {order}, id {order} LIMIT $9",
            placeholders(FIXED + 1, query.deployments.len())
        );
        let mut select = sqlx::query(AssertSqlSafe(sql))
            .bind(nanos(query.start_ms))
            .bind(nanos(query.end_ms).saturating_add(999_999))
            .bind(query.min_level.map(rank))
            .bind(maybe_storable(&query.replica))
            .bind(maybe_storable(&query.request_id))
            .bind(query.component.as_ref().map(word))
            .bind(last.0)
            .bind(last.1)
            .bind(i64::from(page));
        for id in &query.deployments {
            select = select.bind(id.as_str());
        }
        Ok(select.fetch_all(self.readers()).await?)
    }

    /// Deletes lines older than `older_than_ms` (epoch milliseconds), lines of deployments that are gone, and the oldest ones
    /// beyond `max_bytes` in all. How many.
    pub async fn prune_logs(&self, older_than_ms: u64, max_bytes: u64) -> Result<u64, Error> {
        let beyond: Option<i64> = sqlx::query_scalar(
            "SELECT MAX(timestamp_ns) FROM (
                 SELECT timestamp_ns, SUM(bytes) OVER (ORDER BY timestamp_ns DESC, id DESC) AS bytes_since FROM logs
             ) AS sized WHERE bytes_since > $1",
        )
        .bind(bigint(max_bytes))
        .fetch_one(self.readers())
        .await?;
        let oldest_kept = beyond.map_or(i64::MIN, |beyond| beyond.saturating_add(1)).max(nanos(older_than_ms));
        let mut pruned = 0;
        loop {
            let mut write = self.write(&[]).await?;
            let deleted = sqlx::query(
                "DELETE FROM logs WHERE id IN (
                     SELECT id FROM logs WHERE timestamp_ns < $1 OR deployment_id NOT IN (SELECT id FROM deployments) LIMIT $2
                 )",
            )
            .bind(oldest_kept)
            .bind(PRUNE_BATCH)
            .execute(write.on())
            .await?;
            write.commit().await?;
            pruned += deleted.rows_affected();
            if deleted.rows_affected() < PRUNE_BATCH as u64 {
                return Ok(pruned);
            }
        }
    }
}

impl LogQuery {
    fn picks_by_message(&self) -> bool {
        self.pattern.is_some() || !self.includes.is_empty() || !self.excludes.is_empty()
    }

    fn picks(&self, message: &str) -> bool {
        self.includes.iter().all(|part| message.contains(part.as_str()))
            && !self.excludes.iter().any(|part| message.contains(part.as_str()))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.0.is_match(message))
    }
}

pub(crate) async fn insert(write: &mut Write, records: &[LogRecord]) -> Result<(), Error> {
    // Two texts only, however many lines: the database keeps them prepared.
    let chunks = records.chunks_exact(INSERT_BATCH);
    let rest = chunks.remainder();
    for rows in chunks.chain(rest.chunks(1)) {
        let placeholders: Vec<String> = (0..rows.len()).map(|row| placeholders(row * 8 + 1, 8)).collect();
        // Text that is put together here holds placeholders only; every value is bound.
        let sql = format!(
            "INSERT INTO logs (deployment_id, replica_id, component, timestamp_ns, level, request_id, bytes, message)
             VALUES {}",
            placeholders.join(", ")
        );
        let mut insert = sqlx::query(AssertSqlSafe(sql));
        for LogRecord { deployment_id, replica_id, component, line } in rows {
            let message = storable(&line.message);
            insert = insert
                .bind(deployment_id.as_str())
                .bind(replica_id.as_ref().map(ReplicaId::as_str))
                .bind(word(component))
                .bind(line.timestamp_ns)
                .bind(line.level.map(rank))
                .bind(maybe_storable(&line.request_id))
                .bind(bigint(message.len() as u64 + OVERHEAD_BYTES))
                .bind(message);
        }
        insert.execute(write.on()).await?;
    }
    Ok(())
}

/// `($1, $2, …)`
fn placeholders(first: usize, count: usize) -> String {
    let numbers: Vec<String> = (first..first + count).map(|number| format!("${number}")).collect();
    format!("({})", numbers.join(", "))
}

fn record(row: &AnyRow) -> Result<LogRecord, Error> {
    let level = row.maybe_number("level")?.map(|rank| {
        let level = LEVELS.get(rank as usize).copied();
        level.ok_or_else(|| Error::damaged("level", "it is out of range"))
    });
    Ok(LogRecord {
        deployment_id: row.id("deployment_id")?,
        replica_id: row.maybe_id("replica_id")?,
        component: row.word("component")?,
        line: LogLine {
            timestamp_ns: row.signed("timestamp_ns")?,
            level: level.transpose()?,
            request_id: row.maybe_text("request_id")?,
            message: row.text("message")?,
        },
    })
}

/// Levels by rank, as stored.
const LEVELS: [Level; 4] = [Level::Debug, Level::Info, Level::Warning, Level::Error];

fn rank(level: Level) -> i64 {
    match level {
        Level::Debug => 0,
        Level::Info => 1,
        Level::Warning => 2,
        Level::Error => 3,
    }
}

fn nanos(millis: u64) -> i64 {
    bigint(millis).saturating_mul(1_000_000)
}
