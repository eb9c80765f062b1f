//! What a model class may do, and what its callers see.

use std::time::{Duration, Instant};

use api::internal::replica::{Level, Program};
use http::header;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::{Draft, Replica, request};

#[tokio::test]
async fn a_plain_model_answers_in_the_order_of_json() {
    let replica = Draft::model(
        "class Model:\n    def predict(self, inputs):\n        return {'got': inputs, 'é': [1.5, None]}\n",
    )
    .ready()
    .await;
    assert_eq!(
        replica.predict(json!({"b": 1, "a": 2})).await,
        (200, "{\"got\": {\"a\": 2, \"b\": 1}, \"\\u00e9\": [1.5, null]}".into())
    );
    let (status, text) = replica.exchange(request("POST", "/v1/models/model:predict", "{nope")).await;
    assert_eq!(status, 400);
    assert!(text.starts_with("{\"error\":\"Invalid JSON payload: "), "{text}");
    let (status, text) = replica.exchange(request("POST", "/v1/completions", "{}")).await;
    assert_eq!((status, text.as_str()), (404, "{\"error\":\"`completions` must only be called if model has it.\"}"));
}

#[tokio::test]
async fn every_kind_of_step_works_with_every_other() {
    let source = r#"
import asyncio
class Model:
    async def preprocess(self, inputs):
        await asyncio.sleep(0)
        return inputs + ["preprocess"]
    def predict(self, inputs):
        return inputs + ["predict"]
    async def postprocess(self, result):
        return result + ["postprocess"]
    async def embeddings(self, inputs):
        return {"embeddings": inputs}
    async def messages(self, inputs):
        for number in range(3):
            yield str(number)
"#;
    let replica = Draft::model(source).ready().await;
    assert_eq!(replica.predicted(json!(["in"])).await, json!(["in", "preprocess", "predict", "postprocess"]));
    let embeddings = replica.exchange(request("POST", "/v1/embeddings", "1")).await;
    assert_eq!(embeddings, (200, "{\"embeddings\": 1}".into()));
    assert_eq!(replica.exchange(request("POST", "/v1/messages", "1")).await, (200, "012".into()));
}

#[tokio::test]
async fn a_constructor_gets_only_what_it_names() {
    let replica = Draft::model(
        "class Model:\n    def __init__(self, environment):\n        self.e = environment\n    def predict(self, x):\n        return self.e\n",
    );
    assert_eq!(replica.ready().await.predicted(json!(1)).await, Value::Null);
    let source = "class Model:\n    def __init__(self, **kwargs):\n        self.k = sorted(kwargs)\n    def predict(self, x):\n        return self.k\n";
    let expected = json!(["config", "data_dir", "environment", "lazy_data_resolver", "secrets"]);
    assert_eq!(Draft::model(source).ready().await.predicted(json!(1)).await, expected);
}

#[tokio::test]
async fn places_mean_what_the_contract_says() {
    let source = r#"
import os
import helper
class Model:
    def predict(self, path):
        if path == "write":
            open("/app/data/new", "w").write("x")
            open(os.path.expanduser("~/new"), "w").write("x")
            return os.getcwd()
        if path == "environment":
            return dict(os.environ)
        return open(path).read()
"#;
    let mut draft = Draft::model(source);
    let packages = draft.app().join("../packages");
    std::fs::create_dir(&packages).unwrap();
    std::fs::write(packages.join("helper.py"), "").unwrap();
    let app = draft.app();
    if let Program::Truss { packages: field, config, .. } = &mut draft.spec.program {
        *field = Some(packages.canonicalize().unwrap());
        config["secrets"] = json!({"token": null});
    }
    draft.secrets.insert("token".into(), "t0ken".into());
    draft.spec.environment = Some(json!({"name": "production"}));
    draft.spec.environment_variables = [("MINE", "1"), ("PORT", "9"), ("K_X", "1"), ("CUDA_VISIBLE_DEVICES", "0")]
        .map(|(a, b)| (a.into(), b.into()))
        .into();
    let replica = draft.ready().await;
    if replica.log().iter().any(|line| line.message.contains("no private file system")) {
        return; // this machine has no mount namespaces; the log says so
    }
    assert_eq!(replica.predicted(json!("/secrets/token")).await, json!("t0ken"));
    assert_eq!(
        replica.predicted(json!("/etc/b10_dynamic_config/environment")).await,
        json!("{\"name\":\"production\"}")
    );
    assert_eq!(replica.predicted(json!("/app/model/model.py")).await, json!(source));
    assert_eq!(
        replica.predicted(json!("/etc/hostname")).await,
        json!(std::fs::read_to_string("/etc/hostname").unwrap())
    );
    assert_eq!(replica.predicted(json!("write")).await, json!("/app"));
    assert!(!app.join("data/new").exists(), "the deployment's folder belongs to all its replicas");
    assert!(replica.directory.join("home/new").exists());
    let environment = replica.predicted(json!("environment")).await;
    assert_eq!(environment["MINE"], "1");
    assert_eq!(environment["PORT"], "8080");
    assert_eq!(environment["CUDA_VISIBLE_DEVICES"], "", "it has asked for none");
    assert_eq!(environment["HOME"], "/home/app");
    assert_eq!(environment["APP_HOME"], "/app");
    assert!(environment["BT_MODEL_ID"].is_string() && environment["BT_MODEL_DEPLOYMENT_ID"].is_string());
    assert!(environment.get("K_X").is_none() && environment.get("SECRET_OF_THE_SERVER").is_none());
}

