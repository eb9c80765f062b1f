//! What one request went through, and the context that it travels with (W3C Trace Context).

use std::{fmt, time::Duration};

use super::access::Outcome;
use crate::id::{DeploymentId, ModelId, ReplicaId};

/// On a request to a replica: say how long it took; on its answer: how long, as [`Timing`].
pub const TIMING: &str = "x-greenroom-timing";

/// The value of a `traceparent` header: `00-TRACE-SPAN-FLAGS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// Names the trace; not zero.
    pub trace_id: u128,
    /// Names the span that is the parent; not zero.
    pub span_id: u64,
    /// Whether its caller keeps the trace.
    pub is_sampled: bool,
}

impl TraceParent {
    /// Reads a header. None for everything that the recommendation calls invalid; later versions are read as far as they are known.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_whole = version != "00" || parts.next().is_none();
        let version = hexadecimal(version, 2)?;
        let found = Self {
            trace_id: hexadecimal(trace, 32)?,
            span_id: u64::try_from(hexadecimal(span, 16)?).ok()?,
            is_sampled: hexadecimal(flags, 2)? & 1 == 1,
        };
        (is_whole && version != 0xff && found.trace_id != 0 && found.span_id != 0).then_some(found)
    }
}

fn hexadecimal(text: &str, digits: usize) -> Option<u128> {
    let is_plain = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_plain.then(|| u128::from_str_radix(text, 16).ok())?
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.is_sampled))
    }
}

/// How long a replica took: until it gave the request to the model, and then until the model began to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Reading the request and waiting for the model.
    pub queued: Duration,
    /// In the model, until its answer began.
    pub answered: Duration,
}

impl Timing {
    /// From a header: microseconds and microseconds.
    pub fn parse(text: &str) -> Option<Self> {
        let (queued, answered) = text.split_once(';')?;
        let micros = |text: &str| text.parse().ok().map(Duration::from_micros);
        Some(Self { queued: micros(queued)?, answered: micros(answered)? })
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{}", self.queued.as_micros(), self.answered.as_micros())
    }
}

/// One request for a model, from the head of the request to the last byte of its answer. Times are since its beginning.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The trace it belongs to, and the id of its own span.
    pub trace_id: u128,
    /// Its own span.
    pub span_id: u64,
    /// The caller's span, where it came with one.
    pub parent: Option<u64>,
    /// The caller's `tracestate`.
    pub state: Option<String>,
    /// The request's id, as in logs and answers.
    pub request_id: String,
    /// Its method.
    pub method: String,
    /// Its path, as it came, without the query.
    pub path: String,
    /// Nanoseconds since the Unix epoch at its beginning.
    pub began_ns: u64,
    /// Until it had a slot; none when it never had one.
    pub queued: Option<Duration>,
    /// Until its answer began.
    pub first_byte: Option<Duration>,
    /// Until its answer had gone out.
    pub took: Duration,
    /// The answer's status; none when the client left before.
    pub status: Option<u16>,
    /// What came of it.
    pub outcome: Outcome,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// How many replicas were tried.
    pub attempts: u32,
    /// The model.
    pub model_id: ModelId,
    /// The deployment that it went to.
    pub deployment_id: DeploymentId,
    /// The environment that it was sent to, when it was not sent to the deployment.
    pub environment: Option<String>,
    /// What answered it.
    pub replica: Option<ReplicaTrace>,
}

/// A request's way through a replica.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaTrace {
    /// Which.
    pub id: ReplicaId,
    /// Its span: what the model's own spans have for their parent.
    pub span_id: u64,
    /// What it says of itself; none for servers of the model's author.
    pub timing: Option<Timing>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_context_reads_back_as_it_was_written() {
        let text = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(TraceParent::parse(&text).expect("valid").to_string(), text);
        assert!(!TraceParent::parse(&format!("00-{TRACE}-{SPAN}-00")).expect("valid").is_sampled);
        assert!(TraceParent::parse(&format!("cc-{TRACE}-{SPAN}-01-what-comes-later")).is_some());
    }

    #[test]
    fn what_is_no_context_is_none() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
        ] {
            assert_eq!(TraceParent::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn a_timing_reads_back() {
        let timing = Timing { queued: Duration::from_micros(12), answered: Duration::from_micros(3400) };
        assert_eq!(Timing::parse(&timing.to_string()), Some(timing));
        assert_eq!(Timing::parse("soon"), None);
    }
}
