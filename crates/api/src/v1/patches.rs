//! Live reload of a development deployment: patches are staged, then synced into what runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The source of a deployment in one moment; the next patch is computed against it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentPatchPoint {
    /// Every source path with the BLAKE3 hash of its content in hexadecimal; null for a folder.
    pub content_hashes: BTreeMap<String, Option<String>>,
    /// `config.yaml`, verbatim.
    pub config: String,
    /// The lines of the config's `requirements_file`, where it names one.
    #[serde(default)]
    pub requirements: Vec<String>,
}

impl DeploymentPatchPoint {
    /// The requirements that a file of lines names.
    pub fn requirements_in(file: &str) -> Vec<String> {
        let lines = file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }
}

/// A patch point with the hash that names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentPatchPointWithHash {
    /// Every source path with the BLAKE3 hash of its content in hexadecimal; null for a folder.
    pub content_hashes: BTreeMap<String, Option<String>>,
    /// `config.yaml`, verbatim.
    pub config: String,
    /// The lines of the config's `requirements_file`, where it names one.
    pub requirements: Vec<String>,
    /// One hash of all content: the `prev_patch_hash` of the next patch.
    pub hash: String,
}

impl From<DeploymentPatchPointWithHash> for DeploymentPatchPoint {
    fn from(point: DeploymentPatchPointWithHash) -> Self {
        let DeploymentPatchPointWithHash { content_hashes, config, requirements, hash: _ } = point;
        Self { content_hashes, config, requirements }
    }
}

/// A patch to stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateDeploymentPatchRequest {
    /// The hash of the point that it builds on: the pending one, else the running one.
    pub prev_patch_hash: String,
    /// The source after it.
    pub next_patch_point: DeploymentPatchPoint,
    /// What it changes, at least one thing, in order.
    #[serde(deserialize_with = "operations")]
    pub patch_ops: Vec<DeploymentPatchOp>,
}

/// A staged patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreateDeploymentPatchResponse {
    /// The source after it.
    pub patch_point: DeploymentPatchPointWithHash,
}

/// Where the patches of a development deployment stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GetDeploymentPatchesStateResponse {
    /// What runs.
    pub running_patch_point: DeploymentPatchPointWithHash,
    /// What is staged and does not run yet.
    pub pending_patch_point: Option<DeploymentPatchPointWithHash>,
}

/// Asks for what is staged to run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncDeploymentPatchesRequest {}

/// The outcome of a sync.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncDeploymentPatchesResponse {
    /// Why only a push can make this change; null when what was staged runs now.
    pub needs_full_deploy_reason: Option<String>,
}

/// How a patch changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeploymentPatchAction {
    /// It is new.
    Add,
    /// It is another.
    Update,
    /// It is gone.
    Remove,
}

/// A file that a patch changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentPatchFile {
    /// How.
    pub action: DeploymentPatchAction,
    /// Where, below the folder that the operation is about.
    pub path: String,
    /// Its text, where it is text and there is any.
    #[serde(default)]
    pub content: Option<String>,
    /// Its bytes in Base64, where it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_bytes: Option<String>,
    /// Whether the process may go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hot_reload: bool,
}

/// One thing that a patch changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DeploymentPatchOp {
    /// A file of the model's code.
    ModelCode(DeploymentPatchFile),
    /// A file of a bundled package.
    Package(DeploymentPatchFile),
    /// The config, whole.
    Config {
        /// It, parsed.
        config: Map<String, Value>,
        /// Its file.
        #[serde(default = "config_path")]
        path: String,
    },
    /// A variable of the environment.
    EnvironmentVariable {
        /// How.
        action: DeploymentPatchAction,
        /// Its name.
        name: String,
        /// Its value.
        #[serde(default)]
        value: Option<String>,
    },
    /// A Python requirement.
    PythonRequirement {
        /// How.
        action: DeploymentPatchAction,
        /// The line, or the package's name where it goes.
        requirement: String,
    },
    /// A file to download.
    ExternalData {
        /// How.
        action: DeploymentPatchAction,
        /// Its entry in the config.
        item: Map<String, Value>,
    },
}

fn config_path() -> String {
    "config.yaml".to_owned()
}

impl DeploymentPatchOp {
    /// Whether it is one of code whose author wants the process to go on.
    pub fn keeps_process(&self) -> bool {
        matches!(self, Self::ModelCode(file) if file.hot_reload)
    }

    /// Reads an operation; one without a type, which some clients leave out, is known by its fields.
    pub fn read(mut fields: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let by_field = [
            ("config", "config"),
            ("requirement", "python_requirement"),
            ("name", "environment_variable"),
            ("item", "external_data"),
            ("path", "model_code"),
        ];
        let known = by_field.into_iter().find(|(field, _)| fields.contains_key(*field));
        if let Some((_, kind)) = known.filter(|_| !fields.contains_key("type")) {
            fields.insert("type".to_owned(), kind.into());
        }
        serde_json::from_value(Value::Object(fields))
    }
}

fn operations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<DeploymentPatchOp>, D::Error> {
    let operations = Vec::<Map<String, Value>>::deserialize(deserializer)?;
    operations.into_iter().map(|fields| DeploymentPatchOp::read(fields).map_err(D::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(op: Value) -> String {
        let op = DeploymentPatchOp::read(op.as_object().unwrap().clone()).unwrap();
        serde_json::to_value(op).unwrap()["type"].as_str().unwrap().to_owned()
    }

    #[test]
    fn an_operation_without_a_type_is_known_by_its_fields() {
        assert_eq!(kind(json!({ "type": "package", "action": "REMOVE", "path": "a.py" })), "package");
        assert_eq!(kind(json!({ "action": "ADD", "path": "a.py", "content": "" })), "model_code");
        assert_eq!(kind(json!({ "config": {} })), "config");
        assert_eq!(kind(json!({ "action": "ADD", "name": "A", "value": "1" })), "environment_variable");
        assert_eq!(kind(json!({ "action": "ADD", "requirement": "six" })), "python_requirement");
        assert_eq!(kind(json!({ "action": "ADD", "item": {} })), "external_data");
        let nothing = DeploymentPatchOp::read(json!({ "action": "ADD" }).as_object().unwrap().clone());
        assert!(nothing.unwrap_err().to_string().contains("missing field `type`"));
    }
}
