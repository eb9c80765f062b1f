//! Virtual environments with what a test installs from PyPI.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Those that the clients run on, the machine's own first.
const PYTHONS: [&str; 5] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];

/// The interpreter of an environment with these packages; none on machines without a Python for them. One process makes it, others
/// wait for the lock.
#[expect(clippy::print_stderr, reason = "who reads the log of a test sees what was not tested")]
pub fn environment(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let cache = here().join(".cache");
    fs::create_dir_all(&cache).expect("made");
    let lock = fs::File::create(cache.join(format!("{name}.lock"))).expect("made");
    lock.lock().expect("locked");
    let environment = cache.join(name);
    let (python, finished) = (environment.join("bin/python"), environment.join(packages.join(",")));
    if !finished.exists() {
        let Some(base) = PYTHONS.into_iter().find(is_new_enough) else {
            eprintln!("not tested: {name} needs Python 3.11 or newer, and none of {PYTHONS:?} is");
            return None;
        };
        let _ = fs::remove_dir_all(&environment);
        succeed(Command::new(base).args(["-m", "venv"]).arg(&environment));
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        succeed(Command::new(&python).args(install).args(packages));
        fs::File::create(finished).expect("made");
    }
    Some(python)
}

/// This repository.
pub fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn is_new_enough(python: &&str) -> bool {
    let ask = ["-c", "import sys; sys.exit(sys.version_info < (3, 11))"];
    Command::new(python).args(ask).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("started");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