#[tokio::test]
async fn new_values_of_secrets_reach_a_model_that_runs() {
    let source = r#"
import os
class Model:
    def __init__(self, secrets):
        self.secrets = secrets
    def predict(self, name):
        try:
            value = self.secrets[name]
        except Exception as error:
            value = type(error).__name__
        if not os.path.isdir("/secrets"):
            return {"value": value}
        try:
            open("/secrets/mine", "w")
            closed = False
        except OSError:
            closed = True
        return {"value": value, "files": {it: open("/secrets/" + it).read() for it in os.listdir("/secrets")},
                "mode": oct(os.stat("/secrets/" + os.listdir("/secrets")[0]).st_mode & 0o777), "closed": closed}
"#;
    let mut draft = Draft::model(source);
    draft.config()["secrets"] = json!({"a": null, "b": null});
    draft.secrets = [("a", "old a"), ("b", "old b")].map(|(name, value)| (name.into(), value.into())).into();
    let replica = draft.ready().await;
    let has_files = !replica.says("no private file system");
    let check = async |name: &str, value: &str, files: serde_json::Value| {
        let told = replica.predicted(json!(name)).await;
        assert_eq!(told["value"], value);
        if has_files {
            assert_eq!((&told["files"], &told["mode"], &told["closed"]), (&files, &json!("0o600"), &json!(true)));
        }
    };
    check("a", "old a", json!({"a": "old a", "b": "old b"})).await;
    let change = async |secrets: serde_json::Value| {
        let (status, body) = replica.exchange(request("PUT", "/_greenroom/secrets", secrets.to_string())).await;
        assert_eq!(status, 200, "{body}");
    };
    change(json!({"a": "new a", "b": "old b"})).await;
    until_value(&replica, "a", "new a").await;
    check("a", "new a", json!({"a": "new a", "b": "old b"})).await;
    change(json!({"a": "new a"})).await;
    until_value(&replica, "b", "SecretNotFound").await;
    check("a", "new a", json!({"a": "new a"})).await;
    assert!(!replica.log().iter().any(|line| line.message.contains("new a")));
}

