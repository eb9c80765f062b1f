//! Calls of gRPC: HTTP/2 on both sides, streams in both directions at once, trailers.

use api::internal::{
    replica::Protocol,
    routes::{Availability, DeploymentRoute},
};
use futures::{SinkExt as _, StreamExt as _, channel::mpsc};
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Frame};

use crate::support::*;

fn speaking_grpc(replicas: &[&Replica]) -> DeploymentRoute {
    DeploymentRoute { protocol: Protocol::Grpc, ..route(replicas) }
}

/// A call of `greeter.Greeter/Greet`, as clients of gRPC send it to `localhost`.
fn call(body: Body) -> Request<Body> {
    let mut request =
        Request::post("http://localhost/greeter.Greeter/Greet").version(Version::HTTP_2).body(body).unwrap();
    let headers = request.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    headers.insert("baseten-authorization", HeaderValue::from_static(KEY));
    headers.insert("baseten-model-id", format!("model-{}", model()).parse().unwrap());
    request
}

/// Answers each piece of the request with that piece, and ends with trailers.
fn echo() -> Replica {
    Replica::start(1, |request| async move {
        let (mut sender, body) = piecewise();
        let (head, mut incoming) = request.into_parts();
        tokio::spawn(async move {
            while let Some(Ok(frame)) = incoming.frame().await {
                if sender.send(frame).await.is_err() {
                    return;
                }
            }
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
            let _ = sender.send(Frame::trailers(trailers)).await;
        });
        let mut response = Response::new(body);
        let seen = format!("{:?} {} te={:?}", head.version, head.uri.path(), head.headers.get("te"));
        response.headers_mut().insert("seen", seen.parse().unwrap());
        for name in ["baseten-authorization", "baseten-model-id", "authorization"] {
            assert!(!head.headers.contains_key(name), "{name} came through");
        }
        response
    })
}

#[tokio::test]
async fn a_call_passes_with_its_trailers_and_without_its_key() {
    let replica = echo();
    let stage = Stage::new(speaking_grpc(&[&replica])).await;
    let mut client = connect_http2(stage.address).await;
    let answer = Answer::read(soon(client.send_request(call(full("hello")))).await.unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "hello"));
    assert_eq!(answer.headers["seen"], "HTTP/2.0 /greeter.Greeter/Greet te=Some(\"trailers\")");
    let trailers = answer.trailers.unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["x-baseten-request-id"], answer.headers["x-baseten-request-id"]);
    stage.has(0, 0).await;
}

#[tokio::test]
async fn both_sides_speak_at_once_and_a_call_holds_one_slot() {
    let replica = echo();
    let stage = Stage::new(speaking_grpc(&[&replica])).await;
    let mut client = connect_http2(stage.address).await;
    let (mut sender, body) = piecewise();
    let answer = client.send_request(call(body));
    let (answer, ()) = tokio::join!(soon(answer), send(&mut sender, "one"));
    let mut body = answer.unwrap().into_body();
    let mut heard = async || soon(body.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(heard().await, "one");
    send(&mut sender, "two").await;
    assert_eq!(heard().await, "two");
    stage.has(1, 0).await;
    drop(sender);
    assert!(soon(body.frame()).await.unwrap().unwrap().is_trailers());
    stage.has(0, 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_a_call_stops_the_replica_and_frees_the_slot() {
    let (gone, mut left) = mpsc::unbounded();
    let replica = Replica::start(1, move |request| {
        let gone = gone.clone();
        async move {
            let (mut sender, body) = piecewise();
            tokio::spawn(async move {
                drop(request.into_body());
                while sender.send(Frame::data(Bytes::from_static(b"more"))).await.is_ok() {}
                gone.unbounded_send(()).unwrap();
            });
            Response::new(body)
        }
    });
    let stage = Stage::new(speaking_grpc(&[&replica])).await;
    let mut client = connect_http2(stage.address).await;
    let (_open, body) = piecewise();
    let mut answer = soon(client.send_request(call(body))).await.unwrap().into_body();
    soon(answer.frame()).await.unwrap().unwrap();
    drop(answer);
    soon(left.next()).await.unwrap();
    stage.has(0, 0).await;
}

#[tokio::test]
async fn a_refusal_is_one_of_grpc() {
    let replica = echo();
    let refuses = async |route: DeploymentRoute, request: Request<Body>, code: &str, message: &str| {
        let stage = Stage::new(route).await;
        let mut client = connect_http2(stage.address).await;
        let answer = Answer::read(soon(client.send_request(request)).await.unwrap()).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["content-type"]),
            (200, &"application/grpc".parse().unwrap())
        );
        assert_eq!(answer.headers["grpc-status"], code, "{answer:?}");
        let said = answer.headers["grpc-message"].to_str().unwrap();
        assert!(said.contains(message), "{said}");
        assert!(answer.headers.contains_key("x-baseten-request-id"));
    };
    let changed = |change: &dyn Fn(&mut HeaderMap)| {
        let mut request = call(full(""));
        change(request.headers_mut());
        request
    };
    let good = || speaking_grpc(&[&replica]);
    let without_key = changed(&|headers| drop(headers.remove("baseten-authorization")));
    refuses(good(), without_key, "16", "please check the api-key").await;
    let without_model = changed(&|headers| drop(headers.remove("baseten-model-id")));
    refuses(good(), without_model, "3", "baseten-model-id").await;
    let elsewhere = |name: &'static str| {
        changed(&move |headers| drop(headers.insert("x-baseten-environment", name.parse().unwrap())))
    };
    refuses(good(), elsewhere("nowhere"), "5", "nowhere").await;
    refuses(route(&[&replica]), call(full("")), "12", "does not speak gRPC").await;
    let unhealthy = DeploymentRoute { availability: Availability::Unhealthy, ..good() };
    refuses(unhealthy, call(full("")), "14", "unhealthy").await;
}

#[tokio::test]
async fn a_deployment_that_speaks_grpc_refuses_what_is_none() {
    let replica = echo();
    let stage = Stage::new(speaking_grpc(&[&replica])).await;
    let answer = stage.call(predict(full("{}"))).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["error"].as_str().unwrap().ends_with("speaks gRPC only"), "{answer:?}");
}

#[tokio::test]
async fn a_replica_that_cannot_be_reached_is_passed_over() {
    let (mut dead, replica) = (Replica::quick(2), echo());
    dead.die().await;
    let stage = Stage::new(speaking_grpc(&[&dead, &replica])).await;
    let mut client = connect_http2(stage.address).await;
    for _ in 0..4 {
        let answer = Answer::read(soon(client.send_request(call(full("hi")))).await.unwrap()).await;
        assert_eq!((answer.text(), answer.trailers.is_some()), ("hi", true));
    }
}
