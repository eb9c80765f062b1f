//! A replica that is made ready long before it has its order.

use api::internal::replica::{Phase, Program, file};
use serde_json::json;

use crate::support::{Draft, Replica};

/// Tells what it was loaded with, and which modules were there before any of its own code ran.
const CURIOUS: &str = r#"
import sys
before = sorted(name for name in ("colorsys", "wave") if name in sys.modules)
import colorsys
import os.path
class Model:
    def __init__(self, **kwargs):
        self.environment, self.secrets = kwargs["environment"], kwargs["secrets"]
    def load(self):
        with open("/secrets/token") as file:
            self.token = file.read()
        with open("/tmp/written", "w") as file:
            file.write("by the model")
    def predict(self, inputs):
        return {"before": before, "environment": self.environment, "token": self.token, "secret": self.secrets["token"],
                "pid": __import__("os").getpid()}
"#;

fn draft(source: &str) -> Draft {
    let mut draft = Draft::model(source);
    draft.config()["secrets"] = json!({"token": null});
    draft.secrets.insert("token".into(), "s3cret".into());
    draft
}

/// Where the list of modules is kept.
fn note_modules(draft: &mut Draft, list: Option<&str>) {
    let path = draft.data().join("modules.json");
    if let Some(list) = list {
        std::fs::write(&path, list).unwrap();
    }
    let Program::Truss { modules, .. } = &mut draft.spec.program else { unreachable!("a model") };
    *modules = Some(path);
}

fn noted(replica: &Replica) -> Vec<String> {
    serde_json::from_slice(&std::fs::read(replica.data().join("modules.json")).unwrap()).unwrap()
}

#[tokio::test]
async fn an_order_finds_everything_ready_but_what_only_it_can_give() {
    let mut draft = draft(CURIOUS);
    note_modules(&mut draft, Some(r#"["wave", "no_such_module"]"#));
    let mut standby = draft.stand_by();
    assert!(!standby.directory.join(file::STATUS).exists(), "it is no replica yet");
    standby.prepared().await;
    standby.draft.spec.environment = Some(json!({"name": "staging"}));
    standby.draft.spec.ordered_at_ms = 1;
    let replica = standby.order();
    let status = replica.phase("ready", |phase| *phase == Phase::Ready).await;
    assert!(status.start.decide_ms.is_some() && status.start.spawn_ms.is_some(), "{status:?}");
    let told = replica.predicted(json!(null)).await;
    assert_eq!(told["before"], json!(["wave"]));
    assert_eq!(told["environment"], json!({"name": "staging"}));
    assert_eq!((told["token"].as_str(), told["secret"].as_str()), (Some("s3cret"), Some("s3cret")));
    let written = std::fs::read_to_string(replica.directory.join("tmp/written"));
    assert_eq!(written.unwrap(), "by the model", "its folders have moved along");
}

#[tokio::test]
async fn what_a_model_has_imported_is_noted_down_for_the_next() {
    let mut draft = draft(CURIOUS);
    note_modules(&mut draft, None);
    let replica = draft.ready().await;
    let names = noted(&replica);
    assert!(names.iter().any(|name| name == "colorsys"), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("model")), "its own code is loaded with secrets only: {names:?}");
}

#[tokio::test]
async fn a_model_that_may_set_variables_before_it_imports_is_not_anticipated() {
    let mut draft = draft(&format!("import os\nos.environ['WAVE'] = '1'\n{CURIOUS}"));
    note_modules(&mut draft, Some(r#"["wave"]"#));
    let replica = draft.ready().await;
    assert_eq!(noted(&replica), Vec::<String>::new());
}

#[tokio::test]
async fn without_an_order_it_ends_with_all_that_it_has_started() {
    let mut standby = draft(CURIOUS).stand_by();
    drop(standby.child.stdin.take());
    assert!(standby.ends_well().await, "nobody needed it, which is no failure");
}

#[tokio::test]
async fn one_that_cannot_be_made_ready_does_not_wait() {
    let mut draft = draft(CURIOUS);
    let Program::Truss { python, .. } = &mut draft.spec.program else { unreachable!("a model") };
    *python = "/no/such/python".into();
    let mut standby = draft.stand_by();
    assert!(!standby.ends_well().await);
}
