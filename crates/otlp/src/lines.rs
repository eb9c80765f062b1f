//! Log lines as OTLP has them. Attributes have the names that the hosted service exports under.

use api::internal::{outgoing::OutgoingLine, replica::Level};
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::any_value::Value,
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
};

use crate::attributes::{any, scope, service, text};

/// The request that carries them.
pub fn request(lines: &[OutgoingLine]) -> ExportLogsServiceRequest {
    let log_records = lines.iter().map(record).collect();
    let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records, ..Default::default() }];
    let resource_logs = ResourceLogs { resource: Some(service("greenroom")), scope_logs, ..Default::default() };
    ExportLogsServiceRequest { resource_logs: vec![resource_logs] }
}

fn record(outgoing: &OutgoingLine) -> LogRecord {
    let OutgoingLine { line, component, model_id, model_name, deployment_id, environment, replica_id } = outgoing;
    let time = u64::try_from(line.timestamp_ns).unwrap_or(0);
    let (severity, severity_text) = match line.level {
        Some(Level::Debug) => (SeverityNumber::Debug, "DEBUG"),
        Some(Level::Info) => (SeverityNumber::Info, "INFO"),
        Some(Level::Warning) => (SeverityNumber::Warn, "WARNING"),
        Some(Level::Error) => (SeverityNumber::Error, "ERROR"),
        None => (SeverityNumber::Unspecified, ""),
    };
    let mut attributes = vec![text("model_version_id", deployment_id.as_str()), text("component", *component)];
    let optional = [
        ("model_id", model_id.as_ref().map(|id| id.as_str())),
        ("model_name", model_name.as_deref()),
        ("environment", environment.as_deref()),
        ("replica", replica_id.as_ref().map(|id| id.as_str())),
        ("request_id", line.request_id.as_deref()),
    ];
    attributes.extend(optional.into_iter().filter_map(|(key, value)| Some(text(key, value?))));
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time,
        severity_number: severity.into(),
        severity_text: severity_text.into(),
        body: Some(any(Value::StringValue(line.message.clone()))),
        attributes,
        trace_id: line.request_id.as_deref().and_then(trace_id).unwrap_or_default(),
        ..Default::default()
    }
}

/// The trace of a request, unless its caller began it: the bytes of the request's id.
fn trace_id(request_id: &str) -> Option<Vec<u8>> {
    (request_id.len() == 32).then(|| u128::from_str_radix(request_id, 16).ok())?.map(|id| id.to_be_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use api::internal::replica::LogLine;

    use super::*;

    #[test]
    fn a_line_carries_what_it_is_about_and_the_trace_of_its_request() {
        let request_id = "0af7651916cd43dd8448eb211c80319c";
        let line = LogLine {
            timestamp_ns: 5,
            level: Some(Level::Warning),
            request_id: Some(request_id.into()),
            message: "slow".into(),
        };
        let outgoing = OutgoingLine {
            line,
            component: "model",
            model_id: None,
            model_name: Some("iris".into()),
            deployment_id: "abcdefg".parse().expect("an id"),
            environment: Some("production".into()),
            replica_id: None,
        };
        let record = record(&outgoing);
        assert_eq!((record.time_unix_nano, record.severity_number), (5, SeverityNumber::Warn as i32));
        assert_eq!(
            u128::from_be_bytes(record.trace_id.try_into().expect("16 bytes")),
            0x0af7651916cd43dd8448eb211c80319c
        );
        let names: Vec<&str> = record.attributes.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(names, ["model_version_id", "component", "model_name", "environment", "request_id"]);
    }
}
