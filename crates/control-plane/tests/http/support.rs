//! A server to test against, and what tests do with it again and again.

mod tasks;

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use api::id::{DeploymentId, TeamId};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header, request},
};
use control_plane::{ControlPlane, RateLimits, Settings, ops};
use futures::stream;
use planner::{Timestamp, catalogue::Catalogue};
use serde_json::{Value, json};
use store::{Blobs, Location, Options, SecretKey, Store, sqlite_url};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uploads::Issuer;

/// The moment at which every test begins: 2026-01-02T03:04:05.678Z.
pub const START: Timestamp = Timestamp(1_767_323_045_678);
const LONGEST_ANSWER: usize = 4 << 20;

/// A server without a network.
pub struct TestApp {
    pub store: Store,
    pub key: String,
    pub router: Router,
    /// Cancelled when the server is to end.
    pub stopping: CancellationToken,
    blobs: Blobs,
    now: Arc<AtomicU64>,
    _folder: TempDir,
}

/// What it answers.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{:#}", self.body);
        self.body
    }

    /// Checks an error: its status, its code, and how its message begins.
    #[track_caller]
    pub fn refuses(&self, status: u16, code: &str, message: &str) {
        let found = self.body["message"].as_str().unwrap_or_default();
        assert_eq!((self.status.as_u16(), self.body["code"].as_str()), (status, Some(code)), "{:#}", self.body);
        assert!(found.contains(message), "expected {message:?} in {found:?}");
    }

    /// Checks a 400.
    #[track_caller]
    pub fn is_invalid(&self, message: &str) {
        self.refuses(400, "VALIDATION_ERROR", message);
    }
}

/// A model with a deployment.
#[derive(Debug, Clone)]
pub struct Pushed {
    pub model: String,
    pub deployment: String,
}

impl Pushed {
    /// The deployment's address.
    pub fn path(&self, rest: &str) -> String {
        format!("/v1/models/{}/deployments/{}{rest}", self.model, self.deployment)
    }

    /// The model's address.
    pub fn model_path(&self, rest: &str) -> String {
        format!("/v1/models/{}{rest}", self.model)
    }

    pub fn deployment_id(&self) -> DeploymentId {
        self.deployment.parse().unwrap()
    }
}

