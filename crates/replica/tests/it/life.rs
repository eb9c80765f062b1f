//! How a replica starts, drains and ends, whatever its model does.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use api::{
    id::ReplicaId,
    internal::{
        link::NOT_TAKEN,
        replica::{ExitCause, HealthLimits, Phase},
    },
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::support::{Draft, Replica, request};

const ECHO: &str = "class Model:\n    def predict(self, inputs):\n        return inputs\n";

/// Whether a process exists.
fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

const PID: &str = r#"
import os, signal, subprocess
from time import sleep
class Model:
    def predict(self, inputs):
        if inputs == "child":
            return subprocess.Popen(["sleep", "600"]).pid
        if inputs == "exit":
            os._exit(7)
        if inputs == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        sleep(inputs)
        return "done"
"#;

const MORTAL: &str = r#"
import asyncio, os
class Model:
    async def predict(self, inputs):
        await asyncio.Event().wait()
    def completions(self, inputs):
        os._exit(1)
"#;

#[tokio::test]
async fn what_a_lost_model_has_not_seen_is_for_another_replica() {
    let replica = Draft::model(MORTAL).ready().await;
    // One runs, and the worker reads a few more ahead. The others wait for their turn.
    let calls = (0..100).map(|_| replica.send(request("POST", "/v1/models/model:predict", "1")));
    let dies = async {
        replica.in_flight(100).await;
        assert_eq!(replica.exchange(request("POST", "/v1/completions", "{}")).await.0, 502);
    };
    let (answers, ()) = tokio::join!(futures::future::join_all(calls), dies);
    let (unseen, seen): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.headers().contains_key(NOT_TAKEN));
    assert!(unseen.len() > 50, "{} of 100", unseen.len());
    assert!(unseen.iter().all(|answer| answer.status() == 503));
    assert!(!seen.is_empty() && seen.iter().all(|answer| answer.status() == 502));
}

#[tokio::test]
async fn a_start_is_timed_and_told() {
    let replica = Draft::model(ECHO).ready().await;
    let status = replica.status().unwrap();
    assert!(status.start.spawn_ms.is_some() && status.start.import_ms.is_some() && status.start.load_ms.is_some());
    let (code, text) = replica.get("/_greenroom/status").await;
    assert_eq!(code, 200);
    assert_eq!(serde_json::from_str::<api::internal::replica::Status>(&text).unwrap().phase, Phase::Ready);
}

#[tokio::test]
async fn until_the_model_is_loaded_it_is_alive_but_not_ready() {
    let source = format!(
        "import os\nfrom time import sleep\n{ECHO}    def load(self):\n        while not os.path.exists('/app/data/go'): sleep(0.01)\n"
    );
    let replica = Draft::model(&source).start();
    replica.phase("loading", |phase| matches!(phase, Phase::Loading)).await;
    assert_eq!(replica.get("/").await, (200, "true".into()));
    for path in ["/v1/models/model", "/v1/models/model/loaded", "/ping"] {
        assert_eq!(
            replica.get(path).await,
            (503, "{\"error\":\"Model with name model is not ready.\"}".into()),
            "{path}"
        );
    }
    assert_eq!(replica.predict(json!(1)).await.0, 503);
}

#[tokio::test]
async fn each_way_a_load_can_fail_is_named() {
    let check = async |source: &str, message: &str, detail: &str| {
        let exit = Draft::model(source).start().exit().await;
        assert_eq!(exit.cause, ExitCause::LoadFailed, "{exit:?}");
        assert!(exit.message.contains(message), "{exit:?}");
        assert!(exit.detail.unwrap_or_default().contains(detail), "{message}");
    };
    check(
        &format!("{ECHO}    def load(self):\n        raise ValueError('boom')\n"),
        "`load` raised ValueError: boom",
        "line 5",
    )
    .await;
    check("import nonexistent_module\n", "could not be imported: ModuleNotFoundError", "nonexistent_module").await;
    check("class Model\n", "SyntaxError", "class Model").await;
    check("class Other: pass\n", "has no class `Model`", "").await;
    check("class Model: pass\n", "needs a `predict` or a `websocket` method", "").await;
    check(&format!("{ECHO}    def __init__(self):\n        raise KeyError('k')\n"), "`__init__` raised KeyError", "")
        .await;
    check(&format!("{ECHO}    def load(self):\n        import sys; sys.exit('no gpu')\n"), "SystemExit: no gpu", "")
        .await;
    check("class Model:\n    def predict(self, a, b): pass\n", "second argument of `predict`", "").await;
}

