//! The truss client 0.18, command line and library, by each way that `greenroom client-env` knows and that needs no change to the machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    harness::{Going, Ran, Server, answer, eventually, model, run},
    packages::{environment, here},
    recipe,
};

const PACKAGES: [&str; 1] = ["truss==0.18.35"];

const CONFIG: &str = "# kept as it is\nmodel_name: walk\nresources:\n  cpu: \"1\"\n  memory: 1Gi\n";

const ECHO: &str = r#"
class Model:
    def predict(self, request):
        return {"echo": request}
"#;

const BROKEN: &str = r#"
class Model:
    def load(self):
        raise ValueError("boom")

    def predict(self, request):
        return request
"#;

/// A user of truss: a home of their own, and the environment that `client-env` prints.
struct User<'s> {
    server: &'s Server,
    recipe: &'static str,
    python: PathBuf,
    home: TempDir,
}

impl<'s> User<'s> {
    fn new(server: &'s Server, recipe: &'static str) -> Option<Self> {
        let python = environment("truss-venv", &PACKAGES)?;
        Some(Self { server, recipe, python, home: tempfile::tempdir().expect("a folder") })
    }

    /// Runs a program of truss's environment as somebody would who has followed the documentation.
    fn run(&self, program: &str, args: &[&str]) -> Ran {
        let begin = Instant::now();
        let ran = run(self.command(program, args), b"");
        say(&format!("{:>6.2} s  {program} {}", begin.elapsed().as_secs_f32(), args.join(" ")));
        ran
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let program = self.python.parent().expect("it lies in bin").join(program);
        let mut command = recipe::command(self.server, self.recipe, self.home.path(), &program, args);
        command.env("TRUSS_NO_UPDATE_CHECK", "1").env("BASETEN_TRUSS_AUTH_KEYRING_DISABLED", "1").env("COLUMNS", "300");
        command
    }

    /// `truss ...`, which has to succeed.
    fn truss(&self, args: &[&str]) -> String {
        let ran = self.run("truss", args);
        assert_eq!(ran.code, 0, "truss {args:?}: {}", ran.shown());
        ran.stdout
    }

    /// `truss push DIR ... --output json`.
    fn push(&self, folder: &Path, flags: &[&str]) -> Value {
        let base = ["push", text(folder), "--non-interactive", "--wait", "--output", "json"];
        let shown = self.truss(&[&base, flags].concat());
        let json = shown.find('{').expect("JSON among what is said");
        serde_json::from_str(&shown[json..]).unwrap_or_else(|error| panic!("{error}: {shown}"))
    }
}

#[expect(clippy::print_stderr, reason = "how long each step took")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn server() -> Server {
    Server::start_with("[proxy]\ntls = \"on\"\n")
}

#[test]
fn truss_leads_a_model_through_its_life_through_the_server_as_a_proxy() {
    life("proxy");
}

#[test]
fn truss_leads_a_model_through_its_life_under_the_hosted_services_names() {
    life("tls");
}

/// Waits until an environment has taken over what was pushed for it, which comes right after the client has seen it ACTIVE.
fn until_served(server: &Server, environment: &str, deployment: &str) {
    let is_it = |one: &Value| one["id"] == deployment && one["environment"] == environment;
    let began = Instant::now();
    while !server.json(&["deployments", "walk"])["deployments"].as_array().expect("a list").iter().any(is_it) {
        assert!(began.elapsed() < Duration::from_secs(60), "{environment} does not serve {deployment}");
    }
}

