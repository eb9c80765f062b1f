//! Links: requests that share one connection to a replica that offers it. The replica here shows each frame to the test.

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use api::internal::{
    frame::{Frame, Kind, decode, encode, meta_pairs},
    link::{LONGEST_BODY, LONGEST_FRAME, PATH, PROTOCOL},
    routes::Endpoint,
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, channel::mpsc};
use gateway::Settings;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    task::{JoinHandle, JoinSet},
};

use crate::support::*;

/// A replica that answers plain requests with `plain` and offers a link.
struct Offering {
    endpoint: Endpoint,
    links: mpsc::UnboundedReceiver<TokioIo<Upgraded>>,
    plain: Arc<AtomicUsize>,
    server: JoinHandle<()>,
    _folder: TempDir,
}

impl Offering {
    fn start(number: u128) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("replica.sock");
        let (sender, links) = mpsc::unbounded();
        let plain = Arc::new(AtomicUsize::new(0));
        let server = tokio::spawn(serve(path.clone(), sender, plain.clone()));
        Self { endpoint: endpoint(number, path), links, plain, server, _folder: folder }
    }

    /// A gateway that opens a link to a replica of this kind.
    async fn offered(settings: Settings, change: impl FnOnce(&mut api::internal::routes::DeploymentRoute)) -> Linked {
        let mut replica = Self::start(1);
        let stage = Stage::with(settings).await;
        let mut table = route(&[]);
        table.replicas = vec![replica.endpoint.clone()];
        change(&mut table);
        stage.publish(table);
        assert_eq!(stage.call(predict(full("{}"))).await.text(), "plain");
        let link = replica.link().await;
        Linked { stage, replica, link }
    }

    /// A gateway that uses its link.
    async fn linked(settings: Settings, change: impl FnOnce(&mut api::internal::routes::DeploymentRoute)) -> Linked {
        let mut linked = Self::offered(settings, change).await;
        linked.link.is_used_by(&linked.stage).await;
        linked.replica.plain.store(0, Ordering::SeqCst);
        linked
    }

    async fn link(&mut self) -> Link {
        Link { stream: soon(self.links.next()).await.unwrap(), input: BytesMut::new() }
    }
}

impl Drop for Offering {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(path: PathBuf, links: mpsc::UnboundedSender<TokioIo<Upgraded>>, plain: Arc<AtomicUsize>) {
    let listener = UnixListener::bind(path).unwrap();
    let mut tasks = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (links, plain) = (links.clone(), plain.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (links, plain) = (links.clone(), plain.clone());
            async move {
                let answer = Response::builder().header(header::UPGRADE, PROTOCOL);
                if request.uri().path() == PATH {
                    let upgrade = hyper::upgrade::on(&mut request);
                    tokio::spawn(async move { links.unbounded_send(TokioIo::new(upgrade.await.unwrap())) });
                    let answer = answer.status(StatusCode::SWITCHING_PROTOCOLS).header(header::CONNECTION, "upgrade");
                    return Ok::<_, Infallible>(answer.body(full("")).unwrap());
                }
                plain.fetch_add(1, Ordering::SeqCst);
                request.into_body().collect().await.unwrap();
                Ok(answer.body(full("plain")).unwrap())
            }
        });
        tasks.spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = connection.with_upgrades().await;
        });
    }
}

/// The replica's end of a link.
struct Link {
    stream: TokioIo<Upgraded>,
    input: BytesMut,
}

