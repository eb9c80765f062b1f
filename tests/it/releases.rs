//! The story of two environments, with replicas that run: what is released, what stays, and what is told of it.

use crate::harness::{Server, model};

const CLASS: &str = "class Model:\n    def predict(self, x): return 'VERSION'\n";

/// Pushes a version of model `m`; the workspace says where to.
fn push(server: &Server, version: &str, args: &[&str]) {
    let folder =
        model(&format!("model_name: m\nmodel_metadata: {{version: {version}}}"), &CLASS.replace("VERSION", version));
    let ran = server.greenroom(&[&["push", folder.path().to_str().expect("UTF-8")], args].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

/// What an environment answers.
fn answer(server: &Server, environment: &str) -> String {
    let ran = server.greenroom(&["predict", "m", "--environment", environment, "--data", "0"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stdout.trim().trim_matches('"').to_owned()
}

#[tokio::test]
async fn production_gets_what_development_serves_and_development_goes_on() {
    let server = Server::start();
    let ran = |args: &[&str]| {
        let ran = server.greenroom(args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran
    };
    ran(&["settings", "set", "initial-environments", "development"]);
    ran(&["settings", "set", "default-environment", "development"]);
    push(&server, "A", &["--environment", "production"]);
    push(&server, "B", &[]);
    assert_eq!((answer(&server, "production"), answer(&server, "development")), ("A".into(), "B".into()));

    let before = server.json(&["environments", "list", "m"]);
    let plan = ran(&["release", "m", "--from", "development", "--to", "production", "--plan"]);
    assert!(plan.stdout.contains("~ config model_metadata.version: \"A\" → \"B\""), "{}", plan.stdout);
    assert_eq!(server.json(&["environments", "list", "m"]), before, "a plan changes nothing");
    let released = ran(&["release", "m", "--from", "development", "--to", "production", "--wait"]);
    assert!(released.stderr.contains("~ config model_metadata.version: \"A\" → \"B\""), "{}", released.stderr);
    assert_eq!((answer(&server, "production"), answer(&server, "development")), ("B".into(), "B".into()));

    push(&server, "C", &[]);
    assert_eq!((answer(&server, "production"), answer(&server, "development")), ("B".into(), "C".into()));
    let history = server.json(&["rollout", "history", "m", "production"]);
    assert_eq!(history["promotions"][0]["difference"]["changes"][0]["part"], "ARTIFACT", "{history:#}");
    ran(&["rollback", "m", "production", "--wait"]);
    assert_eq!(answer(&server, "production"), "A");
}
