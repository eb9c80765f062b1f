//! Every row of the error table, as a client sees it.

use std::time::Duration;

use api::internal::routes::{Availability, DeploymentRoute};
use gateway::Settings;
use http::{Request, Response};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::*;

/// Checks an error's status, code and source, and that it names its request.
#[track_caller]
pub fn is_error(answer: &Answer, status: u16, code: &str, source: &str, text: &str) {
    let body = answer.json();
    assert_eq!(answer.status, status, "{body}");
    assert_eq!(body["error_code"], code, "{body}");
    assert!(body["error"].as_str().unwrap().contains(text), "{body}");
    assert_eq!(answer.headers["x-greenroom-error-source"], source);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["x-baseten-request-id"].len(), 32);
}

fn serving(change: impl FnOnce(&mut DeploymentRoute)) -> DeploymentRoute {
    let mut route = route(&[]);
    change(&mut route);
    route
}

fn without_body(method: &str, path: &str) -> Request<Body> {
    request(method, path, full(""))
}

#[tokio::test]
async fn before_the_first_table_the_answer_is_to_come_back_soon() {
    let stage = Stage::with(Settings::default()).await;
    let answer = stage.call(predict(full("{}"))).await;
    is_error(&answer, 503, "model_unavailable", "platform", "starting");
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(stage.gateway.version(), None);
    stage.publish(route(&[]));
    assert_eq!(stage.gateway.version(), Some(1));
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_unauthorized_whatever_is_asked() {
    let stage = Stage::new(route(&[])).await;
    for path in ["/production/predict", "/nowhere", "/production/async_predict", "/deployment/zzzzzzz/wake"] {
        for key in ["Api-Key wrong", "Basic dGVzdA==", "test.secret"] {
            let mut call = without_body("POST", path);
            call.headers_mut().insert("authorization", key.parse().unwrap());
            let answer = stage.call(call).await;
            assert_eq!(answer.status, 401);
            let id = answer.headers["x-baseten-request-id"].to_str().unwrap();
            assert_eq!(answer.json(), json!({"error": "please check the api-key you provided", "request_id": id}));
        }
        let mut call = without_body("POST", path);
        call.headers_mut().remove("authorization");
        let answer = stage.call(call).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]),
            (401, &json!("please check the api-key you provided"))
        );
    }
}

#[tokio::test]
async fn a_key_for_another_model_is_forbidden() {
    let stage = Stage::new(route(&[])).await;
    let mut call = predict(full("{}"));
    call.headers_mut().insert("authorization", FOREIGN_KEY.parse().unwrap());
    is_error(&stage.call(call).await, 403, "unauthorized", "gateway", "may not call");
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let stage = Stage::new(route(&[])).await;
    for (path, text) in [
        ("/development/predict", "no development deployment"),
        ("/environments/staging/predict", "no environment staging"),
        ("/environments/empty/predict", "no deployment in environment empty"),
        ("/deployment/zzzzzzz/predict", "no deployment zzzzzzz"),
        ("/deployment/not-an-id/wake", "no deployment not-an-id"),
    ] {
        is_error(&stage.call(without_body("POST", path)).await, 404, "model_does_not_exist", "gateway", text);
    }
    let mut call = predict(full("{}"));
    *call.uri_mut() = "/models/zzzzzzzz/production/predict".parse().unwrap();
    is_error(&stage.call(call).await, 404, "model_does_not_exist", "gateway", "no such model: zzzzzzzz");
    let answer = stage.call(without_body("POST", "/production/predictt")).await;
    is_error(&answer, 404, "client_error", "gateway", "no such path");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let stage = Stage::new(route(&[])).await;
    for (method, path, allowed) in [
        ("GET", "/production/predict", "POST"),
        ("PUT", "/production/wake", "POST"),
        ("POST", "/production/websocket", "GET"),
    ] {
        let answer = stage.call(without_body(method, path)).await;
        is_error(&answer, 405, "client_error", "gateway", method);
        assert_eq!(answer.headers["allow"], allowed);
    }
}

#[tokio::test]
async fn what_this_server_cannot_do_is_a_client_error() {
    let stage = Stage::new(route(&[])).await;
    for path in ["/production/async_predict", "/async_request/1"] {
        is_error(&stage.call(without_body("POST", path)).await, 400, "client_error", "gateway", "async");
    }
    let answer = stage.call(without_body("GET", "/production/websocket")).await;
    is_error(&answer, 400, "client_error", "gateway", "upgrade");
    let answer = stage.call(without_body("GET", "/production/sync/a/%2e%2e/b")).await;
    is_error(&answer, 400, "client_error", "gateway", "malformed");
}