impl Link {
    /// The next frame; none when the gateway has closed the link.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = decode(&mut self.input, LONGEST_FRAME).unwrap() {
                return Some(frame);
            }
            if soon(self.stream.read_buf(&mut self.input)).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn expect(&mut self, kind: Kind) -> Frame {
        let frame = self.next().await.expect("the link is open");
        assert_eq!(frame.kind, kind);
        frame
    }

    /// Waits until requests come here: the gateway learns that a link is open a moment after the replica.
    async fn is_used_by(&mut self, stage: &Stage) {
        loop {
            let mut asked = ask(stage, "are you there?");
            tokio::select! {
                plain = &mut asked => assert_eq!(plain.unwrap().text(), "plain"),
                frame = self.next() => {
                    self.answer(frame.expect("the link is open").id, b"linked").await;
                    assert_eq!(soon(asked).await.unwrap().text(), "linked");
                    return;
                }
            }
        }
    }

    async fn send(&mut self, id: u32, kind: Kind, detail: u16, meta: &[u8], body: &[u8]) {
        let mut out = BytesMut::new();
        encode(&mut out, id, kind, 0, detail, meta, body);
        soon(self.stream.write_all(&out)).await.unwrap();
    }

    async fn answer(&mut self, id: u32, body: &[u8]) {
        self.send(id, Kind::Response, 200, b"content-type\0text/plain\0", body).await;
    }
}

struct Linked {
    stage: Stage,
    replica: Offering,
    link: Link,
}

impl Linked {
    async fn new() -> Self {
        Offering::linked(Settings::default(), |_| ()).await
    }
}

fn ask(stage: &Stage, body: &'static str) -> JoinHandle<Answer> {
    let address = stage.address;
    tokio::spawn(async move {
        let mut client = Client::connect(address).await;
        Answer::read(client.send(predict(full(body))).await).await
    })
}

#[tokio::test]
async fn requests_share_one_connection_and_are_answered_in_any_order() {
    let Linked { stage, mut link, replica } = Linked::new().await;
    let first = ask(&stage, "first");
    let one = link.expect(Kind::Request).await;
    let second = ask(&stage, "second");
    let other = link.expect(Kind::Request).await;
    assert_ne!(one.id, other.id);
    assert_eq!((&one.body[..], &other.body[..]), (&b"first"[..], &b"second"[..]));
    link.answer(other.id, b"to the second").await;
    let answer = soon(second).await.unwrap();
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "to the second"));
    assert_eq!(answer.headers["content-type"], "text/plain");
    link.answer(one.id, b"to the first").await;
    assert_eq!(soon(first).await.unwrap().text(), "to the first");
    stage.has(0, 0).await;
    assert_eq!(replica.plain.load(Ordering::SeqCst), 0, "none went its own way");
}

#[tokio::test]
async fn the_model_sees_the_same_request_over_a_link_and_never_the_key() {
    let Linked { stage, mut link, replica: _replica } = Linked::new().await;
    let mut client = stage.connect().await;
    let mut asked = request("POST", "/production/sync/v1/completions?x=1", full("{}"));
    asked.headers_mut().insert("traceparent", "00-1-2-01".parse().unwrap());
    let answer = client.try_send(asked);
    let serve = async {
        let frame = link.expect(Kind::Request).await;
        link.answer(frame.id, b"{}").await;
        frame
    };
    let (answer, frame) = tokio::join!(answer, serve);
    let meta: Vec<_> = meta_pairs(&frame.meta).map(|(name, value)| (text(name), text(value))).collect();
    for expected in [
        (":method", "POST"),
        (":path", "/v1/completions?x=1"),
        ("traceparent", "00-1-2-01"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "localhost"),
        ("host", "localhost"),
    ] {
        assert!(meta.contains(&expected), "{expected:?} is not in {meta:?}");
    }
    assert!(!meta.iter().any(|(name, _)| *name == "authorization"));
    let id = meta.iter().find(|(name, _)| *name == "x-baseten-request-id").unwrap().1;
    assert_eq!(answer.unwrap().headers()["x-baseten-request-id"], id);
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_client_that_leaves_is_told_to_the_replica_and_frees_its_slot() {
    let Linked { stage, mut link, replica: _replica } = Linked::new().await;
    let mut client = stage.connect().await;
    let mut left = client.try_send(predict(full("{}")));
    let frame = tokio::select! {
        _ = &mut left => unreachable!("nobody has answered"),
        frame = link.expect(Kind::Request) => frame,
    };
    stage.has(1, 0).await;
    drop(left);
    drop(client);
    assert_eq!(link.expect(Kind::Cancel).await.id, frame.id);
    stage.has(0, 0).await;
    // Until the replica says that it is done, the id means the request that was given up.
    let next = ask(&stage, "next");
    let second = link.expect(Kind::Request).await;
    assert_ne!(second.id, frame.id);
    link.answer(frame.id, b"too late").await;
    link.answer(second.id, b"in time").await;
    assert_eq!(soon(next).await.unwrap().text(), "in time");
}

#[tokio::test]
async fn a_request_that_a_replica_has_not_taken_goes_to_another() {
    let Linked { stage, mut link, replica } = Linked::new().await;
    let other = Replica::quick(2);
    let answer = ask(&stage, "a body");
    let frame = link.expect(Kind::Request).await;
    let mut table = route(&[&other]);
    table.replicas.push(replica.endpoint.clone());
    stage.publish(table);
    link.send(frame.id, Kind::NotTaken, 0, b"", b"").await;
    let answer = soon(answer).await.unwrap();
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "/v1/models/model:predict"));
    assert_eq!(answer.headers["x-baseten-model-prediction-attempts"], "2");
}

