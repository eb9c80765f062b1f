//! The dashboard in a real browser: each test runs one story of `dashboard/e2e/stories` against a server of its own. Pictures of the pages
//! stay in `target/pictures`, for whoever changes a page to look at.

#[path = "../it/harness.rs"]
#[allow(dead_code, reason = "shared with the other tests, which need more of it")]
mod harness;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use crate::harness::{API_KEY, Server};

/// What is counted is recorded so often that a story sees it, and policies have locations to choose among.
const CONFIG: &str = r#"
locations = [
    { name = "paris", country = "fr", continent = "eu", flavors = [{ type = "cpu", name = "x86", count = 4 }] },
    { name = "virginia", country = "us", continent = "na", flavors = [
        { type = "cpu", name = "x86", count = 4 },
        { type = "gpu", name = "t4", count = 8 },
    ] },
]
[metrics]
interval = "1s"
"#;

fn tell(story: &str) {
    tell_with(story, CONFIG);
}

fn tell_with(story: &str, config: &str) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let server = Server::start_with(config);
    let home = tempfile::tempdir().expect("a temporary folder");
    let ran = Command::new("node")
        .args(["e2e/run.mjs", story])
        .current_dir(here.join("dashboard"))
        .env("GREENROOM_URL", &server.url)
        .env("GREENROOM_API_KEY", API_KEY)
        .env("GREENROOM_HOME", home.path())
        .env("GREENROOM_PROGRAM", env!("CARGO_BIN_EXE_greenroom"))
        .env("GREENROOM_PICTURES", here.join("target/pictures"))
        .stdin(Stdio::null())
        .output()
        .expect("node runs");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{story}:\n{said}");
}

#[test]
fn the_door_opens_to_a_valid_key_only() {
    tell("sign_in");
}

#[test]
fn the_door_opens_to_who_the_identity_provider_knows() {
    let mut issuer = Command::new("node")
        .arg("e2e/issuer.mjs")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node runs");
    let mut address = String::new();
    // Kept open to the end: it goes on saying things.
    let mut said = BufReader::new(issuer.stdout.take().expect("it is piped"));
    said.read_line(&mut address).expect("it says where it listens");
    tell_with(
        "provider",
        &format!(
            "[oidc]\nissuer = \"{}\"\nclient_id = \"greenroom\"\nclient_secret = \"a secret of the tests\"\nname = \"Acme\"\ndomains = \"example.com\"",
            address.trim()
        ),
    );
    drop(issuer.stdin.take());
    issuer.wait().expect("it ends with its standard input");
}

#[test]
fn a_push_is_watched_until_it_is_active_among_a_thousand_models() {
    tell("overview");
}

#[test]
fn a_promotion_is_seen_to_move_and_is_paused_canceled_and_rolled_back() {
    tell("promote");
}

#[test]
fn an_environment_is_made_tuned_and_deleted_with_its_guards() {
    tell("environment");
}

#[test]
fn a_deployment_is_followed_renamed_stopped_and_deleted() {
    tell("deployment");
}

#[test]
fn what_is_counted_is_drawn() {
    tell("metrics");
}

#[test]
fn a_model_is_called_and_its_stream_read_as_it_comes() {
    tell("playground");
}

#[test]
fn secrets_keys_access_the_audit_log_and_usage_are_looked_after() {
    tell("administration");
}

#[test]
fn the_first_load_is_small_and_asks_nobody_else() {
    tell("budget");
}

#[test]
fn promotions_are_forced_failures_tried_again_and_models_renamed() {
    tell("steering");
}

#[test]
fn where_work_may_run_is_written_explained_and_holds() {
    tell("policies");
}
