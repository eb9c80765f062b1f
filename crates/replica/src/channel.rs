//! The data socket: many calls at once over one stream of frames. Frames that become ready in the same turn of the event loop
//! are written with one system call, and all that has arrived is read with one.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, Semaphore, mpsc},
    time::Instant,
};

use crate::{
    arena::{Incoming, Lease},
    body::Broken,
    protocol::{Block, Frame, Kind, Operation, decode, encode, flag},
};

/// Bytes of one answer that may wait for a slow client before its model is asked to pause.
const UNREAD_LIMIT: usize = 1 << 20;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(50);

/// Requests that may wait inside the worker beyond those it runs, so that it can take many with one read.
const READ_AHEAD: usize = 32;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// A call in all.
    pub request: Duration,
    /// Between two chunks of a generator.
    pub chunk: Duration,
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The model process is gone.
    #[error("the model process is gone")]
    Gone,
    /// A deadline passed.
    #[error("the model took too long")]
    TimedOut,
    /// The worker gave the call up.
    #[error("the worker gave the request up")]
    Aborted,
}

/// What a call sends.
pub struct Outbound {
    /// Which method.
    pub operation: Operation,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Headers.
    pub meta: Vec<u8>,
    /// The body.
    pub body: Payload,
}

/// A body on its way to the worker.
pub enum Payload {
    /// Inside the frame.
    Inline(Bytes),
    /// In shared memory, kept there until the call is over.
    Shared(Lease),
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

/// The replica's end of the data socket.
pub struct Channel {
    calls: RefCell<Calls>,
    outbox: RefCell<BytesMut>,
    wakes_writer: Notify,
    arena: Incoming,
    slots: Semaphore,
    deadlines: Deadlines,
    is_open: Cell<bool>,
}

#[derive(Default)]
struct Calls {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
}

struct Entry {
    answer: Option<Answer>,
    chunks: VecDeque<Frame>,
    unread: usize,
    /// We asked the model to pause.
    is_held: bool,
    /// The model asked us to pause.
    is_paused: bool,
    is_timed: bool,
    /// The worker has sent its last frame.
    is_over: bool,
    /// Nobody waits any more.
    is_abandoned: bool,
    failure: Option<CallError>,
    waker: Option<Waker>,
    deadline: Instant,
    last_chunk: Instant,
    holds_slot: bool,
    /// Websockets live as long as both sides like.
    is_websocket: bool,
    lease: Option<Lease>,
}

impl Channel {
    /// Takes the socket over; its tasks run on the current local set.
    pub fn new(
        stream: UnixStream,
        arena: Incoming,
        read: mpsc::Receiver<Block>,
        predict_concurrency: u32,
        deadlines: Deadlines,
    ) -> Rc<Self> {
        let (reader, writer) = stream.into_split();
        let channel = Rc::new(Self {
            calls: RefCell::default(),
            outbox: RefCell::default(),
            wakes_writer: Notify::new(),
            arena,
            slots: Semaphore::new(predict_concurrency as usize + READ_AHEAD),
            deadlines,
            is_open: Cell::new(true),
        });
        tokio::task::spawn_local(channel.clone().write(writer));
        tokio::task::spawn_local(channel.clone().release(read));
        tokio::task::spawn_local(channel.clone().read(reader));
        tokio::task::spawn_local(channel.clone().watch_deadlines());
        channel
    }

