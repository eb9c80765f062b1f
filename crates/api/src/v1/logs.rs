//! Log lines of builds, deployments and models.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::internal::replica::Level;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Log {
    /// Nanoseconds since the Unix epoch, as text.
    pub timestamp: String,
    /// The line.
    pub message: String,
    /// The replica it comes from; null for the platform's own lines.
    pub replica: Option<String>,
    /// The request it belongs to.
    #[serde(default)]
    pub request_id: Option<String>,
    /// How bad it is.
    #[serde(default)]
    pub level: Option<LogLevel>,
}

/// Lines, in the order that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GetLogsResponse {
    /// The lines.
    pub logs: Vec<Log>,
}

/// How bad a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// For the model's author.
    Debug,
    /// The ordinary.
    Info,
    /// Worth a look.
    Warning,
    /// Something failed.
    Error,
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warning => LogLevel::Warning,
            Level::Error => LogLevel::Error,
        }
    }
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Debug => Level::Debug,
            LogLevel::Info => Level::Info,
            LogLevel::Warning => Level::Warning,
            LogLevel::Error => Level::Error,
        }
    }
}

/// Which end of a list comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SortOrder {
    /// The oldest or smallest first.
    Asc,
    /// The newest or largest first.
    #[default]
    Desc,
}

/// Which lines to answer with; the query of GET, and the body of the older POST.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct GetDeploymentLogsRequest {
    /// Not before, in epoch milliseconds. 30 minutes before the end if absent; at most 7 days before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_epoch_millis: Option<u64>,
    /// Not after, in epoch milliseconds. Now if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_epoch_millis: Option<u64>,
    /// Which end comes first; newest first if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<SortOrder>,
    /// At most so many lines; 500 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Only lines with a level, and at least this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_level: Option<LogLevel>,
    /// Only lines of this replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub replica: Option<String>,
    /// Only lines of this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub request_id: Option<String>,
    /// Only lines from here: `build`, `deploy`, `model`, or `access` for what gateways say of single requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub component: Option<String>,
    /// Only lines whose message matches this regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub search_pattern: Option<String>,
    /// Only lines whose message contains each of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 8)]
    pub includes: Option<Vec<String>>,
    /// No lines whose message contains one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 8)]
    pub excludes: Option<Vec<String>>,
}
