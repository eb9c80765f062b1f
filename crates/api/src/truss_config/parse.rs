//! Reading a config, with errors that name the path, what was expected there and what was found.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use serde_path_to_error::Segment;
use serde_saphyr::{UserMessageFormatter, budget, options};

use super::{TransportKind, TrussConfig, check::Problem};

/// Why a config could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not YAML at all, or YAML that JSON has no words for.
    #[error("not valid YAML: {0}")]
    Syntax(String),
    /// A value of the wrong kind.
    #[error(transparent)]
    Shape(#[from] Problem),
}

/// Values in one file, with what aliases repeat: far more than an author writes, and few enough to be read at once.
const MOST_NODES: usize = 20_000;

/// Reads `config.yaml`. An empty file is an empty config.
pub fn parse_yaml(text: &str) -> Result<TrussConfig, Error> {
    let options = options! { with_snippet: false, budget: budget! { max_nodes: MOST_NODES } };
    let document: Option<Value> = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| Error::Syntax(error.render_with_formatter(&UserMessageFormatter)))?;
    from_value(document.unwrap_or_else(|| Value::Object(Default::default())))
}

/// Reads a config that a client sent as JSON, expanded or not.
pub fn from_value(document: Value) -> Result<TrussConfig, Error> {
    let mut config: TrussConfig = serde_path_to_error::deserialize(&document)
        .map_err(|error| explain(&document, error.path(), &error.inner().to_string()))?;
    let runtime = &mut config.runtime;
    if runtime.is_websocket_endpoint && runtime.transport.kind == TransportKind::Http {
        runtime.transport.kind = TransportKind::Websocket;
    }
    runtime.is_websocket_endpoint = runtime.transport.kind == TransportKind::Websocket;
    Ok(config)
}

/// Variables are text; booleans and whole numbers are taken as the text they are written with. Other numbers have no single
/// spelling (`1.10` reads as 1.1), so their author has to quote them.
pub(super) fn variables<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::<BTreeMap<String, Variable>>::deserialize(deserializer)?
        .unwrap_or_default()
        .into_iter()
        .map(|(name, Variable(value))| (name, value))
        .collect())
}

struct Variable(String);

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            Value::Bool(value) => Ok(Self(value.to_string())),
            Value::Number(number) if !number.is_f64() => Ok(Self(number.to_string())),
            Value::Number(_) | Value::Null | Value::Array(_) | Value::Object(_) => {
                Err(de::Error::custom("expected a string in quotes"))
            }
        }
    }
}

/// Turns what serde says into words for the author of the config.
fn explain(document: &Value, path: &serde_path_to_error::Path, message: &str) -> Problem {
    let mut place = String::new();
    let mut found = document;
    for segment in path {
        match segment {
            Segment::Map { key } => {
                place.push_str(if place.is_empty() { "" } else { "." });
                place.push_str(key);
                found = &found[key.as_str()];
            }
            Segment::Seq { index } => {
                place.push_str(&format!("[{index}]"));
                found = &found[*index];
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    if let Some(field) = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        let separator = if place.is_empty() { "" } else { "." };
        return Problem::new(format!("{place}{separator}{field}"), "is missing");
    }
    let sentence = match message.rsplit_once("expected ") {
        Some((_, expected)) => format!("expected {}, found {}", plain(expected), describe(&place, found)),
        None => message.to_owned(),
    };
    Problem::new(place, sentence)
}

/// What serde expects, in words of YAML.
fn plain(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "a map" => "an object",
        "a boolean" => "true or false",
        "u8" | "u16" | "u32" | "u64" => "a whole number that is not negative",
        "f64" => "a number",
        _ if expected.starts_with("struct ") => "an object",
        _ => expected,
    }
}

/// What stands at a place; texts that may be confidential are not repeated.
fn describe(place: &str, found: &Value) -> String {
    let is_confidential = place.starts_with("secrets") || place.starts_with("environment_variables");
    match found {
        Value::Null => "nothing".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.len() > 60 || is_confidential => "a string".into(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}