    /// Sends a request. Predictions wait here while the worker has as many as it should.
    pub async fn call(self: &Rc<Self>, request: Outbound) -> Result<Call, CallError> {
        let started = Instant::now();
        let holds_slot = request.operation == Operation::Predict;
        if holds_slot && self.slots.available_permits() == 0 {
            let permit = tokio::time::timeout(self.deadlines.request, self.slots.acquire()).await;
            permit
                .map_err(|_| CallError::TimedOut)?
                .map_err(|_| CallError::Gone)?
                .forget();
        } else if holds_slot {
            self.slots.try_acquire().map_err(|_| CallError::Gone)?.forget();
        }
        if !self.is_open.get() {
            return Err(CallError::Gone);
        }
        let (body, flags, lease) = match request.body {
            Payload::Inline(body) => (body, request.flags, None),
            Payload::Shared(lease) => {
                let reference = Bytes::copy_from_slice(&lease.block().to_wire());
                (reference, request.flags | flag::SHARED, Some(lease))
            }
        };
        let id = self.calls.borrow_mut().insert(Entry {
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
            deadline: started + self.deadlines.request,
            last_chunk: started,
            holds_slot,
            is_websocket: request.operation == Operation::Websocket,
            lease,
        });
        self.send(id, Kind::Request, flags, request.operation as u16, &request.meta, &body);
        Ok(Call {
            id,
            channel: self.clone(),
        })
    }

    /// Says that nothing more will be asked; the worker ends when it has answered what it has.
    pub fn finish(&self) {
        self.is_open.set(false);
        self.wakes_writer.notify_one();
    }

    /// Fails all calls: the worker is gone.
    pub fn close(&self) {
        self.is_open.set(false);
        self.slots.close();
        self.wakes_writer.notify_one();
        for entry in self.calls.borrow_mut().entries.iter_mut().flatten() {
            if !entry.is_over {
                entry.is_over = true;
                entry.failure.get_or_insert(CallError::Gone);
            }
            entry.wake();
        }
    }

    fn send(&self, id: u32, kind: Kind, flags: u8, detail: u16, meta: &[u8], body: &[u8]) {
        let mut outbox = self.outbox.borrow_mut();
        if outbox.is_empty() {
            self.wakes_writer.notify_one();
        }
        encode(&mut outbox, id, kind, flags, detail, meta, body);
    }

    async fn write(self: Rc<Self>, mut writer: OwnedWriteHalf) {
        let mut batch = BytesMut::new();
        loop {
            std::mem::swap(&mut batch, &mut *self.outbox.borrow_mut());
            if batch.is_empty() {
                if !self.is_open.get() {
                    return; // dropping our half tells the worker that it may go
                }
                self.wakes_writer.notified().await;
                continue;
            }
            if writer.write_all(&batch).await.is_err() {
                return; // the reader sees the end too, and it is the one to act on it
            }
            batch.clear();
        }
    }

    async fn release(self: Rc<Self>, mut read: mpsc::Receiver<Block>) {
        while let Some(block) = read.recv().await {
            self.send(0, Kind::Free, 0, 0, b"", &block.to_wire());
        }
    }

    async fn read(self: Rc<Self>, mut reader: OwnedReadHalf) {
        let mut input = BytesMut::with_capacity(256 * 1024);
        let outcome: io::Result<()> = async {
            loop {
                if input.capacity() - input.len() < 16 * 1024 {
                    input.reserve(256 * 1024);
                }
                if reader.read_buf(&mut input).await? == 0 {
                    return Ok(());
                }
                while let Some(frame) = decode(&mut input).map_err(io::Error::other)? {
                    self.receive(frame);
                }
            }
        }
        .await;
        if let Err(error) = outcome {
            tracing::warn!(%error, "the data socket of the worker broke");
        }
        self.close();
    }

