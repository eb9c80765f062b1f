//! The dashboard in a real browser: each test runs one story of `dashboard/e2e/stories` against a server of its own. Pictures of the pages
//! stay in `target/pictures`, for whoever changes a page to look at.

#[path = "../it/harness.rs"]
#[allow(dead_code, reason = "shared with the other tests, which need more of it")]
mod harness;

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::harness::{API_KEY, Server};

/// What is counted is recorded so often that a story sees it.
const CONFIG: &str = "[metrics]\ninterval = \"1s\"\n";

fn tell(story: &str) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let server = Server::start_with(CONFIG);
    let ran = Command::new("node")
        .args(["e2e/run.mjs", story])
        .current_dir(here.join("dashboard"))
        .env("GREENROOM_URL", &server.url)
        .env("GREENROOM_API_KEY", API_KEY)
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
