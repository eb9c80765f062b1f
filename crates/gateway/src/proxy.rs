//! One request for a model, from its head to the end of its answer: whose key, which deployment, which slot, which connection.

use std::time::Duration;

use api::internal::replica::Protocol;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::ACCEPT_ENCODING, response, uri::PathAndQuery,
};
use http_body::Body;
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, on},
};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{
    Gateway,
    admission::Closed,
    auth,
    connection::SendError,
    download::{Download, Exchange, Payload},
    errors::{Allowed, Refusal},
    grpc, headers,
    link::Lost,
    measure::{Measure, OpenWebsocket, Taken},
    request_id::RequestId,
    route::{self, Action, Addressed, Target},
    search::{ByEnvironment, Search, Way, is_small, unavailability},
    serve::Tasks,
    sticky,
    upgrade::tunnel,
    upload::Upload,
};

/// Whether a request is for a model.
pub(crate) fn is_for_model<B>(request: &Request<B>) -> bool {
    grpc::is_call(request) || addressed(request).is_some()
}

fn addressed<B>(request: &Request<B>) -> Option<Addressed<'_>> {
    route::addressed(headers::host(request.uri(), request.headers()), request.uri().path())
}

/// Answers a request for a model.
pub(crate) async fn answer<B>(
    gateway: &Gateway,
    tasks: &Tasks,
    client: &HeaderValue,
    request: Request<Incoming>,
) -> (Response<Payload<B>>, Option<Measure>) {
    let id = gateway.request_ids().next();
    let name = id.to_header();
    let is_grpc = grpc::is_call(&request);
    let mut measure = None;
    let answer = async {
        match plan(gateway, id, &request)? {
            Plan::Woken => Ok(accepted()),
            Plan::Forward { way, target } => {
                let measure = measure.insert(Measure::begin(gateway, id, &way, &request));
                forward(gateway, tasks, way, target, request, Asked { id: &name, client }, measure).await
            }
        }
    };
    let unanswered = Unanswered(id);
    let mut response = answer.await.unwrap_or_else(|refusal: Refusal| {
        tracing::debug!(request.id = %id, %refusal, "refused");
        match is_grpc {
            true => grpc::refused(&refusal),
            false => refusal.into_response(id).map(|body| Payload::Whole(Some(body))),
        }
    });
    std::mem::forget(unanswered);
    response.headers_mut().insert(headers::REQUEST_ID, name);
    if let Some(measure) = &mut measure {
        measure.answered(&response);
    }
    (response, measure)
}

/// Answers a request that gets no further.
pub(crate) fn refuse<B>(gateway: &Gateway, refusal: Refusal) -> Response<Payload<B>> {
    let id = gateway.request_ids().next();
    let mut response = refusal.into_response(id).map(|body| Payload::Whole(Some(body)));
    response.headers_mut().insert(headers::REQUEST_ID, id.to_header());
    response
}

/// A request that is being worked on. Dropped only when its client leaves, which nobody is left to be told.
struct Unanswered(RequestId);

impl Drop for Unanswered {
    fn drop(&mut self) {
        tracing::debug!(request.id = %self.0, status = 499, "the client left before the answer");
    }
}

/// What is to be done for a request that may be served.
enum Plan {
    /// Nothing: the wake-up is on its way.
    Woken,
    Forward {
        way: Way,
        target: PathAndQuery,
    },
}

