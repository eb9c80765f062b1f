//! Traces as OTLP has them: the request (with its wait for a slot below it), the replica, and the model. Names of attributes are those of
//! OpenTelemetry's conventions for HTTP where they have one.

use std::time::Duration;

use api::internal::{
    access::Outcome,
    trace::{ReplicaTrace, Timing, Trace},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind, status::StatusCode},
};

use crate::attributes::{number, scope, service, text};

/// The request that carries them: the gateway's spans, then the replicas'.
pub fn request(traces: &[Trace]) -> ExportTraceServiceRequest {
    let gateway = traces.iter().flat_map(of_gateway).collect();
    let replicas = traces.iter().flat_map(of_replica).collect();
    let resource_spans = [("greenroom", gateway), ("greenroom-replica", replicas)];
    let filled = resource_spans.into_iter().filter(|(_, spans): &(_, Vec<Span>)| !spans.is_empty());
    ExportTraceServiceRequest { resource_spans: filled.map(|(name, spans)| from(name, spans)).collect() }
}

fn from(name: &str, spans: Vec<Span>) -> ResourceSpans {
    let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans, ..Default::default() }];
    ResourceSpans { resource: Some(service(name)), scope_spans, ..Default::default() }
}

/// The request as its client sees it, and its wait for a slot.
fn of_gateway(trace: &Trace) -> Vec<Span> {
    let mut attributes = vec![
        text("http.request.method", trace.method.as_str()),
        text("url.path", trace.path.as_str()),
        number("http.response.body.size", trace.response_bytes),
        text("greenroom.request_id", trace.request_id.as_str()),
        text("greenroom.model_id", trace.model_id.as_str()),
        text("greenroom.deployment_id", trace.deployment_id.as_str()),
        number("greenroom.attempts", trace.attempts.into()),
    ];
    attributes.extend(trace.environment.as_deref().map(|name| text("greenroom.environment", name)));
    attributes.extend(trace.status.map(|status| number("http.response.status_code", status.into())));
    let first_byte = trace.first_byte.map(|after| number("greenroom.first_byte_us", micros(after)));
    attributes.extend(first_byte);
    let root = Span {
        parent_span_id: trace.parent.map(id).unwrap_or_default(),
        trace_state: trace.state.clone().unwrap_or_default(),
        kind: SpanKind::Server.into(),
        attributes,
        status: Some(status(trace)),
        ..span(trace, trace.span_id, &format!("{} {}", trace.method, route(&trace.path)), Duration::ZERO, trace.took)
    };
    let wait = trace.queued.map(|queued| Span {
        parent_span_id: id(trace.span_id),
        kind: SpanKind::Internal.into(),
        ..span(trace, below(trace.span_id), "wait for a slot", Duration::ZERO, queued)
    });
    [Some(root), wait].into_iter().flatten().collect()
}

/// The request at its replica, and in its model.
fn of_replica(trace: &Trace) -> Vec<Span> {
    let Some(ReplicaTrace { id: replica, span_id, timing }) = &trace.replica else {
        return Vec::new();
    };
    let sent = trace.queued.unwrap_or_default();
    let at_replica = Span {
        parent_span_id: id(trace.span_id),
        kind: SpanKind::Server.into(),
        attributes: vec![text("greenroom.replica", replica.as_str())],
        ..span(trace, *span_id, "replica", sent, trace.took)
    };
    let in_model = timing.map(|Timing { queued, answered }| {
        let (from, first_byte) = (sent + queued, sent + queued + answered);
        Span {
            parent_span_id: id(*span_id),
            kind: SpanKind::Internal.into(),
            attributes: vec![number("greenroom.first_byte_us", micros(answered))],
            // A stream is the model's until its end.
            ..span(trace, below(*span_id), "model", from.min(trace.took), last(trace, first_byte))
        }
    });
    [Some(at_replica), in_model].into_iter().flatten().collect()
}

/// When the model was done: with its first byte, unless more came after that.
fn last(trace: &Trace, first_byte: Duration) -> Duration {
    let is_streamed = trace.first_byte.is_some_and(|answered| trace.took > answered + Duration::from_millis(1));
    if is_streamed { trace.took } else { first_byte.min(trace.took) }
}