    fn receive(&self, frame: Frame) {
        let mut calls = self.calls.borrow_mut();
        let Some(entry) = calls.entries.get_mut(frame.id as usize).and_then(Option::as_mut) else {
            return;
        };
        let id = frame.id;
        match frame.kind {
            Kind::Response => {
                let body = match frame.flags & flag::SHARED {
                    0 => Some(frame.body),
                    _ => Block::from_wire(&frame.body).and_then(|block| self.arena.take(block)),
                };
                match body {
                    Some(body) => {
                        entry.answer = Some(Answer {
                            status: frame.detail,
                            flags: frame.flags,
                            meta: frame.meta,
                            body: Some(body),
                        });
                    }
                    None => entry.failure = Some(CallError::Aborted),
                }
                entry.is_over = true;
            }
            Kind::Head => {
                entry.is_timed = frame.flags & flag::TIMED != 0;
                entry.last_chunk = Instant::now();
                entry.answer = Some(Answer {
                    status: frame.detail,
                    flags: frame.flags,
                    meta: frame.meta,
                    body: None,
                });
            }
            Kind::Chunk | Kind::Text | Kind::Binary | Kind::Close => {
                entry.unread += frame.body.len();
                entry.last_chunk = Instant::now();
                if !entry.is_abandoned {
                    entry.chunks.push_back(frame);
                }
                if entry.unread > UNREAD_LIMIT && !entry.is_held && !entry.is_abandoned {
                    entry.is_held = true;
                    self.send(id, Kind::Pause, 0, 0, b"", b"");
                }
            }
            Kind::End => {
                if entry.is_websocket {
                    entry.unread += frame.body.len();
                    entry.chunks.push_back(Frame {
                        kind: Kind::Close,
                        ..frame
                    });
                }
                entry.is_over = true;
            }
            Kind::Abort => {
                entry.failure.get_or_insert(CallError::Aborted);
                entry.is_over = true;
            }
            Kind::Pause | Kind::Resume => entry.is_paused = frame.kind == Kind::Pause,
            Kind::Request | Kind::Cancel | Kind::Free => {}
        }
        entry.wake();
        if entry.is_over {
            drop(entry.lease.take());
            if std::mem::take(&mut entry.holds_slot) {
                self.slots.add_permits(1);
            }
            if entry.is_abandoned {
                calls.remove(id);
            }
        }
    }

    async fn watch_deadlines(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while self.is_open.get() || !self.calls.borrow().is_empty() {
            let now = ticks.tick().await;
            for entry in self.calls.borrow_mut().entries.iter_mut().flatten() {
                let is_late = now >= entry.deadline && !entry.is_websocket;
                let is_silent =
                    entry.is_timed && entry.chunks.is_empty() && now >= entry.last_chunk + self.deadlines.chunk;
                if (is_late || is_silent) && !entry.is_over && entry.failure.is_none() {
                    entry.failure = Some(CallError::TimedOut);
                    entry.wake();
                }
            }
        }
    }
}

impl Calls {
    fn insert(&mut self, entry: Entry) -> u32 {
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

    fn remove(&mut self, id: u32) {
        self.entries[id as usize] = None;
        self.free.push(id);
    }

    fn is_empty(&self) -> bool {
        self.free.len() == self.entries.len()
    }

    fn entry(&mut self, id: u32) -> &mut Entry {
        self.entries[id as usize]
            .as_mut()
            .expect("an entry lives as long as its call")
    }
}

impl Entry {
    fn wake(&mut self) {
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
    pub async fn message(&mut self) -> Result<Option<Message>, CallError> {
        let frame = poll_fn(|context| self.poll_frame(context)).await?;
        Ok(frame.map(|frame| match frame.kind {
            Kind::Text => Message::Text(frame.body),
            Kind::Close => Message::Close(frame.detail, frame.body),
            _ => Message::Binary(frame.body),
        }))
    }

    /// Sends a message of a websocket, when the model is ready for more.
    pub async fn send(&self, message: Message) -> Result<(), CallError> {
        poll_fn(|context| {
            let mut calls = self.channel.calls.borrow_mut();
            let entry = calls.entry(self.id);
            if entry.is_over {
                return Poll::Ready(Err(entry.failure.unwrap_or(CallError::Aborted)));
            }
            if entry.is_paused {
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

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Frame>, CallError>> {
        let mut calls = self.channel.calls.borrow_mut();
        let entry = calls.entry(self.id);
        if let Some(frame) = entry.chunks.pop_front() {
            entry.unread -= frame.body.len();
            if entry.is_held && entry.unread <= UNREAD_LIMIT / 2 && !entry.is_over {
                entry.is_held = false;
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
