//! What has to be done so that all is as documents say. Everything is read and checked before anything is done.

use std::{collections::BTreeMap, io::Read as _};

use serde::Serialize;
use store::domain::fold_secret_name;

use super::{
    comparison::{Change, changes},
    documents::Files,
    live,
    object::{self, Id, Kind, Object, ValueFrom, Wanted},
};
use crate::{
    client::Client,
    config,
    failure::{Failure, Kind as FailureKind, Result},
    printer::without_line_end,
};

/// The longest value of a secret that is read, in bytes; the server says what it takes.
const LONGEST_VALUE: u64 = 1024 * 1024;

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was not there.
    Created,
    /// It was other than the document says.
    Changed,
    /// It is a secret and gets its value, which nobody can compare with the one before.
    Set,
    /// It is as the document says.
    Unchanged,
}

/// What is to be done about one object.
#[derive(Serialize)]
pub struct Step {
    /// Which.
    #[serde(flatten)]
    pub id: Id,
    /// What becomes of it.
    pub outcome: Outcome,
    /// What differs.
    pub changes: Vec<Change>,
    /// What the document says.
    #[serde(skip)]
    pub wanted: Object,
    /// Where it says so.
    #[serde(skip)]
    pub place: String,
    /// The value of a secret.
    #[serde(skip)]
    pub value: Option<String>,
}

/// Reads documents, compares them with what there is, and says what is to be done, in the order of dependencies.
pub async fn plan(client: &Client, files: &Files) -> Result<Vec<Step>> {
    let mut all = files.read()?.iter().map(object::read).collect::<Result<Vec<_>>>()?;
    // What is equal stays in the order of the documents.
    all.sort_by_key(|wanted| wanted.object.id.kind);
    check_once(&all)?;
    let mut steps = Vec::new();
    for wanted in &all {
        let is = live::find(client, &wanted.object.id)
            .await
            .map_err(|failure| at(&wanted.place, &wanted.object.id, failure))?;
        check_known(client, wanted, is.as_ref(), &all).await?;
        steps.push(step(wanted, is.as_ref())?);
    }
    Ok(steps)
}

/// The same failure, with the place and the object that it is about.
pub fn at(place: &str, id: &Id, failure: Failure) -> Failure {
    Failure { message: format!("{place}, {id}: {}", failure.message), ..failure }
}

fn refused(wanted: &Wanted, message: impl std::fmt::Display) -> Failure {
    at(&wanted.place, &wanted.object.id, Failure::new(FailureKind::Usage, message))
}

fn check_once(all: &[Wanted]) -> Result {
    let mut seen: BTreeMap<Id, &str> = BTreeMap::new();
    for wanted in all {
        let mut id = wanted.object.id.clone();
        if id.kind == Kind::Secret {
            id.name = Some(fold_secret_name(id.name()));
        }
        if let Some(place) = seen.insert(id, &wanted.place) {
            return Err(refused(wanted, format!("it is described twice: {place} has it too")));
        }
    }
    Ok(())
}

/// Whether what a document names is there, or comes with the others.
async fn check_known(client: &Client, wanted: &Wanted, is: Option<&Object>, all: &[Wanted]) -> Result {
    let Object { id, fields } = &wanted.object;
    let comes =
        |kind: Kind, name: &str| all.iter().any(|one| one.object.id.kind == kind && one.object.id.name() == name);
    if id.kind == Kind::EnvironmentGroup && is.is_none() && !comes(Kind::Environment, id.name()) {
        return Err(refused(wanted, "no model has an environment of this name"));
    }
    for name in fields.get("policies").and_then(|names| names.as_array()).into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        let policy = Id { kind: Kind::Policy, model: None, name: Some(name.to_owned()) };
        if !comes(Kind::Policy, name) && live::find(client, &policy).await?.is_none() {
            return Err(refused(wanted, format!("policies: there is no policy {name:?}, here or on the server")));
        }
    }
    Ok(())
}