fn span(trace: &Trace, span_id: u64, name: &str, from: Duration, to: Duration) -> Span {
    let at = |after: Duration| trace.began_ns.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
    Span {
        trace_id: trace.trace_id.to_be_bytes().to_vec(),
        span_id: id(span_id),
        name: name.to_owned(),
        start_time_unix_nano: at(from),
        end_time_unix_nano: at(to.max(from)),
        ..Default::default()
    }
}

/// Only what fails on the server's side is an error of a server's span.
fn status(trace: &Trace) -> Status {
    let (code, message) = match (trace.status, trace.outcome) {
        (None, _) => (StatusCode::Error, "the client left before the answer"),
        (_, Outcome::BrokenOff) => (StatusCode::Error, "the answer broke off"),
        (_, Outcome::Left) => (StatusCode::Error, "the client left during the answer"),
        (Some(500..), Outcome::Answered) => (StatusCode::Error, ""),
        (Some(_), Outcome::Answered) => (StatusCode::Unset, ""),
    };
    Status { code: code.into(), message: message.into() }
}

/// What a path asks for, without the names in it: span names are few.
fn route(path: &str) -> &str {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if path.contains("/sync/") { "sync" } else { last }
}

/// The one span below another.
fn below(span_id: u64) -> u64 {
    span_id.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15
}

fn id(span_id: u64) -> Vec<u8> {
    span_id.to_be_bytes().to_vec()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace {
        let ms = Duration::from_millis;
        Trace {
            trace_id: 7,
            span_id: 8,
            parent: Some(9),
            state: None,
            request_id: "r".into(),
            method: "POST".into(),
            path: "/models/abcdefgh/production/predict".into(),
            began_ns: 1_000_000_000,
            queued: Some(ms(10)),
            first_byte: Some(ms(50)),
            took: ms(50),
            status: Some(200),
            outcome: Outcome::Answered,
            response_bytes: 3,
            attempts: 1,
            model_id: "abcdefgh".parse().expect("an id"),
            deployment_id: "abcdefg".parse().expect("an id"),
            environment: Some("production".into()),
            replica: Some(ReplicaTrace {
                id: "abcde".parse().expect("an id"),
                span_id: 11,
                timing: Some(Timing { queued: ms(1), answered: ms(30) }),
            }),
        }
    }

    /// Spans by name with their parent's, and from when to when in milliseconds.
    fn shown(trace: &Trace) -> Vec<(String, Option<String>, u64, u64)> {
        let spans: Vec<Span> = of_gateway(trace).into_iter().chain(of_replica(trace)).collect();
        let name = |id: &[u8]| spans.iter().find(|span| span.span_id == id).map(|span| span.name.clone());
        let ms = |nanos: u64| (nanos - trace.began_ns) / 1_000_000;
        let shown = |span: &Span| {
            (span.name.clone(), name(&span.parent_span_id), ms(span.start_time_unix_nano), ms(span.end_time_unix_nano))
        };
        spans.iter().map(shown).collect()
    }

    #[test]
    fn a_request_is_a_tree_down_to_its_model() {
        let root = "POST predict".to_owned();
        assert_eq!(
            shown(&trace()),
            [
                (root.clone(), None, 0, 50),
                ("wait for a slot".into(), Some(root.clone()), 0, 10),
                ("replica".into(), Some(root), 10, 50),
                ("model".into(), Some("replica".into()), 11, 41),
            ]
        );
        assert_eq!(of_gateway(&trace())[0].parent_span_id, id(9), "below the caller's span");
    }

    #[test]
    fn the_model_of_a_stream_works_until_its_end() {
        let streamed = Trace { took: Duration::from_millis(900), ..trace() };
        assert_eq!(shown(&streamed)[3].3, 900);
    }

    #[test]
    fn failures_of_the_server_are_errors_and_those_of_clients_are_not() {
        let code = |answer| status(&Trace { status: answer, ..trace() }).code;
        assert_eq!(code(Some(400)), StatusCode::Unset as i32);
        assert_eq!(code(Some(503)), StatusCode::Error as i32);
        assert_eq!(code(None), StatusCode::Error as i32);
    }

    #[test]
    fn names_of_spans_are_few() {
        for (path, expected) in [
            ("/production/predict", "predict"),
            ("/models/abc/environments/staging/sync/v1/chat/completions", "sync"),
            ("/development/wake/", "wake"),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }
}
