//! The routes of the model-server contract, answered with the worker behind the data socket.

use std::{
    cell::{Cell, OnceCell, RefCell},
    io,
    path::PathBuf,
    rc::Rc,
};

use api::{
    error::InferenceCode,
    internal::{
        replica::{NotSwapped, Program, Spec},
        trace::{TIMING, Timing},
    },
};
use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use crate::{
    arena::{Outgoing, UNIT},
    asked::{Asked, Hints, meta_of, request_of},
    body::{Body, ErrorCode, json, mark_error, response},
    calls::{Answer, CallError},
    channel::{Channel, Outbound, Payload},
    control::{Control, Loaded},
    http::{inference_error, not_taken},
    protocol::{Operation, flag, meta_pairs},
    status::{Board, InFlight},
    swap, websocket,
};

/// A model in our worker.
pub struct Truss {
    /// Where to call it, once it has been loaded.
    model: OnceCell<Model>,
    arena: Outgoing,
    max_body_bytes: u64,
    environment_file: PathBuf,
    /// The folder with its code, and the deployment's folder that this is in. Another build's after a swap.
    code: Code,
    /// The environment to tell the model of when it has been loaded.
    environment: RefCell<Option<serde_json::Value>>,
    was_healthy: Cell<bool>,
}

struct Model {
    channel: Rc<Channel>,
    control: Rc<Control>,
    loaded: RefCell<Loaded>,
}

/// Where the code that runs comes from.
struct Code {
    app: RefCell<PathBuf>,
    /// Below it.
    folder: String,
}

impl Code {
    fn of(spec: &Spec) -> Self {
        let Program::Truss { app, config, .. } = &spec.program else { unreachable!("a Truss runs in a worker") };
        let folder = config["model_module_dir"].as_str().filter(|folder| !folder.is_empty()).unwrap_or("model");
        Self { app: RefCell::new(app.clone()), folder: folder.trim_matches('/').to_owned() }
    }
}

impl Model {
    /// Calls the worker and makes its answer one for HTTP.
    async fn answer(&self, request: Outbound, in_flight: InFlight, watch: Option<Instant>) -> Response<Body> {
        let mut call = match self.channel.call(request).await {
            Ok(call) => call,
            Err(error) => return call_error(error),
        };
        let queued = watch.map(|began| began.elapsed());
        let mut response = match call.answer().await {
            Ok(Answer { status, flags, meta, body }) => {
                let body = body.map_or_else(|| Body::stream(call), Body::whole);
                compose(status, flags, &meta, body.counted(in_flight))
            }
            Err(error) => call_error(error),
        };
        if let (Some(began), Some(queued)) = (watch, queued) {
            let timing = Timing { queued, answered: began.elapsed() - queued };
            let value = HeaderValue::try_from(timing.to_string()).expect("digits are a header value");
            response.headers_mut().insert(TIMING, value);
        }
        response
    }
}

impl Truss {
    /// A model that is not loaded yet.
    pub fn new(arena: Outgoing, spec: &Spec, environment_file: PathBuf) -> Rc<Self> {
        Rc::new(Self {
            model: OnceCell::new(),
            arena,
            max_body_bytes: spec.max_body_bytes.min(u64::from(u32::MAX)),
            environment_file,
            code: Code::of(spec),
            environment: RefCell::new(None),
            was_healthy: Cell::new(true),
        })
    }

    /// From now on the model answers.
    pub fn loaded(&self, channel: Rc<Channel>, control: Rc<Control>, loaded: Loaded) {
        if let Some(environment) = self.environment.take() {
            control.set_environment(environment);
        }
        let model = Model { channel, control, loaded: RefCell::new(loaded) };
        assert!(self.model.set(model).is_ok(), "a model is loaded once");
    }

