//! Replicas come, go and die; tables change under load; the gateway itself ends. Accepted requests are not lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use api::internal::{link::NOT_TAKEN, replica::StartTimes};
use gateway::Settings;
use http::Response;
use http_body_util::BodyExt as _;
use tokio::net::TcpStream;

use crate::support::*;

#[tokio::test]
async fn a_request_for_a_deployment_without_replicas_wakes_it_and_waits() {
    let stage = Stage::new(route(&[])).await;
    let answer = stage.predict();
    soon(stage.gateway.activity()).await;
    stage.has(0, 1).await;
    let replica = Replica::quick(1);
    let mut started = route(&[&replica]);
    started.replicas[0].start = StartTimes { load_ms: Some(7), ..StartTimes::default() };
    stage.publish(started);
    let answer = soon(answer).await.unwrap();
    assert_eq!(answer.text(), "/v1/models/model:predict");
    let timing = answer.headers["server-timing"].to_str().unwrap().to_owned();
    assert!(timing.starts_with("queue;dur=") && timing.ends_with(", load;dur=7"), "{timing}");
    let quick = stage.call(predict(full("{}"))).await;
    assert!(!quick.headers.contains_key("server-timing"), "it has not waited");
}

#[tokio::test]
async fn a_burst_to_zero_is_answered_and_never_exceeds_the_slots() {
    let stage = Stage::new(route(&[])).await;
    let mut burst: Vec<_> = (0..100).map(|_| stage.predict()).collect();
    stage.has(0, 100).await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counters = (running.clone(), most.clone());
    let replica = Replica::start(1, move |_| {
        let (running, most) = counters.clone();
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            Response::new(full("done"))
        }
    });
    stage.publish(route(&[&replica]));
    for answer in &mut burst {
        assert_eq!(soon(answer).await.unwrap().text(), "done");
    }
    assert!(most.load(Ordering::SeqCst) <= 4, "{most:?} at once");
    assert_eq!((stage.load().in_flight, stage.load().queued, stage.load().finished), (0, 0, 100));
}

#[tokio::test]
async fn a_replica_that_cannot_be_reached_costs_no_request() {
    let mut dead = Replica::quick(1);
    let alive = Replica::quick(2);
    dead.die().await;
    let stage = Stage::new(route(&[&dead])).await;
    let early = stage.predict();
    stage.has(0, 1).await;
    stage.publish(route(&[&dead, &alive]));
    let answer = soon(early).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["x-baseten-model-prediction-attempts"], "2");
    let answers = futures::future::join_all((0..50).map(|_| stage.predict())).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status == 200));
}

#[tokio::test]
async fn what_a_replica_has_not_looked_at_goes_to_the_next_with_its_body() {
    let mut ending = Scripted::start(1);
    let stage = Stage::new(route(&[&ending.replica])).await;
    let not_taken = || {
        let head = Response::builder().status(503).header(NOT_TAKEN, "1");
        head.body(full("the replica takes no more requests")).unwrap()
    };
    let asked = stage.ask(predict(full("a body")));
    let refused = ending.next().await;
    let mut next = Scripted::start(2);
    stage.publish(route(&[&ending.replica, &next.replica]));
    refused.answer(not_taken());
    let (again, answer) = next.next().await.split();
    assert_eq!(again.into_body().collect().await.unwrap().to_bytes(), "a body");
    answer.send(Response::new(full("taken"))).unwrap();
    let answer = soon(asked).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "taken"));
    assert_eq!(answer.headers["x-baseten-model-prediction-attempts"], "2");

    stage.publish(route(&[&next.replica]));
    let (mut sender, body) = piecewise();
    let asked = stage.ask(predict(body));
    send(&mut sender, "begun").await;
    next.next().await.answer(not_taken());
    drop(sender);
    let answer = soon(asked).await.unwrap();
    assert_eq!(answer.status, 503, "a part of the body is gone");
    assert!(!answer.headers.contains_key(NOT_TAKEN));
}

#[tokio::test]
async fn a_replica_that_becomes_reachable_takes_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("late.sock");
    let mut route = route(&[]);
    route.replicas = vec![endpoint(1, path.clone())];
    let stage = Stage::new(route).await;
    let answer = stage.predict();
    stage.has(0, 1).await;
    let replica = Replica::quick(1);
    let api::internal::routes::Address::Unix(real) = &replica.endpoint.address else { unreachable!() };
    std::os::unix::fs::symlink(real, path).unwrap();
    assert_eq!(soon(answer).await.unwrap().status, 200);
}