fn life(recipe: &'static str) {
    let server = server();
    let Some(user) = User::new(&server, recipe) else { return };
    assert!(user.truss(&["whoami"]).contains("admin@localhost"));

    let echo = model(CONFIG, ECHO);
    let first = user.push(echo.path(), &[]);
    let model_id = id(&first, "model_id");
    until_served(&server, "production", &id(&first, "id"));
    let asked = user.truss(&["predict", "--target-directory", text(echo.path()), "--published", "-d", r#"{"x": 1}"#]);
    assert!(asked.contains(r#""x": 1"#), "{asked}");

    server.json(&["environments", "create", "walk", "staging"]);
    let flags = ["--environment", "staging", "--deployment-name", "dep-1", "--labels", r#"{"team": "red"}"#, "--tail"];
    let second = user.push(echo.path(), &flags);
    let deployment = &second["deployment"];
    assert_eq!((&deployment["name"], &deployment["labels"]["team"]), (&"dep-1".into(), &"red".into()));
    until_served(&server, "staging", &id(&second, "id"));

    let flags =
        ["--promote", "--preserve-previous-production-deployment", "--deploy-timeout-minutes", "12", "--no-cache"];
    let third = user.push(echo.path(), &flags);
    let old = server.json(&["deployments", "walk"]);
    let status = |id: &str| {
        let of = |one: &Value| (one["id"] == id).then(|| one["status"].as_str().unwrap_or_default().to_owned());
        old["deployments"].as_array().expect("a list").iter().find_map(of).expect("it is there")
    };
    assert_eq!(status(&id(&first, "id")), "ACTIVE", "it was to be preserved");

    let (model_flag, deployment_flag) = (["--model-id", &model_id], ["--deployment-id", &id(&third, "id")]);
    let of_third = [&model_flag[..], &deployment_flag[..]].concat();
    let logs = user.truss(&[&["model-logs"], &of_third[..]].concat());
    assert!(logs.contains("is ready"), "{logs}");
    let config = user.truss(&[&["model-config"], &of_third[..]].concat());
    assert!(config.contains("# kept as it is"), "{config}");
    let target = user.home.path().join("downloaded");
    user.truss(&[&["download"], &of_third[..], &["--out-dir", text(&target)]].concat());
    let downloaded = fs::read_to_string(target.join("model/model.py")).expect("the model is there");
    assert_eq!(downloaded.trim(), ECHO.trim());
}

fn id(answer: &Value, field: &str) -> String {
    answer["deployment"][field].as_str().unwrap_or_else(|| panic!("no {field} in {answer:#}")).to_owned()
}

#[test]
fn what_truss_is_refused_it_tells_its_user_with_the_reason_and_an_exit_code() {
    let server = server();
    let Some(user) = User::new(&server, "proxy") else { return };
    let fails = |folder: &Path, flags: &[&str], expected: &str| {
        let ran = user.run("truss", &[&["push", text(folder), "--non-interactive"], flags].concat());
        assert_eq!(ran.code, 1, "{}", ran.shown());
        assert!(ran.shown().contains(expected), "{expected:?} in {}", ran.shown());
    };
    let broken = model(CONFIG, BROKEN);
    fails(broken.path(), &["--wait"], "DEPLOY_FAILED");
    fails(broken.path(), &["--wait", "--output", "json"], "`load` raised ValueError: boom");
    fails(broken.path(), &["--environment", "nowhere"], "there is no environment nowhere");
    let large = model("model_name: large\nresources:\n  cpu: \"4000\"\n", ECHO);
    fails(large.path(), &[], "resources");
    let elsewhere = model("model_name: elsewhere\nmodel_class_filename: missing.py\n", ECHO);
    fails(elsewhere.path(), &[], "the archive has no file \"model/missing.py\"");
    // A model of which nothing is published in development: the client knows no other word for it.
    let echo = model("model_name: echo\n", ECHO);
    let pushed = user.push(echo.path(), &[]);
    let asked = user.truss(&["predict", "--model", &id(&pushed, "model_id"), "-d", "{}"]);
    assert!(asked.contains("--published"), "{asked}");
}

#[tokio::test]
async fn truss_reloads_a_model_live_under_the_hosted_services_names() {
    let server = server();
    let Some(user) = User::new(&server, "tls") else { return };
    let folder = model(CONFIG, &versioned(1));
    let save = |text: &str| fs::write(folder.path().join("model/model.py"), text).expect("written");
    let begin = |args: &[&str]| {
        let mut command = user.command("truss", args);
        command.env("PYTHONUNBUFFERED", "1");
        Going::start(command)
    };
    let predict = async || {
        let id = server.json(&["status", "walk"])["model"]["id"].as_str().expect("an id").to_owned();
        let path = format!("/models/{id}/development/predict");
        answer(server.request(reqwest::Method::POST, &path).json(&serde_json::json!({}))).await
    };
    let until = async |version: u32| {
        let began = Instant::now();
        eventually("the new answer", || async { (predict().await == (200, version.into())).then_some(()) }).await;
        say(&format!("{:>6.2} s  from the saved file to the new answer", began.elapsed().as_secs_f32()));
    };
    let watching = begin(&["push", text(folder.path()), "--watch", "--non-interactive"]);
    watching.until_said("Watching for changes", 1).await;
    assert_eq!(predict().await, (200, 1.into()));
    save(&versioned(2));
    until(2).await;
    watching.until_said("patched successfully", 1).await;
    save(&format!("{}\n    def load(self):\n        raise ValueError(\"boom\")\n", versioned(9)));
    watching.until_said("ValueError: boom", 1).await;
    watching.until_said("Model left in original state", 1).await;
    assert_eq!(predict().await, (200, 2.into()));
    drop(watching);

    let config = format!("{CONFIG}environment_variables:\n  MODE: fast\nrequirements:\n- six==1.17.0\n");
    fs::write(folder.path().join("config.yaml"), config).expect("written");
    save(
        "import os, six\n\nclass Model:\n    def predict(self, x):\n        return [os.environ[\"MODE\"], six.__version__]\n",
    );
    let watching = begin(&["watch", text(folder.path()), "--non-interactive"]);
    let expected = serde_json::json!(["fast", "1.17.0"]);
    eventually("all that has changed meanwhile", || async {
        (predict().await == (200, expected.clone())).then_some(())
    })
    .await;
    watching.until_said("patched successfully", 1).await;
    drop(watching);

    let shown = server.json(&["deployments", "walk"])["deployments"][0].clone();
    let ids = ["model_id", "id"].map(|field| shown[field].as_str().expect("an id").to_owned());
    let logs = begin(&["model-logs", "--model-id", &ids[0], "--deployment-id", &ids[1], "--tail"]);
    logs.until_said("the patch is in force", 1).await;
    drop(logs);

    let hot = begin(&["watch", text(folder.path()), "--non-interactive", "--hot-reload"]);
    hot.until_said("Watching for changes", 1).await;
    save(&versioned(3));
    until(3).await;
    let with_state = |version: u32| {
        format!(
            "import os\nclass Model:\n    def predict(self, x):\n        self.made = getattr(self, 'made', os.urandom(8).hex())\n        return [{version}, self.made]\n"
        )
    };
    let mut seen = Vec::new();
    for version in [4, 5] {
        save(&with_state(version));
        let answer = eventually("the new answer", || async {
            let answer = predict().await.1;
            (answer[0] == version).then_some(answer)
        });
        seen.push(answer.await[1].clone());
    }
    assert_eq!(seen[0], seen[1], "the same object, with what it has made");
}

fn versioned(version: u32) -> String {
    format!("class Model:\n    def predict(self, x):\n        return {version}\n")
}

#[test]
fn the_truss_library_pushes_a_large_model_to_development_and_calls_it() {
    let server = server();
    let Some(user) = User::new(&server, "proxy") else { return };
    let echo = model("model_name: draft\n", ECHO);
    fs::create_dir(echo.path().join("data")).expect("made");
    // Over the size from which the client uploads in parts.
    fs::write(echo.path().join("data/weights.bin"), vec![7; 20 << 20]).expect("written");
    let script = here().join("tests/clients/truss_push.py");
    let ran = user.run("python", &[text(&script), text(echo.path())]);
    assert_eq!(ran.code, 0, "{}", ran.shown());
    let asked = user.truss(&["predict", "--target-directory", text(echo.path()), "-d", r#"{"x": 2}"#]);
    assert!(asked.contains(r#""x": 2"#), "{asked}");
}
