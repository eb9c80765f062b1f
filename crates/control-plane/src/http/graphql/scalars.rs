//! What the client packs into texts: JSON, and JSON or YAML in base64.

use async_graphql::{InputValueError, InputValueResult, Result, Scalar, ScalarType, Value};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::unreadable;

/// A JSON object as a text.
pub struct JsonString(pub Map<String, Json>);

#[Scalar(name = "JSONString")]
impl ScalarType for JsonString {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        serde_json::from_str(text)
            .map(Self)
            .map_err(|error| InputValueError::custom(format!("it is not a JSON object: {error}")))
    }

    fn to_value(&self) -> Value {
        Value::String(Json::Object(self.0.clone()).to_string())
    }
}

/// The bytes in a base64 text.
pub fn decoded(argument: &str, text: &str) -> Result<Vec<u8>> {
    BASE64_STANDARD.decode(text).map_err(|error| unreadable(argument, format!("it is not base64: {error}")))
}

/// The JSON in a base64 text.
pub fn decoded_json<T: DeserializeOwned>(argument: &str, text: &str) -> Result<T> {
    json(argument, &decoded(argument, text)?)
}

/// The text in a base64 text.
pub fn decoded_text(argument: &str, text: &str) -> Result<String> {
    String::from_utf8(decoded(argument, text)?)
        .map_err(|error| unreadable(argument, format!("it is not UTF-8: {error}")))
}

/// What JSON says.
pub fn json<T: DeserializeOwned>(argument: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| unreadable(argument, format!("it is not the JSON that belongs here: {error}")))
}
