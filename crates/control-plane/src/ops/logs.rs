//! Reading logs: of one deployment, or of all that an environment serves or is about to serve.

use api::{
    id::{DeploymentId, ModelId},
    internal::replica::{Level, LogLine},
};
use futures::{Stream, StreamExt as _, stream};
use planner::Timestamp;
use store::{
    LogPosition, LogQuery, Store, Topic,
    domain::{Component, LogRecord},
};

use super::{
    Caller, ControlPlane, Error,
    deployments::{self, Target},
    environments,
    listening::Listener,
    promotions,
};

const MINUTE_MS: u64 = 60_000;
const DEFAULT_WINDOW_MS: u64 = 30 * MINUTE_MS;
const LONGEST_WINDOW_MS: u64 = 7 * 24 * 60 * MINUTE_MS;
const DEFAULT_LIMIT: u32 = 500;
const LARGEST_LIMIT: u32 = 1000;
const LONGEST_TEXT: usize = 256;
const MOST_SUBSTRINGS: usize = 8;

/// Which lines to read, as it was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Not before, in epoch milliseconds.
    pub start_ms: Option<u64>,
    /// Not after, in epoch milliseconds.
    pub end_ms: Option<u64>,
    /// Oldest first instead of newest first.
    pub oldest_first: bool,
    /// At most so many.
    pub limit: Option<u32>,
    /// Only lines with a level, and at least this one.
    pub min_level: Option<Level>,
    /// Only this replica's.
    pub replica: Option<String>,
    /// Only this request's.
    pub request_id: Option<String>,
    /// Only from here.
    pub component: Option<String>,
    /// Only lines that match this regular expression.
    pub search_pattern: Option<String>,
    /// Only lines that contain each of these.
    pub includes: Vec<String>,
    /// No lines that contain one of these.
    pub excludes: Vec<String>,
}

/// Tells a deployment's owner something in its log. What it is about is done already: a line that is lost does not undo it.
pub(super) async fn tell(
    control_plane: &ControlPlane,
    deployment: &DeploymentId,
    level: Level,
    messages: impl IntoIterator<Item = String>,
) {
    let timestamp_ns = control_plane.now().as_nanos();
    let record = |message: String| LogRecord {
        deployment_id: deployment.clone(),
        replica_id: None,
        component: Component::Deploy,
        line: LogLine { timestamp_ns, level: Some(level), request_id: None, message },
    };
    let records: Vec<LogRecord> = messages.into_iter().map(record).collect();
    if let Err(error) = control_plane.store().append_logs(&records).await {
        tracing::warn!(deployment.id = %deployment, error = &error as &dyn std::error::Error, "cannot write to its log");
    }
}

/// Lines of one deployment.
pub async fn of_deployment(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
    query: Query,
) -> Result<Vec<LogRecord>, Error> {
    let (_, deployment) = deployments::find(control_plane, caller, model, target).await?;
    let query = LogQuery { deployments: vec![deployment.id], ..check(query, control_plane.now().0)? };
    Ok(control_plane.store().logs(&query).await?)
}

/// Lines of one deployment from `query.start_ms` on (from now on, where it is none) or, for one who has followed before, after the line
/// with the number `after`; then those that come, for as long as there are listeners. Each line with its number.
pub async fn follow(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
    query: Query,
    after: Option<i64>,
) -> Result<impl Stream<Item = (LogPosition, LogRecord)> + use<>, Error> {
    let given = [
        ("end_epoch_millis", query.end_ms.is_some()),
        ("direction", query.oldest_first),
        ("limit", query.limit.is_some()),
    ];
    if let Some((field, _)) = given.iter().find(|(_, is_given)| *is_given) {
        return Err(Error::Invalid(format!("{field}: a log that is followed has no end: leave it out")));
    }
    let (model, deployment) = deployments::find(control_plane, caller, model, target).await?;
    let start_ms = query.start_ms;
    let query = LogQuery {
        deployments: vec![deployment.id.clone()],
        start_ms: start_ms.unwrap_or(0),
        ..check(query, control_plane.now().0)?
    };
    // Subscribed before the first look: a line that comes in between is not missed.
    let listener = Listener::new(control_plane, caller, &[Topic::Logs, Topic::Deployments], Some(model.team_id))?;
    let store = control_plane.store().clone();
    let position = match after {
        // Nothing of this deployment lies before its first line.
        Some(number) => LogPosition(number).max(store.log_position(&deployment.id, Some(0)).await?),
        None => store.log_position(&deployment.id, start_ms).await?,
    };
    let following = Following { store, listener, deployment: deployment.id, query, position, is_behind: true };
    Ok(stream::unfold(following, async |mut following| Some((following.next().await?, following)))
        .flat_map(stream::iter))
}

/// One who follows a log.
struct Following {
    store: Store,
    listener: Listener,
    deployment: DeploymentId,
    query: LogQuery,
    position: LogPosition,
    /// Whether there may be lines that are not read yet.
    is_behind: bool,
}

impl Following {
    /// The next lines; none when it is over.
    async fn next(&mut self) -> Option<Vec<(LogPosition, LogRecord)>> {
        loop {
            if !self.is_behind {
                let topics = self.listener.next().await?;
                if topics.contains(&Topic::Deployments) && self.is_gone().await {
                    return None;
                }
            }
            let read = self.store.logs_from(&self.query, &mut self.position).await;
            let (lines, is_all) = read
                .inspect_err(|error| tracing::warn!(error = error as &dyn std::error::Error, "cannot follow a log"))
                .ok()?;
            self.is_behind = !is_all;
            if !lines.is_empty() {
                return Some(lines);
            }
        }
    }

