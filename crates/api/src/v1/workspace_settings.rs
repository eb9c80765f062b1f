//! What holds for the whole workspace. Greenroom's own.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::given;

/// What holds for the whole workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkspaceSettings {
    /// The environment that a push goes to when it names none. Null: the first deployment that works goes to production, and the
    /// others to no environment.
    #[serde(default)]
    pub default_environment: Option<String>,
    /// The environments that a new model has beside `production`.
    #[serde(default)]
    pub initial_environments: Vec<String>,
}

/// A change of the workspace's settings. Absent fields stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateWorkspaceSettingsRequest {
    /// The environment that a push goes to when it names none; null for none.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub default_environment: Option<Option<String>>,
    /// The environments that a new model has beside `production`, in place of those before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_environments: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_that_is_null_is_taken_away_and_one_that_is_absent_stays() {
        let read = |json| serde_json::from_str::<UpdateWorkspaceSettingsRequest>(json).unwrap().default_environment;
        assert_eq!(read("{}"), None);
        assert_eq!(read(r#"{"default_environment": null}"#), Some(None));
        assert_eq!(read(r#"{"default_environment": "staging"}"#), Some(Some("staging".into())));
    }
}
