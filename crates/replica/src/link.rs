//! The replica's end of a link ([`api::internal::link`]): many requests of the gateway at once on one connection. What becomes
//! ready in the same turn of the event loop goes out with one system call.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    rc::Rc,
};

use api::internal::link::{LONGEST_BODY, LONGEST_FRAME, LONGEST_META, PROTOCOL};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    body::{Body, NotTaken, response},
    http::App,
    protocol::{Frame, Kind, decode, encode, put_meta},
    truss::Truss,
};

/// Streams wait while this much has not been taken by the gateway.
const UNSENT_LIMIT: usize = 256 << 10;

/// Room for what one read may bring.
const READ_BYTES: usize = 64 << 10;

/// Whether a request asks for a link.
pub fn is_wanted(request: &Request<Incoming>) -> bool {
    request.headers().get(header::UPGRADE).is_some_and(|wanted| wanted == PROTOCOL)
}

/// Makes the connection of `request` a link to `truss`, which lasts until the gateway closes it or the replica ends.
pub fn open(
    mut request: Request<Incoming>,
    app: &Rc<App>,
    truss: &Rc<Truss>,
    closing: CancellationToken,
    connections: &TaskTracker,
) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (app, truss) = (app.clone(), truss.clone());
    connections.spawn_local(async move {
        if let Ok(upgraded) = upgrade.await {
            serve(upgraded, app, truss, closing).await;
        }
    });
    let mut answer = response(StatusCode::SWITCHING_PROTOCOLS, Body::whole(Bytes::new()));
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    answer
}

struct Link {
    app: Rc<App>,
    truss: Rc<Truss>,
    outbox: RefCell<BytesMut>,
    wakes_writer: Notify,
    /// Told when streams that wait may look again.
    moves: Notify,
    requests: RefCell<HashMap<u32, Running>>,
    /// Whether no more will come.
    is_closing: Cell<bool>,
}

struct Running {
    task: JoinHandle<()>,
    is_paused: bool,
}

async fn serve(upgraded: Upgraded, app: Rc<App>, truss: Rc<Truss>, closing: CancellationToken) {
    let Ok(parts) = upgraded.downcast::<TokioIo<UnixStream>>() else {
        unreachable!("the replica listens on a Unix socket")
    };
    let (reader, writer) = parts.io.into_inner().into_split();
    let link = Rc::new(Link {
        app,
        truss,
        outbox: RefCell::default(),
        wakes_writer: Notify::new(),
        moves: Notify::new(),
        requests: RefCell::default(),
        is_closing: Cell::new(false),
    });
    let writing = tokio::task::spawn_local(link.clone().write(writer));
    tokio::select! {
        read = link.read(reader, BytesMut::from(&parts.read_buf[..])) => {
            if let Err(error) = read {
                tracing::warn!(%error, "the link to the gateway broke");
            }
            // Nobody hears the answers to what still runs.
            link.requests.borrow().values().for_each(|request| request.task.abort());
            writing.abort();
        }
        () = closing.cancelled() => {
            link.is_closing.set(true);
            link.wakes_writer.notify_one();
            let _ = writing.await;
        }
    }
}