#[tokio::test]
async fn a_load_is_tried_twice() {
    let source = format!(
        "{ECHO}    tries = 0\n    def load(self):\n        self.tries += 1\n        if self.tries < 2: raise ValueError('not yet')\n"
    );
    let replica = Draft::model(&source).ready().await;
    replica.log_line("Failed to load model. Retrying...").await;
}

#[tokio::test]
async fn a_load_that_hangs_ends_at_its_time_limit() {
    let mut draft = Draft::model(&format!("from time import sleep\n{ECHO}    def load(self):\n        sleep(600)\n"));
    draft.spec.start_timeout_ms = 400;
    let start = Instant::now();
    let replica = draft.start();
    let exit = replica.exit().await;
    assert_eq!(exit.cause, ExitCause::StartTimeout);
    assert!(exit.message.contains("0.4 s"), "{}", exit.message);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_end_of_a_model_process_is_explained() {
    for (input, cause) in [("exit", ExitCause::Code { code: 7 }), ("crash", ExitCause::Signal { signal: 11 })] {
        let mut replica = Draft::model(PID).ready().await;
        replica.predicted(json!("child")).await;
        let processes = replica.processes();
        let (status, text) = replica.predict(json!(input)).await;
        assert_eq!(
            (status, text.as_str()),
            (502, "{\"error\":\"Error making prediction\",\"error_code\":\"model_unavailable\"}")
        );
        assert_eq!(replica.exit().await.cause, cause);
        assert!(replica.child.wait().unwrap().success());
        assert!(processes.len() >= 3, "{processes:?}");
        // Ended by a signal they are, but the kernel takes a moment over it.
        let are_gone = || (!processes.iter().copied().any(lives)).then_some(());
        replica.until("end of what the model started", are_gone).await;
    }
}

#[tokio::test]
async fn too_much_memory_is_named_as_such() {
    let source = "class Model:\n    def predict(self, n):\n        self.x = bytearray(n << 20)\n        from time import sleep; sleep(5)\n        return len(self.x)\n";
    let mut draft = Draft::model(source);
    draft.spec.limits.memory_bytes = Some(200 << 20);
    let replica = draft.ready().await;
    assert_eq!(replica.predict(json!(600)).await.0, 502);
    let exit = replica.exit().await;
    assert_eq!(exit.cause, ExitCause::OutOfMemory, "{exit:?}");
    assert!(exit.message.contains("200 MiB"), "{}", exit.message);
}

/// The control groups of our own making that a replica's model is in.
fn limited_groups(replica: &Replica) -> Vec<PathBuf> {
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", replica.processes()[0])).unwrap();
    let ours = groups.lines().filter(|line| line.contains("/greenroom-"));
    ours.map(|line| {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { panic!("{line}") };
        Path::new("/sys/fs/cgroup").join(controllers).join(path.trim_start_matches('/'))
    })
    .collect()
}

/// Says little where this machine gives us no control groups.
#[tokio::test]
async fn control_groups_of_a_killed_replica_do_not_pile_up() {
    let limited = |id| {
        let mut draft = Draft::model(ECHO);
        draft.spec.replica_id = ReplicaId::from_entropy(id);
        (draft.spec.limits.memory_bytes, draft.spec.limits.millicpu) = (Some(512 << 20), Some(1000));
        draft
    };
    let id = u128::from(std::process::id());
    let mut killed = limited(id << 8).ready().await;
    let left = limited_groups(&killed);
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    let in_use =
        |group: &PathBuf| std::fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|list| !list.is_empty());
    killed.until("end of the model", || (!left.iter().any(in_use)).then_some(())).await;

    let next = limited((id << 8) + 1).ready().await;
    assert!(!left.iter().any(|group| group.exists()), "{left:?}");
    assert!(limited_groups(&next).iter().all(|group| group.exists()));
    assert_eq!(next.predict(json!(1)).await.0, 200);
}

#[tokio::test]
async fn draining_finishes_what_was_accepted_and_takes_nothing_new() {
    let mut replica = Draft::model(PID).ready().await;
    let accepted = replica.predict(json!(0.5));
    let drained = async {
        replica.in_flight(1).await;
        assert_eq!(replica.exchange(request("POST", "/_greenroom/drain", "{\"timeout_ms\": 10000}")).await.0, 200);
        replica.phase("draining", |phase| matches!(phase, Phase::Draining)).await;
        assert_eq!(replica.predict(json!(0)).await.0, 503);
    };
    let (answer, ()) = tokio::join!(accepted, drained);
    assert_eq!(answer, (200, "\"done\"".into()));
    assert_eq!(replica.exit().await.cause, ExitCause::Stopped);
    assert!(replica.child.wait().unwrap().success());
}

