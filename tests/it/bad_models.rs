//! Models that are wrong, each in its own way: the push says what is wrong, where, and what to do; and nothing else is harmed.

use std::time::{Duration, Instant};

use crate::harness::{Ran, Server, model};

const FINE: &str = "class Model:\n    def predict(self, x): return x\n";

fn push(server: &Server, config: &str, class: &str) -> Ran {
    let folder = model(config, class);
    server.greenroom(&["push", folder.path().to_str().expect("UTF-8")])
}

fn check(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.stderr);
    assert_eq!(ran.stdout, "", "a failure answers nothing");
    for word in words {
        assert!(ran.stderr.contains(word), "{word} is missing in:\n{}", ran.stderr);
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused_by_its_path() {
    let server = Server::start();
    check(
        &push(&server, "model_name: m\nruntime:\n  predict_concurrency: many", FINE),
        5,
        &["runtime.predict_concurrency"],
    );
    check(&push(&server, "model_name: m\nrequirements: 7", FINE), 5, &["requirements"]);
    check(&push(&server, "model_name: [", FINE), 5, &["config.yaml"]);
    assert_eq!(server.json(&["models"])["models"], serde_json::json!([]), "nothing was made");
}

#[test]
fn a_folder_without_the_class_is_refused_before_anything_is_sent() {
    let server = Server::start();
    let folder = model("model_name: m", FINE);
    std::fs::remove_file(folder.path().join("model/model.py")).expect("removed");
    let ran = server.greenroom(&["push", folder.path().to_str().expect("UTF-8")]);
    check(&ran, 5, &["model/model.py is missing", "hint:"]);
}

#[test]
fn a_model_that_cannot_be_imported_fails_with_the_line() {
    let server = Server::start();
    check(
        &push(&server, "model_name: m", "class Model:\n    def predict(self, x) return x\n"),
        6,
        &["BUILD_FAILED", "model/model.py:2", "hint:"],
    );
    check(
        &push(&server, "model_name: m", "import nothing_like_this\nclass Model:\n    def predict(self, x): return x\n"),
        6,
        &["nothing_like_this"],
    );
    check(&push(&server, "model_name: m", "class Other: pass\n"), 6, &["Model"]);
}

#[test]
fn a_load_that_raises_fails_within_seconds_and_shows_the_traceback() {
    let server = Server::start();
    let class = "class Model:\n    def load(self):\n        raise ValueError('the weights are gone')\n    def predict(self, x): return x\n";
    server.push(model("model_name: warm", FINE).path());
    let started = Instant::now();
    let ran = push(&server, "model_name: m", class);
    check(&ran, 6, &["DEPLOY_FAILED", "ValueError: the weights are gone", "model.py\", line 3", "hint:"]);
    assert!(started.elapsed() < Duration::from_secs(30), "took {:?}", started.elapsed());
    let shown = server.greenroom(&["startups", "m"]).stdout;
    assert!(shown.contains("FAILED") && shown.contains("failed"), "{shown}");
    let shown = server.greenroom(&["startups", "warm"]).stdout;
    assert!(shown.contains("SUCCESS") && shown.contains("1 that became ready"), "{shown}");
}

#[test]
fn a_load_that_hangs_fails_at_its_limit() {
    let server = Server::start();
    let config = "model_name: m\nruntime:\n  health_checks:\n    startup_threshold_seconds: 10";
    let class = "import threading\nclass Model:\n    def load(self):\n        threading.Event().wait()\n    def predict(self, x): return x\n";
    check(&push(&server, config, class), 6, &["DEPLOY_FAILED", "10"]);
    let start = &server.json(&["startups", "m"])["items"][0];
    assert_eq!(
        (&start["outcome"], &start["phase_summary"][3]["status"]),
        (&"STALLED".into(), &"FAILED".into()),
        "{start}"
    );
}

#[test]
fn a_process_that_ends_itself_is_named_by_its_exit_code() {
    let server = Server::start();
    let class =
        "import os\nclass Model:\n    def load(self):\n        os._exit(42)\n    def predict(self, x): return x\n";
    check(&push(&server, "model_name: m", class), 6, &["DEPLOY_FAILED", "42"]);
    let class = "import os, signal\nclass Model:\n    def load(self):\n        os.kill(os.getpid(), signal.SIGSEGV)\n    def predict(self, x): return x\n";
    check(&push(&server, "model_name: m", class), 6, &["DEPLOY_FAILED", "SIGSEGV"]);
}

#[test]
fn a_model_over_its_memory_limit_fails_for_memory() {
    let server = Server::start();
    let class = "class Model:\n    def load(self):\n        self.weights = [bytearray(b'x' * (64 << 20)) for _ in range(48)]\n    def predict(self, x): return x\n";
    let ran = push(&server, "model_name: m\nresources:\n  memory: 1Gi", class);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    assert!(ran.stderr.to_lowercase().contains("memory"), "{}", ran.stderr);
}

#[test]
fn a_requirement_that_does_not_exist_fails_the_build_by_name() {
    let server = Server::start();
    let ran = push(&server, "model_name: m\nrequirements:\n  - no-such-package-of-greenroom==1.0", FINE);
    check(&ran, 6, &["BUILD_FAILED", "no-such-package-of-greenroom"]);
}

#[test]
fn a_missing_system_package_fails_the_build_by_name() {
    let server = Server::start();
    let ran = push(&server, "model_name: m\nsystem_packages:\n  - no-such-system-package", FINE);
    check(&ran, 6, &["BUILD_FAILED", "no-such-system-package"]);
}

#[test]
fn a_failed_deployment_works_after_a_retry_when_its_cause_is_gone() {
    let server = Server::start();
    let class = "class Model:\n    def __init__(self, secrets):\n        self.secrets = secrets\n    def load(self):\n        self.secrets['token']\n    def predict(self, x): return x\n";
    check(&push(&server, "model_name: m\nsecrets: {token: null}", class), 6, &["DEPLOY_FAILED", "token"]);
    assert_eq!(server.greenroom_with_input(&["secrets", "set", "token"], b"value").code, 0);
    let retried = server.greenroom(&["retry", "m"]);
    assert_eq!(retried.code, 0, "{}", retried.stderr);
    let again = server.greenroom(&["retry", "m"]);
    assert_eq!(again.code, 5, "what serves is not retried: {}", again.stderr);
}
