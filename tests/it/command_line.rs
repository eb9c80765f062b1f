//! What people see: help, tables, errors, and the exit codes that scripts rely on.

use crate::harness::{API_KEY, Ran, Server, example, greenroom, run};

fn offline(args: &[&str]) -> Ran {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = greenroom(home.path());
    command.args(args);
    run(command, b"")
}

/// Hides what differs from run to run: ids, ages, ports, durations.
fn check(name: &str, text: &str) {
    let filters = vec![
        (r"\b[0-9a-z]{8}\b  +([0-9])", "MODELID  $1"),
        (r"\([0-9a-z]{8}\)", "(MODELID)"),
        (r"models/[0-9a-z]{8}/", "models/MODELID/"),
        (r"model [0-9a-z]{8} has", "model MODELID has"),
        // Which statuses are seen on the way, and for how long, is a matter of luck.
        (r"deployment-[0-9]+: [A-Z_]+[^\n]*\n", ""),
        (r"production: [A-Z_]+ [^\n]*\n", ""),
        (r"\(pack [^)]*\)", "(PHASES)"),
        (r"(deployment-[0-9]+) +[0-9a-z]{7}\b", "$1  DEPLOY"),
        (r"(deployment-[0-9]+) \([0-9a-z]{7}\)", "$1 (DEPLOY)"),
        (r"(?m)^[0-9a-z]{5}( +deployment-)", "REPLICA$1"),
        (r"([0-9]) +[0-9a-z]{7}( +[0-9]+[smhd])", "$1  DEPLOY$2"),
        (r"127\.0\.0\.1:[0-9]+", "HOST:PORT"),
        (r"\b[0-9]+[smhd]\b", "AGE"),
        (r"[0-9]+\.[0-9]+ s\b", "TIME"),
        (r"[0-9]+ min TIME", "TIME"),
        (r" +\n", "\n"),
        (r"  +", "  "),
    ];
    insta::with_settings!({filters => filters}, { insta::assert_snapshot!(name, text) });
}

#[test]
fn help_names_every_verb_and_exit_code() {
    let ran = offline(&["--help"]);
    assert_eq!(ran.code, 0);
    insta::assert_snapshot!("help", ran.stdout);
}

#[test]
fn every_shell_gets_a_completion_script() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = offline(&["completions", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.stdout.contains("deactivate"), "{shell}");
    }
}

#[test]
fn bash_completes_verbs_flags_and_values() {
    let script = offline(&["completions", "bash"]).stdout;
    // What bash does at a press of the tabulator: it calls the registered function with the words so far.
    let check = |line: &str, expected: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let press = format!(
            "{script}\nCOMP_WORDS=({})\nCOMP_CWORD={}\n_greenroom greenroom '{last}' '{before}'\necho ${{COMPREPLY[*]}}",
            words.iter().map(|word| format!("'{word}' ")).collect::<String>(),
            words.len() - 1
        );
        let mut bash = std::process::Command::new("bash");
        // Longer than one argument may be.
        bash.args(["--norc", "-s"]);
        let ran = run(bash, press.as_bytes());
        assert_eq!((ran.stdout.trim(), ran.stderr.as_str()), (expected, ""), "{line}");
    };
    check("greenroom dea", "deactivate");
    check("greenroom push --deployment-n", "--deployment-name");
    check("greenroom environments c", "create");
    check("greenroom completions z", "zsh");
}

#[test]
fn failures_before_any_server_answers_have_codes_and_hints() {
    check("no-such-verb", &offline(&["pusch"]).shown());
    check("no-key", &offline(&["models"]).shown());
    check("no-model", &offline(&["push", "/"]).shown());
    // A port that was free a moment ago: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let home = tempfile::tempdir().expect("a folder");
    let unreachable = |arguments: &[&str]| {
        let mut command = greenroom(home.path());
        command.env("GREENROOM_API_KEY", API_KEY).env("GREENROOM_URL", format!("http://{free}")).args(arguments);
        run(command, b"")
    };
    check("unreachable", &unreachable(&["models"]).shown());
    check("unreachable-json", &unreachable(&["models", "--json"]).shown());
}

#[test]
fn a_life_with_one_model_reads_well() {
    let server = Server::start();
    check("nothing-yet", &server.greenroom(&["models"]).shown());
    check("unknown-model", &server.greenroom(&["status", "nobody"]).shown());
    check("push", &server.greenroom(&["push", example("hello").to_str().expect("UTF-8")]).shown());
    check("models", &server.greenroom(&["models"]).shown());
    check("status", &server.greenroom(&["status", "hello"]).shown());
    check("environments", &server.greenroom(&["environments", "list", "hello"]).shown());
    check("name-taken", &server.greenroom(&["environments", "create", "hello", "production"]).shown());
    check("predict-not-json", &server.greenroom(&["predict", "hello", "--data", "{oops"]).shown());
    check("wrong-environment", &server.greenroom(&["predict", "hello", "-e", "nowhere", "--data", "{}"]).shown());
}

#[test]
fn a_login_is_remembered_for_its_own_server_only() {
    let server = Server::start();
    let home = tempfile::tempdir().expect("a folder");
    let command = |arguments: &[&str]| {
        let mut command = greenroom(home.path());
        command.args(arguments);
        command
    };
    let wrong = run(command(&["login", "--url", &server.url]), b"wrong.key\n");
    assert_eq!(wrong.code, 3, "{}", wrong.stderr);
    let right = run(command(&["login", "--url", &server.url]), format!("{API_KEY}\n").as_bytes());
    assert_eq!(right.code, 0, "{}", right.stderr);
    assert!(!right.stdout.contains(API_KEY) && !right.stderr.contains(API_KEY));
    assert_eq!(run(command(&["models"]), b"").code, 0, "the login is used");
    let elsewhere = run(command(&["models", "--url", "http://192.0.2.1"]), b"");
    assert_eq!(elsewhere.code, 3, "the key is not shown to another server: {}", elsewhere.stderr);
}