#[tokio::test]
async fn a_stream_arrives_piece_by_piece_and_a_broken_one_is_cut() {
    let Linked { stage, mut link, replica: _replica } = Linked::new().await;
    for (last, is_whole) in [(Kind::End, true), (Kind::Abort, false)] {
        let mut client = stage.connect().await;
        let (answer, id) = tokio::join!(client.send(predict(full("{}"))), async {
            let id = link.expect(Kind::Request).await.id;
            link.send(id, Kind::Head, 200, b"content-type\0text/event-stream\0", b"").await;
            id
        });
        let mut body = answer.into_body();
        for piece in ["one", "two"] {
            link.send(id, Kind::Chunk, 0, b"", piece.as_bytes()).await;
            let frame = soon(body.frame()).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), piece);
        }
        stage.has(1, 0).await;
        link.send(id, last, 0, b"", b"").await;
        assert_eq!(soon(body.frame()).await.is_none(), is_whole);
        stage.has(0, 0).await;
    }
}

#[tokio::test]
async fn a_slow_reader_holds_its_own_stream_back_and_no_other_request() {
    let Linked { stage, mut link, replica: _replica } = Linked::new().await;
    let mut client = stage.connect().await;
    let (answer, id) = tokio::join!(client.send(predict(full("{}"))), async {
        let id = link.expect(Kind::Request).await.id;
        link.send(id, Kind::Head, 200, b"", b"").await;
        id
    });
    let piece = Bytes::from(vec![b'x'; LONGEST_BODY]);
    let mut sent = 0;
    // Written until the gateway says stop, which it does long before memory is full.
    let paused = loop {
        link.send(id, Kind::Chunk, 0, b"", &piece).await;
        sent += piece.len();
        assert!(sent < 64 << 20, "the gateway takes everything");
        if let Ok(frame) = tokio::time::timeout(Duration::from_millis(1), link.next()).await {
            break frame.unwrap();
        }
    };
    assert_eq!((paused.kind, paused.id), (Kind::Pause, id));
    let other = ask(&stage, "other");
    let frame = link.expect(Kind::Request).await;
    link.answer(frame.id, b"at once").await;
    assert_eq!(soon(other).await.unwrap().text(), "at once");
    let reading = tokio::spawn(Answer::read(answer));
    assert_eq!(link.expect(Kind::Resume).await.id, id);
    link.send(id, Kind::End, 0, b"", b"").await;
    let answer = soon(reading).await.unwrap();
    assert!(answer.is_whole && answer.body.len() == sent);
}

