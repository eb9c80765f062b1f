//! Environments whose traffic is divided, and what becomes of those who wait when it moves.

use std::{collections::HashMap, sync::Arc};

use api::{
    id::DeploymentId,
    internal::routes::{Availability, DeploymentRoute, ModelRoutes, Split, Table},
};
use http::{Request, Response};
use hyper::body::Incoming;

use crate::support::*;

fn second() -> DeploymentId {
    DeploymentId::from_entropy(2)
}

fn named(number: u128, name: &'static str) -> Replica {
    Replica::start(number, move |_: Request<Incoming>| async move { Response::new(full(name)) })
}

/// Production, divided between the first deployment and, with a share in percent, the second.
fn divided(stage: &Stage, share: Option<u8>, routes: [DeploymentRoute; 2]) {
    let [stable, candidate] = routes;
    let split = Split { stable: deployment(), candidate: share.map(|share| (second(), share)) };
    let environments = [("production".to_owned(), Some(split))].into();
    let table = table(stage.gateway.version().unwrap_or(0) + 1, stable.clone());
    stage.gateway.publish(Table {
        models: HashMap::from([(model(), ModelRoutes { development: None, environments })]),
        deployments: [stable, candidate].map(|route| (route.id.clone(), Arc::new(route))).into(),
        ..table
    });
}

fn candidate(replicas: &[&Replica]) -> DeploymentRoute {
    DeploymentRoute { id: second(), ..route(replicas) }
}

async fn both() -> (Stage, Replica, Replica) {
    (Stage::new(route(&[])).await, named(1, "stable"), named(2, "candidate"))
}

async fn sticky(client: &mut Client, caller: u32) -> String {
    let mut request = predict(full("{}"));
    request.headers_mut().insert("x-greenroom-sticky", caller.to_string().parse().unwrap());
    Answer::read(client.send(request).await).await.text().to_owned()
}

#[tokio::test]
async fn a_caller_that_names_itself_moves_once_while_the_share_grows() {
    let (stage, old, new) = both().await;
    let mut client = stage.connect().await;
    let mut moved = [false; 100];
    for share in (0..=100).step_by(10) {
        divided(&stage, Some(share), [route(&[&old]), candidate(&[&new])]);
        for (caller, was_moved) in moved.iter_mut().enumerate() {
            let is_moved = sticky(&mut client, caller as u32).await == "candidate";
            assert!(is_moved || !*was_moved, "caller {caller} went back at {share} %");
            assert_eq!(sticky(&mut client, caller as u32).await == "candidate", is_moved);
            *was_moved = is_moved;
        }
        let count = moved.iter().filter(|is_moved| **is_moved).count();
        assert!(count.abs_diff(usize::from(share)) <= 20, "{count} of 100 callers at {share} %");
    }
    assert_eq!(moved, [true; 100]);
}

#[tokio::test]
async fn who_waits_goes_where_the_environment_goes() {
    let (stage, old, new) = both().await;
    divided(&stage, Some(0), [route(&[]), candidate(&[])]);
    let waiting: Vec<_> = (0..20).map(|_| stage.predict()).collect();
    stage.has(0, 20).await;
    divided(&stage, Some(100), [route(&[]), candidate(&[])]);
    eventually("all wait for the candidate", || stage.load_of(&second()).queued == 20).await;
    divided(&stage, Some(100), [route(&[&old]), candidate(&[&new])]);
    for answer in waiting {
        assert_eq!(soon(answer).await.unwrap().text(), "candidate");
    }
}

#[tokio::test]
async fn who_waits_comes_back_with_the_traffic() {
    let (stage, old, _new) = both().await;
    divided(&stage, Some(100), [route(&[]), candidate(&[])]);
    let waiting = stage.predict();
    eventually("it waits for the candidate", || stage.load_of(&second()).queued == 1).await;
    let broken = DeploymentRoute { availability: Availability::Unhealthy, ..candidate(&[]) };
    divided(&stage, None, [route(&[&old]), broken]);
    assert_eq!(soon(waiting).await.unwrap().text(), "stable");
}

#[tokio::test]
async fn who_asked_for_a_deployment_by_name_waits_for_that_one() {
    let (stage, old, new) = both().await;
    divided(&stage, Some(0), [route(&[]), candidate(&[&new])]);
    let address = stage.address;
    let direct = tokio::spawn(async move {
        let path = format!("/deployment/{}/predict", deployment());
        let mut client = Client::connect(address).await;
        Answer::read(client.send(request("POST", &path, full("{}"))).await).await
    });
    stage.has(0, 1).await;
    divided(&stage, Some(100), [route(&[]), candidate(&[&new])]);
    stage.has(0, 1).await;
    divided(&stage, Some(100), [route(&[&old]), candidate(&[&new])]);
    assert_eq!(soon(direct).await.unwrap().text(), "stable");
}

#[tokio::test]
async fn who_waits_for_a_side_that_fails_is_answered_by_the_other() {
    let (stage, old, _new) = both().await;
    divided(&stage, Some(100), [route(&[&old]), candidate(&[])]);
    let waiting: Vec<_> = (0..20).map(|_| stage.predict()).collect();
    eventually("all wait for the candidate", || stage.load_of(&second()).queued == 20).await;
    let broken = DeploymentRoute { availability: Availability::Unhealthy, ..candidate(&[]) };
    divided(&stage, Some(0), [route(&[&old]), broken]);
    for answer in waiting {
        assert_eq!(soon(answer).await.unwrap().text(), "stable");
    }
}

/// Traffic moves to and fro while requests come and wait: none is lost or left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_is_lost_between_the_sides() {
    let (stage, old, new) = both().await;
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let address = stage.address;
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                for _ in 0..200 {
                    let answer = Answer::read(client.send(predict(full("{}"))).await).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            })
        })
        .collect();
    let mut is_turned = false;
    while !callers.iter().all(|caller| caller.is_finished()) {
        is_turned = !is_turned;
        let closed = |route| DeploymentRoute { availability: Availability::Unhealthy, ..route };
        let (share, stable, other) = match is_turned {
            true => (Some(100), route(&[]), candidate(&[&new])),
            false => (Some(0), route(&[&old]), closed(candidate(&[]))),
        };
        divided(&stage, share, [stable, other]);
        tokio::task::yield_now().await;
    }
    for caller in callers {
        soon(caller).await.unwrap();
    }
}