#[tokio::test]
async fn only_requests_at_a_dying_replica_fail() {
    let mut dying = Scripted::start(1);
    let alive = Replica::quick(2);
    let mut only_dying = route(&[&dying.replica]);
    only_dying.slots_per_replica = 2;
    let stage = Stage::new(only_dying.clone()).await;
    let accepted = [stage.predict(), stage.predict()];
    let _calls = [dying.next().await, dying.next().await];
    let waiting: Vec<_> = (0..10).map(|_| stage.predict()).collect();
    stage.has(2, 10).await;
    dying.replica.die().await;
    let mut both = only_dying;
    both.replicas.push(alive.endpoint.clone());
    stage.publish(both);
    for answer in accepted {
        assert_eq!(soon(answer).await.unwrap().status, 502);
    }
    for answer in waiting {
        assert_eq!(soon(answer).await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_replicas_come_and_go() {
    let replicas: Vec<_> = (1..=4).map(Replica::quick).collect();
    let stage = Stage::new(route(&[&replicas[0]])).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (address, is_over) = (stage.address, is_over.clone());
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                let mut answered = 0;
                while !is_over.load(Ordering::SeqCst) {
                    let answer = Answer::read(client.send(predict(full("{}"))).await).await;
                    assert_eq!((answer.status.as_u16(), answer.is_whole), (200, true), "{}", answer.text());
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    for round in 0..200 {
        let chosen: Vec<_> = (0..1 + round % 3).map(|offset| &replicas[(round + offset) % replicas.len()]).collect();
        let before = stage.load().finished;
        stage.publish(route(&chosen));
        eventually("traffic goes on", || stage.load().finished > before + 8).await;
    }
    is_over.store(true, Ordering::SeqCst);
    let mut answered = 0;
    for caller in callers {
        answered += soon(caller).await.unwrap();
    }
    assert!(answered >= 1600, "{answered}");
    assert_eq!(stage.load().in_flight, 0);
    assert_eq!(stage.gateway.version(), Some(201));
}

#[tokio::test]
async fn a_shutdown_lets_requests_finish_and_takes_no_new_ones() {
    let mut scripted = Scripted::start(1);
    let mut stage = Stage::new(route(&[&scripted.replica])).await;
    let idle = stage.connect().await;
    let http2 = connect_http2(stage.address).await;
    let answer = stage.predict();
    let call = scripted.next().await;
    stage.shut_down();
    eventually("the port is closed", || std::net::TcpStream::connect(stage.address).is_err()).await;
    assert!(!stage.server.is_finished());
    call.answer(Response::new(full("finished")));
    assert_eq!(soon(answer).await.unwrap().text(), "finished");
    soon(&mut stage.server).await.unwrap();
    assert!(TcpStream::connect(stage.address).await.is_err());
    drop((idle, http2));
}

#[tokio::test]
async fn unused_connections_to_a_replica_are_closed() {
    struct Open(Arc<AtomicUsize>);
    impl Drop for Open {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let open = Arc::new(AtomicUsize::new(0));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("replica.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let counter = open.clone();
    let answering = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            let open = Open(counter.clone());
            tokio::spawn(async move {
                let mut head = [0; 4096];
                while tokio::io::AsyncReadExt::read(&mut stream, &mut head).await.unwrap_or(0) > 0 {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
                }
                drop(open);
            });
        }
    });
    let settings = Settings { replica_idle_timeout: Duration::from_millis(50), ..Settings::default() };
    let stage = Stage::with(settings).await;
    let mut route = route(&[]);
    route.replicas = vec![endpoint(1, path)];
    stage.publish(route);
    assert_eq!(stage.call(predict(full("{}"))).await.status, 200);
    assert_eq!(open.load(Ordering::SeqCst), 1);
    eventually("the connection is closed", || open.load(Ordering::SeqCst) == 0).await;
    answering.abort();
}

#[tokio::test]
async fn a_shutdown_has_an_end() {
    let mut scripted = Scripted::start(1);
    let limit = Duration::from_millis(50);
    let mut stage = Stage::with(Settings { drain_limit: limit, ..Settings::default() }).await;
    stage.publish(route(&[&scripted.replica]));
    let mut client = stage.connect().await;
    let mut answer = client.try_send(predict(full("{}")));
    let _call = tokio::select! {
        call = scripted.next() => call,
        _ = &mut answer => panic!("nobody has answered"),
    };
    stage.shut_down();
    soon(&mut stage.server).await.unwrap();
    assert!(answer.await.is_err());
    stage.has(0, 0).await;
}
