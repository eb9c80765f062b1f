//! Bodies flow as they come, in both directions, and stop when nobody wants them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use gateway::Settings;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::mpsc};

use crate::support::*;

/// A replica that returns each body as it comes.
fn echo() -> Replica {
    Replica::start(
        1,
        |request| async move { Response::new(request.into_body().map_err(|_| unreachable!()).boxed_unsync()) },
    )
}

async fn chunk(body: &mut hyper::body::Incoming) -> Bytes {
    soon(body.frame()).await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn server_sent_events_arrive_one_by_one() {
    let mut scripted = Scripted::start(1);
    let stage = Stage::new(route(&[&scripted.replica])).await;
    let mut client = stage.connect().await;
    let (mut events, body) = piecewise();
    let script = async {
        let answer = Response::builder().header("content-type", "text/event-stream").body(body).unwrap();
        scripted.next().await.answer(answer);
    };
    let ((), response) = futures::join!(script, client.send(predict(full("{}"))));
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        send(&mut events, event).await;
        assert_eq!(chunk(&mut body).await, event);
        assert_eq!(stage.load().in_flight, 1, "a stream is in flight until it ends");
    }
    drop(events);
    assert!(soon(body.frame()).await.is_none());
    stage.has(0, 0).await;
}

#[tokio::test]
async fn an_upload_arrives_piece_by_piece_while_the_answer_comes_back() {
    let replica = echo();
    let stage = Stage::new(route(&[&replica])).await;
    let mut client = stage.connect().await;
    let (mut pieces, body) = piecewise();
    let (_, response) = futures::join!(send(&mut pieces, "one"), client.send(predict(body)));
    let mut echo = response.into_body();
    assert_eq!(chunk(&mut echo).await, "one");
    for piece in ["two", "three"] {
        send(&mut pieces, piece).await;
        assert_eq!(chunk(&mut echo).await, piece);
    }
    drop(pieces);
    assert!(soon(echo.frame()).await.is_none());
}

