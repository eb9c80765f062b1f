//! The body of an answer on its way to a client. It holds the slot and drives the connection until the last byte has come from
//! the replica; dropped before that, it closes the connection, so that the replica stops working for nobody.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{admission::Permit, connection::Connection, headers::REQUEST_ID, link::Call, upload::Patience};

/// Any error of a body: its text goes to the log, its effect is a cut connection.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an answer was cut. The status has gone out, so a closed connection is all that a client sees.
#[derive(Debug, thiserror::Error)]
#[error("the model sent nothing for {0:?}")]
struct WentSilent(Duration);

/// An answer as it arrives from a replica.
#[derive(Debug)]
pub(crate) struct Download {
    incoming: Incoming,
    /// None once all has come.
    exchange: Option<Exchange>,
    patience: Patience,
    /// What its trailers name, where it has any.
    id: Option<HeaderValue>,
}

/// A slot, and the connection that uses it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) permit: Permit,
    pub(crate) connection: Box<Connection>,
}

impl Exchange {
    /// Gives both back. The connection is used again only when both messages on it are complete.
    fn finish(mut self) {
        if self.connection.is_clean() {
            self.permit.replica().keep(self.connection);
        }
    }
}

impl Download {
    pub(crate) fn new(incoming: Incoming, exchange: Exchange, patience: Duration) -> Self {
        let mut download = Self { incoming, exchange: Some(exchange), patience: Patience::new(patience), id: None };
        download.finish_at_end();
        download
    }

    /// Names the request in the trailers.
    pub(crate) fn named(self, id: Option<HeaderValue>) -> Self {
        Self { id, ..self }
    }

    fn finish_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(exchange) = self.exchange.take()
        {
            exchange.finish();
        }
    }

    fn name(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let Some(id) = &self.id else { return frame };
        match frame.into_trailers() {
            Ok(mut trailers) => {
                trailers.insert(REQUEST_ID, id.clone());
                Frame::trailers(trailers)
            }
            Err(other) => other,
        }
    }

    /// The next frame, asked for before and after driving: asking makes room, driving fills it.
    fn poll_incoming(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let frame @ Poll::Ready(_) = Pin::new(&mut self.incoming).poll_frame(context) {
            return frame;
        }
        match &mut self.exchange {
            Some(exchange) => exchange.connection.drive(context),
            None => return Poll::Pending,
        }
        Pin::new(&mut self.incoming).poll_frame(context)
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(frame) = self.poll_incoming(context) else {
            return self.patience.poll_spent(context).map(|()| {
                self.exchange = None;
                Some(Err(WentSilent(self.patience.limit()).into()))
            });
        };
        self.patience.relax();
        match &frame {
            Some(Ok(_)) => self.finish_at_end(),
            Some(Err(_)) => self.exchange = None,
            None => self.exchange.take().into_iter().for_each(Exchange::finish),
        }
        Poll::Ready(frame.map(|frame| frame.map(|frame| self.name(frame)).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// An answer as it arrives in pieces over a link. Dropped before its end, it tells the replica to stop.
pub(crate) struct Relay {
    /// None once all has come, or nothing more will.
    exchange: Option<(Permit, Call)>,
    patience: Patience,
}

impl Relay {
    pub(crate) fn new(permit: Permit, call: Call, patience: Duration) -> Self {
        Self { exchange: Some((permit, call)), patience: Patience::new(patience) }
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some((_, call)) = &self.exchange else {
            return Poll::Ready(None);
        };
        let frame = match call.poll_piece(context) {
            Poll::Ready(piece) => piece.map(|piece| piece.map(Frame::data).map_err(BoxError::from)),
            Poll::Pending => {
                ready!(self.patience.poll_spent(context));
                Some(Err(WentSilent(self.patience.limit()).into()))
            }
        };
        self.patience.relax();
        if !matches!(frame, Some(Ok(_))) {
            self.exchange = None;
        }
        Poll::Ready(frame)
    }
}

/// The body of whatever answers: the gateway itself, a replica, or the fallback.
pub(crate) enum Payload<B> {
    Whole(Option<Bytes>),
    Replica(Download),
    Link(Relay),
    Fallback(B),
}

impl<B> Default for Payload<B> {
    /// Nothing.
    fn default() -> Self {
        Self::Whole(None)
    }
}

impl<B> Body for Payload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Replica(body) => Pin::new(body).poll_frame(context),
            Self::Link(body) => Pin::new(body).poll_frame(context),
            Self::Fallback(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Replica(body) => body.is_end_stream(),
            Self::Link(body) => body.is_end_stream(),
            Self::Fallback(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Replica(body) => body.size_hint(),
            Self::Link(body) => body.size_hint(),
            Self::Fallback(body) => body.size_hint(),
        }
    }
}
