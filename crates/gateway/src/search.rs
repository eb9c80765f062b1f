//! The search for a replica that takes one request: waiting for a slot where its environment sends it, trying one replica after
//! another, and what a client hears when there is none.

use std::{borrow::Cow, sync::Arc, time::Duration};

use api::internal::{link::LONGEST_BODY, routes::RequestLimits};
use http::{HeaderValue, Method, Request, response};
use http_body::Body;
use tokio::time::Instant;

use crate::{
    Gateway,
    admission::{Applicant, Closed, Deployment, NotAdmitted, Permit, Turn},
    connection::Connection,
    download::{Payload, Relay},
    errors::Refusal,
    link::{Content, Link},
    meter::Meter,
    proxy::Answer,
    route::Target,
    timing,
    upload::Upload,
};

/// How many replicas are tried before a request that reached none is given up.
const MOST_ATTEMPTS: u32 = 16;
/// Longer than any server runs; stands for limits beyond the clock's range.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The way of one request: the deployment that it is for, and how it got there.
pub(crate) struct Way {
    pub(crate) deployment: Arc<Deployment>,
    /// None when it was the deployment that was asked for.
    pub(crate) by: Option<ByEnvironment>,
    /// Counts the tokens of the environment that it belongs to, where they are limited.
    pub(crate) meter: Option<Arc<Meter>>,
}

/// What an environment needs to be asked again.
pub(crate) struct ByEnvironment {
    pub(crate) model: Box<str>,
    pub(crate) environment: Box<str>,
    /// Decides the side where traffic is divided.
    pub(crate) chance: u64,
}

impl ByEnvironment {
    fn resolve(&self, gateway: &Gateway) -> Result<Meant, Refusal> {
        let routes = gateway.routes();
        let routes = routes.as_ref().ok_or(Refusal::NoRoutes)?;
        let target = Target::Environment(Cow::Borrowed(&self.environment));
        let deployment = routes.resolve(&self.model, &target, self.chance)?.clone();
        let serves = routes.serves(deployment.id());
        Ok(Meant { deployment, serves })
    }
}

/// What the newest routes mean.
struct Meant {
    deployment: Arc<Deployment>,
    /// Whether they say that it serves.
    serves: bool,
}

/// The search for a replica that takes one request.
pub(crate) struct Search<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) way: Way,
    pub(crate) limits: RequestLimits,
    is_upgrade: bool,
    /// The announced size of the body.
    bytes: u64,
    began: Instant,
    deadline: Instant,
    turn: Turn,
    pub(crate) attempts: u32,
    /// What it has waited for.
    pub(crate) timing: Option<HeaderValue>,
    /// How long.
    pub(crate) waited: Duration,
}

impl<'a> Search<'a> {
    pub(crate) fn new(gateway: &'a Gateway, way: Way, limits: RequestLimits, bytes: u64, is_upgrade: bool) -> Self {
        let wait = Duration::from_millis(limits.queue_ms).min(FOREVER);
        let began = Instant::now();
        Self {
            gateway,
            way,
            limits,
            is_upgrade,
            bytes,
            began,
            deadline: began + wait,
            turn: Turn::New,
            attempts: 0,
            timing: None,
            waited: Duration::ZERO,
        }
    }

    /// A slot on a replica that the newest table has. After the first time, before all who wait.
    pub(crate) async fn next(&mut self) -> Result<Permit, Refusal> {
        if self.attempts == MOST_ATTEMPTS {
            return Err(Refusal::Unreachable(MOST_ATTEMPTS));
        }
        self.attempts += 1;
        loop {
            let permit = match self.admit().await {
                Ok(permit) => permit,
                Err(why) => match self.follow(&why) {
                    true => continue,
                    false => return Err(self.refusal(why)),
                },
            };
            self.turn = Turn::Again;
            // The slot may have been given just before its replica left the table.
            if !permit.replica().is_retired() {
                self.waited = self.began.elapsed();
                self.way.deployment.measures().queued.record(self.waited.as_secs_f64());
                self.timing = timing::header(self.waited, permit.replica().start_after(self.began));
                return Ok(permit);
            }
        }
    }

    async fn admit(&self) -> Result<Permit, NotAdmitted> {
        let Way { deployment, by, .. } = &self.way;
        let is_meant = by
            .as_ref()
            .map(|by| move || by.resolve(self.gateway).is_ok_and(|meant| Arc::ptr_eq(&meant.deployment, deployment)));
        let is_meant = is_meant.as_ref().map(|is_meant| is_meant as &(dyn Fn() -> bool + Send + Sync));
        deployment.admit(Applicant { turn: self.turn, deadline: self.deadline, bytes: self.bytes, is_meant }).await
    }