impl Link {
    async fn read(self: &Rc<Self>, mut reader: OwnedReadHalf, mut input: BytesMut) -> io::Result<()> {
        loop {
            while let Some(frame) = decode(&mut input, LONGEST_FRAME).map_err(io::Error::other)? {
                self.receive(frame)?;
            }
            input.reserve(READ_BYTES / 4);
            if reader.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
    }

    fn receive(self: &Rc<Self>, frame: Frame) -> io::Result<()> {
        let mut requests = self.requests.borrow_mut();
        match frame.kind {
            Kind::Request => {
                let id = frame.id;
                let task = tokio::task::spawn_local(self.clone().answer(frame));
                requests.insert(id, Running { task, is_paused: false });
            }
            Kind::Cancel => {
                if let Some(request) = requests.remove(&frame.id) {
                    request.task.abort();
                    self.send(frame.id, Kind::Abort, 0, b"", b"");
                }
            }
            Kind::Pause | Kind::Resume => {
                if let Some(request) = requests.get_mut(&frame.id) {
                    request.is_paused = frame.kind == Kind::Pause;
                    self.moves.notify_waiters();
                }
            }
            _ => return Err(io::Error::other(format!("the gateway sent a frame of kind {:?}", frame.kind))),
        }
        Ok(())
    }

    async fn answer(self: Rc<Self>, frame: Frame) {
        let id = frame.id;
        match self.app.board.is_draining() {
            true => self.send(id, Kind::NotTaken, 0, b"", b""),
            false => {
                let answer = self.truss.answer_whole(&self.app.board, frame.meta, frame.body).await;
                self.pass_on(id, answer).await;
            }
        }
        self.requests.borrow_mut().remove(&id);
        if self.is_closing.get() {
            self.wakes_writer.notify_one();
        }
    }

    async fn pass_on(&self, id: u32, answer: Response<Body>) {
        let (head, mut body) = answer.into_parts();
        if head.extensions.get::<NotTaken>().is_some() {
            return self.send(id, Kind::NotTaken, 0, b"", b"");
        }
        let mut meta = Vec::with_capacity(128);
        for (name, value) in &head.headers {
            put_meta(&mut meta, name.as_str().as_bytes(), value.as_bytes());
        }
        if meta.len() > LONGEST_META {
            return self.send(id, Kind::Abort, 0, b"", b"");
        }
        let length = body.size_hint().exact();
        if length.is_some_and(|length| length <= LONGEST_BODY as u64) {
            match body.collect().await {
                Ok(body) => self.send(id, Kind::Response, head.status.as_u16(), &meta, &body.to_bytes()),
                Err(_) => self.send(id, Kind::Abort, 0, b"", b""),
            }
            return;
        }
        if let Some(length) = length {
            put_meta(&mut meta, header::CONTENT_LENGTH.as_str().as_bytes(), length.to_string().as_bytes());
        }
        self.send(id, Kind::Head, head.status.as_u16(), &meta, b"");
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return self.send(id, Kind::Abort, 0, b"", b"");
            };
            for piece in frame.into_data().unwrap_or_default().chunks(LONGEST_BODY) {
                self.until_it_may_send(id).await;
                self.send(id, Kind::Chunk, 0, b"", piece);
            }
        }
        self.send(id, Kind::End, 0, b"", b"");
    }

    async fn until_it_may_send(&self, id: u32) {
        loop {
            let moved = self.moves.notified();
            let is_paused = self.requests.borrow().get(&id).is_some_and(|request| request.is_paused);
            if !is_paused && self.outbox.borrow().len() < UNSENT_LIMIT {
                return;
            }
            moved.await;
        }
    }

    fn send(&self, id: u32, kind: Kind, detail: u16, meta: &[u8], body: &[u8]) {
        let mut outbox = self.outbox.borrow_mut();
        if outbox.is_empty() {
            self.wakes_writer.notify_one();
        }
        encode(&mut outbox, id, kind, 0, detail, meta, body);
    }

    async fn write(self: Rc<Self>, mut writer: OwnedWriteHalf) {
        let mut batch = BytesMut::new();
        loop {
            std::mem::swap(&mut batch, &mut *self.outbox.borrow_mut());
            if batch.is_empty() {
                if self.is_closing.get() && self.requests.borrow().is_empty() {
                    return;
                }
                self.wakes_writer.notified().await;
                continue;
            }
            if writer.write_all(&batch).await.is_err() {
                return; // the reader sees the end too, and it is the one to act on it
            }
            if batch.len() >= UNSENT_LIMIT {
                self.moves.notify_waiters();
            }
            batch.clear();
        }
    }
}
