//! A folder that is edited while its development deployment is watched.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::harness::{Server, answer, eventually, model};

const CONFIG: &str = "model_name: m\n";

fn class(version: u32) -> String {
    format!("class Model:\n    def predict(self, x):\n        return {version}\n")
}

fn save(folder: &Path, file: &str, text: &str) {
    fs::write(folder.join(file), text).expect("written");
}

/// What the development deployment answers.
async fn ask(server: &Server) -> (u16, Value) {
    let id = server.json(&["status", "m"])["model"]["id"].as_str().expect("an id").to_owned();
    answer(server.request(reqwest::Method::POST, &format!("/models/{id}/development/predict")).json(&json!({}))).await
}

async fn until_answers(server: &Server, expected: Value) {
    eventually("the new answer", || async { (ask(server).await == (200, expected.clone())).then_some(()) }).await;
}

#[tokio::test]
async fn what_is_saved_answers_and_what_is_broken_leaves_the_old_answer() {
    let server = Server::start();
    let folder = model(CONFIG, &class(1));
    let dir = folder.path().to_str().expect("UTF-8");
    let missing = server.greenroom(&["watch", dir]);
    assert_eq!(missing.code, 4, "{}", missing.stderr);
    assert!(missing.stderr.contains("greenroom push --watch"), "{}", missing.stderr);

    let watching = server.begin(&["push", dir, "--watch"]);
    watching.until_said("Watching", 1).await;
    assert_eq!(ask(&server).await, (200, json!(1)));
    save(folder.path(), "model/model.py", &class(2));
    until_answers(&server, json!(2)).await;
    watching.until_said("In force", 1).await;

    let broken = format!("{}\n    def load(self):\n        raise ValueError('boom')\n", class(9));
    save(folder.path(), "model/model.py", &broken);
    watching.until_said("raise ValueError('boom')", 1).await;
    assert_eq!(ask(&server).await, (200, json!(2)));
    save(folder.path(), "model/model.py", "class Model(:\n");
    watching.until_said("invalid syntax", 1).await;
    save(folder.path(), "config.yaml", "model_name: [\n");
    watching.until_said("not valid YAML", 1).await;
    save(folder.path(), "config.yaml", "model_name: m\nresources: { cpu: \"2\" }\n");
    save(folder.path(), "model/model.py", &class(3));
    watching.until_said("only a push can change resources", 1).await;
    assert_eq!(ask(&server).await, (200, json!(2)));

    save(
        folder.path(),
        "config.yaml",
        "model_name: m\nenvironment_variables: { MODE: fast }\nrequirements: [six==1.17.0]\n",
    );
    let with_all = "import os, six, own\n\nclass Model:\n    def predict(self, x):\n        \
                    return [os.environ['MODE'], six.__version__, own.WORD]\n";
    save(folder.path(), "model/model.py", with_all);
    fs::create_dir(folder.path().join("packages")).expect("made");
    save(folder.path(), "packages/own.py", "WORD = 'ours'\n");
    until_answers(&server, json!(["fast", "1.17.0", "ours"])).await;
    fs::remove_file(folder.path().join("packages/own.py")).expect("removed");
    watching.until_said("ModuleNotFoundError", 1).await;
    assert_eq!(ask(&server).await, (200, json!(["fast", "1.17.0", "ours"])));
    save(folder.path(), "model/model.py", &class(4));
    until_answers(&server, json!(4)).await;
    assert_eq!(watching.interrupt(), Some(130));
}

