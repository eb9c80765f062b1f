//! The unmodified baseten SDK from PyPI against a server, in a virtual environment that is made once and kept in `.cache`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::harness::{API_KEY, Server, run};

const PACKAGES: [&str; 2] = ["baseten==0.13.1", "boto3==1.44.5"];

/// Those that the SDK runs on, the machine's own first.
const PYTHONS: [&str; 5] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];

#[test]
fn the_baseten_sdk_leads_a_model_through_its_whole_life() {
    let Some(python) = python() else {
        eprintln!("not tested: the SDK needs Python 3.11 or newer, and none of {PYTHONS:?} is");
        return;
    };
    let server = Server::start();
    let mut walk = Command::new(python);
    walk.arg(here().join("tests/it/baseten_sdk.py")).args([&server.url, API_KEY]);
    // Nothing of the machine's own configuration.
    let home = tempfile::tempdir().expect("a folder");
    walk.env_clear().env("HOME", home.path()).env("AWS_EC2_METADATA_DISABLED", "true");
    let ran = run(walk, b"");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The interpreter of an environment with the SDK, on machines with a Python for it. One process makes it, others wait for the lock.
fn python() -> Option<PathBuf> {
    let cache = here().join(".cache");
    fs::create_dir_all(&cache).expect("made");
    let lock = fs::File::create(cache.join("baseten-venv.lock")).expect("made");
    lock.lock().expect("locked");
    let environment = cache.join("baseten-venv");
    let (python, finished) = (environment.join("bin/python"), environment.join(PACKAGES.join(",")));
    if !finished.exists() {
        let _ = fs::remove_dir_all(&environment);
        succeed(Command::new(PYTHONS.into_iter().find(is_new_enough)?).args(["-m", "venv"]).arg(&environment));
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        succeed(Command::new(&python).args(install).args(PACKAGES));
        fs::File::create(finished).expect("made");
    }
    Some(python)
}

fn is_new_enough(python: &&str) -> bool {
    let ask = ["-c", "import sys; sys.exit(sys.version_info < (3, 11))"];
    Command::new(python).args(ask).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("started");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
