//! What documents can describe: each kind with its fields, read strictly. A document says of an object what it names, and no more.

use std::{fmt, path::PathBuf};

use api::v1::{
    autoscaling::UpdateAutoscalingSettings, backpressure::UpdateRequestBackpressureSettings,
    promotion::UpdatePromotionSettings, workspace_settings::UpdateWorkspaceSettingsRequest,
};
use planner::policy::{Policy, written};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::documents::Document;
use crate::failure::{Failure, Kind as FailureKind, Result};

/// The kinds of objects, in the order in which they are applied: what is named by others comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// What holds for the whole workspace.
    WorkspaceSettings,
    /// Where work may run.
    Policy,
    /// A secret, whose value is elsewhere.
    Secret,
    /// An environment of a model.
    Environment,
    /// Who may change the environments of a name.
    EnvironmentGroup,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::WorkspaceSettings, Self::Policy, Self::Secret, Self::Environment, Self::EnvironmentGroup];

    /// As documents write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WorkspaceSettings => "WorkspaceSettings",
            Self::Policy => "Policy",
            Self::Secret => "Secret",
            Self::Environment => "Environment",
            Self::EnvironmentGroup => "EnvironmentGroup",
        }
    }
}

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Id {
    /// Of which kind.
    pub kind: Kind,
    /// The model, by name or id, of an environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its name; the settings of the workspace have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Id {
    /// Its name, where it has one.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match (self.kind, &self.model) {
            (Kind::WorkspaceSettings, _) => f.write_str("workspace settings"),
            (Kind::Policy, _) => write!(f, "policy {name}"),
            (Kind::Secret, _) => write!(f, "secret {name}"),
            (Kind::Environment, Some(model)) => write!(f, "environment {name} of {model}"),
            (Kind::Environment, None) => write!(f, "environment {name}"),
            (Kind::EnvironmentGroup, _) => write!(f, "environment group {name}"),
        }
    }
}

/// An object as it is, or as a document says it should be: then without what it does not name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Object {
    /// Which.
    #[serde(flatten)]
    pub id: Id,
    /// Its fields.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// What a document asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The object.
    pub object: Object,
    /// Where the document stands.
    pub place: String,
    /// Where a secret's value is.
    pub value_from: Option<ValueFrom>,
}

/// Where a value is: documents never have it themselves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueFrom {
    /// In a variable of this command's environment.
    Env(String),
    /// In a file, relative to the document's folder.
    File(PathBuf),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretFields {
    name: String,
    #[serde(default)]
    value_from: Option<ValueFrom>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvironmentFields {
    #[serde(skip_serializing)]
    model: String,
    #[serde(skip_serializing)]
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policies: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    autoscaling_settings: Option<UpdateAutoscalingSettings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    promotion_settings: Option<UpdatePromotionSettings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_backpressure_settings: Option<UpdateRequestBackpressureSettings>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvironmentGroupFields {
    name: String,
    is_restricted: bool,
}

/// Reads a document.
pub fn read(document: &Document) -> Result<Wanted> {
    let invalid = |message: String| Failure::new(FailureKind::Usage, format!("{}: {message}", document.place));
    let Value::Object(mut fields) = document.value.clone() else {
        return Err(invalid("expected fields, with `kind` among them".to_owned()));
    };
    let kinds = Kind::ALL.map(Kind::as_str).join(", ");
    let kind = fields.remove("kind").ok_or_else(|| invalid(format!("kind: it is missing: name one of {kinds}")))?;
    let kind = Kind::ALL
        .into_iter()
        .find(|one| kind == one.as_str())
        .ok_or_else(|| invalid(format!("kind: {kind} is none of {kinds}")))?;
    let (object, value_from) = object(kind, Value::Object(fields)).map_err(invalid)?;
    let value_from = value_from.map(|from| match from {
        ValueFrom::File(path) => ValueFrom::File(document.folder.join(path)),
        ValueFrom::Env(name) => ValueFrom::Env(name),
    });
    Ok(Wanted { object, place: document.place.clone(), value_from })
}

fn object(kind: Kind, fields: Value) -> std::result::Result<(Object, Option<ValueFrom>), String> {
    let id = |name: Option<String>, model: Option<String>| Id { kind, model, name };
    let (id, fields, value_from) = match kind {
        Kind::WorkspaceSettings => {
            let settings: UpdateWorkspaceSettingsRequest = strictly(fields)?;
            (id(None, None), json!(settings), None)
        }
        Kind::Policy => {
            let written: written::Policy = strictly(fields)?;
            let policy = Policy::try_from(written).map_err(|invalid| invalid.to_string())?;
            let name = policy.name().to_string();
            (id(Some(name), None), policy_fields(policy.into()), None)
        }
        Kind::Secret => {
            let SecretFields { name, value_from } = strictly(fields)?;
            (id(Some(name), None), json!({}), value_from)
        }
        Kind::Environment => {
            let environment: EnvironmentFields = strictly(fields)?;
            let mut fields = json!(environment);
            without_nulls(&mut fields["autoscaling_settings"]);
            without_nulls(&mut fields["promotion_settings"]);
            let absent = |_: &String, value: &mut Value| !value.is_null();
            fields.as_object_mut().into_iter().for_each(|fields| fields.retain(absent));
            (id(Some(environment.name), Some(environment.model)), fields, None)
        }
        Kind::EnvironmentGroup => {
            let EnvironmentGroupFields { name, is_restricted } = strictly(fields)?;
            (id(Some(name), None), json!({ "is_restricted": is_restricted }), None)
        }
    };
    let Value::Object(fields) = fields else { unreachable!("structs are objects") };
    Ok((Object { id, fields }, value_from))
}

/// The fields of a policy but its name, each of them: a policy is replaced as a whole.
pub fn policy_fields(policy: written::Policy) -> Value {
    let written::Policy { name: _, kind, locations, flavors, max_tokens, resource_types } = policy;
    let mut fields =
        json!({ "type": kind, "locations": locations, "flavors": flavors, "resource_types": resource_types });
    if let Some(max_tokens) = max_tokens {
        fields["max_tokens"] = json!(max_tokens);
    }
    fields
}

/// Takes away what is null, at any depth: there it means the same as nothing.
pub fn without_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, value| !value.is_null());
        fields.values_mut().for_each(without_nulls);
    }
}

