//! What happens to requests when every replica is busy.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::given;

/// What happens to a request when every replica is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RequestBackpressurePolicy {
    /// It waits.
    QueueOnFull,
    /// It is refused at once, with 429.
    RejectOnFull,
}

/// Settings for busy times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestBackpressureSettings {
    /// The policy; null means that requests wait.
    #[serde(default)]
    pub policy: Option<RequestBackpressurePolicy>,
}

/// A change of settings for busy times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateRequestBackpressureSettings {
    /// The policy. Absent leaves it as it is, null clears it.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RequestBackpressurePolicy>)]
    pub policy: Option<Option<RequestBackpressurePolicy>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_clears_and_absence_leaves_alone() {
        let read = |json| serde_json::from_str::<UpdateRequestBackpressureSettings>(json).unwrap().policy;
        assert_eq!(read("{}"), None);
        assert_eq!(read(r#"{"policy": null}"#), Some(None));
        assert_eq!(read(r#"{"policy": "REJECT_ON_FULL"}"#), Some(Some(RequestBackpressurePolicy::RejectOnFull)));
    }
}
