//! The Python side of the data socket, without a replica around it.

use std::{path::Path, process::Command};

use crate::support::python;

#[test]
fn the_worker_keeps_its_side_of_the_protocol() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = Command::new(python());
    tests.arg(here.join("tests/it/worker.py")).env("PYTHONPATH", here.join("../../python"));
    let outcome = tests.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
}
