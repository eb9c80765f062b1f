//! A link to a replica ([`api::internal::link`]): many requests at once on one connection, so that those of one moment share
//! system calls. One task moves the bytes; each request leaves what it sends in the outbox and finds its answer in its entry.

mod entries;
mod handshake;

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use api::internal::{
    frame::{Frame, Kind, decode, encode, meta_pairs},
    link::LONGEST_FRAME,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode, response};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
    time::timeout,
};

use self::{
    entries::{Calls, Entry, Head},
    handshake::shake_hands,
};

/// Bytes of one answer that may wait for a slow client before the replica is told to pause.
const UNREAD_LIMIT: usize = 1 << 20;
/// What is on its way when a replica is told to pause fits in here easily.
const MOST_UNREAD: usize = 4 * UNREAD_LIMIT;
/// Room for what one read may bring.
const READ_BYTES: usize = 64 << 10;
/// A piece up to this length is copied, so that it does not keep all that came with it in memory.
const SMALL: usize = 4 << 10;
/// What a piece costs besides its bytes.
const PIECE_BYTES: usize = 64;
/// The gateway's end of a link.
pub(crate) struct Link {
    state: Mutex<State>,
    wakes_writer: Notify,
}

struct State {
    outbox: BytesMut,
    /// Bytes ever put into the outbox.
    queued: u64,
    /// Bytes ever taken by the kernel.
    written: u64,
    calls: Calls,
    /// Whether requests are taken.
    is_open: bool,
    /// Whether requests were taken since somebody asked.
    was_used: bool,
}

/// Why a call has no answer, or no more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// Not a byte of the request was sent.
    #[error("the request was not sent")]
    NotSent,
    /// The replica has not looked at the request and takes no more.
    #[error("the replica takes no more requests")]
    NotTaken,
    /// The replica may have seen the request, or has answered a part.
    #[error("the replica broke off")]
    Broken,
}

/// What an answer brings.
pub(crate) enum Content {
    /// All of the body.
    Whole(Bytes),
    /// A body that comes in pieces.
    Pieces(Call),
}

