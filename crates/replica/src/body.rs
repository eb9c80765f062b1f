//! The bodies and headers of what the replica answers.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{calls::Call, status::InFlight};

/// A body that broke: the connection is cut, so that the client does not take what it has for the whole.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub struct Broken;

/// The body of an answer, and the count of requests in flight that it keeps up.
pub struct Body {
    content: Content,
    _in_flight: Option<InFlight>,
}

enum Content {
    Whole(Bytes),
    Stream(Call),
    Lines(mpsc::Receiver<Bytes>),
    Proxied(Incoming),
}

impl Body {
    /// A body that is complete.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Whole(bytes.into()), _in_flight: None }
    }

    /// What a model streams.
    pub fn stream(call: Call) -> Self {
        Self { content: Content::Stream(call), _in_flight: None }
    }

    /// Whatever comes through a channel, until it closes.
    pub fn lines(receiver: mpsc::Receiver<Bytes>) -> Self {
        Self { content: Content::Lines(receiver), _in_flight: None }
    }

    /// The body of another server's answer.
    pub fn proxied(body: Incoming) -> Self {
        Self { content: Content::Proxied(body), _in_flight: None }
    }

    /// Counts the request as in flight until the body is gone.
    pub fn counted(mut self, in_flight: InFlight) -> Self {
        self._in_flight = Some(in_flight);
        self
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.content {
            Content::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Content::Stream(call) => call.poll_chunk(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data))),
            Content::Lines(receiver) => receiver.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line)))),
            Content::Proxied(body) => {
                Pin::new(body).poll_frame(context).map(|frame| frame.map(|frame| frame.map_err(|_| Broken)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Proxied(body) => body.is_end_stream(),
            Content::Stream(_) | Content::Lines(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Proxied(body) => body.size_hint(),
            Content::Stream(_) | Content::Lines(_) => SizeHint::default(),
        }
    }
}

/// Marks the answer to a request that has not been looked at: another replica may have it.
#[derive(Debug, Clone, Copy)]
pub struct NotTaken;

/// The value of `x-baseten-error-code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// 500: the server failed.
    Server,
    /// 600: the model failed or is not ready.
    Model,
    /// 700: the client's fault.
    Client,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer with a status and a body, and no headers yet.
pub fn response(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// A JSON answer from text that is JSON already.
pub fn json(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = response(status, Body::whole(text));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// A JSON answer from a value.
pub fn json_of(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    json(status, serde_json::to_vec(value).expect("our own types become JSON"))
}

/// Names the culprit in the headers that the model-server contract has for it.
pub fn mark_error(mut response: Response<Body>, code: ErrorCode) -> Response<Body> {
    let headers = response.headers_mut();
    let code = match code {
        ErrorCode::Server => "500",
        ErrorCode::Model => "600",
        ErrorCode::Client => "700",
    };
    headers.insert("x-baseten-error-source", HeaderValue::from_static("04"));
    headers.insert("x-baseten-error-code", HeaderValue::from_static(code));
    response
}
