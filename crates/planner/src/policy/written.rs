//! Policies and locations as people write them and as they are stored: any text where a name or a type stands. Parsing them, with
//! `TryFrom`, is the only way to the types that decisions work with.

use serde::{Deserialize, Serialize};

/// A policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// What it is about: `location`, `flavor` (or `gpu`, `cpu`: flavors of that type only), or `maxToken` (or `max_token`).
    #[serde(rename = "type")]
    pub kind: String,
    /// The places that one of type `location` allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<Entry>,
    /// The hardware that one of type `flavor` allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flavors: Vec<Entry>,
    /// The tokens that one of type `maxToken` allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<MaxTokens>,
    /// What it is for; without it, for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_types: Option<Vec<String>>,
}

/// A place, or a flavor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// A place's: `location`, `country` or `continent`. A flavor's: `cpu` or `gpu`; may be left out where the policy's type says it.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Which one: a location's or a flavor's name, or a code.
    pub name: String,
}

/// How many tokens may be taken in a window of time. A number that is left out or 0 bounds nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxTokens {
    /// The unit of the window: `minute`, `hour`, `day` or `month`.
    pub granularity: String,
    /// How many of them a window has; 1 when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// Tokens of input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    /// Tokens of output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    /// Tokens of both together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Tokens of input for each of output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio_input_over_output: Option<u64>,
}

/// A location.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// Its name.
    pub name: String,
    /// The country's code.
    pub country: String,
    /// The continent's code.
    pub continent: String,
    /// Where it is on the globe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinates: Option<Coordinates>,
    /// The hardware in it.
    pub flavors: Vec<Stock>,
}

/// A point on the globe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coordinates {
    /// Degrees north of the equator.
    pub latitude: f64,
    /// Degrees east of Greenwich.
    pub longitude: f64,
}

/// A flavor in a location.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stock {
    /// `cpu` or `gpu`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which one.
    pub name: String,
    /// How many there are: processors, or GPUs.
    pub count: u32,
    /// Memory, in MiB: a GPU's own, or all that those processors share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
}