#[tokio::test]
async fn a_hot_reload_keeps_the_process_and_what_load_has_made() {
    let server = Server::start();
    let class = |version: u32| {
        format!(
            "import os\nclass Model:\n    def load(self):\n        self.weights = os.urandom(8).hex()\n    def predict(self, x):\n        return [{version}, self.weights]\n"
        )
    };
    let folder = model(CONFIG, &class(1));
    let dir = folder.path().to_str().expect("UTF-8");
    let alone = server.greenroom(&["push", dir, "--hot-reload"]);
    assert_eq!((alone.code, alone.stderr.contains("add --watch")), (2, true), "{}", alone.stderr);

    let watching = server.begin(&["push", dir, "--watch", "--hot-reload"]);
    watching.until_said("Watching", 1).await;
    let (_, first) = ask(&server).await;
    save(folder.path(), "model/model.py", &class(2));
    until_answers(&server, json!([2, first[1]])).await;
    watching.until_said("In force", 1).await;
    save(folder.path(), "model/model.py", &format!("import nowhere_at_all\n{}", class(9)));
    watching.until_said("ModuleNotFoundError: No module named 'nowhere_at_all'", 1).await;
    assert_eq!(ask(&server).await, (200, json!([2, first[1]])));
    save(folder.path(), "model/helper.py", "WORD = 'helped'\n");
    let with_helper = class(3).replace("return [3", "from model.helper import WORD\n        return [WORD");
    save(folder.path(), "model/model.py", &with_helper);
    until_answers(&server, json!(["helped", first[1]])).await;

    let asynchronous = class(4).replace("def predict", "async def predict");
    save(folder.path(), "model/model.py", &asynchronous);
    eventually("another process", || async { (ask(&server).await.1[0] == 4).then_some(()) }).await;
    assert_ne!(ask(&server).await.1[1], first[1], "what cannot be had in the process gets another one");
    save(folder.path(), "config.yaml", "model_name: m\nenvironment_variables: { MODE: fast }\n");
    watching.until_said("In force", 4).await;
    assert_eq!(watching.interrupt(), Some(130));
    let logs = server.greenroom(&["logs", "m"]).stdout;
    assert!(logs.contains("its state is kept") && logs.contains("a process of its own"), "{logs}");
}

#[tokio::test]
async fn watching_takes_up_what_has_changed_meanwhile_and_what_is_promoted_is_what_runs() {
    let server = Server::start();
    let folder = model(CONFIG, &class(1));
    let dir = folder.path().to_str().expect("UTF-8");
    server.json(&["push", dir, "--development"]);
    save(folder.path(), "model/model.py", &class(2));
    let watching = server.begin(&["watch", dir, "--json"]);
    watching.until_said("\"in_force\"", 1).await;
    assert_eq!(ask(&server).await, (200, json!(2)));
    save(folder.path(), "model/model.py", &class(3));
    watching.until_said("\"in_force\"", 2).await;
    drop(watching);

    let id = server.json(&["status", "m"])["model"]["id"].as_str().expect("an id").to_owned();
    let promote = format!("/v1/models/{id}/deployments/development/promote");
    assert_eq!(server.post(&promote, &json!({})).await.0, 200);
    let predict = format!("/models/{id}/environments/production/predict");
    eventually("production has the patched code", || async {
        let served = server.get(&format!("/v1/models/{id}/environments/production")).await.1;
        let is_there = served["current_deployment"].is_object();
        let asked = answer(server.request(reqwest::Method::POST, &predict).json(&json!({}))).await;
        (is_there && asked == (200, json!(3))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_request_fails_while_the_code_is_replaced() {
    let server = Server::start();
    let folder = model(CONFIG, &class(1));
    let dir = folder.path().to_str().expect("UTF-8");
    let watching = server.begin(&["push", dir, "--watch", "--json"]);
    watching.until_said("\"endpoint\"", 1).await;
    let id = server.json(&["status", "m"])["model"]["id"].as_str().expect("an id").to_owned();
    let predict = format!("/models/{id}/development/predict");
    let call = || answer(server.request(reqwest::Method::POST, &predict).json(&json!({})));
    let edits = async {
        for version in 2..=6 {
            save(folder.path(), "model/model.py", &class(version));
            watching.until_said("\"in_force\"", version as usize - 1).await;
        }
    };
    let calls = async {
        let mut last = 1;
        while last != 6 {
            let (status, value) = call().await;
            let version = value.as_u64().unwrap_or_else(|| panic!("{status}: {value}"));
            assert!(version >= last, "the old code answered after the new one");
            last = version;
        }
    };
    futures::join!(edits, calls);
}