impl Link {
    /// Connects and asks for a link, within `limit`.
    pub(crate) async fn open(path: &std::path::Path, limit: Duration) -> io::Result<(Arc<Self>, Driver)> {
        let (stream, input) = timeout(limit, shake_hands(path)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let link = Arc::new(Self::new());
        let driver = Driver { link: link.clone(), stream, input };
        Ok((link, driver))
    }

    fn new() -> Self {
        let state = State {
            outbox: BytesMut::new(),
            queued: 0,
            written: 0,
            calls: Calls::default(),
            is_open: true,
            was_used: true,
        };
        Self { state: Mutex::new(state), wakes_writer: Notify::new() }
    }

    /// Sends a request and waits for the head of its answer. Dropping the future tells the replica that nobody waits.
    pub(crate) async fn call(self: &Arc<Self>, meta: &[u8], body: &[u8]) -> Result<(response::Parts, Content), Lost> {
        self.begin(meta, body).ok_or(Lost::NotSent)?.answer().await
    }

    /// Queues a request; none when the link takes no more.
    fn begin(self: &Arc<Self>, meta: &[u8], body: &[u8]) -> Option<Call> {
        let mut state = self.state.lock();
        if !state.is_open {
            return None;
        }
        state.was_used = true;
        let begin = state.queued;
        let id = state.calls.insert(Entry::new(begin));
        self.send(&mut state, id, Kind::Request, meta, body);
        Some(Call { link: self.clone(), id })
    }

    /// Takes no more requests, and closes when those it has are answered.
    pub(crate) fn close(&self) {
        self.state.lock().is_open = false;
        self.wakes_writer.notify_one();
    }

    /// Whether no request was on it since this was asked last.
    pub(crate) fn is_unused(&self) -> bool {
        let mut state = self.state.lock();
        !std::mem::take(&mut state.was_used) && state.calls.is_empty()
    }

    fn send(&self, state: &mut State, id: u32, kind: Kind, meta: &[u8], body: &[u8]) {
        if state.outbox.is_empty() {
            self.wakes_writer.notify_one();
        }
        let before = state.outbox.len();
        encode(&mut state.outbox, id, kind, 0, 0, meta, body);
        state.queued += (state.outbox.len() - before) as u64;
    }

    /// Files a frame. Gives whoever waits for it.
    fn receive(&self, state: &mut State, frame: Frame) -> io::Result<Option<Waker>> {
        let id = frame.id;
        let Some(entry) = state.calls.find(id) else {
            return Ok(None);
        };
        let mut is_too_much = false;
        match frame.kind {
            Kind::Response => {
                entry.head = Some(Head { status: frame.detail, meta: frame.meta, whole: Some(frame.body) });
                entry.end = Some(Ok(()));
            }
            Kind::Head => entry.head = Some(Head { status: frame.detail, meta: frame.meta, whole: None }),
            Kind::Chunk if !entry.is_abandoned => {
                let body = if frame.body.len() <= SMALL { Bytes::copy_from_slice(&frame.body) } else { frame.body };
                entry.unread += body.len() + PIECE_BYTES;
                entry.pieces.push_back(body);
                if entry.unread > MOST_UNREAD {
                    return Err(io::Error::other("the replica does not pause"));
                }
                is_too_much = entry.unread > UNREAD_LIMIT && !entry.is_held;
                entry.is_held |= is_too_much;
            }
            Kind::End => entry.end = Some(Ok(())),
            Kind::Abort => entry.end = Some(Err(Lost::Broken)),
            Kind::NotTaken => entry.end = Some(Err(Lost::NotTaken)),
            _ => {}
        }
        let waker = entry.waker.take();
        if entry.end.is_some() && entry.is_abandoned {
            self.forget(state, id);
        }
        if is_too_much {
            self.send(state, id, Kind::Pause, b"", b"");
        }
        Ok(waker)
    }

    fn forget(&self, state: &mut State, id: u32) {
        state.calls.remove(id);
        if !state.is_open && state.calls.is_empty() {
            self.wakes_writer.notify_one();
        }
    }

    async fn read(&self, mut reader: OwnedReadHalf, mut input: BytesMut) -> io::Result<()> {
        let mut wakers = Vec::new();
        loop {
            {
                let mut state = self.state.lock();
                while let Some(frame) = decode(&mut input, LONGEST_FRAME).map_err(io::Error::other)? {
                    wakers.extend(self.receive(&mut state, frame)?);
                }
            }
            wakers.drain(..).for_each(Waker::wake);
            input.reserve(READ_BYTES / 4);
            if reader.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn write(&self, mut writer: OwnedWriteHalf) -> io::Result<()> {
        let mut batch = BytesMut::new();
        loop {
            {
                let mut state = self.state.lock();
                std::mem::swap(&mut batch, &mut state.outbox);
                if batch.is_empty() && !state.is_open && state.calls.is_empty() {
                    return Ok(());
                }
            }
            let mut rest = &batch[..];
            while !rest.is_empty() {
                let written = writer.write(rest).await?;
                self.state.lock().written += written as u64;
                rest = &rest[written..];
            }
            if batch.is_empty() {
                self.wakes_writer.notified().await;
                // Whoever is ready in this turn of the event loop adds to the batch.
                tokio::task::yield_now().await;
            }
            batch.clear();
        }
    }

    /// Fails what is unanswered: the replica is gone.
    fn end(&self) {
        let mut state = self.state.lock();
        state.is_open = false;
        let written = state.written;
        let mut wakers = Vec::new();
        for entry in state.calls.entries.iter_mut().flatten() {
            let lost = if entry.begin >= written { Lost::NotSent } else { Lost::Broken };
            entry.end.get_or_insert(Err(lost));
            wakers.extend(entry.waker.take());
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// The task behind a link.
pub(crate) struct Driver {
    link: Arc<Link>,
    stream: UnixStream,
    input: BytesMut,
}

impl Driver {
    /// Moves bytes until the replica ends or the link is closed.
    pub(crate) async fn run(self) {
        let (reader, writer) = self.stream.into_split();
        let ended = tokio::select! {
            ended = self.link.read(reader, self.input) => ended,
            ended = self.link.write(writer) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a link to a replica broke");
        }
        self.link.end();
    }
}

/// One request and its answer. Dropping it tells the replica that nobody waits.
pub(crate) struct Call {
    link: Arc<Link>,
    id: u32,
}

impl Call {
    /// Waits for the head of the answer.
    async fn answer(self) -> Result<(response::Parts, Content), Lost> {
        let head = poll_fn(|context| {
            let mut state = self.link.state.lock();
            let entry = state.calls.entry(self.id);
            match (entry.head.take(), entry.end) {
                (Some(head), _) => Poll::Ready(Ok(head)),
                (None, Some(Err(lost))) => Poll::Ready(Err(lost)),
                (None, Some(Ok(()))) => Poll::Ready(Err(Lost::Broken)),
                (None, None) => entry.wait(context),
            }
        });
        let head = head.await?;
        let parts = parts(head.status, &head.meta).ok_or(Lost::Broken)?;
        Ok((parts, head.whole.map_or_else(|| Content::Pieces(self), Content::Whole)))
    }

    /// The next piece of the body; none at its end.
    pub(crate) fn poll_piece(&self, context: &Context<'_>) -> Poll<Option<Result<Bytes, Lost>>> {
        let mut state = self.link.state.lock();
        let entry = state.calls.entry(self.id);
        let Some(piece) = entry.pieces.pop_front() else {
            return match entry.end {
                Some(Ok(())) => Poll::Ready(None),
                Some(Err(lost)) => Poll::Ready(Some(Err(lost))),
                None => {
                    ready!(entry.wait::<()>(context));
                    Poll::Pending
                }
            };
        };
        entry.unread -= piece.len() + PIECE_BYTES;
        if entry.is_held && entry.unread <= UNREAD_LIMIT / 2 && entry.end.is_none() {
            entry.is_held = false;
            self.link.send(&mut state, self.id, Kind::Resume, b"", b"");
        }
        Poll::Ready(Some(Ok(piece)))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.link.state.lock();
        let entry = state.calls.entry(self.id);
        if entry.end.is_some() {
            return self.link.forget(&mut state, self.id);
        }
        // The id stays taken until the replica says that it is done.
        entry.is_abandoned = true;
        entry.pieces.clear();
        entry.waker = None;
        self.link.send(&mut state, self.id, Kind::Cancel, b"", b"");
    }
}

/// The head of an answer, none when it is not one.
fn parts(status: u16, meta: &Bytes) -> Option<response::Parts> {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(status).ok()?;
    for (name, value) in meta_pairs(meta) {
        let name = HeaderName::from_bytes(name).ok()?;
        parts.headers.append(name, HeaderValue::from_maybe_shared(meta.slice_ref(value)).ok()?);
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_request_of_which_the_replica_can_have_seen_nothing_may_be_sent_elsewhere() {
        let link = Arc::new(Link::new());
        let seen = link.begin(b"", b"seen").unwrap();
        let unseen = link.begin(b"", b"unseen").unwrap();
        // The kernel has taken all of the first request and nothing of the second.
        link.state.lock().written = 16 + 4;
        link.end();
        assert_eq!(seen.answer().await.err(), Some(Lost::Broken));
        assert_eq!(unseen.answer().await.err(), Some(Lost::NotSent));
        assert!(link.begin(b"", b"late").is_none());
    }
}
