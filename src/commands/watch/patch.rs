//! From the difference between two sources to the operations that carry it over. Pure but for reading the files that differ.

use std::collections::BTreeSet;

use api::{
    truss_config::TrussConfig,
    v1::patches::{
        CreateDeploymentPatchRequest, DeploymentPatchAction as Action, DeploymentPatchFile, DeploymentPatchOp,
        DeploymentPatchPoint, DeploymentPatchPointWithHash,
    },
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

use crate::failure::Result;

/// The config's file.
const CONFIG_FILE: &str = "config.yaml";

/// A source as it is now.
pub struct Now<'a> {
    /// What its files contain.
    pub hashes: &'a archive::ContentHashes,
    /// The config, read.
    pub config: &'a TrussConfig,
    /// The same as it travels.
    pub document: &'a Map<String, Value>,
    /// Its text as it travels.
    pub text: &'a str,
}

/// What differs.
#[derive(Debug, PartialEq)]
pub enum Difference {
    /// Nothing that the model would notice.
    Nothing,
    /// This.
    Patch(CreateDeploymentPatchRequest),
    /// Something for which there is no operation.
    OnlyByPush(String),
}

/// What leads from `base` to `now`. `read` gives the content of a file.
pub fn between(
    base: &DeploymentPatchPointWithHash,
    now: &Now<'_>,
    read: impl Fn(&str) -> Result<Option<Vec<u8>>>,
) -> Result<Difference> {
    let paths: BTreeSet<&String> = base.content_hashes.keys().chain(now.hashes.keys()).collect();
    let hash = |hashes: &archive::ContentHashes, path: &str| hashes.get(path).cloned().flatten();
    let mut operations = Vec::new();
    let mut requirements = base.requirements.clone();
    for path in paths {
        let (before, after) = (hash(&base.content_hashes, path), hash(now.hashes, path));
        if before == after {
            continue;
        }
        let action = match (&before, &after) {
            (_, None) => Action::Remove,
            (None, Some(_)) => Action::Add,
            (Some(_), Some(_)) => Action::Update,
        };
        let file = |within: &str| -> Result<DeploymentPatchFile> {
            let content = if action == Action::Remove { None } else { read(path)? };
            Ok(as_operation(action, within, content))
        };
        if let Some(within) = below(path, &now.config.model_module_dir) {
            operations.push(DeploymentPatchOp::ModelCode(file(within)?));
        } else if let Some(within) = below(path, &now.config.bundled_packages_dir) {
            operations.push(DeploymentPatchOp::Package(file(within)?));
        } else if below(path, &now.config.data_dir).is_some() {
            return Ok(Difference::OnlyByPush(format!("{path} has changed, which only a push can carry over")));
        } else if path == CONFIG_FILE {
            operations.push(DeploymentPatchOp::Config { config: now.document.clone(), path: CONFIG_FILE.to_owned() });
        } else if now.config.requirements_file.as_ref() == Some(path) {
            let text = read(path)?.unwrap_or_default();
            requirements = DeploymentPatchPoint::requirements_in(&String::from_utf8_lossy(&text));
            operations.extend(of_requirements(&base.requirements, &requirements));
        }
    }
    if operations.is_empty() {
        return Ok(Difference::Nothing);
    }
    Ok(Difference::Patch(CreateDeploymentPatchRequest {
        prev_patch_hash: base.hash.clone(),
        next_patch_point: DeploymentPatchPoint {
            content_hashes: now.hashes.clone(),
            config: now.text.to_owned(),
            requirements,
        },
        patch_ops: operations,
    }))
}

/// Marks the operations of a patch that is one of code only: all of them, or none.
pub fn ask_to_keep_process(operations: &mut [DeploymentPatchOp]) {
    if operations.iter().all(|one| matches!(one, DeploymentPatchOp::ModelCode(_))) {
        for one in operations {
            if let DeploymentPatchOp::ModelCode(file) = one {
                file.hot_reload = true;
            }
        }
    }
}

/// The rest of a path that lies below a folder.
fn below<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    path.strip_prefix(folder.trim_matches('/'))?.strip_prefix('/')
}

