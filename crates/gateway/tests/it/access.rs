//! The access log: which requests are kept for whoever writes them down, and what is known of them.

use std::time::Duration;

use api::internal::access::{Access, Outcome};
use http::Response;

use crate::support::*;

async fn accesses(stage: &Stage) -> Vec<Access> {
    soon(stage.gateway.accessed()).await;
    stage.gateway.accesses().requests
}

#[tokio::test]
async fn requests_that_fail_are_kept_with_the_replica_that_had_them() {
    let replica = Replica::start(1, |_| async { Response::builder().status(500).body(full("no")).unwrap() });
    let stage = Stage::new(route(&[&replica])).await;
    let answer = stage.call(predict(full("{}"))).await;
    let kept = accesses(&stage).await.remove(0);
    assert_eq!(kept.request_id, answer.headers["x-baseten-request-id"].to_str().unwrap());
    assert_eq!((kept.status, kept.outcome, kept.response_bytes), (Some(500), Outcome::Answered, 2));
    assert!(kept.replica_id.is_some() && kept.waited.is_some());
}

#[tokio::test]
async fn what_went_well_is_not_kept_and_what_crashed_has_its_replica() {
    let mut scripted = Scripted::start(1);
    let stage = Stage::new(route(&[&scripted.replica])).await;
    let well = stage.predict();
    scripted.next().await.answer(Response::new(full("ok")));
    assert_eq!(soon(well).await.unwrap().status, 200);
    let crashes = stage.predict();
    let _call = scripted.next().await;
    scripted.replica.die().await;
    assert_eq!(soon(crashes).await.unwrap().status, 502);
    let kept = accesses(&stage).await;
    assert_eq!(kept.iter().map(|one| one.status).collect::<Vec<_>>(), [Some(502)]);
    assert!(kept[0].replica_id.is_some() && kept[0].waited.is_some(), "it had a slot: {kept:?}");
}

#[tokio::test]
async fn a_client_that_leaves_during_a_stream_is_one_who_left() {
    let mut scripted = Scripted::start(1);
    let stage = Stage::new(route(&[&scripted.replica])).await;
    let mut client = stage.connect().await;
    let (mut pieces, body) = piecewise();
    let script = async { scripted.next().await.answer(Response::new(body)) };
    let ((), response) = futures::join!(script, client.send(predict(full("{}"))));
    send(&mut pieces, "first").await;
    drop(response);
    drop(client);
    let kept = accesses(&stage).await.remove(0);
    assert_eq!((kept.status, kept.outcome), (Some(200), Outcome::Left));
}

#[tokio::test]
async fn a_flood_is_counted_and_not_kept() {
    let replica = Replica::start(1, |_| async { Response::builder().status(500).body(full("no")).unwrap() });
    let stage = Stage::new(route(&[&replica])).await;
    for _ in 0..60 {
        assert_eq!(stage.call(predict(full("{}"))).await.status, 500);
    }
    eventually("all have ended", || stage.load().in_flight == 0).await;
    tokio::time::timeout(Duration::from_secs(10), stage.gateway.accessed()).await.unwrap();
    let kept = stage.gateway.accesses();
    assert_eq!((kept.requests.len(), kept.omitted), (50, vec![(deployment(), 10)]));
}