    /// Goes on with the code of another build, in the same process and with what the model has loaded.
    pub async fn swap(&self, app: PathBuf) -> Result<(), NotSwapped> {
        let impossible = |message: String| NotSwapped { message, is_broken: false, detail: None };
        let Some(model) = self.model.get() else {
            return Err(impossible("the model is not loaded yet".into()));
        };
        let (before, after) = (self.code.app.borrow().join(&self.code.folder), app.join(&self.code.folder));
        let changes = tokio::task::spawn_blocking(move || swap::changes(&before, &after)).await;
        let changes = changes
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| impossible(format!("the code cannot be read: {error}")))?;
        let swapped = model.control.swap(&changes).await;
        *model.loaded.borrow_mut() =
            swapped.unwrap_or_else(|| Err(impossible("the model has not answered in time".into())))?;
        *self.code.app.borrow_mut() = app;
        Ok(())
    }

    /// Rewrites the environment file and tells the model, now or when it is loaded.
    pub fn set_environment(&self, environment: serde_json::Value) -> io::Result<()> {
        std::fs::write(&self.environment_file, environment.to_string())?;
        match self.model.get() {
            Some(model) => model.control.set_environment(environment),
            None => *self.environment.borrow_mut() = Some(environment),
        }
        Ok(())
    }

    /// Whether the model says that it is healthy. One that does not answer in time keeps its last word: it is busy.
    pub async fn is_healthy(&self) -> bool {
        let Some(model) = self.model.get() else { return false };
        if model.loaded.borrow().checks_health
            && let Some(healthy) = model.control.health().await
        {
            self.was_healthy.set(healthy);
        }
        self.was_healthy.get()
    }

    /// Answers a request.
    pub async fn answer<B: Asked>(&self, board: &Rc<Board>, request: Request<B>) -> Response<Body> {
        let path = request.uri().path();
        let is_post = request.method() == Method::POST;
        if is_post && let Some(operation) = operation_of(path) {
            return self.call(board, operation, request).await;
        }
        match path {
            "/v1/websocket" if request.headers().contains_key(header::UPGRADE) => self.websocket(board, request).await,
            "/" | "/ping" | "/metrics" | "/metrics/" if request.method() != Method::GET => wrong_method("GET"),
            "/" => json(StatusCode::OK, "true"),
            "/ping" => self.loaded_answer(),
            "/metrics" | "/metrics/" => metrics(),
            _ if operation_of(path).is_some() && model_path(path).is_none() => wrong_method("POST"),
            _ => match model_path(path) {
                None => json(StatusCode::NOT_FOUND, r#"{"detail":"Not Found"}"#),
                Some(_) if request.method() != Method::GET => wrong_method("GET"),
                Some(ModelPath::Ready) if self.is_healthy().await => json(StatusCode::OK, "{}"),
                Some(ModelPath::Ready) => not_ready(),
                Some(ModelPath::Loaded) => self.loaded_answer(),
                Some(ModelPath::Schema) => self.schema(),
            },
        }
    }

    fn loaded_answer(&self) -> Response<Body> {
        if self.model.get().is_some() { json(StatusCode::OK, "{}") } else { not_ready() }
    }

    fn schema(&self) -> Response<Body> {
        match self.model.get().map(|model| model.loaded.borrow().schema.clone()) {
            Some(Some(schema)) => json(StatusCode::OK, schema),
            Some(None) => mark_error(json(StatusCode::NOT_FOUND, r#"{"error":"No schema found"}"#), ErrorCode::Model),
            None => {
                let text = r#"{"error":"Schema not available, please try again later."}"#;
                mark_error(json(StatusCode::SERVICE_UNAVAILABLE, text), ErrorCode::Model)
            }
        }
    }

    async fn call<B: Asked>(&self, board: &Rc<Board>, operation: Operation, request: Request<B>) -> Response<Body> {
        let Some(model) = self.model.get() else {
            return not_ready();
        };
        let in_flight = board.begin();
        let (parts, body) = request.into_parts();
        let hints = Hints::of_headers(&parts.headers);
        let watch = hints.watch();
        match self.read(body).await {
            Ok(body) => {
                let (flags, meta) = (hints.flags(), meta_of(&parts, model.loaded.borrow().wants_headers));
                model.answer(Outbound { operation, flags, meta, body }, in_flight, watch).await
            }
            Err(refusal) => *refusal,
        }
    }

    /// Answers a request that came whole over a link, with its head as meta.
    pub async fn answer_whole(&self, board: &Rc<Board>, meta: Bytes, body: Bytes) -> Response<Body> {
        let hints = Hints::of_meta(&meta);
        let Some(operation) = hints.posted_to().and_then(operation_of) else {
            return match request_of(&meta, body) {
                Ok(request) => self.answer(board, request).await,
                Err(error) => {
                    let text = format!("the request is malformed: {error}");
                    inference_error(StatusCode::BAD_REQUEST, &text, InferenceCode::ClientError)
                }
            };
        };
        let Some(model) = self.model.get() else {
            return not_ready();
        };
        let size = body.len() as u64;
        if size > self.max_body_bytes {
            return too_large(size, self.max_body_bytes);
        }
        let (flags, body) = (hints.flags(), Payload::Inline(body));
        let meta = if model.loaded.borrow().wants_headers { meta.to_vec() } else { hints.ids() };
        model.answer(Outbound { operation, flags, meta, body }, board.begin(), hints.watch()).await
    }

    async fn websocket<B: Asked>(&self, board: &Rc<Board>, request: Request<B>) -> Response<Body> {
        let Some(model) = self.model.get() else {
            return not_ready();
        };
        let (parts, body) = request.into_parts();
        let outbound = Outbound {
            operation: Operation::Websocket,
            flags: 0,
            meta: meta_of(&parts, true),
            body: Payload::Inline(Bytes::new()),
        };
        let request = Request::from_parts(parts, body);
        websocket::open(request, board.begin(), model.channel.call(outbound)).await
    }

    /// The body of a request; a large one goes straight into shared memory.
    async fn read(&self, mut body: impl Asked) -> Result<Payload, Box<Response<Body>>> {
        let announced = body.size_hint().lower();
        if announced > self.max_body_bytes {
            return Err(Box::new(too_large(announced, self.max_body_bytes)));
        }
        let mut lease = if announced >= UNIT as u64 { self.arena.allocate(announced as usize) } else { None };
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Box::new(client_left()))?;
            let Ok(data) = frame.into_data() else { continue };
            length += data.len() as u64;
            if length > self.max_body_bytes {
                return Err(Box::new(too_large(length, self.max_body_bytes)));
            }
            match &mut lease {
                Some(lease) => assert!(lease.append(&data), "HTTP holds a body to its announced length"),
                None if first.is_empty() && rest.is_empty() => first = data,
                None => {
                    rest.extend_from_slice(&std::mem::take(&mut first));
                    rest.extend_from_slice(&data);
                }
            }
        }
        let whole = if rest.is_empty() { first } else { rest.freeze() };
        if lease.is_none() && whole.len() >= UNIT {
            lease = self.arena.allocate(whole.len());
            if let Some(lease) = &mut lease {
                assert!(lease.append(&whole), "the lease has room for the body");
            }
        }
        Ok(lease.map_or(Payload::Inline(whole), Payload::Shared))
    }
}

