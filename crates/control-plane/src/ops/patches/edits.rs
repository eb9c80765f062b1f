//! What a patch makes of a deployment's source: which files change, and the config that follows. Pure.

use api::{
    truss_config::TrussConfig,
    v1::patches::{DeploymentPatchAction as Action, DeploymentPatchFile, DeploymentPatchOp, DeploymentPatchPoint},
};
use archive::Changes;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value};

use crate::ops::{
    Error,
    payload::{self, Payload},
};

/// The config's file.
const CONFIG_FILE: &str = "config.yaml";
/// Keys of a config that only a push can change.
const FIXED: &[&str] = &["resources", "python_version", "system_packages", "live_reload", "data_dir"];

/// A source with a patch applied.
#[derive(Debug, PartialEq)]
pub struct Edited {
    /// What changes in the archive.
    pub changes: Changes,
    /// The config.
    pub config: Map<String, Value>,
    /// Its text, where it is known.
    pub raw_config: Option<String>,
    /// The config, read.
    pub checked: TrussConfig,
}

/// Applies a patch that leads to `next`.
pub fn apply(
    before: &Map<String, Value>,
    next: &DeploymentPatchPoint,
    operations: &[DeploymentPatchOp],
) -> Result<Edited, Error> {
    let whole = operations.iter().rev().find_map(|operation| match operation {
        DeploymentPatchOp::Config { config, .. } => Some(config),
        _ => None,
    });
    let (mut config, is_whole) = (whole.unwrap_or(before).clone(), whole.is_some());
    if !is_whole {
        operations.iter().for_each(|operation| amend(&mut config, operation));
    }
    let is_amended = !is_whole && config != *before;
    let sent = Payload { raw_config: Some(next.config.clone()), is_development: true, ..Payload::new(config.clone()) };
    let checked = payload::check(sent, "patch")?;

    let mut changes = Changes::new();
    for (number, operation) in operations.iter().enumerate() {
        let (folder, file) = match operation {
            DeploymentPatchOp::ModelCode(file) => (&checked.config.model_module_dir, file),
            DeploymentPatchOp::Package(file) => (&checked.config.bundled_packages_dir, file),
            _ => continue,
        };
        let at = |problem: &str| Error::Invalid(format!("patch_ops[{number}]: {problem}"));
        let path = format!("{}/{}", folder.trim_matches('/'), file.path);
        changes.insert(path, content(file).map_err(|problem| at(&problem))?);
    }
    let concerns_requirements = |one: &DeploymentPatchOp| matches!(one, DeploymentPatchOp::PythonRequirement { .. });
    if let Some(file) = &checked.config.requirements_file
        && operations.iter().any(concerns_requirements)
    {
        if !file.ends_with(".txt") {
            return Err(Error::Invalid(format!(
                "{file}: only a requirements file of lines can be patched: push the model again"
            )));
        }
        changes.insert(file.clone(), Some(lines(&next.requirements)));
    }
    let raw_config = checked.raw_config.filter(|_| !is_amended);
    if let Some(text) = &raw_config {
        changes.insert(CONFIG_FILE.to_owned(), Some(text.clone().into_bytes()));
    }
    Ok(Edited { changes, config, raw_config, checked: checked.config })
}

/// Why a patch cannot lead from one config to another; none when it can.
pub fn reason_to_push(running: &Value, next: &Value) -> Option<String> {
    let read = |config: &Value| api::truss_config::from_value(config.clone()).map(|read| read.expanded());
    // Two ways to write the same are the same.
    let (Ok(running), Ok(next)) = (read(running), read(next)) else { return None };
    let changed: Vec<&str> = FIXED.iter().copied().filter(|key| running.get(key) != next.get(key)).collect();
    (!changed.is_empty()).then(|| format!("only a push can change {}: push the model again", changed.join(", ")))
}

/// The new content of a file; none where it goes.
fn content(file: &DeploymentPatchFile) -> Result<Option<Vec<u8>>, String> {
    match (file.action, &file.content_bytes, &file.content) {
        (Action::Remove, _, _) => Ok(None),
        (_, Some(bytes), _) => {
            let bytes = BASE64.decode(bytes).map_err(|error| format!("content_bytes is not Base64: {error}"))?;
            Ok(Some(bytes))
        }
        (_, None, Some(text)) => Ok(Some(text.clone().into_bytes())),
        (_, None, None) => {
            Err(format!("{}: a file that is added or updated needs content or content_bytes", file.path))
        }
    }
}

/// Makes the change to a config that is sent without the whole of it.
fn amend(config: &mut Map<String, Value>, operation: &DeploymentPatchOp) {
    match operation {
        DeploymentPatchOp::EnvironmentVariable { action, name, value } => {
            let variables = config.entry("environment_variables").or_insert_with(|| Map::new().into());
            let Some(variables) = variables.as_object_mut() else { return };
            match (action, value) {
                (Action::Remove, _) | (_, None) => drop(variables.remove(name)),
                (Action::Add | Action::Update, Some(value)) => {
                    drop(variables.insert(name.clone(), value.clone().into()))
                }
            }
        }
        DeploymentPatchOp::PythonRequirement { action, requirement } if !config.contains_key("requirements_file") => {
            let named = package(requirement);
            list(config, "requirements", |one| one.as_str().map(package) == Some(named.clone()), {
                (*action != Action::Remove).then(|| requirement.clone().into())
            });
        }
        DeploymentPatchOp::ExternalData { action, item } => {
            let path = item.get("local_data_path");
            list(config, "external_data", |one| one.get("local_data_path") == path, {
                (*action != Action::Remove).then(|| item.clone().into())
            });
        }
        DeploymentPatchOp::PythonRequirement { .. }
        | DeploymentPatchOp::ModelCode(_)
        | DeploymentPatchOp::Package(_)
        | DeploymentPatchOp::Config { .. } => {}
    }
}

