//! Traces of requests (W3C Trace Context in and out): whether one is kept, and what is noted of it on the way. Nothing is done, and nothing
//! costs, where nobody collects them.

use std::sync::Arc;

use api::internal::trace::{ReplicaTrace, Timing, Trace, TraceParent};
use http::{HeaderMap, HeaderName, HeaderValue, request};
use tokio::sync::mpsc;

use crate::{
    headers::{TIMING, shortened},
    measure::Ended,
    request_id::RequestId,
};

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");
/// What the recommendation asks everybody to pass on; a longer one is dropped.
const LONGEST_STATE: usize = 512;
/// Span ids of a request follow from its own and these.
const OWN_SPAN: u64 = 1;
const REPLICA_SPAN: u64 = 2;

/// Where traces go. One that does not fit any more is dropped: requests do not wait for those who look at them.
#[derive(Clone)]
pub struct Traces {
    /// Which part of the requests is traced that come without a decision of their caller, from 0 to 1.
    pub ratio: f64,
    /// Nanoseconds since the Unix epoch.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Takes them.
    pub sink: mpsc::Sender<Trace>,
}

/// A request that is traced.
pub(crate) struct Tracing {
    sink: mpsc::Sender<Trace>,
    id: RequestId,
    parent: Option<TraceParent>,
    state: Option<String>,
    environment: Option<String>,
    began_ns: u64,
    timing: Option<Timing>,
}

impl Tracing {
    /// Begins to trace a request, where its caller or chance says so.
    pub(crate) fn begin(
        traces: &Traces,
        id: RequestId,
        headers: &HeaderMap,
        environment: Option<&str>,
    ) -> Option<Box<Self>> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let parent = text(TRACE_PARENT).and_then(TraceParent::parse);
        let is_kept = parent.map_or_else(|| is_chosen(id, traces.ratio), |parent| parent.is_sampled);
        is_kept.then(|| {
            Box::new(Self {
                sink: traces.sink.clone(),
                id,
                parent,
                state: parent
                    .and_then(|_| text(TRACE_STATE))
                    .filter(|state| state.len() <= LONGEST_STATE)
                    .map(str::to_owned),
                environment: environment.map(str::to_owned),
                began_ns: (traces.clock)(),
                timing: None,
            })
        })
    }

    /// Tells the replica which span it works for, and asks it for its times.
    pub(crate) fn to_replica(&self, head: &mut request::Parts) {
        let parent =
            TraceParent { trace_id: self.trace_id(), span_id: span_id(self.id, REPLICA_SPAN), is_sampled: true };
        let value = HeaderValue::try_from(parent.to_string()).expect("digits and dashes are a header value");
        head.headers.insert(TRACE_PARENT, value);
        head.headers.insert(TIMING, HeaderValue::from_static("1"));
    }

    /// Takes what a replica says of itself out of its answer.
    pub(crate) fn answered(&mut self, headers: &mut HeaderMap) {
        let timing = headers.remove(TIMING);
        self.timing = timing.as_ref().and_then(|value| value.to_str().ok()).and_then(Timing::parse);
    }

    /// Hands it over when the request has ended.
    pub(crate) fn end(self, ended: &Ended<'_>) {
        let trace_id = self.trace_id();
        let trace = Trace {
            trace_id,
            span_id: span_id(self.id, OWN_SPAN),
            parent: self.parent.map(|parent| parent.span_id),
            state: self.state,
            request_id: ended.line.id.to_string(),
            method: ended.line.method.to_string(),
            path: shortened(ended.line.uri.path()),
            began_ns: self.began_ns,
            queued: ended.taken.map(|taken| taken.waited),
            first_byte: ended.first_byte,
            took: ended.took,
            status: ended.status.map(|status| status.as_u16()),
            outcome: ended.end.into(),
            response_bytes: ended.response_bytes,
            attempts: ended.taken.map_or(0, |taken| taken.attempts),
            model_id: ended.deployment.seats().route.model_id.clone(),
            deployment_id: ended.deployment.id().clone(),
            environment: self.environment,
            replica: ended.taken.map(|taken| ReplicaTrace {
                id: taken.replica.endpoint().replica_id.clone(),
                span_id: span_id(self.id, REPLICA_SPAN),
                timing: self.timing,
            }),
        };
        if self.sink.try_send(trace).is_err() {
            tracing::debug!("a trace was dropped: its collector does not keep up");
        }
    }

    /// The caller's, or the request's own id: whoever has that has the trace.
    fn trace_id(&self) -> u128 {
        self.parent.map_or_else(|| self.id.number(), |parent| parent.trace_id)
    }
}

/// The same answer for the same request, by its random bits.
fn is_chosen(id: RequestId, ratio: f64) -> bool {
    ((id.chance() >> 11) as f64) < ratio * (1u64 << 53) as f64
}

/// Never zero, and different for each span of a request.
fn span_id(id: RequestId, span: u64) -> u64 {
    (id.chance() ^ (id.number() as u64).wrapping_mul(span)) | 1 << (span % 64)
}
