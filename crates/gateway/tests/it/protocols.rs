//! Names, paths, headers and versions of HTTP, on both sides.

use std::{collections::HashSet, sync::atomic::Ordering, time::Duration};

use gateway::Settings;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::*;

/// Sends raw bytes, and reads until the gateway closes.
async fn exchange(stage: &Stage, bytes: &str) -> String {
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn a_model_is_reached_by_host_by_path_and_by_a_whole_address() {
    let replica = Replica::quick(1);
    let stage = Stage::new(route(&[&replica])).await;
    let (model, tail) =
        (model(), format!("authorization: {KEY}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"));
    for head in [
        format!("POST /production/predict HTTP/1.1\r\nhost: model-{model}.api.example.com:80\r\n"),
        format!("POST /environments/production/predict HTTP/1.1\r\nhost: MODEL-{model}.localhost\r\n"),
        format!("POST /models/{model}/production/predict HTTP/1.1\r\nhost: localhost\r\n"),
        format!("POST //models//{model}//deployment/{}//predict HTTP/1.1\r\nhost: localhost\r\n", deployment()),
        format!("POST http://model-{model}.example.com/production/predict HTTP/1.1\r\nhost: localhost\r\n"),
        format!("POST /models/{model}/production/predict HTTP/1.0\r\n"),
    ] {
        let answer = exchange(&stage, &format!("{head}{tail}")).await;
        assert!(answer.starts_with("HTTP/1.") && answer.contains(" 200 OK\r\n"), "{head}: {answer}");
        assert!(answer.ends_with("/v1/models/model:predict"), "{head}: {answer}");
    }
}

#[tokio::test]
async fn all_other_requests_go_to_the_fallback_untouched() {
    let stage = Stage::with(Settings::default()).await;
    for path in ["/v1/models", "//greenroom-uploads//a%2Fb?x=1", "/models", "/healthz"] {
        let call = Request::get(path).header("host", "localhost").body(full("")).unwrap();
        assert_eq!(stage.call(call).await.text(), format!("fallback {path}"));
    }
}

#[tokio::test]
async fn sync_passes_any_method_and_path_with_its_query() {
    let replica =
        Replica::start(
            1,
            |request| async move { Response::new(full(format!("{} {}", request.method(), request.uri()))) },
        );
    let stage = Stage::new(route(&[&replica])).await;
    for (method, path, expected) in [
        ("GET", "/production/sync/v1/models?a=1&b=%20", "GET /v1/models?a=1&b=%20"),
        ("DELETE", "/production/sync/a%2Fb//c", "DELETE /a%2Fb//c"),
        ("PATCH", "/production/sync", "PATCH /"),
        ("POST", "/production/predict?verbose=1", "POST /v1/models/model:predict?verbose=1"),
    ] {
        assert_eq!(stage.call(request(method, path, full(""))).await.text(), expected);
    }
}

#[tokio::test]
async fn a_replica_sees_the_request_and_never_the_key() {
    let mut scripted = Scripted::start(1);
    let stage = Stage::new(route(&[&scripted.replica])).await;
    let mut call = predict(full("{}"));
    let headers = call.headers_mut();
    headers.insert("host", "localhost:8000".parse().unwrap());
    headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap());
    headers.insert("x-baseten-request-id", "mine".parse().unwrap());
    let script = async {
        let (request, answer) = scripted.next().await.split();
        answer.send(Response::new(full("ok"))).unwrap();
        request.headers().clone()
    };
    let (seen, answer) = futures::join!(script, stage.call(call));
    assert!(!seen.contains_key("authorization"), "{seen:?}");
    assert!(!seen.values().any(|value| value.as_bytes().ends_with(b"secret")), "{seen:?}");
    assert_eq!(seen["traceparent"], "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen["x-forwarded-host"], "localhost:8000");
    assert_eq!(seen["x-forwarded-proto"], "http");
    assert_eq!(seen["content-length"], "2");
    assert_eq!(seen["x-baseten-request-id"], answer.headers["x-baseten-request-id"]);
    assert_ne!(seen["x-baseten-request-id"], "mine");
    assert_eq!(answer.headers["x-baseten-model-prediction-attempts"], "1");
}

#[tokio::test]
async fn requests_one_after_another_share_a_connection_to_the_replica() {
    let replica = Replica::quick(1);
    let stage = Stage::new(route(&[&replica])).await;
    let mut client = stage.connect().await;
    let mut ids = HashSet::new();
    for _ in 0..100 {
        let answer = Answer::read(client.send(predict(full("{}"))).await).await;
        assert_eq!(answer.status, 200);
        assert!(ids.insert(answer.headers["x-baseten-request-id"].clone()));
    }
    assert_eq!(replica.connections.load(Ordering::SeqCst), 1);
    assert_eq!(stage.load().finished, 100);
}

#[tokio::test]
async fn a_connection_whose_request_was_not_read_is_not_used_again() {
    // Answers at once and leaves the body where it is.
    let replica = Replica::start(1, |_| async { Response::new(full("early")) });
    let stage = Stage::new(route(&[&replica])).await;
    for _ in 0..3 {
        let (mut pieces, body) = piecewise();
        let mut client = stage.connect().await;
        let mut answer = client.try_send(predict(body));
        let (_, answer) = futures::join!(send(&mut pieces, "the first of many"), &mut answer);
        let answer = Answer::read(answer.unwrap()).await;
        assert_eq!(answer.text(), "early");
        stage.has(0, 0).await;
    }
    assert_eq!(replica.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn http_2_carries_many_requests_at_once() {
    let replica = Replica::start(1, |request| async move {
        Response::new(full(request.into_body().collect().await.unwrap().to_bytes()))
    });
    let mut route = route(&[&replica]);
    route.slots_per_replica = 10;
    let stage = Stage::new(route).await;
    let client = connect_http2(stage.address).await;
    let calls = (0..100).map(|number| {
        let mut client = client.clone();
        async move {
            let body = format!("{{\"number\":{number}}}");
            let call = Request::post(format!("http://model-{}.example.com/production/predict", model()))
                .header("authorization", KEY)
                .body(full(body.clone()))
                .unwrap();
            let answer = Answer::read(soon(client.send_request(call)).await.unwrap()).await;
            assert_eq!((answer.status.as_u16(), answer.text()), (200, body.as_str()));
        }
    });
    futures::future::join_all(calls).await;
    assert!(replica.connections.load(Ordering::SeqCst) <= 10);
    assert_eq!(stage.load().in_flight, 0);
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let replica = Replica::start(1, |request| async move {
        let collected = request.into_body().collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap();
        let (mut pieces, body) = piecewise();
        tokio::spawn(async move {
            send(&mut pieces, "body").await;
            futures::SinkExt::send(&mut pieces, hyper::body::Frame::trailers(trailers)).await.unwrap();
        });
        Response::builder().header("trailer", "x-checksum").body(body).unwrap()
    });
    let stage = Stage::new(route(&[&replica])).await;
    let (mut pieces, body) = piecewise();
    let trailers = HeaderMap::from_iter([("x-checksum".parse().unwrap(), "42".parse().unwrap())]);
    let mut client = connect_http2(stage.address).await;
    let mut call = Request::post(format!("http://model-{}.example.com/production/predict", model()));
    call = call.header("authorization", KEY).header("trailer", "x-checksum").header("te", "trailers");
    let talk = async {
        send(&mut pieces, "body").await;
        futures::SinkExt::send(&mut pieces, hyper::body::Frame::trailers(trailers.clone())).await.unwrap();
        drop(pieces);
    };
    let ((), response) = futures::join!(talk, client.send_request(call.body(body).unwrap()));
    let answer = Answer::read(response.unwrap()).await;
    assert_eq!((answer.text(), &answer.trailers), ("body", &Some(trailers)));
}

#[tokio::test]
async fn a_client_is_told_to_go_on_only_when_its_body_is_wanted() {
    let replica = Replica::quick(1);
    let mut route = route(&[&replica]);
    route.limits.max_body_bytes = 10;
    let stage = Stage::new(route).await;
    let head = |length: usize| {
        format!(
            "POST /models/{}/production/predict HTTP/1.1\r\nhost: x\r\nauthorization: {KEY}\r\nexpect: 100-continue\r\n\
             connection: close\r\ncontent-length: {length}\r\n\r\n",
            model()
        )
    };
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    stream.write_all(head(2).as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    soon(stream.read_exact(&mut interim)).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(exchange(&stage, &head(11)).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_client_that_sends_its_head_too_slowly_is_closed() {
    let short = Duration::from_millis(50);
    let stage = Stage::with(Settings { header_timeout: short, idle_timeout: short, ..Settings::default() }).await;
    for start in ["", "P", "PRI * HTTP/2.0\r\n", "POST /models/x HTTP/1.1\r\nhost: loc"] {
        assert_eq!(exchange(&stage, start).await, "", "{start:?}");
    }
    // Unused after a request, and slow with the next head.
    for more in ["", "GET / HT"] {
        let answer = exchange(&stage, &format!("GET / HTTP/1.1\r\nhost: x\r\n\r\n{more}")).await;
        assert!(answer.ends_with("fallback /"), "{answer}");
    }
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let stage = Stage::with(Settings { max_header_bytes: 16 * 1024, ..Settings::default() }).await;
    let answer = exchange(&stage, &format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20 * 1024))).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}
