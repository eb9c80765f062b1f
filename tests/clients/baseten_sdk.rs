//! The baseten SDK 0.13.

use std::process::Command;

use crate::{
    harness::{API_KEY, Server, run},
    packages::{environment, here},
    recipe,
};

const PACKAGES: [&str; 2] = ["baseten==0.13.1", "boto3==1.44.5"];

#[test]
fn the_baseten_sdk_leads_a_model_through_its_whole_life() {
    let Some(python) = environment("baseten-venv", &PACKAGES) else { return };
    let server = Server::start();
    let home = tempfile::tempdir().expect("a folder");
    let mut walk = Command::new(python);
    walk.arg(here().join("tests/clients/baseten_sdk.py")).args([API_KEY, &server.url]);
    walk.env_clear().env("HOME", home.path()).env("AWS_EC2_METADATA_DISABLED", "true");
    let ran = run(walk, b"");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn the_baseten_sdk_does_the_same_at_the_addresses_that_are_built_into_it() {
    let Some(python) = environment("baseten-venv", &PACKAGES) else { return };
    let server = Server::start_with("[proxy]\ntls = \"on\"\n");
    let home = tempfile::tempdir().expect("a folder");
    let script = here().join("tests/clients/baseten_sdk.py");
    let arguments = [script.to_str().expect("UTF-8"), API_KEY];
    let mut walk = recipe::command(&server, "tls", home.path(), &python, &arguments);
    walk.env("AWS_EC2_METADATA_DISABLED", "true");
    let ran = run(walk, b"");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}