async fn until_value(replica: &Replica, name: &str, value: &str) {
    // The worker takes note of it beside its requests.
    while replica.predicted(json!(name)).await["value"] != value {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn annotated_input_is_validated_and_described() {
    let source = r#"
from pydantic import BaseModel
class Input(BaseModel):
    text: str
    count: int = 1
class Output(BaseModel):
    words: list
class Model:
    def predict(self, inputs: Input) -> Output:
        return Output(words=[inputs.text] * inputs.count)
"#;
    let replica = Draft::model(source).ready().await;
    assert_eq!(replica.predict(json!({"text": "a", "count": 2})).await, (200, "{\"words\":[\"a\",\"a\"]}".into()));
    let (status, text) = replica.predict(json!({"count": "many"})).await;
    assert_eq!(status, 400);
    assert!(text.contains("Input Parsing Errors:") && text.contains("`text`: Field required."), "{text}");
    let (status, schema) = replica.get("/v1/models/model/schema").await;
    let schema: Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(status, 200);
    assert_eq!(schema["input_schema"]["properties"]["text"]["type"], "string");
    assert_eq!(schema["supports_streaming"], false);
}

#[tokio::test]
async fn numpy_results_become_json() {
    let source = r#"
import numpy
class Model:
    def predict(self, inputs):
        return {"a": numpy.arange(3), "f": numpy.float32(0.5), "i": numpy.int64(7), "n": [numpy.zeros((1, 2))]}
"#;
    let replica = Draft::model(source).ready().await;
    let expected = "{\"a\": [0, 1, 2], \"f\": 0.5, \"i\": 7, \"n\": [[[0.0, 0.0]]]}";
    assert_eq!(replica.predict(json!(1)).await, (200, expected.into()));
}

#[tokio::test]
async fn binary_bodies_keep_their_types_in_both_directions() {
    let source = r#"
import datetime, decimal, uuid
class Model:
    def predict(self, inputs):
        known = {
            "day": datetime.date(2026, 1, 2), "time": datetime.time(3, 4), "delta": datetime.timedelta(1, 2, 3),
            "moment": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
            "price": decimal.Decimal("1.10"), "id": uuid.UUID(int=5),
        }
        return known if inputs is None else {name: inputs[name] == value for name, value in known.items()}
"#;
    let replica = Draft::model(source).ready().await;
    let binary = |body: Vec<u8>| {
        let mut request = request("POST", "/v1/models/model:predict", body);
        request.headers_mut().insert(header::CONTENT_TYPE, "application/octet-stream".parse().unwrap());
        request
    };
    let sent = replica.send(binary(vec![0xc0])).await.into_body().collect().await.unwrap().to_bytes();
    let compared = replica.send(binary(sent.into())).await.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(compared[0], 0x86, "a map of six");
    assert_eq!(compared.iter().filter(|byte| **byte == 0xc3).count(), 6, "six times true: {compared:?}");
}

#[tokio::test]
async fn large_bodies_travel_whole_in_both_directions() {
    let echo = "class Model:\n    def predict(self, inputs):\n        return inputs\n";
    for (source, concurrency) in [(echo.to_owned(), 1), (echo.replace("def predict", "async def predict"), 4)] {
        let mut draft = Draft::model(&source);
        draft.spec.predict_concurrency = concurrency;
        draft.spec.max_body_bytes = 100 << 20;
        let replica = draft.ready().await;
        // Below and above the limit for shared memory, and more at once than the arena holds.
        for length in [100, 300 << 10, 5 << 20] {
            let text = json!("x".repeat(length));
            let answers = futures::future::join_all((0..16).map(|_| replica.predict(text.clone()))).await;
            for (status, answer) in answers {
                assert_eq!(status, 200);
                assert_eq!(answer.len(), length + 2);
            }
        }
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let mut draft = Draft::model("class Model:\n    def predict(self, inputs):\n        return 1\n");
    draft.spec.max_body_bytes = 1000;
    let replica = draft.ready().await;
    let (status, text) = replica.predict(json!("x".repeat(2000))).await;
    assert_eq!(status, 413);
    assert!(text.contains("exceeds maximum size of 1000 bytes") && text.contains("payload_too_large"), "{text}");
}

#[tokio::test]
async fn log_lines_carry_their_request_and_level() {
    let source = r#"
import logging
class Model:
    def predict(self, inputs):
        print("raw line")
        logging.getLogger("mine").warning("careful")
        return inputs["missing"]
"#;
    let replica = Draft::model(source).ready().await;
    let mut failing = request("POST", "/v1/models/model:predict", "{}");
    failing.headers_mut().insert("x-baseten-request-id", "r-17".parse().unwrap());
    let (status, text) = replica.exchange(failing).await;
    assert_eq!((status, text.as_str()), (500, "{\"error\":\"Internal Server Error (in model/chainlet).\"}"));
    let careful = replica.log_line("careful").await;
    assert_eq!((careful.level, careful.request_id.as_deref()), (Some(Level::Warning), Some("r-17")));
    let failure = replica.log_line("KeyError: 'missing'").await;
    assert_eq!((failure.level, failure.request_id.as_deref()), (Some(Level::Error), Some("r-17")));
    assert!(failure.message.contains("model.py"), "{}", failure.message);
    assert_eq!(replica.log_line("raw line").await.level, None);
}

const COUNTING: &str = r#"
import asyncio, threading
from time import sleep
class Model:
    def __init__(self):
        self.inside = self.most = self.closed = 0
        self.lock = threading.Lock()
    def enter(self):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
    def leave(self):
        with self.lock:
            self.inside -= 1
    STEPS
    def completions(self, inputs):
        return {"inside": self.inside, "most": self.most, "closed": self.closed}
"#;

/// The source of a model that counts who is inside `predict`.
fn counting(steps: &str) -> String {
    COUNTING.replace("STEPS", &steps.replace('\n', "\n    "))
}

async fn counts(replica: &crate::support::Replica) -> Value {
    serde_json::from_str(&replica.exchange(request("POST", "/v1/completions", "{}")).await.1).unwrap()
}

#[tokio::test]
async fn no_more_than_predict_concurrency_are_inside_predict() {
    let sync = "def predict(self, inputs):\n    self.enter()\n    sleep(0.05)\n    self.leave()\n    return 1";
    let stream = "async def predict(self, inputs):\n    self.enter()\n    for number in range(3):\n        await asyncio.sleep(0.02)\n        yield 'x'\n    self.leave()";
    for (steps, concurrency) in [(sync, 1), (sync, 3), (stream, 2)] {
        let mut draft = Draft::model(&counting(steps));
        draft.spec.predict_concurrency = concurrency;
        let replica = draft.ready().await;
        let answers = futures::future::join_all((0..9).map(|_| replica.predict(json!(1)))).await;
        assert!(answers.iter().all(|(status, _)| *status == 200));
        assert_eq!(counts(&replica).await["most"], concurrency, "{steps}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_model() {
    let waits = "async def predict(self, inputs):\n    self.enter()\n    try:\n        if inputs: await asyncio.sleep(600)\n    finally:\n        self.closed += 1\n        self.leave()\n    return 1";
    let streams = "def predict(self, inputs):\n    self.enter()\n    try:\n        while inputs:\n            yield 'x'\n            sleep(0.01)\n    finally:\n        self.closed += 1\n        self.leave()";
    for steps in [waits, streams] {
        let replica = Draft::model(&counting(steps)).ready().await;
        let leaving = replica.predict(json!(1));
        let left = tokio::time::timeout(Duration::from_millis(300), leaving).await;
        assert!(left.is_err(), "the answer never comes");
        let answered = tokio::time::timeout(Duration::from_secs(5), replica.predict(json!(0))).await;
        assert_eq!(answered.expect("the slot is free again").0, 200);
        assert_eq!(counts(&replica).await["closed"], 2);
    }
}

#[tokio::test]
async fn requests_whose_client_has_left_are_not_begun() {
    let source = "from time import sleep\nclass Model:\n    n = 0\n    def predict(self, inputs):\n        self.n += 1\n        sleep(0.3)\n        return self.n\n";
    let replica = Draft::model(source).ready().await;
    let patience = Duration::from_millis(100);
    let leaving = (0..4).map(|_| tokio::time::timeout(patience, replica.predict(json!(1))));
    assert!(futures::future::join_all(leaving).await.iter().all(Result::is_err));
    // The first was running already. Of the others none is begun.
    assert_eq!(replica.predicted(json!(1)).await, json!(2));
}

#[tokio::test]
async fn a_busy_model_still_counts_as_alive_and_healthy() {
    let source = r#"
import re
class Model:
    def is_healthy(self):
        return True
    def predict(self, inputs):
        re.match(r"(a+)+$", "a" * inputs + "b")  # holds the interpreter's lock all along
        return 1
"#;
    let replica = Draft::model(source).ready().await;
    let busy = replica.predict(json!(24));
    let asked = async {
        replica.in_flight(1).await;
        let start = Instant::now();
        assert_eq!(replica.get("/").await, (200, "true".into()));
        assert!(start.elapsed() < Duration::from_millis(500));
        assert_eq!(replica.get("/v1/models/model").await, (200, "{}".into()));
    };
    let ((status, _), ()) = tokio::join!(busy, asked);
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let mut draft = Draft::model(
        "import asyncio\nclass Model:\n    async def predict(self, inputs):\n        await asyncio.sleep(600)\n",
    );
    draft.spec.request_timeout_ms = 300;
    let replica = draft.ready().await;
    let (status, text) = replica.predict(json!(1)).await;
    assert_eq!(status, 504);
    assert!(text.contains("\"error_code\":\"timeout\""), "{text}");
}

#[tokio::test]
async fn a_slow_reader_makes_the_model_wait() {
    for source in [
        "class Model:\n    made = 0\n    def predict(self, inputs):\n        while True:\n            Model.made += 1\n            print('made', Model.made)\n            yield 'x' * 100000\n",
        "class Model:\n    made = 0\n    async def predict(self, inputs):\n        while True:\n            Model.made += 1\n            print('made', Model.made)\n            yield 'x' * 100000\n",
    ] {
        let replica = Draft::model(source).ready().await;
        let answer = replica.send(request("POST", "/v1/models/model:predict", "1")).await;
        replica.log_line("made 10").await;
        // Nothing reads the body: production comes to rest.
        let rest = |replica: &crate::support::Replica| replica.log().len();
        let mut before = rest(&replica);
        let start = Instant::now();
        loop {
            // polls for a condition
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = rest(&replica);
            if now == before {
                break;
            }
            before = now;
            assert!(start.elapsed() < Duration::from_secs(10), "the model never pauses");
        }
        // Reading on makes it go on.
        let mut body = answer.into_body();
        let mut read = 0;
        while read < 20_000_000 {
            read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
        }
    }
}

#[tokio::test]
async fn a_stream_goes_on_when_its_slow_reader_does() {
    let source = r#"
from time import monotonic, sleep
class Model:
    def predict(self, inputs):
        start, is_rested = monotonic(), False
        for number in range(60):
            print("made", number)
            if monotonic() - start > 1 and not is_rested:
                is_rested = True
                sleep(0.3)  # so that its reader has read everything before there is more
            yield "x" * 100000
"#;
    let mut draft = Draft::model(source);
    draft.spec.streaming_read_timeout_ms = 600;
    let replica = draft.ready().await;
    let answer = replica.send(request("POST", "/v1/models/model:predict", "1")).await;
    replica.log_line("made 11").await;
    // A reader that is slower than a model may be: time is what the test is about.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!replica.says("made 59"), "the model was held");
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), 6_000_000);
}

#[tokio::test]
async fn background_work_is_done_after_the_response() {
    let source = r#"
import asyncio, threading
from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse
class Model:
    def predict(self, inputs):
        async def work():
            await asyncio.sleep(0.3)
            print("worked for", inputs)
        async def pieces():
            yield b"whole"
        kinds = {"whole": Response, "stream": lambda _, **others: StreamingResponse(pieces(), **others)}
        return kinds[inputs](b"whole", background=BackgroundTask(work), headers={"content-length": "5"})
"#;
    for source in [source.to_owned(), source.replace("def predict", "async def predict")] {
        let replica = Draft::model(&source).ready().await;
        for kind in ["whole", "stream"] {
            assert_eq!(replica.predict(json!(kind)).await, (200, "whole".into()));
            assert!(!replica.says(&format!("worked for {kind}")), "nobody waits for it");
            replica.log_line(&format!("worked for {kind}")).await;
        }
    }
}

#[tokio::test]
async fn an_event_loop_outlives_what_requests_raise() {
    let source = r#"
import asyncio
class Panic(BaseException): pass
class Model:
    async def predict(self, inputs):
        kinds = {"panic": Panic, "cancel": asyncio.CancelledError, "exit": SystemExit, "stop": StopIteration}
        if inputs in kinds:
            raise kinds[inputs]("no")
        return inputs
"#;
    for source in
        [source.to_owned(), source.replace("async def", "def") + "    async def completions(self, inputs): pass\n"]
    {
        let replica = Draft::model(&source).ready().await;
        for kind in ["panic", "cancel", "exit", "stop"] {
            let expected = (500, "{\"error\":\"Internal Server Error (in model/chainlet).\"}".into());
            assert_eq!(replica.predict(json!(kind)).await, expected);
        }
        replica.log_line("Panic: no").await;
        replica.log_line("StopIteration: no").await;
        assert_eq!(replica.predicted(json!("well")).await, json!("well"));
    }
}

#[tokio::test]
async fn a_type_without_a_schema_is_served_all_the_same() {
    let source = r#"
from typing import Any, Callable, Optional
from pydantic import BaseModel
class Input(BaseModel):
    text: str
    then: Optional[Callable[[], Any]] = None
class Model:
    def predict(self, inputs: Input):
        return inputs.text
"#;
    let replica = Draft::model(source).ready().await;
    assert_eq!(replica.predicted(json!({"text": "a"})).await, json!("a"));
    replica.log_line("`Input` has no JSON schema").await;
}

#[tokio::test]
async fn response_objects_pass_through() {
    let source = r#"
from starlette.responses import Response, StreamingResponse
class Model:
    def predict(self, inputs):
        if inputs == "stream":
            async def pieces():
                yield b"a"
                yield b"b"
            return StreamingResponse(pieces(), status_code=201, headers={"x-mine": "1"})
        return Response(b"\x00\x01", media_type="image/png", headers={"set-cookie": "a=b"})
"#;
    for source in [source.to_owned(), source.replace("def predict", "async def predict")] {
        let replica = Draft::model(&source).ready().await;
        let image = replica.send(request("POST", "/v1/models/model:predict", "1")).await;
        assert_eq!(image.headers()["content-type"], "image/png");
        assert_eq!(image.headers()["set-cookie"], "a=b");
        assert_eq!(&image.into_body().collect().await.unwrap().to_bytes()[..], b"\x00\x01");
        let stream = replica.send(request("POST", "/v1/models/model:predict", "\"stream\"")).await;
        assert_eq!((stream.status().as_u16(), &stream.headers()["x-mine"]), (201, &"1".parse().unwrap()));
        assert_eq!(&stream.into_body().collect().await.unwrap().to_bytes()[..], b"ab");
    }
}
