//! What every backend does. Each case runs on each backend; a [`Subject`] says what differs: how a replica is made ready or brought
//! down, which a backend in memory must be told and one with processes does by itself.

use std::{collections::BTreeSet, sync::Arc};

use api::{
    id::ReplicaId,
    internal::replica::{ExitCause, Phase, Secrets},
};
use backends::{Artifact, Backend, StartError, StartReplica};

use crate::support::{Bench, Lines, PLAIN_SERVER, find, log_of, scripted, start_of, until};

/// A backend under test.
pub struct Subject {
    pub bench: Bench,
    pub backend: Arc<dyn Backend>,
    /// A second location on the same machine.
    pub beside: Arc<dyn Backend>,
    /// Called for each replica that was started and is to become ready.
    pub make_ready: Box<dyn Fn(&ReplicaId) + Send + Sync>,
    /// Called for each replica that was started and is to end with code 3.
    pub crash: Box<dyn Fn(&ReplicaId) + Send + Sync>,
}

impl Subject {
    async fn built(&self) -> (Artifact, StartReplica) {
        let request = self.bench.request(PLAIN_SERVER, &[("server.py", "")]);
        let config = Arc::clone(&request.config);
        let artifact = self.backend.build(request, Lines::new()).await.unwrap();
        (artifact.clone(), start_of(&artifact, &config))
    }

    async fn ready(&self) -> ReplicaId {
        let (_, start) = self.built().await;
        let id = start.spec.replica_id.clone();
        self.backend.start(start).await.unwrap();
        (self.make_ready)(&id);
        self.wait_for(&id, |phase| *phase == Phase::Ready).await;
        id
    }

    /// Waits until nothing is left of a replica that has ended.
    async fn forgotten(&self, id: &ReplicaId) {
        until(&*self.backend, "the end of what is left", || async {
            self.backend.forget(id).await;
            find(&*self.backend, id).await.is_none().then_some(())
        })
        .await;
    }

    async fn wait_for(&self, id: &ReplicaId, is_there: impl Fn(&Phase) -> bool) -> Phase {
        let backend = &*self.backend;
        let ask = || async { find(backend, id).await.map(|seen| seen.status.phase).filter(|phase| is_there(phase)) };
        until(backend, "a phase", ask).await
    }
}

fn is_exited(phase: &Phase) -> bool {
    matches!(phase, Phase::Exited(_))
}

fn cause(phase: &Phase) -> Option<ExitCause> {
    match phase {
        Phase::Exited(exit) => Some(exit.cause),
        _ => None,
    }
}

pub async fn equal_requests_give_equal_artifacts(subject: Subject) {
    let build = |file: &str| {
        let request = subject.bench.request(PLAIN_SERVER, &[("server.py", file)]);
        let backend = Arc::clone(&subject.backend);
        tokio::spawn(async move { backend.build(request, Lines::new()).await.unwrap() })
    };
    let at_once: Vec<_> = (0..10).map(|_| build("same")).collect();
    let mut artifacts = BTreeSet::new();
    for artifact in at_once {
        artifacts.insert(artifact.await.unwrap());
    }
    assert_eq!(artifacts.len(), 1);
    assert!(!artifacts.contains(&build("other").await.unwrap()));
}

pub async fn a_replica_of_an_unknown_build_is_refused(subject: Subject) {
    let (_, mut start) = subject.built().await;
    start.artifact = Artifact("0123456789abcdef".into());
    let refused = subject.backend.start(start).await;
    assert!(matches!(refused, Err(StartError::NoArtifact(_))), "{refused:?}");
    assert_eq!(subject.backend.list().await.unwrap(), []);
}

pub async fn starting_twice_is_starting_once(subject: Subject) {
    let (_, start) = subject.built().await;
    subject.backend.start(start.clone()).await.unwrap();
    subject.backend.start(start.clone()).await.unwrap();
    let listed = subject.backend.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].deployment_id, start.spec.deployment_id);
}

pub async fn a_ready_replica_is_listed_with_its_address(subject: Subject) {
    let id = subject.ready().await;
    let seen = find(&*subject.backend, &id).await.unwrap();
    assert!(seen.status.sequence > 0);
    assert!(format!("{:?}", seen.address).contains(id.as_str()));
}

pub async fn a_stopped_replica_ends_and_is_not_started_again(subject: Subject) {
    let (_, start) = subject.built().await;
    let id = start.spec.replica_id.clone();
    subject.backend.start(start.clone()).await.unwrap();
    (subject.make_ready)(&id);
    subject.wait_for(&id, |phase| *phase == Phase::Ready).await;
    subject.backend.stop(&id, 1000).await;
    subject.backend.stop(&id, 1000).await;
    let ended = subject.wait_for(&id, is_exited).await;
    assert_eq!(cause(&ended), Some(ExitCause::Stopped));
    subject.backend.start(start).await.unwrap();
    assert_eq!(find(&*subject.backend, &id).await.unwrap().status.phase, ended);
}