fn as_operation(action: Action, path: &str, content: Option<Vec<u8>>) -> DeploymentPatchFile {
    let (content, content_bytes) = match content.map(String::from_utf8) {
        None => (None, None),
        Some(Ok(text)) => (Some(text), None),
        Some(Err(error)) => (None, Some(BASE64_STANDARD.encode(error.as_bytes()))),
    };
    DeploymentPatchFile { action, path: path.to_owned(), content, content_bytes, hot_reload: false }
}

fn of_requirements(before: &[String], after: &[String]) -> Vec<DeploymentPatchOp> {
    let one = |action, line: &String| DeploymentPatchOp::PythonRequirement { action, requirement: line.clone() };
    let gone = before.iter().filter(|line| !after.contains(line)).map(|line| one(Action::Remove, line));
    let new = after.iter().filter(|line| !before.contains(line)).map(|line| one(Action::Add, line));
    gone.chain(new).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What differs between two lists of files.
    fn difference(config: Value, before: &[(&str, &[u8])], after: &[(&str, &[u8])]) -> Difference {
        let hashes = |files: &[(&str, &[u8])]| -> archive::ContentHashes {
            let hash = |content: &[u8]| Some(String::from_utf8_lossy(content).into_owned());
            let files = files.iter().map(|(path, content)| ((*path).to_owned(), hash(content)));
            files.chain([("model".to_owned(), None)]).collect()
        };
        let base = DeploymentPatchPointWithHash {
            content_hashes: hashes(before),
            config: String::new(),
            requirements: vec!["old==1".into(), "same".into()],
            hash: "base".into(),
        };
        let document = config.as_object().cloned().expect("an object");
        let config = api::truss_config::from_value(config).expect("a config");
        let hashes = hashes(after);
        let now = Now { hashes: &hashes, config: &config, document: &document, text: "the text" };
        let read = |path: &str| Ok(after.iter().find(|(known, _)| *known == path).map(|(_, content)| content.to_vec()));
        between(&base, &now, read).expect("all can be read")
    }

    fn operations(config: Value, before: &[(&str, &[u8])], after: &[(&str, &[u8])]) -> Value {
        match difference(config, before, after) {
            Difference::Patch(patch) => {
                assert_eq!(
                    (patch.prev_patch_hash.as_str(), patch.next_patch_point.config.as_str()),
                    ("base", "the text")
                );
                json!(patch.patch_ops)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_of_the_model_and_of_packages_are_carried_over_one_by_one() {
        let found = operations(
            json!({ "bundled_packages_dir": "libs" }),
            &[("model/model.py", b"1"), ("model/old.py", b"1"), ("README.md", b"1")],
            &[("model/model.py", b"2"), ("libs/a.so", b"\xff"), ("README.md", b"2")],
        );
        let expected = json!([
            { "type": "package", "action": "ADD", "path": "a.so", "content": null, "content_bytes": "/w==" },
            { "type": "model_code", "action": "UPDATE", "path": "model.py", "content": "2" },
            { "type": "model_code", "action": "REMOVE", "path": "old.py", "content": null },
        ]);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_changed_config_travels_whole_and_requirements_line_by_line() {
        let config = json!({ "requirements_file": "requirements.txt", "environment_variables": { "A": "1" } });
        let found = operations(
            config.clone(),
            &[("config.yaml", b"1"), ("requirements.txt", b"old==1\nsame\n")],
            &[("config.yaml", b"2"), ("requirements.txt", b"same\nnew\n")],
        );
        let expected = json!([
            { "type": "config", "config": config, "path": "config.yaml" },
            { "type": "python_requirement", "action": "REMOVE", "requirement": "old==1" },
            { "type": "python_requirement", "action": "ADD", "requirement": "new" },
        ]);
        assert_eq!(found, expected);
    }

    #[test]
    fn what_the_model_would_not_notice_is_nothing_and_data_is_only_pushed() {
        assert_eq!(difference(json!({}), &[("README.md", b"1")], &[("README.md", b"2")]), Difference::Nothing);
        let data = difference(json!({}), &[("data/a", b"1")], &[("data/a", b"2")]);
        assert!(matches!(data, Difference::OnlyByPush(reason) if reason.contains("data/a")));
    }
}