enum ModelPath {
    Ready,
    Loaded,
    Schema,
}

/// Routes below `/v1/models/{name}`. The name does not matter: a replica has one model.
fn model_path(path: &str) -> Option<ModelPath> {
    let rest = path.strip_prefix("/v1/models/")?;
    match rest.split_once('/') {
        None if !rest.is_empty() => Some(ModelPath::Ready),
        Some((_, "loaded")) => Some(ModelPath::Loaded),
        Some((_, "schema")) => Some(ModelPath::Schema),
        _ => None,
    }
}

/// The method that a POST to a path calls.
fn operation_of(path: &str) -> Option<Operation> {
    Some(match path {
        "/v1/models/model:predict" | "/invocations" => Operation::Predict,
        "/v1/chat/completions" => Operation::ChatCompletions,
        "/v1/completions" => Operation::Completions,
        "/v1/embeddings" => Operation::Embeddings,
        "/v1/messages" => Operation::Messages,
        "/v1/responses" => Operation::Responses,
        _ => {
            let name = path.strip_prefix("/v1/models/")?;
            let is_predict = name.ends_with(":predict") || name.ends_with(":predict_binary");
            return (is_predict && !name.contains('/')).then_some(Operation::Predict);
        }
    })
}

fn compose(status: u16, flags: u8, meta: &[u8], body: Body) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = response(status, body);
    let headers = answer.headers_mut();
    if flags & flag::HEADERS != 0 || !meta.is_empty() {
        for (name, value) in meta_pairs(meta) {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
    } else {
        let kind = if flags & flag::BINARY == 0 { "application/json" } else { "application/octet-stream" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    match flags >> flag::ERROR_SHIFT {
        0 => answer,
        1 => mark_error(answer, ErrorCode::Server),
        2 => mark_error(answer, ErrorCode::Model),
        _ => mark_error(answer, ErrorCode::Client),
    }
}

fn metrics() -> Response<Body> {
    let mut answer = response(StatusCode::OK, Body::whole(Bytes::new()));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn wrong_method(allowed: &'static str) -> Response<Body> {
    let mut answer = json(StatusCode::METHOD_NOT_ALLOWED, r#"{"detail":"Method Not Allowed"}"#);
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn not_ready() -> Response<Body> {
    let text = r#"{"error":"Model with name model is not ready."}"#;
    mark_error(json(StatusCode::SERVICE_UNAVAILABLE, text), ErrorCode::Model)
}

fn too_large(size: u64, limit: u64) -> Response<Body> {
    let text = format!("payload size of {size} bytes exceeds maximum size of {limit} bytes");
    inference_error(StatusCode::PAYLOAD_TOO_LARGE, &text, InferenceCode::PayloadTooLarge)
}

/// For a client that left in the middle of its body. Nobody receives it.
fn client_left() -> Response<Body> {
    let status = StatusCode::from_u16(499).expect("a status has three digits");
    inference_error(status, "the client left before its request was complete", InferenceCode::ClientError)
}

/// The answer to a call that the model did not answer.
pub fn call_error(error: CallError) -> Response<Body> {
    match error {
        CallError::TimedOut => {
            let text = "the model did not answer within the time limit of a request";
            inference_error(StatusCode::GATEWAY_TIMEOUT, text, InferenceCode::Timeout)
        }
        CallError::NotTaken => not_taken(),
        CallError::Gone | CallError::Aborted => {
            inference_error(StatusCode::BAD_GATEWAY, "Error making prediction", InferenceCode::ModelUnavailable)
        }
    }
}
