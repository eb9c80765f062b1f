//! The body of a request on its way to a replica: counted against the limit, and not waited for without end.

use std::{
    borrow::Cow,
    collections::VecDeque,
    future::{Future, pending, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::errors::Refusal;

/// A deadline that moves on with each frame. Costs a timer only once somebody really waits.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, timer: None, is_waiting: false }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// A frame came: the wait is over.
    pub(crate) fn relax(&mut self) {
        self.is_waiting = false;
    }

    /// Nothing came: ready when that has been so for the whole limit.
    pub(crate) fn poll_spent(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // A limit beyond the clock's range is no limit.
        let fresh = || Instant::now().checked_add(self.limit);
        let timer = match &mut self.timer {
            Some(timer) => {
                if !self.is_waiting
                    && let Some(deadline) = fresh()
                {
                    timer.as_mut().reset(deadline);
                }
                timer
            }
            None => {
                let Some(deadline) = fresh() else { return Poll::Pending };
                self.timer.insert(Box::pin(sleep_until(deadline)))
            }
        };
        self.is_waiting = true;
        timer.as_mut().poll(context)
    }
}

/// How many bytes of bodies may be held for requests that wait, all of them together.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    free: AtomicU64,
}

impl ReadAhead {
    pub(crate) fn new(bytes: u64) -> Self {
        Self { free: AtomicU64::new(bytes) }
    }

    /// Takes up to `bytes`; what it returns has to be given back.
    fn take(&self, bytes: u64) -> u64 {
        let take = |free: u64| Some(free.saturating_sub(bytes));
        let free = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        free.unwrap_or_default().min(bytes)
    }

    fn give_back(&self, bytes: u64) {
        self.free.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A request body as it arrives from a client.
#[derive(Debug)]
pub(crate) struct Upload {
    /// None for one that was read to its end before.
    incoming: Option<Incoming>,
    limit: u64,
    seen: u64,
    patience: Patience,
    ahead: Option<Ahead>,
}

/// What was read before anybody wanted it.
#[derive(Debug, Default)]
struct Ahead {
    frames: VecDeque<Frame<Bytes>>,
    bytes: u64,
    /// Taken from the budget.
    taken: u64,
    budget: Option<Arc<ReadAhead>>,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.give_back(self.taken);
        }
    }
}

impl Upload {
    pub(crate) fn new(incoming: Incoming, limit: u64, patience: Duration) -> Self {
        Self { incoming: Some(incoming), limit, seen: 0, patience: Patience::new(patience), ahead: None }
    }

    /// Reads while the request waits, as far as the budget allows, and returns only to refuse it. A connection shows that its
    /// client has gone only to those who read from it.
    pub(crate) async fn read_ahead(&mut self, budget: &Arc<ReadAhead>) -> Refusal {
        while !self.has_ended() {
            let bytes = match self.keep_next().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                Err(refusal) => return refusal,
            };
            let taken = budget.take(bytes);
            let ahead = self.ahead.get_or_insert_default();
            ahead.budget.get_or_insert_with(|| budget.clone());
            ahead.taken += taken;
            if taken < bytes {
                break;
            }
        }
        pending().await
    }

    /// Reads to the end, without a budget: for a body that is known to be small. What was read stays, to be sent.
    pub(crate) async fn complete(&mut self) -> Result<(), Refusal> {
        while !self.has_ended() && self.keep_next().await?.is_some() {}
        Ok(())
    }

    /// What was read and not sent, in one piece.
    pub(crate) fn read_so_far(&self) -> Cow<'_, [u8]> {
        let frames = self.ahead.iter().flat_map(|ahead| &ahead.frames);
        let mut data = frames.filter_map(Frame::data_ref);
        match (data.next(), data.next()) {
            (None, _) => Cow::Borrowed(&[]),
            (Some(only), None) => Cow::Borrowed(only),
            (Some(first), Some(second)) => {
                Cow::Owned([first, second].into_iter().chain(data).flatten().copied().collect())
            }
        }
    }

    /// The same once more, where all of it has been read and nothing sent.
    pub(crate) fn again(&self) -> Option<Self> {
        if !self.has_ended() || self.seen != self.ahead.as_ref().map_or(0, |ahead| ahead.bytes) {
            return None;
        }
        let copy = |frame: &Frame<Bytes>| Some(Frame::data(frame.data_ref()?.clone()));
        let copied = |ahead: &Ahead| {
            let frames = ahead.frames.iter().map(copy).collect::<Option<_>>()?;
            Some(Ahead { frames, bytes: ahead.bytes, taken: 0, budget: None })
        };
        let ahead = match &self.ahead {
            Some(ahead) => Some(copied(ahead)?),
            None => None,
        };
        let patience = Patience::new(self.patience.limit());
        Some(Self { incoming: None, limit: self.limit, seen: self.seen, patience, ahead })
    }

    /// Whether the client has sent all of it.
    fn has_ended(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    /// Reads one frame and keeps it. Gives its length; none at the end.
    async fn keep_next(&mut self) -> Result<Option<u64>, Refusal> {
        let Some(frame) = poll_fn(|context| self.poll_incoming(context)).await.transpose()? else {
            return Ok(None);
        };
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        let ahead = self.ahead.get_or_insert_default();
        ahead.frames.push_back(frame);
        ahead.bytes += bytes;
        Ok(Some(bytes))
    }

    /// The refusal that ended a body, found among the causes of an error of the connection it was sent on.
    pub(crate) fn refusal<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Refusal> {
        std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
    }

    fn poll_incoming(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(incoming).poll_frame(context) else {
            ready!(self.patience.poll_spent(context));
            return Poll::Ready(Some(Err(Refusal::SlowBody(self.patience.limit().as_millis()))));
        };
        self.patience.relax();
        Poll::Ready(match frame {
            None => None,
            Some(Err(_)) => Some(Err(Refusal::BrokenBody)),
            Some(Ok(frame)) => {
                self.seen += frame.data_ref().map_or(0, |data| data.len() as u64);
                let fits = self.seen <= self.limit;
                Some(fits.then_some(frame).ok_or(Refusal::TooLarge { size: self.seen, limit: self.limit }))
            }
        })
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        if let Some(ahead) = &mut self.ahead {
            if let Some(frame) = ahead.frames.pop_front() {
                ahead.bytes -= frame.data_ref().map_or(0, |data| data.len() as u64);
                return Poll::Ready(Some(Ok(frame)));
            }
            self.ahead = None;
        }
        self.poll_incoming(context)
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.as_ref().is_none_or(|ahead| ahead.frames.is_empty()) && self.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let (mut hint, ahead) = (rest, self.ahead.as_ref().map_or(0, |ahead| ahead.bytes));
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + ahead);
        }
        hint.set_lower(hint.lower() + ahead);
        hint
    }
}