#[tokio::test]
async fn a_replicas_own_paths_cannot_be_reached() {
    let mut scripted = Scripted::start(1);
    let stage = Stage::new(route(&[&scripted.replica])).await;
    for path in ["/_greenroom/drain", "//_greenroom/drain", "/%5Fgreenroom/drain"] {
        let answer = stage.call(without_body("POST", &format!("/production/sync{path}"))).await;
        is_error(&answer, 404, "client_error", "gateway", "no such path");
    }
    assert!(!scripted.is_called());
}

#[tokio::test]
async fn a_deployment_that_cannot_serve_says_why() {
    let stage = Stage::new(route(&[])).await;
    for (availability, status, code, text) in [
        (Availability::NotReady, 400, "model_not_ready", "Model is not ready"),
        (Availability::Inactive, 404, "model_unavailable", "inactive"),
        (Availability::Unhealthy, 500, "model_unavailable", "Model is unhealthy, it is not ready to make predictions"),
    ] {
        stage.publish(serving(|route| route.availability = availability));
        is_error(&stage.call(predict(full("{}"))).await, status, code, "platform", text);
        let woken = stage.call(without_body("POST", "/production/wake")).await;
        match availability {
            Availability::NotReady => assert_eq!(woken.status, 202),
            _ => is_error(&woken, status, code, "platform", text),
        }
    }
}

#[tokio::test]
async fn a_wake_call_is_accepted_at_once_and_reported() {
    let stage = Stage::new(route(&[])).await;
    let answer = stage.call(without_body("POST", &format!("/deployment/{}/wake", deployment()))).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
    soon(stage.gateway.activity()).await;
    assert_eq!(stage.load().wakes, 1);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let mut scripted = Scripted::start(1);
    let mut route = route(&[&scripted.replica]);
    route.limits.max_body_bytes = 1000;
    let stage = Stage::new(route).await;
    let answer = stage.call(predict(full(vec![b'x'; 1001]))).await;
    is_error(
        &answer,
        413,
        "payload_too_large",
        "gateway",
        "payload size of 1001 bytes exceeds maximum size of 1000 bytes",
    );
    assert!(!scripted.is_called());
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_listens_still_hears_why_it_is_refused() {
    let mut route = route(&[]);
    route.limits.max_body_bytes = 1000;
    let stage = Stage::new(route).await;
    let mut stream = TcpStream::connect(stage.address).await.unwrap();
    let body = vec![b'x'; 50_000_000];
    let head = format!(
        "POST /models/{}/production/predict HTTP/1.1\r\nhost: x\r\nauthorization: {KEY}\r\ncontent-length: {}\r\n\r\n",
        model(),
        body.len()
    );
    soon(stream.write_all(head.as_bytes())).await.unwrap();
    soon(stream.write_all(&body)).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("payload size of 50000000 bytes"), "{answer}");
}

#[tokio::test]
async fn a_body_that_grows_over_the_limit_is_cut() {
    let mut scripted = Scripted::start(1);
    let mut route = route(&[&scripted.replica]);
    route.limits.max_body_bytes = 5;
    let stage = Stage::new(route).await;
    let (mut pieces, body) = piecewise();
    let mut client = stage.connect().await;
    let mut answer = client.try_send(predict(body));
    let talk = async {
        send(&mut pieces, "1234").await;
        let call = scripted.next().await;
        send(&mut pieces, "56").await;
        call
    };
    let (_call, response) = futures::join!(talk, &mut answer);
    is_error(
        &Answer::read(response.unwrap()).await,
        413,
        "payload_too_large",
        "gateway",
        "6 bytes exceeds maximum size of 5",
    );
    stage.has(0, 0).await;
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_given_up() {
    let mut scripted = Scripted::start(1);
    let stage = Stage::with(Settings { body_timeout: Duration::from_millis(50), ..Settings::default() }).await;
    stage.publish(route(&[&scripted.replica]));
    let (mut pieces, body) = piecewise();
    let mut client = stage.connect().await;
    let talk = async {
        send(&mut pieces, "and then").await;
        scripted.next().await
    };
    let (_call, response) = futures::join!(talk, client.send(predict(body)));
    is_error(&Answer::read(response).await, 408, "client_error", "gateway", "stopped arriving");
    stage.has(0, 0).await;
}

#[tokio::test]
async fn a_full_queue_answers_too_many_requests() {
    let mut scripted = Scripted::start(1);
    let mut route = route(&[&scripted.replica]);
    route.slots_per_replica = 1;
    route.limits.max_queued = 1;
    let stage = Stage::new(route).await;
    let first = stage.predict();
    let running = scripted.next().await;
    let queued = stage.predict();
    stage.has(1, 1).await;
    let answer = stage.call(predict(full("{}"))).await;
    is_error(&answer, 429, "rate_limited", "platform", "too many requests");
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.json()["detail"], "1 of at most 1 requests wait, 1 are being answered");
    running.answer(Response::new(full("one")));
    scripted.next().await.answer(Response::new(full("two")));
    assert_eq!(soon(first).await.unwrap().text(), "one");
    assert_eq!(soon(queued).await.unwrap().text(), "two");
}

