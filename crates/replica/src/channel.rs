//! The data socket: many calls at once over one stream of frames. Frames that become ready in the same turn of the event loop
//! are written with one system call, and all that has arrived is read with one.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
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
    calls::{Answer, Call, CallError, Calls, Entry, UNREAD_LIMIT},
    protocol::{Block, Frame, Kind, LONGEST_FRAME, Operation, decode, encode, flag},
};

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

/// The replica's end of the data socket.
pub struct Channel {
    pub(crate) calls: RefCell<Calls>,
    outbox: RefCell<BytesMut>,
    /// Bytes ever put into the outbox.
    queued: Cell<u64>,
    /// Bytes ever taken by the kernel.
    written: Cell<u64>,
    wakes_writer: Notify,
    arena: Incoming,
    slots: Semaphore,
    deadlines: Deadlines,
    is_open: Cell<bool>,
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
            queued: Cell::new(0),
            written: Cell::new(0),
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
            permit.map_err(|_| CallError::TimedOut)?.map_err(|_| CallError::NotTaken)?.forget();
        } else if holds_slot {
            self.slots.try_acquire().map_err(|_| CallError::NotTaken)?.forget();
        }
        if !self.is_open.get() {
            return Err(CallError::NotTaken);
        }
        let (body, flags, lease) = match request.body {
            Payload::Inline(body) => (body, request.flags, None),
            Payload::Shared(lease) => {
                let reference = Bytes::copy_from_slice(&lease.block().to_wire());
                (reference, request.flags | flag::SHARED, Some(lease))
            }
        };
        let is_websocket = request.operation == Operation::Websocket;
        let deadline = (!is_websocket).then(|| started + self.deadlines.request);
        let entry = Entry::new(self.queued.get(), started, deadline, holds_slot, is_websocket, lease);
        let id = self.calls.borrow_mut().insert(entry);
        self.send(id, Kind::Request, flags, request.operation as u16, &request.meta, &body);
        Ok(Call::new(id, self.clone()))
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
        for entry in self.calls.borrow_mut().live() {
            if !entry.is_over {
                entry.is_over = true;
                let is_sent = entry.begin < self.written.get();
                entry.failure.get_or_insert(if is_sent { CallError::Gone } else { CallError::NotTaken });
            }
            entry.wake();
        }
    }

    /// Queues a frame for the worker.
    pub(crate) fn send(&self, id: u32, kind: Kind, flags: u8, detail: u16, meta: &[u8], body: &[u8]) {
        let mut outbox = self.outbox.borrow_mut();
        if outbox.is_empty() {
            self.wakes_writer.notify_one();
        }
        let before = outbox.len();
        encode(&mut outbox, id, kind, flags, detail, meta, body);
        self.queued.set(self.queued.get() + (outbox.len() - before) as u64);
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
            let mut rest = &batch[..];
            while !rest.is_empty() {
                let Ok(written) = writer.write(rest).await else {
                    return; // the reader sees the end too, and it is the one to act on it
                };
                self.written.set(self.written.get() + written as u64);
                rest = &rest[written..];
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
                while let Some(frame) = decode(&mut input, LONGEST_FRAME).map_err(io::Error::other)? {
                    self.receive(frame);
                }
                // What we have to say to the worker, a pause above all, must not wait until it falls silent.
                if !self.outbox.borrow().is_empty() {
                    tokio::task::yield_now().await;
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
        let Some(entry) = calls.find(frame.id) else {
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
                entry.answer = Some(Answer { status: frame.detail, flags: frame.flags, meta: frame.meta, body: None });
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
                    entry.chunks.push_back(Frame { kind: Kind::Close, ..frame });
                }
                entry.is_over = true;
            }
            Kind::Abort => {
                entry.failure.get_or_insert(CallError::Aborted);
                entry.is_over = true;
            }
            Kind::Pause | Kind::Resume => entry.is_paused = frame.kind == Kind::Pause,
            Kind::Request | Kind::Cancel | Kind::Free | Kind::NotTaken => {}
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
            for entry in self.calls.borrow_mut().live() {
                let is_late = entry.deadline.is_some_and(|deadline| now >= deadline);
                let is_awaited = entry.is_timed && !entry.is_held && entry.chunks.is_empty();
                let is_silent = is_awaited && now >= entry.last_chunk + self.deadlines.chunk;
                if (is_late || is_silent) && !entry.is_over && entry.failure.is_none() {
                    entry.failure = Some(CallError::TimedOut);
                    entry.wake();
                }
            }
        }
    }
}
