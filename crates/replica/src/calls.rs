//! The calls that are under way on the data socket: one entry each, filled by the socket's reader and emptied by whoever waits.

use std::{
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    arena::Lease,
    body::Broken,
    channel::Channel,
    protocol::{Frame, Kind},
};

/// Bytes of one answer that may wait for a slow client before its model is asked to pause.
pub(crate) const UNREAD_LIMIT: usize = 1 << 20;

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The model process is gone, and may have seen the request.
    #[error("the model process is gone")]
    Gone,
    /// The model process is gone or ends, and has not seen the request.
    #[error("the model process takes no more requests")]
    NotTaken,
    /// A deadline passed.
    #[error("the model took too long")]
    TimedOut,
    /// The worker gave the call up.
    #[error("the worker gave the request up")]
    Aborted,
}

/// The first frame of an answer.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Headers, where the flags say so.
    pub meta: Bytes,
    /// The body, or none when it is streamed.
    pub body: Option<Bytes>,
}

/// A message of a websocket.
pub enum Message {
    /// Text.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
    /// The end, with code and reason.
    Close(u16, Bytes),
}

/// All calls, by id. An id is free again when the worker and the caller are done with it.
#[derive(Default)]
pub(crate) struct Calls {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
}

/// One call.
pub(crate) struct Entry {
    /// Where its request begins among all bytes sent to the worker.
    pub(crate) begin: u64,
    pub(crate) answer: Option<Answer>,
    pub(crate) chunks: VecDeque<Frame>,
    pub(crate) unread: usize,
    /// We asked the model to pause.
    pub(crate) is_held: bool,
    /// The model asked us to pause.
    pub(crate) is_paused: bool,
    pub(crate) is_timed: bool,
    /// The worker has sent its last frame.
    pub(crate) is_over: bool,
    /// Nobody waits any more.
    pub(crate) is_abandoned: bool,
    pub(crate) failure: Option<CallError>,
    pub(crate) waker: Option<Waker>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) last_chunk: Instant,
    pub(crate) holds_slot: bool,
    pub(crate) is_websocket: bool,
    pub(crate) lease: Option<Lease>,
}

impl Calls {
    pub(crate) fn insert(&mut self, entry: Entry) -> u32 {
        match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = Some(entry);
                id
            }
            None => {
                self.entries.push(Some(entry));
                self.entries.len() as u32 - 1
            }
        }
    }

    pub(crate) fn live(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().flatten()
    }

    pub(crate) fn find(&mut self, id: u32) -> Option<&mut Entry> {
        self.entries.get_mut(id as usize)?.as_mut()
    }

    pub(crate) fn remove(&mut self, id: u32) {
        self.entries[id as usize] = None;
        self.free.push(id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.entries.len()
    }

    fn entry(&mut self, id: u32) -> &mut Entry {
        self.entries[id as usize].as_mut().expect("an entry lives as long as its call")
    }
}

impl Entry {
    pub(crate) fn new(
        begin: u64,
        started: Instant,
        deadline: Option<Instant>,
        holds_slot: bool,
        is_websocket: bool,
        lease: Option<Lease>,
    ) -> Self {
        Self {
            begin,
            answer: None,
            chunks: VecDeque::new(),
            unread: 0,
            is_held: false,
            is_paused: false,
            is_timed: false,
            is_over: false,
            is_abandoned: false,
            failure: None,
            waker: None,
            deadline,
            last_chunk: started,
            holds_slot,
            is_websocket,
            lease,
        }
    }

    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn wait(&mut self, context: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => self.waker = Some(context.waker().clone()),
        }
    }
}

/// One request and its answer. Dropping it cancels what still runs.
pub struct Call {
    id: u32,
    channel: Rc<Channel>,
}

impl Call {
    pub(crate) fn new(id: u32, channel: Rc<Channel>) -> Self {
        Self { id, channel }
    }

    /// Waits for the answer, or for its start when it is streamed.
    pub async fn answer(&mut self) -> Result<Answer, CallError> {
        poll_fn(|context| {
            let mut calls = self.channel.calls.borrow_mut();
            let entry = calls.entry(self.id);
            if let Some(answer) = entry.answer.take() {
                return Poll::Ready(Ok(answer));
            }
            if let Some(failure) = entry.failure {
                return Poll::Ready(Err(failure));
            }
            entry.wait(context);
            Poll::Pending
        })
        .await
    }

    /// The next chunk of a streamed answer.
    pub fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        self.poll_frame(context).map(|frame| match frame {
            Ok(Some(frame)) => Some(Ok(frame.body)),
            Ok(None) => None,
            Err(_) => Some(Err(Broken)),
        })
    }

    /// The next message of a websocket; none when the worker is done with it without a word.
    pub async fn message(&self) -> Result<Option<Message>, CallError> {
        let frame = poll_fn(|context| self.poll_frame(context)).await?;
        Ok(frame.map(|frame| match frame.kind {
            Kind::Text => Message::Text(frame.body),
            Kind::Close => Message::Close(frame.detail, frame.body),
            _ => Message::Binary(frame.body),
        }))
    }

    /// Sends a message of a websocket, when the model is ready for more; a close at once. May wait beside [`Call::message`],
    /// in the same task.
    pub async fn send(&self, message: Message) -> Result<(), CallError> {
        poll_fn(|context| {
            let mut calls = self.channel.calls.borrow_mut();
            let entry = calls.entry(self.id);
            if entry.is_over {
                return Poll::Ready(Err(entry.failure.unwrap_or(CallError::Aborted)));
            }
            if entry.is_paused && !matches!(message, Message::Close(..)) {
                entry.wait(context);
                return Poll::Pending;
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        match message {
            Message::Text(text) => self.channel.send(self.id, Kind::Text, 0, 0, b"", &text),
            Message::Binary(bytes) => self.channel.send(self.id, Kind::Binary, 0, 0, b"", &bytes),
            Message::Close(code, reason) => self.channel.send(self.id, Kind::Close, 0, code, b"", &reason),
        }
        Ok(())
    }

    fn poll_frame(&self, context: &mut Context<'_>) -> Poll<Result<Option<Frame>, CallError>> {
        let mut calls = self.channel.calls.borrow_mut();
        let entry = calls.entry(self.id);
        if let Some(frame) = entry.chunks.pop_front() {
            entry.unread -= frame.body.len();
            if entry.is_held && entry.unread <= UNREAD_LIMIT / 2 && !entry.is_over {
                entry.is_held = false;
                entry.last_chunk = Instant::now(); // it was we who kept the model waiting
                self.channel.send(self.id, Kind::Resume, 0, 0, b"", b"");
            }
            return Poll::Ready(Ok(Some(frame)));
        }
        if let Some(failure) = entry.failure {
            return Poll::Ready(Err(failure));
        }
        if entry.is_over {
            return Poll::Ready(Ok(None));
        }
        entry.wait(context);
        Poll::Pending
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut calls = self.channel.calls.borrow_mut();
        let entry = calls.entry(self.id);
        if entry.is_over {
            calls.remove(self.id);
            return;
        }
        // The id, and a prediction's slot, stay taken until the worker says that it is done.
        entry.is_abandoned = true;
        entry.chunks.clear();
        entry.waker = None;
        self.channel.send(self.id, Kind::Cancel, 0, 0, b"", b"");
    }
}