    async fn is_gone(&self) -> bool {
        matches!(self.store.deployment(&self.deployment).await, Err(store::Error::NotFound { .. }))
    }
}

/// Lines of what an environment serves, has served in the window, and of what is on its way there.
pub async fn of_environment(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    name: &str,
    query: Query,
) -> Result<Vec<LogRecord>, Error> {
    let (model, environment) = environments::find(control_plane, caller, model, name).await?;
    let query = check(query, control_plane.now().0)?;
    let store = control_plane.store();
    let promotions = promotions::since(control_plane, &environment, Timestamp(query.start_ms)).await?;
    let took_part =
        |id: &DeploymentId| promotions.iter().any(|one| one.candidate == *id || one.previous.as_ref() == Some(id));
    let deployments = store.deployments(&model.id, None).await?.into_iter();
    let of_environment = deployments.filter(|one| {
        let is_on_its_way = one.target_environment.as_ref() == Some(&environment.name);
        environment.current.as_ref() == Some(&one.id) || is_on_its_way || took_part(&one.id)
    });
    let deployments = of_environment.map(|one| one.id).collect();
    Ok(store.logs(&LogQuery { deployments, ..query }).await?)
}

/// The query with its defaults, every part in its range.
fn check(query: Query, now_ms: u64) -> Result<LogQuery, Error> {
    let refuse = |field: &str, message: String| Err(Error::Invalid(format!("{field}: {message}")));
    let end_ms = query.end_ms.unwrap_or(now_ms);
    let start_ms = query.start_ms.unwrap_or(end_ms.saturating_sub(DEFAULT_WINDOW_MS));
    if start_ms > end_ms {
        return refuse("start_epoch_millis", format!("{start_ms} is after end_epoch_millis {end_ms}"));
    }
    if end_ms - start_ms > LONGEST_WINDOW_MS {
        return refuse(
            "start_epoch_millis",
            "the window is longer than 7 days: ask for one part after the other".into(),
        );
    }
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return refuse("limit", format!("{limit} is out of range: it needs to be from 1 to {LARGEST_LIMIT}"));
    }
    let texts = [
        ("replica", &query.replica),
        ("request_id", &query.request_id),
        ("component", &query.component),
        ("search_pattern", &query.search_pattern),
    ];
    if let Some((field, _)) =
        texts.iter().find(|(_, text)| text.as_ref().is_some_and(|text| text.chars().count() > LONGEST_TEXT))
    {
        return refuse(field, format!("it is longer than {LONGEST_TEXT} characters"));
    }
    if let Some((field, _)) = texts.iter().find(|(_, text)| text.as_ref().is_some_and(|text| text.contains('\0'))) {
        return refuse(field, "it has the character NUL, which no log line has".into());
    }
    for (field, list) in [("includes", &query.includes), ("excludes", &query.excludes)] {
        if list.len() > MOST_SUBSTRINGS {
            return refuse(field, format!("it has {} entries: at most {MOST_SUBSTRINGS} are taken", list.len()));
        }
    }
    let pattern = query.search_pattern.map(|text| text.parse()).transpose();
    let pattern = pattern.map_err(|error| Error::Invalid(format!("search_pattern: {error}")))?;
    Ok(LogQuery {
        deployments: Vec::new(),
        start_ms,
        end_ms,
        newest_first: !query.oldest_first,
        limit,
        min_level: query.min_level,
        replica: query.replica,
        request_id: query.request_id,
        component: query.component.map(|name| component(&name)).transpose()?,
        pattern,
        includes: query.includes,
        excludes: query.excludes,
    })
}

fn component(name: &str) -> Result<Component, Error> {
    let invalid = || Error::Invalid(format!("component: {name:?} is none of build, deploy, model and access"));
    Component::from_name(name).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    #[test]
    fn the_default_window_is_the_last_half_hour_newest_first() {
        let query = check(Query::default(), NOW_MS).unwrap();
        assert_eq!((query.start_ms, query.end_ms), (NOW_MS - 1_800_000, NOW_MS));
        assert!(query.newest_first);
        assert_eq!(query.limit, 500);
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name() {
        let refused = |query: Query, field: &str| {
            let message = check(query, NOW_MS).expect_err(field).to_string();
            assert!(message.starts_with(field), "{message}");
        };
        let query = Query::default;
        refused(Query { limit: Some(0), ..query() }, "limit: ");
        refused(Query { limit: Some(1001), ..query() }, "limit: ");
        refused(Query { start_ms: Some(2), end_ms: Some(1), ..query() }, "start_epoch_millis: ");
        refused(Query { start_ms: Some(0), ..query() }, "start_epoch_millis: ");
        refused(Query { replica: Some("x".repeat(257)), ..query() }, "replica: ");
        refused(Query { request_id: Some("a\0".into()), ..query() }, "request_id: ");
        refused(Query { includes: vec![String::new(); 9], ..query() }, "includes: ");
        refused(Query { search_pattern: Some("(".into()), ..query() }, "search_pattern: ");
        refused(Query { component: Some("engine".into()), ..query() }, "component: ");
    }
}