fn step(wanted: &Wanted, is: Option<&Object>) -> Result<Step> {
    let value = wanted.value_from.as_ref().map(value).transpose().map_err(|message| refused(wanted, message))?;
    let changes = changes(&wanted.object.fields, &is.map(|is| is.fields.clone()).unwrap_or_default());
    let outcome = match (is, &value) {
        (None, None) if wanted.object.id.kind == Kind::Secret => {
            return Err(refused(wanted, "it is not there: say with value_from where its value is"));
        }
        (None, _) => Outcome::Created,
        (Some(_), Some(_)) => Outcome::Set,
        (Some(_), None) if changes.is_empty() => Outcome::Unchanged,
        (Some(_), None) => Outcome::Changed,
    };
    let Wanted { object, place, .. } = wanted.clone();
    Ok(Step { id: object.id.clone(), outcome, changes, wanted: object, place, value })
}

fn value(from: &ValueFrom) -> std::result::Result<String, String> {
    match from {
        ValueFrom::Env(name) => {
            config::variable(name).ok_or_else(|| format!("value_from.env: the variable {name} is not set"))
        }
        ValueFrom::File(path) => {
            let unreadable = |error| format!("value_from.file: cannot read {}: {error}", path.display());
            let mut text = String::new();
            let file = std::fs::File::open(path).map_err(unreadable)?;
            file.take(LONGEST_VALUE).read_to_string(&mut text).map_err(unreadable)?;
            Ok(without_line_end(&text).to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wanted(kind: Kind, fields: Value, value_from: Option<ValueFrom>) -> Wanted {
        let Value::Object(fields) = fields else { panic!("fields are an object") };
        let object = Object { id: Id { kind, model: None, name: Some("x".to_owned()) }, fields };
        Wanted { object, place: "a.yaml, document 1".to_owned(), value_from }
    }

    #[test]
    fn what_becomes_of_an_object_follows_from_what_it_is() {
        let outcome =
            |wanted: &Wanted, is: Option<&Wanted>| step(wanted, is.map(|is| &is.object)).map(|step| step.outcome);
        let policy = wanted(Kind::Policy, json!({ "type": "location" }), None);
        let other = wanted(Kind::Policy, json!({ "type": "flavor" }), None);
        assert_eq!(outcome(&policy, None).ok(), Some(Outcome::Created));
        assert_eq!(outcome(&policy, Some(&other)).ok(), Some(Outcome::Changed));
        assert_eq!(outcome(&policy, Some(&policy)).ok(), Some(Outcome::Unchanged));

        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "hunter2\n").expect("a value");
        let secret = wanted(Kind::Secret, json!({}), None);
        let valued = wanted(Kind::Secret, json!({}), Some(ValueFrom::File(file.path().to_owned())));
        assert_eq!(outcome(&secret, Some(&secret)).ok(), Some(Outcome::Unchanged), "its value stays as it is");
        assert_eq!(outcome(&valued, None).ok(), Some(Outcome::Created));
        assert_eq!(outcome(&valued, Some(&secret)).ok(), Some(Outcome::Set));
        assert_eq!(step(&valued, None).ok().and_then(|step| step.value).as_deref(), Some("hunter2"));
        let lost = outcome(&secret, None).expect_err("nobody knows its value");
        assert!(lost.message.contains("a.yaml, document 1, secret x: it is not there"), "{}", lost.message);
        let nowhere = wanted(Kind::Secret, json!({}), Some(ValueFrom::File("/nonesuch/value".into())));
        assert!(outcome(&nowhere, None).expect_err("there is no such file").message.contains("value_from.file"));
    }

    #[test]
    fn an_object_is_described_once() {
        let twice = [wanted(Kind::Policy, json!({}), None), wanted(Kind::Policy, json!({}), None)];
        assert!(check_once(&twice).expect_err("twice").message.contains("described twice"));
        let named = |name: &str| {
            let mut one = wanted(Kind::Secret, json!({}), None);
            one.object.id.name = Some(name.to_owned());
            one
        };
        assert!(check_once(&[named("hf_token"), named("hf-token")]).is_err(), "two spellings of one secret");
        assert!(check_once(&[wanted(Kind::Policy, json!({}), None), wanted(Kind::Secret, json!({}), None)]).is_ok());
    }
}
