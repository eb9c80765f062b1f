//! What a request asks of a model: read from HTTP headers or from a link's meta, told to the worker.

use api::internal::trace::TIMING;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header, request::Parts};
use http_body_util::Full;
use tokio::time::Instant;

use crate::protocol::{flag, meta_pairs, put_meta};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-baseten-request-id");
static CHAIN_REQUEST_ID: HeaderName = HeaderName::from_static("x-baseten-chain-request-id");

/// The body of a request, whichever way it came.
pub trait Asked: http_body::Body<Data = Bytes> + Unpin + 'static {}

impl<B: http_body::Body<Data = Bytes> + Unpin + 'static> Asked for B {}

/// The parts of a request's head that decide how it is passed on.
#[derive(Default)]
pub struct Hints<'a> {
    method: Option<&'a [u8]>,
    target: Option<&'a [u8]>,
    content_type: Option<&'a [u8]>,
    accept: Option<&'a [u8]>,
    agent: Option<&'a [u8]>,
    request_id: Option<&'a [u8]>,
    chain_request_id: Option<&'a [u8]>,
    timing: Option<&'a [u8]>,
}

impl<'a> Hints<'a> {
    /// From a head; method and target are known without hints.
    pub fn of_headers(headers: &'a HeaderMap) -> Self {
        let text = |name| headers.get(name).map(HeaderValue::as_bytes);
        Self {
            content_type: text(&header::CONTENT_TYPE),
            accept: text(&header::ACCEPT),
            agent: text(&header::USER_AGENT),
            timing: headers.get(TIMING).map(HeaderValue::as_bytes),
            ..Self::default()
        }
    }

    /// From a link's meta, in one pass.
    pub fn of_meta(meta: &'a [u8]) -> Self {
        let mut hints = Self::default();
        for (name, value) in meta_pairs(meta) {
            let hint = match name {
                b":method" => &mut hints.method,
                b":path" => &mut hints.target,
                b"content-type" => &mut hints.content_type,
                b"accept" => &mut hints.accept,
                b"user-agent" => &mut hints.agent,
                b"x-baseten-request-id" => &mut hints.request_id,
                b"x-baseten-chain-request-id" => &mut hints.chain_request_id,
                _ if name == TIMING.as_bytes() => &mut hints.timing,
                _ => continue,
            };
            // As with headers: the first of several counts.
            hint.get_or_insert(value);
        }
        hints
    }

    /// The path, of a POST.
    pub fn posted_to(&self) -> Option<&'a str> {
        let target = self.target.filter(|_| self.method == Some(b"POST"))?;
        std::str::from_utf8(target.split(|byte| *byte == b'?').next()?).ok()
    }

    /// A watch, where the gateway wants to know how long things take.
    pub fn watch(&self) -> Option<Instant> {
        self.timing.map(|_| Instant::now())
    }

    /// Bits of [`flag`].
    pub fn flags(&self) -> u8 {
        let mut flags = 0;
        let media_type = self.content_type.unwrap_or_default().split(|byte| *byte == b';').next().unwrap_or_default();
        if media_type.trim_ascii().eq_ignore_ascii_case(b"application/octet-stream") {
            flags |= flag::BINARY;
        }
        // OpenAI's clients accept JSON and still want a stream as a stream.
        if self.accept == Some(b"application/json")
            && !self.agent.unwrap_or_default().windows(6).any(|part| part.eq_ignore_ascii_case(b"openai"))
        {
            flags |= flag::GATHER;
        }
        flags
    }

    /// What log lines need.
    pub fn ids(&self) -> Vec<u8> {
        let mut meta = Vec::with_capacity(64);
        for (name, value) in [(&REQUEST_ID, self.request_id), (&CHAIN_REQUEST_ID, self.chain_request_id)] {
            if let Some(value) = value {
                put_meta(&mut meta, name.as_str().as_bytes(), value);
            }
        }
        meta
    }
}

/// The request in a link's frame.
pub fn request_of(meta: &Bytes, body: Bytes) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut request = Request::new(Full::new(body));
    for (name, value) in meta_pairs(meta) {
        match name {
            b":method" => *request.method_mut() = value.try_into()?,
            b":path" => *request.uri_mut() = value.try_into()?,
            _ => {
                let value = HeaderValue::from_maybe_shared(meta.slice_ref(value))?;
                request.headers_mut().append(HeaderName::from_bytes(name)?, value);
            }
        }
    }
    Ok(request)
}

/// What the worker is told of a request beside its body: everything where the model may look, else what log lines need.
pub fn meta_of(parts: &Parts, wants_headers: bool) -> Vec<u8> {
    let mut meta = Vec::new();
    if wants_headers {
        put_meta(&mut meta, b":method", parts.method.as_str().as_bytes());
        put_meta(&mut meta, b":path", parts.uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
        for (name, value) in &parts.headers {
            put_meta(&mut meta, name.as_str().as_bytes(), value.as_bytes());
        }
    } else {
        for name in [&REQUEST_ID, &CHAIN_REQUEST_ID] {
            if let Some(value) = parts.headers.get(name) {
                put_meta(&mut meta, name.as_str().as_bytes(), value.as_bytes());
            }
        }
    }
    meta
}