#[tokio::test]
async fn a_request_that_waits_too_long_for_a_replica_fails() {
    let stage = Stage::new(serving(|route| route.limits.queue_ms = 20)).await;
    let answer = stage.call(predict(full("{}"))).await;
    is_error(&answer, 500, "model_unavailable", "platform", "no replica became free within 20 ms");
    assert_eq!(stage.load().finished, 1);
}

#[tokio::test]
async fn requests_that_wait_hear_when_their_deployment_fails_or_goes() {
    let stage = Stage::new(route(&[])).await;
    let waiting = stage.predict();
    stage.has(0, 1).await;
    stage.publish(serving(|route| route.availability = Availability::Unhealthy));
    is_error(&soon(waiting).await.unwrap(), 500, "model_unavailable", "platform", "unhealthy");
    stage.publish(route(&[]));
    let waiting = stage.predict();
    stage.has(0, 1).await;
    stage.gateway.publish(Default::default());
    let answer = soon(waiting).await.unwrap();
    is_error(&answer, 404, "model_does_not_exist", "gateway", "no deployment");
}

#[tokio::test]
async fn a_replica_that_breaks_off_is_a_bad_gateway_and_the_request_is_not_repeated() {
    let mut scripted = Scripted::start(1);
    let mut other = Scripted::start(2);
    let stage = Stage::new(route(&[&scripted.replica])).await;
    let answer = stage.predict();
    let _call = scripted.next().await;
    stage.publish(route(&[&scripted.replica, &other.replica]));
    scripted.replica.die().await;
    is_error(&soon(answer).await.unwrap(), 502, "model_unavailable", "platform", "Error making prediction");
    assert!(!other.is_called());
    stage.has(0, 0).await;
}

#[tokio::test]
async fn a_model_that_does_not_begin_to_answer_times_out() {
    let mut scripted = Scripted::start(1);
    let mut route = route(&[&scripted.replica]);
    route.limits.first_byte_ms = 20;
    let stage = Stage::new(route).await;
    let (_call, answer) = futures::join!(scripted.next(), stage.call(predict(full("{}"))));
    is_error(&answer, 504, "timeout", "platform", "within 20 ms");
    stage.has(0, 0).await;
}

#[tokio::test]
async fn a_websocket_without_a_replica_in_time_is_a_gateway_timeout() {
    let stage = Stage::new(serving(|route| route.limits.queue_ms = 20)).await;
    let mut call = without_body("GET", "/production/websocket");
    call.headers_mut().insert("connection", "upgrade".parse().unwrap());
    call.headers_mut().insert("upgrade", "websocket".parse().unwrap());
    is_error(&stage.call(call).await, 504, "model_unavailable", "platform", "no replica");
}

#[tokio::test]
async fn a_models_own_error_passes_unchanged() {
    let replica = Replica::start(1, |_| async {
        Response::builder()
            .status(418)
            .header("x-baseten-error-source", "04")
            .header("x-baseten-error-code", "600")
            .body(full(r#"{"error":"teapot"}"#))
            .unwrap()
    });
    let stage = Stage::new(route(&[&replica])).await;
    let answer = stage.call(predict(full("{}"))).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (418, r#"{"error":"teapot"}"#));
    assert_eq!(answer.headers["x-greenroom-error-source"], "model");
    assert_eq!(answer.headers["x-baseten-error-source"], "04");
    assert_eq!(answer.headers["x-baseten-error-code"], "600");
    assert_eq!(answer.headers["x-baseten-model-prediction-attempts"], "1");
}