#[tokio::test]
async fn a_drain_ends_at_its_time_limit() {
    let replica = Draft::model(PID).ready().await;
    let stuck = replica.predict(json!(600));
    let drained = async {
        replica.in_flight(1).await;
        replica.exchange(request("POST", "/_greenroom/drain", "{\"timeout_ms\": 100}")).await;
    };
    let (answer, ()) = tokio::join!(stuck, drained);
    assert_eq!(answer.0, 502);
    assert_eq!(replica.exit().await.cause, ExitCause::Stopped);
}

#[tokio::test]
async fn sigterm_stops_a_replica() {
    let mut replica = Draft::model(PID).ready().await;
    let processes = replica.processes();
    kill(Pid::from_raw(replica.child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(replica.exit().await.cause, ExitCause::Stopped);
    assert!(processes.len() >= 2, "{processes:?}");
    replica.child.wait().unwrap();
    replica.until("end of all processes", || (!processes.iter().copied().any(lives)).then_some(())).await;
}

#[tokio::test]
async fn nothing_of_a_replica_survives_its_sudden_death() {
    let mut replica = Draft::model(PID).ready().await;
    replica.predicted(json!("child")).await;
    let processes = replica.processes();
    assert!(processes.len() >= 3, "{processes:?}");
    replica.child.kill().unwrap();
    replica.child.wait().unwrap();
    replica.until("end of all processes", || (!processes.iter().copied().any(lives)).then_some(())).await;
}

#[tokio::test]
async fn events_tell_the_present_and_each_change() {
    use http_body_util::BodyExt as _;
    let replica = Draft::model(PID).ready().await;
    let mut events = replica.send(request("GET", "/_greenroom/events", "")).await.into_body();
    let mut phases = Vec::new();
    kill(Pid::from_raw(replica.child.id() as i32), Signal::SIGTERM).unwrap();
    while let Some(Ok(frame)) = events.frame().await {
        let status: api::internal::replica::Status = serde_json::from_slice(&frame.into_data().unwrap()).unwrap();
        phases.push(status.phase);
    }
    assert!(matches!(phases.last(), Some(Phase::Exited(_))), "{phases:?}");
}

const HEALTH: &str = "import os\nclass Model:\n    ok = 'sick' not in os.environ\n    def is_healthy(self):\n        return self.ok\n    def predict(self, inputs):\n        Model.ok = inputs\n        return inputs\n";

/// A model that is asked often, with these thresholds.
fn watched(stop_traffic_ms: u64, restart_ms: u64) -> Draft {
    let mut draft = Draft::model(HEALTH);
    draft.spec.health = HealthLimits { interval_ms: 20, stop_traffic_ms, restart_ms, restart_delay_ms: 0 };
    draft
}

#[tokio::test]
async fn health_moves_the_phase_both_ways() {
    let replica = watched(0, 3_600_000).ready().await;
    replica.predicted(json!(false)).await;
    assert_eq!(replica.get("/v1/models/model").await.0, 503);
    replica.phase("a stop of traffic", |phase| *phase == Phase::Unhealthy).await;
    replica.predicted(json!(true)).await;
    assert_eq!(replica.get("/v1/models/model").await.0, 200);
    replica.phase("traffic again", |phase| *phase == Phase::Ready).await;
}

#[tokio::test]
async fn a_model_that_is_sick_for_too_long_ends_and_says_so() {
    let replica = watched(3_600_000, 0).ready().await;
    replica.predicted(json!(false)).await;
    let exit = replica.exit().await;
    assert_eq!(exit.cause, ExitCause::Unhealthy);
    assert_eq!(exit.message, "the model was not healthy for 0 s");
}

#[tokio::test]
async fn a_model_is_ready_when_it_first_says_that_it_is_healthy() {
    let mut draft = watched(0, 0);
    draft.spec.environment_variables.insert("sick".into(), "yes".into());
    let replica = draft.start();
    replica.log_line("Completed model.load()").await;
    replica.log_line("Health check failed").await;
    assert_eq!(replica.status().unwrap().phase, Phase::Loading);
    replica.predicted(json!(true)).await;
    let status = replica.phase("ready", |phase| *phase == Phase::Ready).await;
    assert!(status.start.first_probe_ms.is_some(), "{status:?}");
}

#[tokio::test]
async fn a_replica_outlives_who_started_it() {
    let replica = Draft::model(ECHO).ready().await;
    let pid = Pid::from_raw(replica.child.id() as i32);
    let session = nix::unistd::getsid(Some(pid)).unwrap();
    assert_ne!(session, nix::unistd::getsid(None).unwrap(), "a session of its own");
}
