//! Names with values, and what sends a signal.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
};

pub fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

pub fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)), ..Default::default() }
}

pub fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

/// What a signal comes from.
pub fn service(name: &str) -> Resource {
    let attributes = vec![text("service.name", name), text("service.version", env!("CARGO_PKG_VERSION"))];
    Resource { attributes, ..Default::default() }
}

pub fn scope() -> InstrumentationScope {
    InstrumentationScope { name: "greenroom".into(), version: env!("CARGO_PKG_VERSION").into(), ..Default::default() }
}
