//! The HTTP server on the replica's socket: connections, the replica's own routes, and who answers the rest.

use std::{convert::Infallible, future::Future, pin::pin, rc::Rc, time::Duration};

use api::{
    error::{InferenceCode, InferenceError},
    internal::{
        link::{NOT_TAKEN, PATH, PROTOCOL},
        replica::{Drain, Phase, Protocol, Secrets, Swap},
    },
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::{body::Incoming, rt::Executor, server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    body::{Body, NotTaken, json, json_of},
    link,
    program::Program,
    status::Board,
};

/// The largest document of the platform's that is no secret.
const DOCUMENT_LIMIT: usize = 64 * 1024;
/// The largest document of secrets: as much as their files have room for.
const SECRETS_LIMIT: usize = 16 << 20;

/// What every connection shares.
pub struct App {
    /// Where the replica stands.
    pub board: Rc<Board>,
    /// What answers for the model.
    pub program: Program,
    /// Asks the supervisor to drain, within a time.
    pub drain: watch::Sender<Option<Duration>>,
    /// Asks the supervisor to give the model other secrets.
    pub secrets: mpsc::Sender<NewSecrets>,
}

/// Other values of the model's secrets, and who waits to hear that it has them.
pub struct NewSecrets {
    /// All of them.
    pub secrets: Secrets,
    /// Whether it has.
    pub given: oneshot::Sender<std::io::Result<()>>,
}

/// Accepts connections until `closing`, then lets those that are open finish their present request.
pub async fn serve(listener: UnixListener, app: Rc<App>, closing: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: some must close before the next accept can succeed.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        connections.spawn_local(converse(stream, app.clone(), closing.clone(), connections.clone()));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Serves one connection.
async fn converse(stream: UnixStream, app: Rc<App>, closing: CancellationToken, connections: TaskTracker) {
    if app.program.protocol() == Protocol::Grpc {
        return converse_in_both(stream, app, closing, connections).await;
    }
    let service = service_fn(|request| answer(&app, request, &closing, &connections));
    let connection =
        http1::Builder::new().half_close(false).serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = pin!(connection);
    // An error here is a client that left or an answer that was cut on purpose.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = closing.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Serves one connection in HTTP/2, for calls of gRPC, or in HTTP/1.1, for the replica's own routes.
async fn converse_in_both(stream: UnixStream, app: Rc<App>, closing: CancellationToken, connections: TaskTracker) {
    let told = closing.clone();
    let service = service_fn(move |request| {
        let (app, closing, connections) = (app.clone(), closing.clone(), connections.clone());
        async move { answer(&app, request, &closing, &connections).await }
    });
    let builder = auto::Builder::new(Local);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = told.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Runs the library's tasks on this thread.
#[derive(Debug, Clone, Copy)]
pub struct Local;

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move { drop(task.await) });
    }
}

async fn answer(
    app: &Rc<App>,
    request: Request<Incoming>,
    closing: &CancellationToken,
    connections: &TaskTracker,
) -> Result<Response<Body>, Infallible> {
    if let Some(route) = request.uri().path().strip_prefix("/_greenroom/").map(str::to_owned) {
        return Ok(match &app.program {
            Program::Truss(truss) if link::is_wanted(&request) && request.uri().path() == PATH => {
                link::open(request, app, truss, closing.clone(), connections)
            }
            _ => own(app, &route, request).await,
        });
    }
    let mut answer = match app.board.is_draining() {
        true => not_taken(),
        false => app.program.answer(&app.board, request).await,
    };
    answer.headers_mut().remove(NOT_TAKEN);
    if answer.extensions().get::<NotTaken>().is_some() {
        answer.headers_mut().insert(NOT_TAKEN, HeaderValue::from_static("1"));
    }
    if matches!(app.program, Program::Truss(_)) && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    }
    Ok(answer)
}

/// The answer to what comes too late for this replica.
pub fn not_taken() -> Response<Body> {
    let text = "the replica takes no more requests";
    let mut answer = inference_error(StatusCode::SERVICE_UNAVAILABLE, text, InferenceCode::ModelUnavailable);
    answer.extensions_mut().insert(NotTaken);
    answer
}