/// Takes out of a list of the config what is `replaced`, and puts `new` in.
fn list(config: &mut Map<String, Value>, key: &str, replaced: impl Fn(&Value) -> bool, new: Option<Value>) {
    let entry = config.entry(key).or_insert_with(|| Value::Array(Vec::new()));
    if entry.is_null() {
        *entry = Value::Array(Vec::new());
    }
    if let Some(entries) = entry.as_array_mut() {
        entries.retain(|one| !replaced(one));
        entries.extend(new);
    }
}

/// The name of the package that a requirement is about, as PEP 503 compares names.
fn package(requirement: &str) -> String {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let name: String = requirement.trim().chars().take_while(|letter| is_of_name(*letter)).collect();
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

fn lines(requirements: &[String]) -> Vec<u8> {
    requirements.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    fn op(value: Value) -> DeploymentPatchOp {
        DeploymentPatchOp::read(object(value)).unwrap()
    }

    fn point(config: &str) -> DeploymentPatchPoint {
        DeploymentPatchPoint { config: config.into(), ..DeploymentPatchPoint::default() }
    }

    fn edited(before: Value, operations: &[Value]) -> Result<Edited, Error> {
        let operations: Vec<_> = operations.iter().cloned().map(op).collect();
        apply(&object(before), &point("model_name: m\n"), &operations)
    }

    #[test]
    fn files_lie_where_the_config_says() {
        let edited = edited(
            json!({ "model_module_dir": "src", "bundled_packages_dir": "libs" }),
            &[
                json!({ "type": "model_code", "action": "UPDATE", "path": "model.py", "content": "x = 1" }),
                json!({ "type": "package", "action": "ADD", "path": "a/b.so", "content": null, "content_bytes": "AP8=" }),
                json!({ "type": "package", "action": "REMOVE", "path": "old.py", "content": null }),
            ],
        )
        .unwrap();
        assert_eq!(edited.changes["src/model.py"].as_deref(), Some(&b"x = 1"[..]));
        assert_eq!(edited.changes["libs/a/b.so"].as_deref(), Some(&[0, 255][..]));
        assert_eq!(edited.changes["libs/old.py"], None);
        assert_eq!(edited.changes["config.yaml"].as_deref(), Some(&b"model_name: m\n"[..]));
    }

    #[test]
    fn a_file_without_content_or_with_broken_content_is_refused_by_its_number() {
        let good = json!({ "action": "REMOVE", "path": "a" });
        for wrong in
            [json!({ "action": "ADD", "path": "b" }), json!({ "action": "ADD", "path": "b", "content_bytes": "!" })]
        {
            let refusal = edited(json!({}), &[good.clone(), wrong]).unwrap_err().to_string();
            assert!(refusal.starts_with("patch_ops[1]: "), "{refusal}");
        }
    }

    #[test]
    fn a_whole_config_wins_over_what_follows_from_it() {
        let config = json!({ "environment_variables": { "A": "2" } });
        let variable = json!({ "action": "UPDATE", "name": "A", "value": "2" });
        let edited = edited(json!({ "environment_variables": { "A": "1" } }), &[json!({ "config": config }), variable]);
        let edited = edited.unwrap();
        assert_eq!((Value::Object(edited.config), edited.raw_config.as_deref()), (config, Some("model_name: m\n")));
    }

    #[test]
    fn parts_of_a_config_change_it_and_its_text_is_not_known_any_more() {
        let before =
            json!({ "environment_variables": { "A": "1", "B": "1" }, "requirements": ["six==1.0", "Py_YAML"] });
        let edited = edited(
            before,
            &[
                json!({ "action": "REMOVE", "name": "A" }),
                json!({ "action": "ADD", "name": "C", "value": "3" }),
                json!({ "action": "UPDATE", "requirement": "six>=1.1" }),
                json!({ "action": "REMOVE", "requirement": "py-yaml" }),
                json!({ "action": "ADD", "item": { "url": "https://a/b", "local_data_path": "b" } }),
            ],
        )
        .unwrap();
        let expected = json!({
            "environment_variables": { "B": "1", "C": "3" }, "requirements": ["six>=1.1"],
            "external_data": [{ "url": "https://a/b", "local_data_path": "b" }]
        });
        assert_eq!((Value::Object(edited.config), edited.raw_config), (expected, None));
    }

    #[test]
    fn requirements_go_where_they_are_kept() {
        let before = object(json!({ "requirements_file": "requirements.txt" }));
        let next = DeploymentPatchPoint { requirements: vec!["six".into(), "pyyaml==6".into()], ..point("") };
        let change = [op(json!({ "action": "ADD", "requirement": "pyyaml==6" }))];
        let edited = apply(&before, &next, &change).unwrap();
        assert_eq!(edited.changes["requirements.txt"].as_deref(), Some(&b"six\npyyaml==6\n"[..]));
        assert_eq!(edited.config, before);
        let locked = object(json!({ "requirements_file": "uv.lock" }));
        assert!(apply(&locked, &next, &change).unwrap_err().to_string().contains("push the model again"));
    }

    #[test]
    fn what_only_a_push_can_change_is_named() {
        let reason = |running, next| reason_to_push(&running, &next);
        assert_eq!(reason(json!({}), json!({ "environment_variables": { "A": "1" } })), None);
        assert_eq!(reason(json!({}), json!({ "resources": {} })), None);
        let both = json!({ "resources": { "cpu": "3" }, "system_packages": ["curl"] });
        let text = reason(json!({}), both).unwrap();
        assert!(text.contains("resources, system_packages"), "{text}");
    }
}