#[tokio::test]
async fn large_bodies_pass_whole() {
    let replica = echo();
    let stage = Stage::new(route(&[&replica])).await;
    let body: Vec<u8> = (0..20_000_000_u32).map(|number| (number % 251) as u8).collect();
    let answer = stage.call(predict(full(body.clone()))).await;
    assert!(answer.body == body, "{} bytes came back", answer.body.len());
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_stops_the_replica_and_frees_the_slot() {
    let (gone, mut left) = mpsc::unbounded_channel();
    let replica = Replica::start(1, move |_| {
        let gone = gone.clone();
        let (mut pieces, body) = piecewise();
        tokio::spawn(async move {
            while futures::SinkExt::send(&mut pieces, Frame::data(Bytes::from_static(b"more"))).await.is_ok() {
                tokio::task::yield_now().await;
            }
            gone.send(()).unwrap();
        });
        async { Response::new(body) }
    });
    let stage = Stage::new(route(&[&replica])).await;
    let mut client = stage.connect().await;
    let mut body = client.send(predict(full("{}"))).await.into_body();
    assert_eq!(chunk(&mut body).await.slice(..4), "more");
    assert_eq!(stage.load().in_flight, 1);
    drop((body, client));
    soon(left.recv()).await.unwrap();
    stage.has(0, 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_stops_the_replica_and_frees_the_slot() {
    struct Gone(mpsc::UnboundedSender<()>);
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (gone, mut left) = mpsc::unbounded_channel();
    let replica = Replica::start(1, move |request| {
        let gone = Gone(gone.clone());
        async move {
            request.into_body().collect().await.unwrap();
            let _gone = gone;
            std::future::pending().await
        }
    });
    let stage = Stage::new(route(&[&replica])).await;
    let call = stage.predict();
    stage.has(1, 0).await;
    call.abort();
    soon(left.recv()).await.unwrap();
    stage.has(0, 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_is_never_sent_to_the_model() {
    let mut scripted = Scripted::start(1);
    let mut route = route(&[&scripted.replica]);
    route.slots_per_replica = 1;
    let stage = Stage::new(route).await;
    let first = stage.predict();
    let running = scripted.next().await;
    let impatient = stage.predict();
    stage.has(1, 1).await;
    impatient.abort();
    stage.has(1, 0).await;
    running.answer(Response::new(full("done")));
    assert_eq!(soon(first).await.unwrap().text(), "done");
    stage.has(0, 0).await;
    assert!(!scripted.is_called());
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_is_noticed_however_much_it_has_sent() {
    let stage = Stage::new(route(&[])).await;
    let mut client = stage.connect().await;
    let mut answer = client.try_send(predict(full(vec![b'x'; 5_000_000])));
    tokio::select! {
        _ = &mut answer => panic!("there is no replica"),
        () = stage.has(0, 1) => {}
    }
    drop(answer);
    drop(client);
    stage.has(0, 0).await;
}

#[tokio::test]
async fn what_was_sent_while_waiting_arrives_whole() {
    for read_ahead_bytes in [0, 100_000, 128 << 20] {
        let settings = Settings { read_ahead_bytes, ..Settings::default() };
        let stage = Stage::with(settings).await;
        stage.publish(route(&[]));
        for round in 0..3 {
            let body: Vec<u8> = (0..1_000_000_u32 + round).map(|number| (number % 251) as u8).collect();
            let mut client = stage.connect().await;
            let mut answer = client.try_send(predict(full(body.clone())));
            tokio::select! {
                _ = &mut answer => panic!("there is no replica"),
                () = stage.has(0, 1) => {}
            }
            let replica = echo();
            stage.publish(route(&[&replica]));
            let answer = Answer::read(answer.await.unwrap()).await;
            assert!(answer.body == body, "{} bytes came back", answer.body.len());
            stage.publish(route(&[]));
        }
    }
}

#[tokio::test]
async fn an_upload_that_is_given_up_stops_the_replica() {
    let (seen, mut ends) = mpsc::unbounded_channel();
    let replica = Replica::start(1, move |request| {
        let seen = seen.clone();
        async move {
            seen.send(request.into_body().collect().await.is_ok()).unwrap();
            Response::new(full(""))
        }
    });
    let stage = Stage::new(route(&[&replica])).await;
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    let head = format!(
        "POST /models/{}/production/predict HTTP/1.1\r\nhost: x\r\nauthorization: {KEY}\r\ncontent-length: 100000\r\n\r\nnot all",
        model()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stage.has(1, 0).await;
    drop(stream);
    assert_eq!(soon(ends.recv()).await, Some(false), "the replica sees that the body was cut");
    stage.has(0, 0).await;
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_cut() {
    let mut scripted = Scripted::start(1);
    let mut route = route(&[&scripted.replica]);
    route.limits.idle_ms = 50;
    let stage = Stage::new(route).await;
    let (mut pieces, body) = piecewise();
    let script = async {
        scripted.next().await.answer(Response::new(body));
        send(&mut pieces, "a word").await;
    };
    let ((), answer) = futures::join!(script, stage.call(predict(full("{}"))));
    assert_eq!((answer.text(), answer.is_whole), ("a word", false));
    stage.has(0, 0).await;
}

#[tokio::test]
async fn a_replica_that_dies_in_a_stream_cuts_it() {
    let mut scripted = Scripted::start(1);
    let stage = Stage::new(route(&[&scripted.replica])).await;
    let (mut pieces, body) = piecewise();
    let mut client = stage.connect().await;
    let script = async {
        scripted.next().await.answer(Response::new(body));
        send(&mut pieces, "a word").await;
    };
    let ((), response) = futures::join!(script, client.send(predict(full("{}"))));
    let mut body = response.into_body();
    assert_eq!(chunk(&mut body).await, "a word");
    scripted.replica.die().await;
    assert!(soon(body.frame()).await.unwrap().is_err());
    stage.has(0, 0).await;
}

/// A replica that sends without end, and how much it has been able to send.
fn endless() -> (Replica, Arc<AtomicUsize>) {
    const CHUNK: usize = 64 * 1024;
    let produced = Arc::new(AtomicUsize::new(0));
    let counter = produced.clone();
    let replica = Replica::start(1, move |_| {
        let (mut pieces, body) = piecewise();
        let counter = counter.clone();
        tokio::spawn(async move {
            let chunk = || Frame::data(Bytes::from(vec![b'x'; CHUNK]));
            while futures::SinkExt::send(&mut pieces, chunk()).await.is_ok() {
                counter.fetch_add(CHUNK, Ordering::SeqCst);
            }
        });
        async { Response::new(body) }
    });
    (replica, produced)
}

#[tokio::test]
async fn a_client_that_reads_slowly_slows_the_model_instead_of_filling_memory() {
    let (replica, produced) = endless();
    let stage = Stage::new(route(&[&replica])).await;
    let mut client = stage.connect().await;
    let mut body = client.send(predict(full("{}"))).await.into_body();
    assert!(!chunk(&mut body).await.is_empty());
    // Sockets buffer some megabytes; then nothing moves although the model could go on without end.
    let mut before = usize::MAX;
    while before != produced.load(Ordering::SeqCst) {
        before = produced.load(Ordering::SeqCst);
        // This polls for a condition: that no more is taken.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(before < 32 << 20, "{before} bytes were taken from the model and nobody has read them");
    assert!(!chunk(&mut body).await.is_empty());
}

#[tokio::test]
async fn a_client_that_reads_nothing_loses_its_slot_in_the_end() {
    let (replica, _) = endless();
    let settings = Settings { write_timeout: Duration::from_millis(100), ..Settings::default() };
    let stage = Stage::with(settings).await;
    stage.publish(route(&[&replica]));
    let mut client = stage.connect().await;
    let _unread = client.send(predict(full("{}"))).await;
    assert_eq!(stage.load().in_flight, 1);
    stage.has(0, 0).await;
}
