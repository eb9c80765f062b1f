//! New code in the process that runs.

use std::path::{Path, PathBuf};

use api::internal::replica::NotSwapped;
use serde_json::{Value, json};

use crate::support::{Draft, Replica, request};

/// A model that says which code answers, with which helper, in which process, and how often it has been loaded.
fn source(version: u32, predict: &str) -> String {
    format!(
        "import asyncio, os, threading\nfrom model.helper import NAME\nclass Model:\n    loads = 0\n    def load(self):\n        self.loads = self.loads + 1\n        self.gate = threading.Event()\n    {predict}\n        if inputs == 'wait':\n            open('/tmp/waits', 'w').close()\n            while not os.path.exists('/tmp/go'): threading.Event().wait(0.01)\n        return [{version}, NAME, os.getpid(), self.loads]\n"
    )
}

const PLAIN: &str = "def predict(self, inputs):";

/// The app of another build.
fn build(parent: &Path, version: u32, model: &str, helper: &str) -> PathBuf {
    let app = parent.join(format!("build-{version}"));
    std::fs::create_dir_all(app.join("model")).unwrap();
    std::fs::write(app.join("model/model.py"), model).unwrap();
    std::fs::write(app.join("model/helper.py"), format!("NAME = {helper:?}\n")).unwrap();
    app
}

async fn ready(concurrency: u32) -> Replica {
    let mut draft = Draft::model(&source(1, PLAIN));
    std::fs::write(draft.app().join("model/helper.py"), "NAME = 'one'\n").unwrap();
    draft.spec.predict_concurrency = concurrency;
    draft.ready().await
}

async fn swap(replica: &Replica, app: &Path) -> (u16, String) {
    replica.exchange(request("POST", "/_greenroom/swap", json!({ "app": app }).to_string())).await
}

fn refusal((status, text): (u16, String)) -> (u16, NotSwapped) {
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

#[tokio::test]
async fn new_code_takes_over_the_state_and_requests_under_way_end_with_the_old() {
    for concurrency in [1, 8] {
        let replica = ready(concurrency).await;
        let before = replica.predicted(json!("x")).await;
        assert_eq!((&before[0], &before[1], &before[3]), (&json!(1), &json!("one"), &json!(1)));
        let under_way = replica.predict(json!("wait"));
        let swapped = async {
            replica.until("the request", || replica.file("tmp/waits").exists().then_some(())).await;
            let app = build(replica.data(), 2, &source(2, PLAIN), "two");
            assert_eq!(swap(&replica, &app).await, (200, "{}".into()));
            std::fs::write(replica.file("tmp/go"), "").unwrap();
        };
        let ((status, text), ()) = tokio::join!(under_way, swapped);
        let old: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &old), (200, &before), "what began with the old code");
        let after = replica.predicted(json!("x")).await;
        assert_eq!(after, json!([2, "two", before[2], 1]), "another class and helper, the same process and state");

        let app = build(replica.data(), 3, &source(3, PLAIN), "two");
        assert_eq!(swap(&replica, &app).await.0, 200, "again");
        assert_eq!(replica.predicted(json!("x")).await, json!([3, "two", before[2], 1]));
    }
}

#[tokio::test]
async fn a_whole_day_of_edits_goes_into_one_process() {
    let replica = ready(1).await;
    // More than the kernel follows links one after the other.
    for version in 2..60 {
        let app = build(replica.data(), version, &source(version, PLAIN), "one");
        assert_eq!(swap(&replica, &app).await.0, 200, "the {version}th");
    }
    let last = replica.predicted(json!("x")).await;
    assert_eq!((&last[0], &last[1], &last[3]), (&json!(59), &json!("one"), &json!(1)));
}

#[tokio::test]
async fn code_that_does_not_work_changes_nothing_and_says_why() {
    let replica = ready(1).await;
    let before = replica.predicted(json!("x")).await;
    for (version, model, message, detail) in [
        (2, "import nonexistent_module\n", "could not be imported: ModuleNotFoundError", "model.py\", line 1"),
        (3, "class Model\n", "SyntaxError", "class Model"),
        (4, "class Other: pass\n", "has no class `Model`", ""),
        (
            5,
            "from model.helper import GONE\nclass Model:\n    def predict(self, x): return x\n",
            "cannot import name 'GONE'",
            "",
        ),
        (6, "class Model:\n    pass\n", "needs a `predict`", ""),
    ] {
        let app = build(replica.data(), version, model, "two");
        let (status, why) = refusal(swap(&replica, &app).await);
        assert_eq!((status, why.is_broken), (422, true), "{why:?}");
        assert!(
            why.message.contains(message) && why.detail.unwrap_or_default().contains(detail),
            "{message}: {}",
            why.message
        );
        assert_eq!(replica.predicted(json!("x")).await, before, "after {message}");
    }
    let app = build(replica.data(), 7, &source(7, PLAIN), "seven");
    assert_eq!(swap(&replica, &app).await.0, 200, "mended");
    assert_eq!(replica.predicted(json!("x")).await[1], "seven");
}

#[tokio::test]
async fn what_needs_another_process_is_told_apart() {
    let replica = ready(1).await;
    for (version, model, message) in [
        (2, source(2, "async def predict(self, inputs):"), "served in another way"),
        (3, source(3, "def is_healthy(self): return True\n    def predict(self, inputs):"), "`is_healthy`"),
        (4, source(4, "__slots__ = ()\n    def predict(self, inputs):"), "state of the old one"),
    ] {
        let app = build(replica.data(), version, &model, "two");
        let (status, why) = refusal(swap(&replica, &app).await);
        assert_eq!((status, why.is_broken), (409, false), "{why:?}");
        assert!(why.message.contains(message), "{why:?}");
    }
    let (status, why) = refusal(swap(&replica, &replica.data().join("nowhere")).await);
    assert_eq!(status, 409, "{why:?}");
    assert_eq!(replica.predicted(json!("x")).await[0], 1);
}
