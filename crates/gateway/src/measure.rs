//! Counting what requests cost, from the head of a request to the last byte of its answer.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::time::Instant;

use crate::admission::Deployment;

/// One request that is being measured. Counted when it is dropped: its answer has gone out, or nobody is left to take it.
pub(crate) struct Measure {
    /// Where it was sent last.
    pub(crate) deployment: Arc<Deployment>,
    began: Instant,
    request_bytes: Option<u64>,
    answer: Option<(StatusCode, Duration)>,
    response_bytes: u64,
}

/// What is counted for a client that left before the head of its answer.
const CLIENT_LEFT: u16 = 499;

impl Measure {
    /// Begins with the head of a request, which may announce the size of its body.
    pub(crate) fn begin(deployment: Arc<Deployment>, request_bytes: Option<u64>) -> Self {
        Self { deployment, began: Instant::now(), request_bytes, answer: None, response_bytes: 0 }
    }

    /// Notes the head of the answer.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.answer = Some((status, self.began.elapsed()));
    }

    /// Notes a piece of the body.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        let took = self.began.elapsed();
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
