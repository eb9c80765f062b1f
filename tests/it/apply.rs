//! Settings, policies, secrets and environments as YAML: applied, shown, compared.

use std::path::Path;

use crate::harness::{Ran, Server, example, greenroom, run};

pub const LOCATIONS: &str = r#"
locations = [{ name = "paris", country = "fr", continent = "eu", flavors = [{ type = "cpu", name = "x86", count = 4 }] }]
"#;

/// Named in the wrong order on purpose: what is named by others is applied first.
pub const ALL: &str = "\
kind: Environment
model: hello
name: staging
policies: [eu-only, hourly]
autoscaling_settings: {min_replica: 0, max_replica: 3}
promotion_settings: {rolling_deploy: true}
request_backpressure_settings: {policy: REJECT_ON_FULL}
---
kind: EnvironmentGroup
name: staging
is_restricted: true
---
kind: Secret
name: hf_access_token
value_from: {file: token}
---
kind: Policy
name: eu-only
type: location
locations: [{type: continent, name: eu}]
---
kind: Policy
name: hourly
type: maxToken
max_tokens: {granularity: hour, total: 1000}
---
kind: WorkspaceSettings
default_environment: staging
initial_environments: [staging]
";

pub fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    path.to_str().expect("UTF-8").to_owned()
}

pub fn lines(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().collect()
}

#[tokio::test]
async fn documents_are_applied_once_and_what_is_shown_applies_without_a_change() {
    let server = Server::start_with(LOCATIONS);
    server.push(&example("hello"));
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "token", "hunter2\n");
    let file = write(folder.path(), "all.yaml", ALL);
    let ran = |args: &[&str]| server.greenroom(args);

    let differs = ran(&["diff", "-f", &file]);
    assert_eq!(differs.code, 1, "{}", differs.shown());
    assert!(differs.stdout.contains("+ environment staging of hello"), "{}", differs.stdout);
    let would = ran(&["apply", "-f", &file, "--dry-run"]);
    assert_eq!((would.code, lines(&would)[0]), (0, "workspace settings would be changed"), "{}", would.stderr);
    assert_eq!(ran(&["diff", "-f", &file]).code, 1, "nothing has been done yet");

    let applied = ran(&["apply", "-f", &file]);
    let expected = [
        "workspace settings changed",
        "policy eu-only created",
        "policy hourly created",
        "secret hf_access_token created",
        "environment staging of hello created",
        "environment group staging created",
    ];
    assert_eq!(lines(&applied), expected, "{}", applied.stderr);
    let same = ran(&["diff", "-f", &file]);
    assert_eq!((same.code, same.stdout.as_str()), (0, ""), "{}", same.shown());
    let again = ran(&["apply", "-f", &file]);
    let is_quiet = |line: &&str| line.ends_with(" unchanged") || *line == "secret hf_access_token set";
    assert!(again.code == 0 && lines(&again).iter().all(is_quiet), "{}", again.shown());

    let shown = ran(&["get", "all", "-o", "yaml"]);
    assert!(!shown.stdout.contains("hunter2"));
    let before = server.json(&["audit"]);
    let back = server.greenroom_with_input(&["apply", "-f", "-"], shown.stdout.as_bytes());
    assert!(back.code == 0 && lines(&back).iter().all(|line| line.ends_with(" unchanged")), "{}", back.shown());
    assert_eq!(server.json(&["audit"]), before, "nothing was written");

    let wider = ALL.replace("max_replica: 3", "max_replica: 4");
    let differs =
        server.greenroom_with_input(&["diff", "-f", "-"], wider.replace("{file: token}", "{env: HOME}").as_bytes());
    assert_eq!(differs.stdout, "~ environment staging of hello\n    autoscaling_settings.max_replica: 3 → 4\n");
    let table = ran(&["get", "environments", "staging"]);
    assert!(table.stdout.contains("hello") && table.stdout.contains("\"max_replica\":3"), "{}", table.stdout);
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_place_before_anything_changes() {
    let server = Server::start_with(LOCATIONS);
    server.push(&example("hello"));
    let folder = tempfile::tempdir().expect("a folder");
    let settings = "kind: WorkspaceSettings\ndefault_environment: staging\n---\n";
    for (document, message) in [
        ("kind: Pod\n", "document 2: kind: \"Pod\" is none of WorkspaceSettings, Policy"),
        ("kind: Policy\nname: p\ntype: location\nplaces: []\n", "document 2: places: unknown field `places`"),
        (
            "kind: Environment\nmodel: nonesuch\nname: e\n",
            "document 2, environment e of nonesuch: no model has the name",
        ),
        ("kind: Secret\nname: s\n", "document 2, secret s: it is not there: say with value_from"),
        (
            "kind: Secret\nname: s\nvalue_from: {env: GREENROOM_NONESUCH}\n",
            "the variable GREENROOM_NONESUCH is not set",
        ),
        ("kind: EnvironmentGroup\nname: e\nis_restricted: true\n", "no model has an environment of this name"),
        ("kind: WorkspaceSettings\n", "it is described twice"),
        (
            "kind: Environment\nmodel: hello\nname: e\nautoscaling_settings: {min_replica: 5, max_replica: 2}\n",
            "document 2, environment e of hello: ",
        ),
    ] {
        let file = write(folder.path(), "wrong.yaml", &format!("{settings}{document}"));
        for dry in [&[][..], &["--dry-run"]] {
            let ran = server.greenroom(&[&["apply", "-f", &file], dry].concat());
            assert!(ran.code > 1, "{}", ran.shown());
            assert!(ran.stderr.contains(message), "{message:?} in {}", ran.stderr);
        }
    }
    let settings = server.json(&["settings"]);
    assert_eq!(settings["default_environment"], serde_json::Value::Null, "nothing was applied: {settings}");
    for verb in ["apply", "diff"] {
        let lost = server.greenroom(&[verb, "-f", "/nonesuch.yaml"]);
        assert_eq!(lost.code, 2, "{}", lost.shown());
    }
}

#[tokio::test]
async fn what_a_member_may_not_do_is_refused_before_anything_changes() {
    let server = Server::start_with(LOCATIONS);
    server.push(&example("hello"));
    let member = server.greenroom(&["users", "add", "ann@example.com", "--with-key"]).stdout.trim().to_owned();
    let staging = "kind: Environment\nmodel: hello\nname: staging\n";
    let policy = "kind: Policy\nname: fr\ntype: location\nlocations: [{type: country, name: fr}]\n";
    assert_eq!(server.greenroom_with_input(&["apply", "-f", "-"], policy.as_bytes()).code, 0);
    for (documents, message) in [
        (
            format!("{staging}---\nkind: EnvironmentGroup\nname: staging\nis_restricted: true\n"),
            "restrict environments named staging",
        ),
        (format!("{staging}policies: [fr]\n"), "attach policies to environments"),
        (format!("{staging}---\n{}", policy.replace("name: fr}", "name: de}")), "change policies"),
        (format!("{staging}---\n{}", policy.replace("name: fr\n", "name: eu\n")), "make policies"),
    ] {
        let mut command = greenroom(server.folder());
        command.env("GREENROOM_URL", &server.url).env("GREENROOM_API_KEY", &member).args(["apply", "-f", "-"]);
        let refused = run(command, documents.as_bytes());
        assert_eq!(refused.code, 3, "{documents}{}", refused.shown());
        assert!(refused.stderr.contains(message), "{message:?} in {}", refused.stderr);
    }
    let environments = server.greenroom(&["environments", "list", "hello"]);
    assert!(!environments.stdout.contains("staging"), "{}", environments.stdout);
}
