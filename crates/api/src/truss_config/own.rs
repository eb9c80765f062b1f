//! What Greenroom reads beyond the format: `model_metadata.greenroom`, a place where every client lets pass what it does not know.

use std::num::NonZeroU32;

use serde::Deserialize;
use serde_json::Value;

use super::{Problem, TrussConfig};

/// Where it stands.
const PLACE: &str = "model_metadata.greenroom";

/// Settings of a deployment for which the format has no word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Own {
    /// How long a request may take.
    pub timeouts: Timeouts,
}

/// How long the parts of a request may take, in seconds; none means as long as the server lets them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Waiting for a replica.
    pub queue_seconds: Option<NonZeroU32>,
    /// From there to the first byte of the answer.
    pub first_byte_seconds: Option<NonZeroU32>,
    /// Between two bytes of a body.
    pub idle_seconds: Option<NonZeroU32>,
}

impl TrussConfig {
    /// What it says there.
    pub fn own(&self) -> Result<Own, Problem> {
        match self.model_metadata.get("greenroom") {
            None | Some(Value::Null) => Ok(Own::default()),
            Some(own) => Own::deserialize(own).map_err(|error| Problem::new(PLACE, error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::truss_config::from_value;

    fn own(own: Value) -> Result<Own, Problem> {
        from_value(json!({ "model_metadata": { "greenroom": own } })).expect("it is free-form").own()
    }

    #[test]
    fn timeouts_are_whole_seconds_and_what_is_not_said_is_the_servers() {
        assert_eq!(TrussConfig::default().own(), Ok(Own::default()));
        let timeouts = own(json!({ "timeouts": { "queue_seconds": 5 } })).expect("it is in order").timeouts;
        assert_eq!((timeouts.queue_seconds.map(NonZeroU32::get), timeouts.idle_seconds), (Some(5), None));
        for wrong in [json!({ "timeouts": { "queue_seconds": 0 } }), json!({ "timeout": {} }), json!([1])] {
            let problem = own(wrong).expect_err("it makes no sense");
            assert!(problem.to_string().starts_with("model_metadata.greenroom: "), "{problem}");
        }
        let config = from_value(json!({ "model_metadata": { "greenroom": { "timeouts": { "idle": 1 } } } }));
        let problems = config.expect("it is free-form").validate();
        assert!(problems[0].message.contains("idle_seconds"), "{problems:?}");
    }
}