#[tokio::test]
async fn a_replica_that_does_not_pause_loses_its_link() {
    let Linked { stage, mut link, replica: _replica } = Linked::new().await;
    let mut client = stage.connect().await;
    let (answer, id) = tokio::join!(client.send(predict(full("{}"))), async {
        let id = link.expect(Kind::Request).await.id;
        link.send(id, Kind::Head, 200, b"", b"").await;
        id
    });
    let mut piece = BytesMut::new();
    encode(&mut piece, id, Kind::Chunk, 0, 0, b"", &vec![b'x'; LONGEST_BODY]);
    let flood = async {
        for _ in 0..1000 {
            if link.stream.write_all(&piece).await.is_err() {
                return;
            }
        }
        panic!("the gateway takes everything");
    };
    soon(flood).await;
    assert!(!Answer::read(answer).await.is_whole);
}

#[tokio::test]
async fn a_link_that_breaks_fails_what_was_sent_on_it_once_and_nothing_else() {
    let Linked { stage, mut link, mut replica } = Linked::new().await;
    let lost = ask(&stage, "lost");
    link.expect(Kind::Request).await;
    drop(link);
    let answer = soon(lost).await.unwrap();
    assert_eq!(
        (answer.status, answer.headers["x-greenroom-error-source"].to_str().unwrap()),
        (StatusCode::BAD_GATEWAY, "platform")
    );
    // The next one goes its own way, and brings the offer of a new link.
    assert_eq!(soon(ask(&stage, "next")).await.unwrap().text(), "plain");
    replica.link().await.is_used_by(&stage).await;
}

#[tokio::test]
async fn a_model_that_does_not_begin_to_answer_over_a_link_times_out() {
    let linked = Offering::linked(Settings::default(), |route| route.limits.first_byte_ms = 50);
    let Linked { stage, mut link, replica: _replica } = linked.await;
    let late = ask(&stage, "late");
    let frame = link.expect(Kind::Request).await;
    assert_eq!(soon(late).await.unwrap().status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(link.expect(Kind::Cancel).await.id, frame.id);
}

#[tokio::test]
async fn a_stream_over_a_link_that_falls_silent_is_cut() {
    let linked = Offering::linked(Settings::default(), |route| route.limits.idle_ms = 50);
    let Linked { stage, mut link, replica: _replica } = linked.await;
    let silent = ask(&stage, "silent");
    let frame = link.expect(Kind::Request).await;
    link.send(frame.id, Kind::Head, 200, b"", b"").await;
    link.send(frame.id, Kind::Chunk, 0, b"", b"a word").await;
    let answer = soon(silent).await.unwrap();
    assert!(!answer.is_whole);
    assert_eq!(answer.text(), "a word");
    assert_eq!(link.expect(Kind::Cancel).await.id, frame.id);
}

#[tokio::test]
async fn large_bodies_and_those_of_unknown_length_go_their_own_way() {
    let Linked { stage, link: _link, replica } = Linked::new().await;
    assert_eq!(stage.call(predict(full(vec![b'x'; LONGEST_BODY + 1]))).await.text(), "plain");
    let (mut sender, body) = piecewise();
    let (answer, ()) = tokio::join!(stage.call(predict(body)), async {
        send(&mut sender, "of unknown length").await;
        drop(sender);
    });
    assert_eq!(answer.text(), "plain");
    assert_eq!(replica.plain.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_replica_that_leaves_the_table_keeps_its_link_until_its_last_answer() {
    let Linked { stage, mut link, replica: _replica } = Linked::new().await;
    let last = ask(&stage, "last");
    let frame = link.expect(Kind::Request).await;
    stage.publish(route(&[]));
    link.answer(frame.id, b"the last answer").await;
    assert_eq!(soon(last).await.unwrap().text(), "the last answer");
    assert!(link.next().await.is_none(), "the gateway closes the link");
}

#[tokio::test]
async fn an_unused_link_is_closed() {
    let settings = Settings { replica_idle_timeout: Duration::from_millis(20), ..Settings::default() };
    let Linked { stage: _stage, mut link, replica: _replica } = Offering::offered(settings, |_| ()).await;
    assert!(link.next().await.is_none(), "the gateway closes the link");
}
