//! Replicas as processes: what survives, what is noticed, what is cleaned up. The stand-in plays the replica.

use std::{fs, os::unix::net::UnixStream, sync::Arc};

use api::{
    id::ReplicaId,
    internal::{
        replica::{Exit, ExitCause, Phase},
        routes::Address,
    },
};
use backends::{Artifact, Backend, Likely, StartReplica, local::Local};
use planner::policy::Name;

use crate::{
    suite::Subject,
    support::{Bench, Lines, PATIENCE, PLAIN_SERVER, find, log_of, names, scripted, until},
};

pub fn subject() -> Subject {
    let bench = Bench::new();
    let mut settings = bench.settings();
    settings.garbage_age_ms = 0;
    let backend = Local::open(settings).unwrap();
    let beside = backend.beside(&Name::parse("name", "paris").unwrap()).unwrap();
    Subject { backend, beside, bench, make_ready: Box::new(|_| {}), crash: Box::new(|_| {}) }
}

async fn build(bench: &Bench, local: &Local, script: &str) -> (Artifact, StartReplica) {
    let request = bench.request(PLAIN_SERVER, &[]);
    let config = Arc::clone(&request.config);
    let artifact = local.build(request, Lines::new()).await.unwrap();
    let start = scripted(&artifact, &config, script);
    (artifact, start)
}

async fn started(bench: &Bench, local: &Local, script: &str) -> ReplicaId {
    let (_, start) = build(bench, local, script).await;
    let id = start.spec.replica_id.clone();
    local.start(start).await.unwrap();
    id
}

async fn wait_ready(local: &Local, id: &ReplicaId) {
    until(local, "a ready replica", || async {
        find(local, id).await.filter(|seen| seen.status.phase == Phase::Ready)
    })
    .await;
}

async fn wait_exit(local: &Local, id: &ReplicaId) -> Exit {
    until(local, "the end of a replica", || async {
        match find(local, id).await?.status.phase {
            Phase::Exited(exit) => Some(exit),
            _ => None,
        }
    })
    .await
}

async fn pid(local: &Local, id: &ReplicaId) -> i32 {
    i32::try_from(find(local, id).await.unwrap().status.pid).unwrap()
}

fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// A server that was killed drops nothing and says nothing; dropping it is as near as a test comes. Its folder is free when its
/// last task has let go.
async fn reopened(bench: &Bench, local: Arc<Local>) -> Arc<Local> {
    drop(local);
    eventually(|| Local::open(bench.settings()).ok()).await
}

