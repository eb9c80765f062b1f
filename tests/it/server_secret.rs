//! Where the server's secret comes from, and what becomes of stored secrets when it changes.

use std::{fs, os::unix::fs::PermissionsExt as _};

use reqwest::Method;
use serde_json::json;

use crate::{
    harness::{Ran, Server, answer, greenroom, model, run},
    stage::Stage,
};

const OLD: &str = "00000000000000000000000000000000000000000000000000000000000000aa";
const NEW: &str = "00000000000000000000000000000000000000000000000000000000000000bb";
const WRONG: &str = "00000000000000000000000000000000000000000000000000000000000000cc";
const MODEL: &str = "class Model:\n    def __init__(self, secrets): self.secrets = secrets\n    \
                     def predict(self, x): return self.secrets['token'][::-1]\n";

fn set(server: &Server, name: &str, value: &str) {
    let ran = server.greenroom_with_input(&["secrets", "set", name], value.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

/// What a start logs.
fn log_of(server: &mut Server, start: impl FnOnce(&mut Server)) -> String {
    let before = server.log().len();
    start(server);
    server.log()[before..].to_owned()
}

#[tokio::test]
async fn a_secret_from_the_environment_stays_with_the_server_and_can_be_changed() {
    let mut server = Server::start_in("", &[("GREENROOM_SERVER_SECRET", OLD)]);
    assert!(!server.data_dir().join("server-secret").exists());
    set(&server, "token", "drowssap");
    let pushed = server.push(model("model_name: m\nsecrets: {token: null}", MODEL).path());
    check_no_child_knows(&server, OLD);

    let with = |secret, previous: &[&'static str]| {
        let previous = previous.iter().map(|value| ("GREENROOM_SERVER_SECRET_PREVIOUS", *value));
        [("GREENROOM_SERVER_SECRET", secret)].into_iter().chain(previous).collect::<Vec<_>>()
    };
    let log = log_of(&mut server, |server| server.restart_in(&with(NEW, &[OLD])));
    assert!(log.contains("sealed anew") && log.contains("count=1"), "{log}");
    assert!(log.contains("no stored secret needs the previous server secret any more"), "{log}");

    let log = log_of(&mut server, |server| server.restart_in(&with(WRONG, &[OLD])));
    assert!(log.contains("ERROR") && log.contains("token") && log.contains("server_secret.previous_file"), "{log}");

    let log = log_of(&mut server, |server| server.restart_in(&with(NEW, &[])));
    assert!(!log.contains("stored secrets"), "{log}");
    for secret in [OLD, NEW, WRONG] {
        assert!(!server.log().contains(secret));
    }
    // A replica that is started now gets what was sealed anew.
    for command in ["deactivate", "activate"] {
        let ran = server.greenroom(&[command, "m"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let asked = server.request(Method::POST, &Stage::new(&pushed, "production").endpoint()).json(&json!(1));
    assert_eq!(answer(asked).await, (200, json!("password")));
}

/// Looks into every process but the server's own.
fn check_no_child_knows(server: &Server, secret: &str) {
    let mut has_seen_the_model = false;
    for entry in fs::read_dir("/proc").expect("Linux").flatten() {
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        let environ = String::from_utf8_lossy(&environ).into_owned();
        let is_server = entry.file_name().to_str() == Some(&server.pid().to_string());
        assert_eq!(environ.contains(secret), is_server, "{}", entry.path().display());
        has_seen_the_model |= environ.contains("BT_MODEL_DEPLOYMENT_ID=");
    }
    assert!(has_seen_the_model, "the search does not reach the model's process");
}

#[test]
fn the_data_folders_secret_is_rotated_by_a_command_and_the_next_start() {
    let mut server = Server::start();
    set(&server, "token", "drowssap");
    server.kill();
    let data_dir = server.data_dir();
    let before = fs::read(data_dir.join("server-secret")).expect("there");
    let rotate = || server.greenroom(&["rotate-server-secret", "--data-dir", data_dir.to_str().expect("UTF-8")]);
    let ran = rotate();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("start the server again"), "{}", ran.stdout);
    for file in ["server-secret", "server-secret.previous"] {
        let mode = fs::metadata(data_dir.join(file)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_ne!(fs::read(data_dir.join("server-secret")).expect("there"), before);

    let log = log_of(&mut server, Server::restart);
    assert!(log.contains("sealed anew") && log.contains("server-secret.previous"), "{log}");
    server.kill();
    fs::remove_file(data_dir.join("server-secret.previous")).expect("it was there");
    let log = log_of(&mut server, Server::restart);
    assert!(!log.contains("stored secrets"), "{log}");
}

fn serve(config: &str, variables: &[(&str, &str)]) -> Ran {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("server.toml");
    fs::write(&file, config).expect("written");
    let mut command = greenroom(home.path());
    command.envs(variables.iter().copied()).args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
    run(command, b"")
}

#[test]
fn a_secret_that_cannot_be_had_is_told_with_a_remedy_and_without_what_was_printed() {
    let two = serve("[server_secret]\nfile = \"/run/secret\"", &[("GREENROOM_SERVER_SECRET", OLD)]);
    assert_eq!(two.code, 2, "{}", two.stderr);
    assert!(two.stderr.contains("`server_secret` is set too"), "{}", two.stderr);

    let wrong = serve("", &[("GREENROOM_SERVER_SECRET", "hunter2")]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("openssl rand -hex 32") && !wrong.stderr.contains("hunter2"), "{}", wrong.stderr);

    let failing = "[server_secret]\ncommand = [\"sh\", \"-c\", \"echo hunter2; echo key is disabled >&2; exit 4\"]";
    let failed = serve(failing, &[]);
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    assert!(failed.stderr.contains("failed with exit code 4: key is disabled"), "{}", failed.stderr);
    assert!(!failed.stderr.contains("hunter2"), "{}", failed.stderr);

    let unclear = serve("[server_secret]\ncommand = \"echo hunter2\"", &[]);
    assert_eq!(unclear.code, 1, "{}", unclear.stderr);
    assert!(
        unclear.stderr.contains("the output of `server_secret.command` holds no server secret"),
        "{}",
        unclear.stderr
    );
    assert!(!unclear.stderr.contains("hunter2"), "{}", unclear.stderr);

    let missing = serve("[server_secret]\nfile = \"/no/such/secret\"", &[]);
    assert_eq!(missing.code, 1, "{}", missing.stderr);
    assert!(missing.stderr.contains("/no/such/secret (`server_secret.file`)"), "{}", missing.stderr);
}

#[test]
fn a_secret_from_a_command_or_a_file_is_used_and_never_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret").display().to_string();
    fs::write(&file, format!("{OLD}\n")).expect("written");
    let mut server = Server::start_in("", &[("GREENROOM_SERVER_SECRET_COMMAND", &format!("cat '{file}'"))]);
    set(&server, "token", "drowssap");
    let log = log_of(&mut server, |server| server.restart_in(&[("GREENROOM_SERVER_SECRET_FILE", &file)]));
    assert!(!log.contains("stored secrets"), "it is the same one: {log}");
    assert!(!server.log().contains(OLD));

    let mut command = greenroom(folder.path());
    command.envs([("GREENROOM_SERVER_SECRET", NEW), ("GREENROOM_SERVER_SECRET_PREVIOUS", OLD)]);
    command.args(["config", "show", "--json"]);
    let shown = run(command, b"");
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!(!shown.stdout.contains(OLD) && !shown.stdout.contains(NEW), "{}", shown.stdout);
    assert!(shown.stdout.contains("(hidden)"), "{}", shown.stdout);
}
