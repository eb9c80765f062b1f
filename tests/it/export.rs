//! What an OpenTelemetry collector gets to hear: spans of a request from its caller down to the model, and log lines, also those that were
//! written while it was away.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value as Any},
    logs::v1::LogRecord,
    trace::v1::Span,
};
use parking_lot::Mutex;
use prost::Message as _;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{Server, eventually, model};

/// It wants the headers, so that it can tell which span it works for.
const CLASS: &str = r#"import logging
import fastapi

class Model:
    def predict(self, x, request: fastapi.Request):
        logging.warning("asked for %s", x)
        return {"traceparent": request.headers.get("traceparent")}
"#;

/// Takes what it is sent while it is open, from those who know its key.
#[derive(Default)]
struct Collector {
    is_open: AtomicBool,
    spans: Mutex<Vec<(String, Span)>>,
    lines: Mutex<Vec<LogRecord>>,
}

impl Collector {
    /// Its address, and what it gets.
    async fn start() -> (String, Arc<Self>) {
        let collector = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let taken = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let taken = taken.clone();
                let service = service_fn(move |request| {
                    let taken = taken.clone();
                    async move { Ok::<_, Infallible>(taken.answer(request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        (url, collector)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.expect("it arrives").to_bytes();
        let status = if !self.is_open.load(Ordering::SeqCst) {
            StatusCode::SERVICE_UNAVAILABLE
        } else if head.headers.get("x-key").is_none_or(|key| key != "k1") {
            StatusCode::UNAUTHORIZED
        } else {
            match head.uri.path() {
                "/v1/traces" => self.take_spans(body),
                "/v1/logs" => self.take_lines(body),
                _ => return answer(StatusCode::NOT_FOUND),
            }
            StatusCode::OK
        };
        answer(status)
    }

    fn take_spans(&self, body: Bytes) {
        let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
        for group in request.resource_spans {
            let service = text(&group.resource.expect("a resource").attributes, "service.name");
            let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().extend(spans.map(|span| (service.clone(), span)));
        }
    }

    fn take_lines(&self, body: Bytes) {
        let request = ExportLogsServiceRequest::decode(body).expect("OTLP");
        let scopes = request.resource_logs.into_iter().flat_map(|group| group.scope_logs);
        self.lines.lock().extend(scopes.flat_map(|scope| scope.log_records));
    }

    /// The spans of one trace by name, when all four are there.
    fn trace(&self, trace_id: u128) -> Option<Vec<(String, Span)>> {
        let spans = self.spans.lock();
        let own = spans.iter().filter(|(_, span)| span.trace_id == trace_id.to_be_bytes());
        let own: Vec<_> = own.cloned().collect();
        (own.len() == 4).then_some(own)
    }
}

fn answer(status: StatusCode) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::default()).expect("valid")
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|one| one.key == key).and_then(|one| one.value.clone()?.value);
    match found {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => panic!("{key} is {other:?} among {attributes:?}"),
    }
}

fn body_of(record: &LogRecord) -> String {
    match record.body.clone().and_then(|body| body.value) {
        Some(Any::StringValue(text)) => text,
        other => panic!("a line is {other:?}"),
    }
}

#[tokio::test]
async fn a_request_is_one_trace_from_its_caller_to_its_model_and_lines_wait_for_their_collector() {
    let (url, collector) = Collector::start().await;
    let server = Server::start_with(&format!("[otlp]\nendpoint = {url:?}\nheaders = \"x-key=k1\"\n"));
    let pushed = server.push(model("model_name: m", CLASS).path());
    let (model, deployment) = (&pushed["model"]["id"], &pushed["deployment"]["id"]);
    collector.is_open.store(true, Ordering::SeqCst);

    let (trace, caller) = (0x4bf92f3577b34da6a3ce929d0e0e4736_u128, 0x00f067aa0ba902b7_u64);
    let path = format!("/models/{}/production/predict", model.as_str().expect("an id"));
    let asked = server.request(Method::POST, &path).header("traceparent", format!("00-{trace:032x}-{caller:016x}-01"));
    let answer = asked.json(&json!("x")).send().await.expect("an answer");
    let request_id = answer.headers()["x-baseten-request-id"].to_str().expect("text").to_owned();
    assert!(!answer.headers().contains_key("x-greenroom-timing"), "what a replica says stays here");
    let answer: Value = answer.json().await.expect("JSON");

    let spans = eventually("the trace arrives", || async { collector.trace(trace) }).await;
    let named = |name: &str| spans.iter().find(|(_, span)| span.name == name).unwrap_or_else(|| panic!("{name}"));
    let (root, wait, replica, of_model) =
        (named("POST predict"), named("wait for a slot"), named("replica"), named("model"));
    assert_eq!(root.1.parent_span_id, caller.to_be_bytes(), "the caller's span is the parent");
    assert_eq!(wait.1.parent_span_id, root.1.span_id);
    assert_eq!(replica.1.parent_span_id, root.1.span_id);
    assert_eq!(of_model.1.parent_span_id, replica.1.span_id);
    assert_eq!((root.0.as_str(), replica.0.as_str()), ("greenroom", "greenroom-replica"));
    assert_eq!(text(&root.1.attributes, "greenroom.request_id"), request_id);
    assert_eq!(text(&root.1.attributes, "greenroom.environment"), "production");
    assert_eq!(text(&root.1.attributes, "http.response.status_code"), "200");
    let replica_span = u64::from_be_bytes(replica.1.span_id.clone().try_into().expect("8 bytes"));
    assert_eq!(
        answer["traceparent"],
        format!("00-{trace:032x}-{replica_span:016x}-01"),
        "the model goes on from there"
    );

    // A request that comes without a trace has one that goes by its own id.
    let answer = server.request(Method::POST, &path).json(&json!("y")).send().await.expect("an answer");
    let own = answer.headers()["x-baseten-request-id"].to_str().expect("text").to_owned();
    let own = u128::from_str_radix(&own, 16).expect("hexadecimal");
    eventually("its trace arrives", || async { collector.trace(own) }).await;
    // One whose caller does not keep it has none.
    let unsampled = 0x77_u128;
    let asked =
        server.request(Method::POST, &path).header("traceparent", format!("00-{unsampled:032x}-{caller:016x}-00"));
    asked.json(&json!("z")).send().await.expect("an answer");

    let all = ["pushed; goes to environment production", "build started", "asked for x", "asked for z"];
    eventually("the lines arrive, those from before it was open too", || async {
        let lines = collector.lines.lock();
        all.iter().all(|text| lines.iter().any(|line| body_of(line).contains(text))).then_some(())
    })
    .await;
    assert_eq!(collector.trace(unsampled), None);
    let lines = collector.lines.lock();
    let line = lines.iter().find(|line| body_of(line).contains("asked for x")).expect("it has come");
    assert_eq!(text(&line.attributes, "request_id"), request_id);
    assert_eq!(text(&line.attributes, "model_name"), "m");
    assert_eq!(text(&line.attributes, "model_version_id"), deployment.as_str().expect("an id"));
    assert_eq!(line.severity_text, "WARNING");
}

#[tokio::test]
async fn requests_that_fail_are_written_down_under_their_id() {
    let server = Server::start();
    let class = "class Model:\n    def predict(self, x):\n        raise ValueError(x)\n";
    let pushed = server.push(model("model_name: m", class).path());
    let path = format!("/models/{}/production/predict", pushed["model"]["id"].as_str().expect("an id"));
    let answer = server.request(Method::POST, &path).json(&json!("x")).send().await.expect("an answer");
    assert_eq!(answer.status(), 500);
    let request_id = answer.headers()["x-baseten-request-id"].to_str().expect("text").to_owned();
    let line = eventually("its line", || async {
        let found = server.json(&["logs", "m", "--component", "access", "--request-id", &request_id]);
        found["logs"].as_array().expect("lines").first().cloned()
    })
    .await;
    let message = line["message"].as_str().expect("text");
    assert!(message.starts_with(&format!("POST {path} 500 in ")), "{message}");
    assert_eq!(line["level"], "ERROR");
}