/// The replica's own routes.
async fn own(app: &Rc<App>, route: &str, request: Request<Incoming>) -> Response<Body> {
    match (request.method(), route) {
        (&Method::GET, "status") => json_of(StatusCode::OK, &app.board.status()),
        (&Method::GET, "events") => events(app),
        (&Method::POST, "drain") => match read(request).await {
            Ok(Drain { timeout_ms }) => {
                app.drain.send_replace(Some(Duration::from_millis(timeout_ms)));
                json_of(StatusCode::OK, &app.board.status())
            }
            Err(refusal) => *refusal,
        },
        (&Method::PUT, "environment") => match read(request).await {
            Ok(environment) => match app.program.set_environment(environment) {
                Ok(()) => json(StatusCode::OK, "{}"),
                Err(error) => {
                    let text = format!("cannot write the environment file: {error}");
                    inference_error(StatusCode::INTERNAL_SERVER_ERROR, &text, InferenceCode::InternalBasetenError)
                }
            },
            Err(refusal) => *refusal,
        },
        (&Method::PUT, "secrets") => match read_up_to(SECRETS_LIMIT, request).await {
            Ok(secrets) => give(app, secrets).await,
            Err(refusal) => *refusal,
        },
        (&Method::POST, "swap") => match read(request).await {
            Ok(Swap { app: other }) => match app.program.swap(other).await {
                Ok(()) => json(StatusCode::OK, "{}"),
                Err(why) if why.is_broken => json_of(StatusCode::UNPROCESSABLE_ENTITY, &why),
                Err(why) => json_of(StatusCode::CONFLICT, &why),
            },
            Err(refusal) => *refusal,
        },
        _ => json(StatusCode::NOT_FOUND, r#"{"detail":"Not Found"}"#),
    }
}

/// Gives the model other secrets, by way of who watches over it.
async fn give(app: &App, secrets: Secrets) -> Response<Body> {
    let (given, answer) = oneshot::channel();
    let given = match app.secrets.send(NewSecrets { secrets, given }).await {
        Ok(()) => answer.await.unwrap_or_else(|_| Err(std::io::Error::other("the model is ending"))),
        Err(_) => Err(std::io::Error::other("the model has ended")),
    };
    match given {
        Ok(()) => json(StatusCode::OK, "{}"),
        Err(error) => {
            let text = format!("cannot give the model its secrets: {error}");
            inference_error(StatusCode::INTERNAL_SERVER_ERROR, &text, InferenceCode::InternalBasetenError)
        }
    }
}

/// Reads a small JSON body.
async fn read<T: serde::de::DeserializeOwned>(request: Request<Incoming>) -> Result<T, Box<Response<Body>>> {
    read_up_to(DOCUMENT_LIMIT, request).await
}

/// Reads a JSON body.
async fn read_up_to<T: serde::de::DeserializeOwned>(
    limit: usize,
    request: Request<Incoming>,
) -> Result<T, Box<Response<Body>>> {
    let refuse = |text: &str| Box::new(inference_error(StatusCode::BAD_REQUEST, text, InferenceCode::ClientError));
    let body = Limited::new(request.into_body(), limit).collect().await;
    let body = body.map_err(|error| refuse(&format!("cannot read the body: {error}")))?;
    serde_json::from_slice(&body.to_bytes())
        .map_err(|error| refuse(&format!("the body is not what was expected: {error}")))
}

/// One line for each status, the present one first, until the replica or the client goes.
fn events(app: &Rc<App>) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(1);
    let mut statuses = app.board.subscribe();
    statuses.mark_changed();
    tokio::task::spawn_local(async move {
        loop {
            tokio::select! {
                changed = statuses.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
            let status = statuses.borrow_and_update().clone();
            let mut line = serde_json::to_vec(&status).expect("a status becomes JSON");
            line.push(b'\n');
            if sender.send(Bytes::from(line)).await.is_err() || matches!(status.phase, Phase::Exited(_)) {
                return;
            }
        }
    });
    Response::new(Body::lines(receiver))
}

/// An error that is the platform's, not the model's.
pub fn inference_error(status: StatusCode, text: &str, code: InferenceCode) -> Response<Body> {
    json_of(status, &InferenceError { error: text.to_owned(), error_code: Some(code), detail: None, request_id: None })
}
