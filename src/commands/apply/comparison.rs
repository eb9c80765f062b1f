//! What has to change so that an object is as a document says: pure.

use serde::Serialize;
use serde_json::{Map, Value};

/// One field that is to change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Which: a path with dots.
    pub field: String,
    /// What it is; null where it is nothing.
    pub old: Value,
    /// What it should be.
    pub new: Value,
}

/// The fields that a document names and that are other than it says. What it does not name is as it should be.
pub fn changes(wanted: &Map<String, Value>, is: &Map<String, Value>) -> Vec<Change> {
    let mut changes = Vec::new();
    compare("", wanted, is, &mut changes);
    changes
}

fn compare(prefix: &str, wanted: &Map<String, Value>, is: &Map<String, Value>, changes: &mut Vec<Change>) {
    for (name, new) in wanted {
        let field = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match (new, is.get(name).unwrap_or(&Value::Null)) {
            (Value::Object(new), Value::Object(old)) => compare(&field, new, old, changes),
            (Value::Object(new), Value::Null) => compare(&field, new, &Map::new(), changes),
            (new, old) if new != old => changes.push(Change { field, old: old.clone(), new: new.clone() }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(wanted: Value, is: Value, expected: &[&str]) {
        let (Value::Object(wanted), Value::Object(is)) = (wanted, is) else { panic!("both are objects") };
        let told: Vec<_> =
            changes(&wanted, &is).iter().map(|one| format!("{}: {} -> {}", one.field, one.old, one.new)).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn only_what_is_named_is_compared() {
        check(json!({}), json!({ "a": 1 }), &[]);
        check(json!({ "a": 1, "b": [1] }), json!({ "a": 1, "b": [1], "c": 3 }), &[]);
        check(json!({ "a": 1, "b": [1, 2] }), json!({ "a": 2, "b": [2, 1] }), &["a: 2 -> 1", "b: [2,1] -> [1,2]"]);
        check(json!({ "s": { "x": 1 } }), json!({ "s": { "x": 2, "y": 3 } }), &["s.x: 2 -> 1"]);
        check(json!({ "s": { "x": 1 } }), json!({}), &["s.x: null -> 1"]);
        check(json!({ "a": null }), json!({}), &[]);
        check(json!({ "a": null }), json!({ "a": "x" }), &["a: \"x\" -> null"]);
    }
}