fn accepted<B>() -> Response<Payload<B>> {
    let mut response = Response::new(Payload::Whole(None));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// Decides what a request's head asks for. Keys are checked before anything is said about models.
fn plan(gateway: &Gateway, id: RequestId, request: &Request<Incoming>) -> Result<Plan, Refusal> {
    let routes = gateway.routes();
    let routes = routes.as_ref().ok_or(Refusal::NoRoutes)?;
    let (host, headers) = (headers::host(request.uri(), request.headers()), request.headers());
    let is_grpc = grpc::is_call(request);
    let Addressed { model, rest } = match is_grpc {
        true => Addressed { model: grpc::model(host, headers)?, rest: request.uri().path() },
        false => addressed(request).ok_or(Refusal::UnknownPath)?,
    };
    let (key, grant) = auth::authenticate(headers, &routes.table.keys, || gateway.now())?;
    auth::authorize(grant, &model)?;
    let (target, action) = match is_grpc {
        true => (grpc::target(headers)?, Action::Sync(route::passthrough(rest)?)),
        false => route::parse(rest)?,
    };
    let target = routes.meant(&model, target);
    let allowed = match action {
        Action::Predict | Action::Wake => Some((Method::POST, Allowed("POST"))),
        Action::Websocket => Some((Method::GET, Allowed("GET"))),
        Action::Sync(_) => None,
    };
    if let Some((method, allowed)) = allowed
        && request.method() != method
    {
        return Err(Refusal::WrongMethod(request.method().clone(), allowed));
    }
    let chance = sticky::chance(&gateway.settings().sticky_header, request.headers(), &model, id);
    let deployment = routes.resolve(&model, &target, chance)?;
    auth::authorize_way(grant, &target, deployment.id(), || &routes.table.models[model.as_ref()].environments)?;
    if grant.requests_per_minute.is_some() {
        routes.limits.admit(key)?;
    }
    match (is_grpc, deployment.seats().route.protocol) {
        (true, Protocol::Http) => return Err(Refusal::NoGrpc(deployment.id().to_string())),
        (false, Protocol::Grpc) if action != Action::Wake => {
            return Err(Refusal::OnlyGrpc(deployment.id().to_string()));
        }
        _ => {}
    }
    match deployment.seats().open {
        Ok(()) => {}
        // It is on its way: a wake call has what it wants.
        Err(Closed::NotReady) if matches!(action, Action::Wake) => {}
        // Newer routes may send its environment elsewhere: that is looked at when the request asks for a slot.
        Err(_) if matches!(target, Target::Environment(_)) && action != Action::Wake => {}
        Err(closed) => return Err(unavailability(closed, deployment)),
    }
    let meter = routes.meters.of_environment(&model, &target, deployment.id()).cloned();
    let by = match target {
        Target::Environment(environment) => {
            Some(ByEnvironment { model: model.into(), environment: environment.into(), chance })
        }
        Target::Development | Target::Deployment(_) => None,
    };
    let query = request.uri().query();
    let target = match action {
        Action::Wake => {
            deployment.wake();
            return Ok(Plan::Woken);
        }
        Action::Predict => onward("/v1/models/model:predict", query)?,
        Action::Websocket => onward("/v1/websocket", query)?,
        Action::Sync(path) => onward(path, query)?,
    };
    Ok(Plan::Forward { way: Way { deployment: deployment.clone(), by, meter }, target })
}

fn onward(path: &str, query: Option<&str>) -> Result<PathAndQuery, Refusal> {
    let target = match query {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    target.map_err(|_| Refusal::MalformedPath)
}

/// What the platform adds to a request: its id, and who has asked.
struct Asked<'a> {
    id: &'a HeaderValue,
    client: &'a HeaderValue,
}

/// Waits for a slot, sends the request to the replica that has it, and passes the answer on.
async fn forward<B>(
    gateway: &Gateway,
    tasks: &Tasks,
    way: Way,
    target: PathAndQuery,
    mut request: Request<Incoming>,
    Asked { id, client }: Asked<'_>,
    measure: &mut Measure,
) -> Result<Response<Payload<B>>, Refusal> {
    let is_limited = measure.check_tokens()?;
    let limits = way.deployment.seats().route.limits;
    let size = request.body().size_hint().lower();
    if size > limits.max_body_bytes {
        return Err(Refusal::TooLarge { size, limit: limits.max_body_bytes });
    }
    let is_grpc = grpc::is_call(&request);
    let upgrade = on(&mut request);
    let (mut head, body) = request.into_parts();
    let upgrade = headers::wants_websocket(&head).then_some(upgrade);
    if upgrade.is_none() && target.path() == "/v1/websocket" && head.method == Method::GET {
        return Err(Refusal::NotAnUpgrade);
    }
    headers::to_replica(&mut head, target, id, client);
    if is_limited {
        // What is compressed cannot be counted.
        head.headers.remove(ACCEPT_ENCODING);
    }
    if let Some(trace) = &measure.trace {
        trace.to_replica(&mut head);
    }
    // Both sides of a call may be silent as long as those of a websocket.
    let (body_timeout, idle) = match is_grpc {
        true => (gateway.settings().tunnel_idle_timeout, gateway.settings().tunnel_idle_timeout),
        false => (gateway.settings().body_timeout, Duration::from_millis(limits.idle_ms)),
    };
    if is_grpc {
        grpc::to_replica(&mut head);
    }
    let body = Upload::new(body, limits.max_body_bytes, body_timeout);
    let search = Search::new(gateway, way, limits, size, upgrade.is_some());
    let Sent { answer, attempts, timing } = send(search, Request::from_parts(head, body), measure).await?;
    let mut note = |headers: &mut HeaderMap| {
        if let Some(trace) = &mut measure.trace {
            trace.answered(headers);
        }
    };
    let (response, exchange) = match answer {
        Answer::Plain(response, exchange) => (response, exchange),
        Answer::Linked(mut head, body) => {
            note(&mut head.headers);
            headers::to_client(&mut head, attempts, timing);
            return Ok(Response::from_parts(head, body));
        }
    };
    let (mut head, body) = response.into_parts();
    let replica = &exchange.permit.replica().endpoint().replica_id;
    tracing::debug!(request.id = ?id, deployment.id = %exchange.permit.deployment_id(), replica.id = %replica, status = %head.status, attempts, "answered");
    let is_upgraded = head.status == StatusCode::SWITCHING_PROTOCOLS;
    note(&mut head.headers);
    headers::to_client(&mut head, attempts, timing);
    let body = match upgrade {
        Some(upgrade) if is_upgraded => {
            let open = OpenWebsocket::of(measure.deployment.clone());
            let carry = carry(upgrade, exchange, gateway.settings().tunnel_idle_timeout);
            tasks.spawn(async move {
                carry.await;
                drop(open);
            });
            Payload::Whole(None)
        }
        _ if is_upgraded => return Err(Refusal::Crashed),
        _ => Payload::Replica(Download::new(body, exchange, idle).named(is_grpc.then(|| id.clone()))),
    };
    Ok(Response::from_parts(head, body))
}

/// What a replica answers, by the way it came.
pub(crate) enum Answer<B> {
    Plain(Response<Incoming>, Exchange),
    Linked(response::Parts, Payload<B>),
}

/// A request that a replica has answered.
struct Sent<B> {
    answer: Answer<B>,
    attempts: u32,
    timing: Option<HeaderValue>,
}

impl<B> Sent<B> {
    fn new(search: Search<'_>, answer: Answer<B>) -> Self {
        Self { answer, attempts: search.attempts, timing: search.timing }
    }
}

/// Sends a request to one replica after another until one has taken it. Once a byte of it may have arrived, it is never
/// repeated: the model may have begun to work. `measure` knows at every moment where it is.
async fn send<B>(
    mut search: Search<'_>,
    mut request: Request<Upload>,
    measure: &mut Measure,
) -> Result<Sent<B>, Refusal> {
    let first_byte = Duration::from_millis(search.limits.first_byte_ms);
    let read_ahead = search.gateway.read_ahead();
    loop {
        let permit = tokio::select! {
            biased;
            permit = search.next() => permit?,
            refusal = request.body_mut().read_ahead(read_ahead) => return Err(refusal),
        };
        measure.deployment = search.way.deployment.clone();
        let (replica, attempts, waited) = (permit.replica().clone(), search.attempts, search.waited);
        measure.taken = Some(Taken { replica, attempts, waited });
        if is_small(&request) {
            request.body_mut().complete().await?;
        }
        if let Some(link) = search.link(&permit, &request) {
            let (meta, body) = (headers::to_meta(&request), request.body().read_so_far());
            match timeout(first_byte, link.call(&meta, &body)).await {
                Ok(Ok((head, content))) => {
                    let answer = search.linked(permit, head, content);
                    return Ok(Sent::new(search, answer));
                }
                Ok(Err(Lost::NotSent)) => permit.replica().forget_link(&link),
                Ok(Err(lost @ Lost::NotTaken)) => {
                    permit.replica().forget_link(&link);
                    search.set_aside(&permit, &lost.to_string());
                }
                Ok(Err(lost @ Lost::Broken)) => return Err(search.broken(&permit, &lost)),
                Err(_elapsed) => return Err(Refusal::NoAnswer(search.limits.first_byte_ms)),
            }
            continue;
        }
        let Some((mut connection, is_new)) = search.connect(&permit).await else {
            continue;
        };
        let again = again(&request);
        match timeout(first_byte, connection.send(request)).await {
            Ok(Ok(response)) => {
                if headers::is_not_taken(&response)
                    && let Some(again) = again
                {
                    search.set_aside(&permit, &Lost::NotTaken.to_string());
                    request = again;
                    continue;
                }
                if headers::offers_link(&response) {
                    permit.replica().accept_link(search.gateway.settings().connect_timeout);
                }
                return Ok(Sent::new(search, Answer::Plain(response, Exchange { permit, connection })));
            }
            Ok(Err(SendError::NotSent(unsent))) => {
                if is_new {
                    search.set_aside(&permit, "it closed a new connection");
                }
                request = *unsent;
            }
            Ok(Err(SendError::Broken(error))) => {
                return Err(Upload::refusal(&error).cloned().unwrap_or_else(|| search.broken(&permit, &error)));
            }
            Err(_elapsed) => return Err(Refusal::NoAnswer(search.limits.first_byte_ms)),
        }
    }
}

/// A request to be sent once more, should the first replica not take it; none when it does not lie in memory.
fn again(request: &Request<Upload>) -> Option<Request<Upload>> {
    let mut again = Request::new(request.body().again()?);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    *again.version_mut() = request.version();
    Some(again)
}

/// Carries an upgraded connection, which keeps its slot until it ends.
async fn carry(upgrade: OnUpgrade, exchange: Exchange, idle: Duration) {
    let Exchange { permit, connection } = exchange;
    let Ok(client) = upgrade.await else { return };
    let mut client = TokioIo::new(client);
    let Some((replica, already_read)) = connection.into_stream() else { return };
    if client.write_all(&already_read).await.is_ok() {
        tunnel(client, replica, idle, permit).await;
    }
}