pub async fn a_crashed_replica_says_why(subject: Subject) {
    let (artifact, start) = subject.built().await;
    let start = scripted(&artifact, &start.config, "exit");
    let id = start.spec.replica_id.clone();
    subject.backend.start(start).await.unwrap();
    (subject.crash)(&id);
    let ended = subject.wait_for(&id, is_exited).await;
    assert_eq!(cause(&ended), Some(ExitCause::Code { code: 3 }));
}

pub async fn only_an_ended_replica_can_be_forgotten(subject: Subject) {
    let id = subject.ready().await;
    subject.backend.forget(&id).await;
    assert!(find(&*subject.backend, &id).await.is_some(), "it lives");
    subject.backend.stop(&id, 1000).await;
    subject.wait_for(&id, is_exited).await;
    subject.forgotten(&id).await;
    assert_eq!(log_of(&*subject.backend, &id).await, [""; 0]);
}

pub async fn a_replica_is_told_its_environment_and_one_that_is_gone_is_an_error(subject: Subject) {
    let id = subject.ready().await;
    let staging = Some(serde_json::json!({"name": "staging"}));
    for environment in [staging.clone(), staging, None] {
        subject.backend.set_environment(&id, environment).await.unwrap();
    }
    subject.backend.stop(&id, 1000).await;
    subject.wait_for(&id, is_exited).await;
    subject.forgotten(&id).await;
    let error = subject.backend.set_environment(&id, None).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot tell replica {id} its environment: ")), "{error}");
    assert!(subject.backend.set_environment(&ReplicaId::from_entropy(99), None).await.is_err());
}

pub async fn a_replica_is_given_secrets_and_one_that_is_gone_is_an_error(subject: Subject) {
    let id = subject.ready().await;
    for value in ["one", "two", "two"] {
        let secrets = Secrets([("token".to_owned(), value.to_owned())].into());
        subject.backend.set_secrets(&id, secrets).await.unwrap();
    }
    subject.backend.stop(&id, 1000).await;
    subject.wait_for(&id, is_exited).await;
    subject.forgotten(&id).await;
    let error = subject.backend.set_secrets(&id, Secrets::default()).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot give replica {id} its secrets: ")), "{error}");
}

pub async fn an_unknown_replica_is_no_trouble(subject: Subject) {
    let unknown = ReplicaId::from_entropy(99);
    subject.backend.stop(&unknown, 0).await;
    subject.backend.forget(&unknown).await;
    assert_eq!(subject.backend.read_log(&unknown, 5).await.unwrap().cursor, 5);
}

pub async fn garbage_is_what_nobody_keeps(subject: Subject) {
    let (kept, keep) = subject.built().await;
    let request = subject.bench.request(PLAIN_SERVER, &[("server.py", "another")]);
    let dropped = subject.backend.build(request, Lines::new()).await.unwrap();
    subject.backend.collect_garbage(&BTreeSet::from([kept])).await.unwrap();
    let refused = subject.backend.start(start_of(&dropped, &keep.config)).await;
    assert!(matches!(refused, Err(StartError::NoArtifact(_))), "{refused:?}");
    subject.backend.start(keep).await.unwrap();
}

pub async fn what_is_built_runs_in_a_location_beside_that_has_replicas_of_its_own(subject: Subject) {
    let (artifact, start) = subject.built().await;
    let id = start.spec.replica_id.clone();
    for backend in [&subject.backend, &subject.beside] {
        backend.check().await.unwrap();
    }
    subject.beside.start(start.clone()).await.unwrap();
    assert!(find(&*subject.beside, &id).await.is_some());
    assert!(find(&*subject.backend, &id).await.is_none());
    subject.beside.stop(&id, 0).await;
    until(&*subject.beside, "its end", || async {
        find(&*subject.beside, &id).await.filter(|seen| is_exited(&seen.status.phase))
    })
    .await;
    subject.backend.collect_garbage(&BTreeSet::from([artifact])).await.unwrap();
    subject.backend.start(start).await.unwrap();
    assert!(find(&*subject.backend, &id).await.is_some());
}

/// Each case as a test on each backend.
macro_rules! on_each_backend {
    ($($case:ident),* $(,)?) => {
        mod on_fake {
            $(#[tokio::test]
            async fn $case() {
                super::$case(crate::fake::subject()).await;
            })*
        }
        mod on_local {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(crate::local_replicas::subject()).await;
            })*
        }
    };
}

on_each_backend!(
    equal_requests_give_equal_artifacts,
    a_replica_of_an_unknown_build_is_refused,
    starting_twice_is_starting_once,
    a_ready_replica_is_listed_with_its_address,
    a_stopped_replica_ends_and_is_not_started_again,
    a_crashed_replica_says_why,
    only_an_ended_replica_can_be_forgotten,
    a_replica_is_told_its_environment_and_one_that_is_gone_is_an_error,
    a_replica_is_given_secrets_and_one_that_is_gone_is_an_error,
    an_unknown_replica_is_no_trouble,
    garbage_is_what_nobody_keeps,
    what_is_built_runs_in_a_location_beside_that_has_replicas_of_its_own,
);
