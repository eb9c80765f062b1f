//! The body of a request on its way to a replica: counted against the limit, and not waited for without end.

use std::{
    future::Future,
    pin::Pin,
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
        Self {
            limit,
            timer: None,
            is_waiting: false,
        }
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

/// A request body as it arrives from a client.
#[derive(Debug)]
pub(crate) struct Upload {
    incoming: Incoming,
    limit: u64,
    seen: u64,
    patience: Patience,
}

impl Upload {
    pub(crate) fn new(incoming: Incoming, limit: u64, patience: Duration) -> Self {
        Self {
            incoming,
            limit,
            seen: 0,
            patience: Patience::new(patience),
        }
    }

    /// The refusal that ended a body, found among the causes of an error of the connection it was sent on.
    pub(crate) fn refusal<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Refusal> {
        std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Refusal;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) else {
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
                Some(fits.then_some(frame).ok_or(Refusal::TooLarge {
                    size: self.seen,
                    limit: self.limit,
                }))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