    /// Goes where the environment sends requests now, if that is elsewhere, when the deployment that was meant before takes none.
    fn follow(&mut self, why: &NotAdmitted) -> bool {
        let may_move = matches!(why, NotAdmitted::Moved | NotAdmitted::Closed(_));
        let meant = self.way.by.as_ref().filter(|_| may_move).and_then(|by| by.resolve(self.gateway).ok());
        let Some(meant) = meant else { return false };
        self.turn = Turn::Moved;
        self.way.deployment = meant.deployment;
        // Where the newest routes say that it serves, it has been sent away and back, or still newer ones are there by now.
        meant.serves
    }

    /// A connection to the permit's replica, and whether it is new. None when the next replica is to be tried.
    pub(crate) async fn connect(&mut self, permit: &Permit) -> Option<(Box<Connection>, bool)> {
        if let Some(connection) = permit.replica().reuse().await {
            return Some((connection, false));
        }
        match permit.replica().connect(self.gateway.settings().connect_timeout).await {
            // Nothing is wrong with it, it has only left the table: that was no attempt.
            Ok(_) if permit.replica().is_retired() => {
                self.attempts -= 1;
                None
            }
            Ok(connection) => Some((connection, true)),
            Err(error) => {
                self.set_aside(permit, &error.to_string());
                None
            }
        }
    }

    /// The link to the permit's replica, when there is one and it can carry the request: all of it, in one frame.
    pub(crate) fn link(&self, permit: &Permit, request: &Request<Upload>) -> Option<Arc<Link>> {
        (is_small(request) && !self.is_upgrade && request.method() == Method::POST).then(|| permit.replica().link())?
    }

    pub(crate) fn linked<B>(&self, permit: Permit, head: response::Parts, content: Content) -> Answer<B> {
        let body = match content {
            Content::Whole(body) => Payload::Whole(Some(body)),
            Content::Pieces(call) => {
                Payload::Link(Relay::new(permit, call, Duration::from_millis(self.limits.idle_ms)))
            }
        };
        Answer::Linked(head, body)
    }

    pub(crate) fn broken(&self, permit: &Permit, error: &(dyn std::error::Error + 'static)) -> Refusal {
        let replica = &permit.replica().endpoint().replica_id;
        tracing::warn!(replica.id = %replica, error, "a replica broke off");
        self.way.deployment.call_attention();
        Refusal::Crashed
    }

    pub(crate) fn set_aside(&self, permit: &Permit, why: &str) {
        let replica = &permit.replica().endpoint().replica_id;
        tracing::warn!(deployment.id = %self.way.deployment.id(), replica.id = %replica, why, "a replica cannot be reached");
        permit.replica().set_aside(&self.way.deployment, self.gateway.settings().connect_timeout);
    }

    fn refusal(&self, why: NotAdmitted) -> Refusal {
        match why {
            NotAdmitted::Full { fullness, in_flight } => Refusal::QueueFull { fullness, in_flight },
            NotAdmitted::Busy { in_flight, slots } => Refusal::Busy { in_flight, slots },
            NotAdmitted::Late if self.is_upgrade => Refusal::ParkedUpgrade(self.limits.queue_ms),
            NotAdmitted::Late => Refusal::Parked(self.limits.queue_ms),
            NotAdmitted::Closed(closed) => unavailability(closed, &self.way.deployment),
            // The routes that moved it do not know its environment any more.
            NotAdmitted::Moved => match self.way.by.as_ref().map(|by| by.resolve(self.gateway)) {
                Some(Err(refusal)) => refusal,
                Some(Ok(Meant { deployment, .. })) => deployment
                    .seats()
                    .open
                    .err()
                    .map_or(Refusal::NotReady, |closed| unavailability(closed, &deployment)),
                None => Refusal::NotReady,
            },
        }
    }
}

/// Whether a body is known to be one that may lie in memory as a whole.
pub(crate) fn is_small(request: &Request<Upload>) -> bool {
    request.body().size_hint().exact().is_some_and(|size| size <= LONGEST_BODY as u64)
}

/// What a client hears of a deployment that takes no requests.
pub(crate) fn unavailability(closed: Closed, deployment: &Deployment) -> Refusal {
    match closed {
        Closed::NotReady => Refusal::NotReady,
        Closed::Inactive => Refusal::Inactive(deployment.id().to_string()),
        Closed::Unhealthy => Refusal::Unhealthy,
        Closed::Gone => Refusal::UnknownDeployment {
            model: deployment.seats().route.model_id.to_string(),
            deployment: deployment.id().to_string(),
        },
    }
}