/// The fields of a type, and no others. The error names the field.
fn strictly<T: DeserializeOwned>(fields: Value) -> std::result::Result<T, String> {
    serde_path_to_error::deserialize(fields).map_err(|error| match error.path().to_string().as_str() {
        "." => error.inner().to_string(),
        path => format!("{path}: {}", error.inner()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(value: Value) -> Document {
        Document { place: "a.yaml, document 2".to_owned(), folder: PathBuf::from("conf"), value }
    }

    fn refused(value: Value, message: &str) {
        let failure = read(&document(value)).expect_err("it makes no sense");
        let expected = format!("a.yaml, document 2: {message}");
        assert!(failure.message.starts_with(&expected), "{:?} in place of {expected:?}", failure.message);
        assert_eq!(failure.kind, FailureKind::Usage);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_place_and_field() {
        refused(json!([1]), "expected fields");
        refused(json!({ "name": "x" }), "kind: it is missing: name one of WorkspaceSettings, Policy");
        refused(json!({ "kind": "Pod" }), "kind: \"Pod\" is none of WorkspaceSettings, Policy");
        refused(
            json!({ "kind": "Policy", "name": "p", "type": "location", "colour": 1 }),
            "colour: unknown field `colour`",
        );
        refused(json!({ "kind": "Policy", "name": "p", "type": "location" }), "locations");
        refused(json!({ "kind": "Environment", "name": "e" }), "missing field `model`");
        let deep = json!({ "kind": "Environment", "model": "m", "name": "e", "autoscaling_settings": { "min": 1 } });
        refused(deep, "autoscaling_settings.min: unknown field `min`");
        let typed = json!({ "kind": "Environment", "model": "m", "name": "e",
            "autoscaling_settings": { "min_replica": "one" } });
        refused(typed, "autoscaling_settings.min_replica: invalid type");
        refused(json!({ "kind": "Secret", "name": "s", "value": "hunter2" }), "value: unknown field `value`");
        refused(json!({ "kind": "Secret", "name": "s", "value_from": { "env": "A", "file": "b" } }), "value_from");
    }

    #[test]
    fn a_policy_is_brought_to_the_form_in_which_it_is_kept() {
        let policy = json!({ "kind": "Policy", "name": "t4", "type": "gpu", "flavors": [{ "name": "t4" }] });
        let fields = read(&document(policy)).expect("a policy").object.fields;
        let kept = json!({ "type": "flavor", "locations": [], "flavors": [{ "type": "gpu", "name": "t4" }],
            "resource_types": null });
        assert_eq!(Value::Object(fields), kept);
    }

    #[test]
    fn an_environment_says_what_it_names_and_no_more() {
        let value = json!({ "kind": "Environment", "model": "m", "name": "e", "promotion_settings": { "rolling_deploy": true },
            "request_backpressure_settings": { "policy": null } });
        let wanted = read(&document(value)).expect("an environment");
        assert_eq!(wanted.object.id.to_string(), "environment e of m");
        let fields = json!({ "promotion_settings": { "rolling_deploy": true },
            "request_backpressure_settings": { "policy": null } });
        assert_eq!(Value::Object(wanted.object.fields), fields);
    }

    #[test]
    fn a_secrets_value_is_elsewhere() {
        let secret = |from: Value| {
            let value = json!({ "kind": "Secret", "name": "s", "value_from": from });
            read(&document(value)).expect("a secret").value_from
        };
        assert_eq!(secret(json!({ "env": "TOKEN" })), Some(ValueFrom::Env("TOKEN".to_owned())));
        assert_eq!(secret(json!({ "file": "token" })), Some(ValueFrom::File(PathBuf::from("conf/token"))));
        assert_eq!(secret(Value::Null), None);
    }
}
