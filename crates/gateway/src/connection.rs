//! One HTTP/1.1 connection to a replica, driven by the task whose request it carries: no task of its own, no channel to cross,
//! and dropping the request closes the socket at once, which is how a replica learns that nobody waits any more.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use api::internal::routes::Address;
use bytes::Bytes;
use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_util::either::Either;

use crate::upload::Upload;

/// The socket below a connection.
pub(crate) type Stream = Either<UnixStream, TcpStream>;
type Driver = http1::Connection<TokioIo<Stream>, Upload>;

/// A connection that carries one request at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http1::SendRequest<Upload>,
    driver: Driver,
    /// Whether the driver has nothing more to do; it must not be polled again.
    has_ended: bool,
}

/// Why a request got no answer.
#[derive(Debug)]
pub(crate) enum SendError {
    /// Not a byte of it was sent: here it is, to be sent elsewhere.
    NotSent(Box<Request<Upload>>),
    /// The replica may have seen it.
    Broken(hyper::Error),
}

impl Connection {
    /// Connects, within `limit`.
    pub(crate) async fn open(address: &Address, limit: Duration) -> io::Result<Box<Self>> {
        let stream = timeout(limit, connect(address)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let (sender, driver) = http1::Builder::new().handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(Box::new(Self { sender, driver, has_ended: false }))
    }

    /// Whether it is still open and free for a request.
    pub(crate) async fn is_fit(&mut self) -> bool {
        poll_fn(|context| Poll::Ready(self.is_fit_now(context))).await
    }

    /// The same, for callers that have no task to wake.
    pub(crate) fn is_clean(&mut self) -> bool {
        self.is_fit_now(&mut Context::from_waker(Waker::noop()))
    }

    fn is_fit_now(&mut self, context: &mut Context<'_>) -> bool {
        self.drive(context);
        !self.has_ended && self.sender.is_ready()
    }

    /// Moves bytes in both directions as far as they go. This is what makes the frames of an answer's body arrive.
    pub(crate) fn drive(&mut self, context: &mut Context<'_>) {
        // What ended it, if that is an error, reaches whoever waits for the answer or reads its body.
        self.has_ended = self.has_ended || Pin::new(&mut self.driver).poll(context).is_ready();
    }

    /// Sends a request and waits for the head of its answer. The body of the answer comes only while the connection is driven.
    pub(crate) async fn send(&mut self, request: Request<Upload>) -> Result<Response<Incoming>, SendError> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let answer = poll_fn(|context| {
            self.drive(context);
            answer.as_mut().poll(context)
        });
        answer.await.map_err(|mut error| match error.take_message() {
            Some(request) => SendError::NotSent(Box::new(request)),
            None => SendError::Broken(error.into_error()),
        })
    }

    /// What is left when the replica has agreed to speak something else: the stream, and what of it was read already.
    pub(crate) fn into_stream(self) -> (Stream, Bytes) {
        let parts = self.driver.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }
}

async fn connect(address: &Address) -> io::Result<Stream> {
    match address {
        Address::Unix(path) => UnixStream::connect(path).await.map(Either::Left),
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Either::Right(stream))
        }
    }
}