impl TestApp {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server with other settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret_key = SecretKey::new([7; 32]);
        let url = sqlite_url(&folder.path().join("greenroom.db"));
        let store = Store::open(&Options { url, secret_key: secret_key.clone() }).await.unwrap();
        let blobs = Blobs::open(&Location::Folder(folder.path().join("blobs"))).unwrap();
        let now = Arc::new(AtomicU64::new(START.0));
        let key = ops::bootstrap(&store, START, None).await.unwrap().unwrap();
        let mut settings = Settings::new(Some("http://localhost:8000/"), Catalogue::of(&[]));
        // Tests are faster than people.
        let plenty = NonZeroU32::new(100_000).unwrap();
        settings.rate_limits =
            RateLimits { requests_per_second: plenty, sign_ins_per_minute: plenty, ..RateLimits::default() };
        change(&mut settings);
        let clock = {
            let now = now.clone();
            Arc::new(move || Timestamp(now.load(Ordering::Relaxed)))
        };
        let issuer = Issuer::new(&secret_key);
        let stopping = CancellationToken::new();
        let router = control_plane::router(ControlPlane::new(
            settings,
            store.clone(),
            blobs.clone(),
            issuer,
            clock,
            stopping.clone(),
        ));
        Self { store, key, blobs, router, now, stopping, _folder: folder }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::Relaxed))
    }

    pub fn pass(&self, millis: u64) {
        self.now.fetch_add(millis, Ordering::Relaxed);
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    /// A call with the administrator's key.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.call_as(Some(&self.key), method, path, body).await
    }

    /// A call with any key, or none.
    pub async fn call_as(&self, key: Option<&str>, method: Method, path: &str, body: Option<Value>) -> Answer {
        let authorization = key.map(|key| format!("Api-Key {key}"));
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(method, path, authorization.as_deref(), body).await
    }

    /// A POST to this server under this name, with the administrator's key.
    pub async fn post_at(&self, host: &str, path: &str, body: Value) -> Answer {
        let request = Request::post(path).header(header::HOST, host);
        self.answer(request, Some(&format!("Api-Key {}", self.key)), Body::from(body.to_string())).await
    }

    /// A call with everything as it is given.
    pub async fn send(&self, method: Method, path: &str, authorization: Option<&str>, body: Body) -> Answer {
        self.answer(Request::builder().method(method).uri(path), authorization, body).await
    }

    pub async fn answer(&self, request: request::Builder, authorization: Option<&str>, body: Body) -> Answer {
        let mut request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        self.answer_to(request.body(body).unwrap()).await
    }

    pub async fn answer_to(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, LONGEST_ANSWER).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into());
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// The only team there is.
    pub async fn team(&self) -> TeamId {
        self.store.teams().await.unwrap().remove(0).id
    }

    /// Puts an archive where an upload would have put it.
    pub async fn upload(&self, archive: Vec<u8>) -> String {
        let key = uploads::object_key(&self.team().await, rand::random());
        self.upload_as(&key, archive).await;
        key
    }

    pub async fn upload_as(&self, key: &str, archive: Vec<u8>) {
        let content = stream::iter([Ok::<_, std::io::Error>(Bytes::from(archive))]);
        self.blobs.put(key, content, u64::MAX).await.unwrap();
    }

    /// Makes a model with a first deployment.
    pub async fn push_model(&self, name: &str) -> Pushed {
        let s3_key = self.upload(model_archive()).await;
        let source = json!({ "kind": "model_archive", "name": name, "deployment": { "config": {} }, "s3_key": s3_key });
        pushed(self.post("/v1/models", json!({ "source": source })).await.ok())
    }

    /// Adds a deployment to a model.
    pub async fn push(&self, model: &str, deployment: Value) -> Answer {
        let s3_key = self.upload(model_archive()).await;
        let source = json!({ "kind": "model_archive", "deployment": deployment, "s3_key": s3_key });
        self.post(&format!("/v1/models/{model}/deployments"), json!({ "source": source })).await
    }

    /// The names of all models, to see that nothing was left behind.
    pub async fn model_names(&self) -> Vec<String> {
        let models = self.get("/v1/models").await.ok();
        models["models"].as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap().into()).collect()
    }

    /// A team of this name.
    pub async fn make_team(&self, name: &str) -> String {
        self.post("/v1/teams", json!({ "name": name })).await.ok()["id"].as_str().unwrap().to_owned()
    }

    /// Somebody in these teams, by `(team, role)`: their id and a key of theirs.
    pub async fn make_person(&self, email: &str, teams: &[(&str, &str)]) -> (String, String) {
        let teams: Vec<_> = teams.iter().map(|(id, role)| json!({ "team_id": id, "role": role })).collect();
        self.pass(1);
        let request = json!({ "email": email, "teams": teams, "with_api_key": true });
        let made = self.post("/v1/users", request).await.ok();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&made["user"]["user_id"]), text(&made["api_key"]))
    }

    /// A key of this type, made through the API.
    pub async fn make_key(&self, kind: &str) -> String {
        let answer = self.post("/v1/api_keys", json!({ "type": kind })).await.ok();
        answer["api_key"].as_str().unwrap().to_owned()
    }
}

/// A model whose production serves the first deployment, and a second one that is active by itself.
pub async fn stage(app: &TestApp) -> (Pushed, Pushed) {
    let first = app.push_model("iris").await;
    app.make_active(&first).await;
    let second = another(app, &first).await;
    app.make_active(&second).await;
    (first, second)
}

/// Another deployment of the model, by itself.
pub async fn another(app: &TestApp, first: &Pushed) -> Pushed {
    app.pass(1000);
    pushed(app.push(&first.model, json!({ "config": {} })).await.ok())
}

/// The address of the model's production environment.
pub fn production(one: &Pushed, rest: &str) -> String {
    one.model_path(&format!("/environments/production{rest}"))
}

/// The ids in the answer to a push.
pub fn pushed(answer: Value) -> Pushed {
    let id = |part: &str| answer[part]["id"].as_str().unwrap().to_owned();
    Pushed { model: id("model"), deployment: id("deployment") }
}

/// The archive of a model that could run.
pub fn model_archive() -> Vec<u8> {
    archive_of(&[("config.yaml", "model_name: iris\n"), ("model/model.py", "class Model: ...\n")])
}

/// An archive of these files.
pub fn archive_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        // The name is set as bytes, so that a test can write one that a well-behaved program would not.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Replaces what differs from run to run.
pub fn redacted(mut body: Value) -> Value {
    redact(&mut body);
    body
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match name.as_str() {
                    "id" | "model_id" | "deployment_id" | "user_id" if field.is_string() => {
                        *field = format!("[{name}]").into();
                    }
                    name if name.ends_with("_deployment_id") && field.is_string() => *field = "[deployment_id]".into(),
                    // These are named by what they are.
                    "instance_type" => {}
                    _ => redact(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}