/// Waits for something that nobody notifies of.
async fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it happens in the end")
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_survive_the_server_and_are_found_again() {
    let bench = Bench::new();
    let local = bench.local();
    let id = started(&bench, &local, "").await;
    wait_ready(&local, &id).await;
    let before = find(&*local, &id).await.unwrap();
    let local = reopened(&bench, local).await;
    assert_eq!(find(&*local, &id).await, Some(before));
    local.stop(&id, 1000).await;
    assert_eq!(wait_exit(&local, &id).await.cause, ExitCause::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_vanishes_is_lost_and_its_last_words_are_kept() {
    let bench = Bench::new();
    let local = bench.local();
    let id = started(&bench, &local, "vanish").await;
    let exit = wait_exit(&local, &id).await;
    assert_eq!(exit.cause, ExitCause::Lost);
    assert_eq!(exit.detail.as_deref(), Some("the stub has nothing to say"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survivor_that_is_killed_is_noticed() {
    let bench = Bench::new();
    let local = bench.local();
    let id = started(&bench, &local, "").await;
    wait_ready(&local, &id).await;
    let local = reopened(&bench, local).await;
    kill(pid(&local, &id).await);
    assert_eq!(wait_exit(&local, &id).await.cause, ExitCause::Lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_the_same_number_is_not_taken_for_the_replica() {
    let bench = Bench::new();
    let local = bench.local();
    let id = started(&bench, &local, "").await;
    wait_ready(&local, &id).await;
    kill(pid(&local, &id).await);
    wait_exit(&local, &id).await;
    let folder = bench.path().join("local/replicas").join(id.as_str());
    let mut stranger = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    fs::write(folder.join("pid"), stranger.id().to_string()).unwrap();
    assert_eq!(wait_exit(&local, &id).await.cause, ExitCause::Lost);
    local.stop(&id, 0).await;
    local.forget(&id).await;
    assert!(!folder.exists());
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger lives");
    drop(stranger.stdin.take());
    stranger.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_will_not_end_is_ended() {
    let bench = Bench::new();
    let local = bench.local();
    let id = started(&bench, &local, "deaf").await;
    wait_ready(&local, &id).await;
    local.stop(&id, 0).await;
    assert_eq!(wait_exit(&local, &id).await.cause, ExitCause::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_gets_its_program_and_secrets_and_nothing_of_ours() {
    let bench = Bench::new();
    let mut settings = bench.settings();
    settings.variables.insert("UV_INDEX_PASSWORD".into(), "hush".into());
    let local = Local::open(settings).unwrap();
    let id = started(&bench, &local, "").await;
    wait_ready(&local, &id).await;
    let log = until(&*local, "the log", || async {
        let log = log_of(&*local, &id).await;
        log.iter().any(|line| line == "ready").then_some(log)
    })
    .await;
    assert!(log[0].contains(r#""kind": "server""#) && log[0].contains(r#""command": "serve""#), "{}", log[0]);
    assert_eq!(log[1], "secrets token");
    assert!(log[2].contains("PATH") && !log[2].contains("UV_") && !log[2].contains("CARGO"), "{}", log[2]);
    let folder = bench.path().join("local/replicas").join(id.as_str());
    for name in names(folder.clone()).into_iter().filter(|name| name != "replica.sock") {
        let content = fs::read_to_string(folder.join(&name)).unwrap();
        assert!(!content.contains("s3cret"), "{name} holds a secret");
    }
    local.stop(&id, 0).await;
    wait_exit(&local, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_can_be_reached_however_deep_the_data_folder_is() {
    let bench = Bench::new();
    let mut settings = bench.settings();
    settings.root = bench.path().join("deep/".repeat(30));
    let local = Local::open(settings).unwrap();
    let id = started(&bench, &local, "").await;
    wait_ready(&local, &id).await;
    let Address::Unix(path) = find(&*local, &id).await.unwrap().address else { panic!("a local replica has a socket") };
    UnixStream::connect(&path).unwrap();
    local.stop(&id, 1000).await;
    assert_eq!(wait_exit(&local, &id).await.cause, ExitCause::Stopped);
    let link = path.ancestors().nth(2).expect("the link, the replica, the socket").to_owned();
    assert!(link.is_symlink());
    drop(local);
    eventually(|| (!link.is_symlink()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_may_be_named_from_where_the_server_stands() {
    let bench = Bench::new();
    let mut settings = bench.settings();
    let here = std::path::absolute(".").unwrap();
    let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
    settings.root = up.join(bench.path().strip_prefix("/").unwrap()).join("local");
    let local = Local::open(settings).unwrap();
    let id = started(&bench, &local, "").await;
    wait_ready(&local, &id).await;
    local.stop(&id, 1000).await;
    assert_eq!(wait_exit(&local, &id).await.cause, ExitCause::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_can_be_tried_again() {
    let bench = Bench::new();
    let mut settings = bench.settings();
    let stub = std::mem::replace(&mut settings.replica_program, bench.path().join("replica"));
    let local = Local::open(settings).unwrap();
    let (_, start) = build(&bench, &local, "").await;
    let failed = local.start(start.clone()).await.unwrap_err();
    assert!(failed.to_string().contains("cannot run"), "{failed}");
    assert_eq!(local.list().await.unwrap(), []);
    std::os::unix::fs::symlink(stub, bench.path().join("replica")).unwrap();
    let id = start.spec.replica_id.clone();
    local.start(start).await.unwrap();
    wait_ready(&local, &id).await;
    local.stop(&id, 0).await;
    wait_exit(&local, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_a_replica_runs_is_not_garbage() {
    let bench = Bench::new();
    let mut settings = bench.settings();
    settings.garbage_age_ms = 0;
    let local = Local::open(settings).unwrap();
    let id = started(&bench, &local, "").await;
    local.collect_garbage(&Default::default()).await.unwrap();
    assert_eq!(names(bench.path().join("local/artifacts")).len(), 1);
    local.stop(&id, 0).await;
    wait_exit(&local, &id).await;
    until(&*local, "the end of what is left", || async {
        local.forget(&id).await;
        find(&*local, &id).await.is_none().then_some(())
    })
    .await;
    local.collect_garbage(&Default::default()).await.unwrap();
    assert_eq!(names(bench.path().join("local/artifacts")), [""; 0]);
    assert_eq!(names(bench.path().join("local/environments")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_for_one_server() {
    let bench = Bench::new();
    let _first = bench.local();
    let error = Local::open(bench.settings()).err().expect("the folder is taken");
    assert!(error.to_string().contains("another server uses this folder"), "{error}");
}

#[tokio::test]
async fn an_environment_is_told_as_the_document_that_the_model_sees_or_null() {
    let bench = Bench::new();
    let local = Local::open(bench.settings()).unwrap();
    let id = started(&bench, &local, "").await;
    wait_ready(&local, &id).await;
    local.set_environment(&id, Some(serde_json::json!({"name": "staging"}))).await.unwrap();
    local.set_environment(&id, None).await.unwrap();
    let told: Vec<String> = log_of(&*local, &id).await.into_iter().filter(|line| line.starts_with("told")).collect();
    let route = "told /_greenroom/environment";
    assert_eq!(told, [format!("{route}: {{\"name\": \"staging\"}}"), format!("{route}: null")]);
    local.stop(&id, 1000).await;
    wait_exit(&local, &id).await;
}

/// The folders of replicas that stand by, ready to be used.
fn standing_by(bench: &Bench) -> Vec<String> {
    let replicas = bench.path().join("local/replicas");
    let is_prepared = |name: &String| name.starts_with("standby-") && replicas.join(name).join("prepared").exists();
    names(replicas.clone()).into_iter().filter(is_prepared).collect()
}

#[tokio::test]
async fn a_start_takes_what_stands_by_for_it_and_nothing_else() {
    let bench = Bench::new();
    let local = bench.local();
    let request = bench.request("model_name: m", &[("model/model.py", "class Model: pass")]);
    let config = Arc::clone(&request.config);
    let artifact = local.build(request, Lines::new()).await.unwrap();
    let (first, mut other, second) =
        (scripted(&artifact, &config, ""), scripted(&artifact, &config, ""), scripted(&artifact, &config, ""));
    let likely = Likely { spec: scripted(&artifact, &config, "").spec, artifact, config };
    local.stand_by(vec![likely]).await;
    let ready = eventually(|| standing_by(&bench).pop()).await;
    let noted = fs::read_to_string(bench.path().join("local/replicas").join(&ready).join("pid")).unwrap();
    assert!(local.list().await.unwrap().is_empty(), "it is no replica");

    let id = first.spec.replica_id.clone();
    local.start(first).await.unwrap();
    wait_ready(&local, &id).await;
    assert_eq!(format!("{} {ready}", pid(&local, &id).await), noted, "the same process");
    assert!(log_of(&*local, &id).await.contains(&"secrets token".to_owned()));

    // Another deployment's start, and one that was told otherwise.
    other.spec.deployment_id = api::id::DeploymentId::from_entropy(99);
    let mut told_otherwise = second;
    told_otherwise.spec.environment_variables.insert("OTHER".into(), "value".into());
    for start in [other, told_otherwise] {
        let ready = eventually(|| standing_by(&bench).pop()).await;
        let id = start.spec.replica_id.clone();
        local.start(start).await.unwrap();
        wait_ready(&local, &id).await;
        let noted = fs::read_to_string(bench.path().join("local/replicas").join(id.as_str()).join("pid")).unwrap();
        assert!(!noted.ends_with(&ready), "{noted}");
    }

    // Replicas outlive their server; what stands by does not.
    eventually(|| standing_by(&bench).pop()).await;
    let local = reopened(&bench, local).await;
    assert_eq!(standing_by(&bench), Vec::<String>::new());
    wait_ready(&local, &id).await;
    kill(pid(&local, &id).await);
    wait_exit(&local, &id).await;
}
