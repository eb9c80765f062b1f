//! Counting what requests cost, from the head of a request to the last byte of its answer.

use std::{sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use tokio::time::Instant;

use crate::{
    Gateway, admission::Deployment, errors::Refusal, meter::Meter, replica::Replica, request_id::RequestId, scan::Scan,
    search::Way, trace::Tracing,
};

/// One request that is being measured. When it is dropped, its answer has gone out, or nobody is left to take it: it is counted, and
/// written down where somebody wants that.
pub(crate) struct Measure {
    gateway: Gateway,
    line: RequestLine,
    /// Where it was sent last.
    pub(crate) deployment: Arc<Deployment>,
    began: Instant,
    request_bytes: Option<u64>,
    answer: Option<(StatusCode, Duration)>,
    response_bytes: u64,
    end: End,
    /// How it came to the replica that answered, or was to answer.
    pub(crate) taken: Option<Taken>,
    /// Where somebody collects its trace.
    pub(crate) trace: Option<Box<Tracing>>,
    /// Counts the tokens of its environment.
    meter: Option<Arc<Meter>>,
    /// Counts those of its answer.
    scan: Option<Scan>,
}

/// What was asked for, and the id under which.
pub(crate) struct RequestLine {
    pub(crate) id: RequestId,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
}

/// How the answer's body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It has not: its client has left.
    Open,
    /// It has gone out whole.
    Whole,
    /// It broke off on our side.
    Broken,
}

/// How a request came to its replica.
pub(crate) struct Taken {
    pub(crate) replica: Arc<Replica>,
    /// How many replicas were tried.
    pub(crate) attempts: u32,
    /// For a slot.
    pub(crate) waited: Duration,
}

/// How a request went.
pub(crate) struct Ended<'a> {
    pub(crate) line: &'a RequestLine,
    pub(crate) deployment: &'a Deployment,
    pub(crate) took: Duration,
    /// Until the head of its answer; none, as with the status, for a client that left before.
    pub(crate) first_byte: Option<Duration>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) response_bytes: u64,
    pub(crate) end: End,
    /// None where it never had a slot.
    pub(crate) taken: Option<&'a Taken>,
}

/// What is counted for a client that left before the head of its answer.
const CLIENT_LEFT: u16 = 499;

impl Measure {
    /// Begins with the head of a request, which may announce the size of its body.
    pub(crate) fn begin(gateway: &Gateway, id: RequestId, way: &Way, request: &Request<impl Body>) -> Self {
        let trace = gateway.traces().and_then(|traces| {
            let environment = way.by.as_ref().map(|by| &*by.environment);
            Tracing::begin(traces, id, request.headers(), environment)
        });
        Self {
            gateway: gateway.clone(),
            line: RequestLine { id, method: request.method().clone(), uri: request.uri().clone() },
            deployment: way.deployment.clone(),
            began: Instant::now(),
            request_bytes: request.body().size_hint().exact(),
            answer: None,
            response_bytes: 0,
            end: End::Open,
            taken: None,
            trace,
            meter: way.meter.clone(),
            scan: None,
        }
    }

    /// Whether policies leave it any tokens to take; where they do, whether they limit them.
    pub(crate) fn check_tokens(&self) -> Result<bool, Refusal> {
        let routes = self.gateway.routes();
        let Some(routes) = routes.as_ref() else { return Ok(false) };
        routes.meters.check(self.meter.as_deref(), self.deployment.id(), || self.gateway.now())
    }

    /// Notes the head of the answer.
    pub(crate) fn answered<B>(&mut self, response: &Response<B>) {
        self.answer = Some((response.status(), self.began.elapsed()));
        self.scan = Scan::of(response.status(), response.headers());
    }

    /// Notes how the body has ended.
    pub(crate) fn ended(&mut self, end: End) {
        self.end = end;
        // Before the client has the last of it: its next request finds it counted.
        self.spend();
    }

    /// Notes a piece of the body.
    pub(crate) fn sent(&mut self, piece: &[u8]) {
        self.response_bytes += piece.len() as u64;
        if let Some(scan) = &mut self.scan {
            scan.see(piece);
        }
    }

    /// Counts the tokens that the answer took.
    fn spend(&mut self) {
        let Some(tokens) = self.scan.take().and_then(Scan::tokens) else { return };
        let mut measures = self.deployment.measures();
        measures.tokens = measures.tokens.plus(tokens);
        drop(measures);
        if let Some(routes) = self.gateway.routes().as_ref() {
            routes.meters.add(self.meter.as_deref(), self.deployment.id(), || self.gateway.now(), tokens);
        }
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let trace = self.trace.take();
        let ended = Ended {
            line: &self.line,
            deployment: &self.deployment,
            took,
            first_byte: self.answer.map(|(_, first_byte)| first_byte),
            status: self.answer.map(|(status, _)| status),
            response_bytes: self.response_bytes,
            end: self.end,
            taken: self.taken.as_ref(),
        };
        self.gateway.waiting().note(self.gateway.settings().access_log, &ended);
        if let Some(trace) = trace {
            trace.end(&ended);
        }
        self.spend();
        let mut measures = self.deployment.measures();
        let status = self.answer.map_or(CLIENT_LEFT, |(status, _)| status.as_u16());
        let answered = measures.answered.entry(status).or_default();
        answered.response_time.record(took.as_secs_f64());
        if let Some((_, first_byte)) = self.answer {
            answered.first_byte.record(first_byte.as_secs_f64());
        }
        if let Some(bytes) = self.request_bytes {
            answered.request_bytes.record(bytes as f64);
        }
        answered.response_bytes.record(self.response_bytes as f64);
    }
}

/// A websocket that is open, counted while this exists.
pub(crate) struct OpenWebsocket(Arc<Deployment>);

impl OpenWebsocket {
    pub(crate) fn of(deployment: Arc<Deployment>) -> Self {
        deployment.measures().websockets += 1;
        Self(deployment)
    }
}

impl Drop for OpenWebsocket {
    fn drop(&mut self) {
        self.0.measures().websockets -= 1;
    }
}
