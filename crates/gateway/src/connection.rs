//! One connection to a replica, HTTP/1.1 or what gRPC needs, driven by the task whose request it carries: no task of its own, no channel to cross,
//! and dropping the request closes the socket at once, which is how a replica learns that nobody waits any more.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use api::internal::{replica::Protocol, routes::Address};
use bytes::Bytes;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_util::either::Either;

use crate::upload::Upload;

/// The socket below a connection.
pub(crate) type Stream = Either<UnixStream, TcpStream>;

/// A connection that carries one request at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    ends: Ends,
    /// Whether the driver has nothing more to do; it must not be polled again.
    has_ended: bool,
}

/// Where requests go in, and what moves their bytes.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the common one is, and connections are boxed")]
enum Ends {
    Http1(http1::SendRequest<Upload>, http1::Connection<TokioIo<Stream>, Upload>),
    /// Its bytes are moved by a task of the library's, too, which ends when this is dropped.
    Http2(http2::SendRequest<Upload>, http2::Connection<TokioIo<Stream>, Upload, TokioExecutor>),
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
    pub(crate) async fn open(address: &Address, protocol: Protocol, limit: Duration) -> io::Result<Box<Self>> {
        let open = async {
            let stream = TokioIo::new(connect(address).await?);
            let ends = match protocol {
                Protocol::Http => http1::handshake(stream).await.map(|(sender, driver)| Ends::Http1(sender, driver)),
                Protocol::Grpc => http2::handshake(TokioExecutor::new(), stream)
                    .await
                    .map(|(sender, driver)| Ends::Http2(sender, driver)),
            };
            ends.map_err(io::Error::other)
        };
        let ends = timeout(limit, open).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(Box::new(Self { ends, has_ended: false }))
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
        let is_ready = match &self.ends {
            Ends::Http1(sender, _) => sender.is_ready(),
            Ends::Http2(sender, _) => sender.is_ready(),
        };
        !self.has_ended && is_ready
    }

    /// Moves bytes in both directions as far as they go. This is what makes the frames of an answer's body arrive.
    pub(crate) fn drive(&mut self, context: &mut Context<'_>) {
        // What ended it, if that is an error, reaches whoever waits for the answer or reads its body.
        self.has_ended = self.has_ended
            || match &mut self.ends {
                Ends::Http1(_, driver) => Pin::new(driver).poll(context).is_ready(),
                Ends::Http2(_, driver) => Pin::new(driver).poll(context).is_ready(),
            };
    }

    /// Sends a request and waits for the head of its answer. The body of the answer comes only while the connection is driven.
    pub(crate) async fn send(&mut self, request: Request<Upload>) -> Result<Response<Incoming>, SendError> {
        let mut answer = pin!(match &mut self.ends {
            Ends::Http1(sender, _) => Either::Left(sender.try_send_request(request)),
            Ends::Http2(sender, _) => Either::Right(sender.try_send_request(request)),
        });
        let answer = poll_fn(|context| {
            self.drive(context);
            answer.as_mut().poll(context)
        });
        answer.await.map_err(|mut error| match error.take_message() {
            Some(request) => SendError::NotSent(Box::new(request)),
            None => SendError::Broken(error.into_error()),
        })
    }

    /// What is left when the replica has agreed to speak something else: the stream, and what of it was read already. None for
    /// gRPC, which knows no such agreement.
    pub(crate) fn into_stream(self) -> Option<(Stream, Bytes)> {
        let Ends::Http1(_, driver) = self.ends else { return None };
        let parts = driver.into_parts();
        Some((parts.io.into_inner(), parts.read_buf))
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
