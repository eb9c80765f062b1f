//! The handle that the rest of the server holds: routes go in, load comes out.

use std::{collections::HashMap, sync::Arc};

use api::{
    id::{DeploymentId, GatewayId},
    internal::{
        access::Accesses,
        measures::Measures,
        routes::{Load, Table},
        tokens::Counted,
    },
};
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use planner::{Timestamp, time::Clock};
use tokio::{sync::Notify, time::Instant};

use crate::{Settings, access::Waiting, request_id::RequestIds, table::Routes, trace::Traces, upload::ReadAhead};

/// One gateway. Cheap to clone; all clones are the same gateway.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    id: GatewayId,
    settings: Settings,
    clock: Clock,
    traces: Option<Traces>,
    routes: ArcSwapOption<Routes>,
    publishing: Mutex<()>,
    demand: Arc<Notify>,
    request_ids: RequestIds,
    waiting: Waiting,
    read_ahead: Arc<ReadAhead>,
}

impl Gateway {
    /// A gateway without routes: until the first [`Gateway::publish`] it answers 503 to every request for a model.
    pub fn new(settings: Settings, clock: Clock) -> Self {
        Self::traced(settings, clock, None)
    }

    /// The same, with somebody who collects what requests go through.
    pub fn traced(settings: Settings, clock: Clock, traces: Option<Traces>) -> Self {
        let read_ahead = Arc::new(ReadAhead::new(settings.read_ahead_bytes));
        Self(Arc::new(Inner {
            id: GatewayId::from_entropy(rand::random()),
            settings,
            clock,
            traces,
            read_ahead,
            routes: ArcSwapOption::empty(),
            publishing: Mutex::new(()),
            demand: Arc::default(),
            request_ids: RequestIds::new(rand::random()),
            waiting: Waiting::default(),
        }))
    }

    /// How its connections are treated.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Replaces all routes at once. When this returns, no new request is bound to a replica that `table` does not list;
    /// requests already on such a replica finish there. Requests that wait where their environment sends none any more wait where
    /// it sends them now. Unchanged deployments and replicas keep their counters and connections.
    pub fn publish(&self, table: Table) {
        let _one_at_a_time = self.0.publishing.lock();
        let before = self.0.routes.load_full();
        let routes = Arc::new(Routes::follow(before.as_deref(), table, &self.0.demand, &self.0.id));
        self.0.routes.store(Some(routes.clone()));
        if let Some(before) = before {
            routes.settle(&before);
        }
    }

    /// The version of the routes in use, none before the first publication.
    pub fn version(&self) -> Option<u64> {
        self.0.routes.load().as_ref().map(|routes| routes.table.version)
    }

    /// What is on its hands for each deployment it has routes for, those left out that it has never had a request for.
    pub fn loads(&self) -> HashMap<DeploymentId, Load> {
        let routes = self.0.routes.load();
        let deployments = routes.iter().flat_map(|routes| &routes.deployments);
        let loads = deployments.map(|(id, deployment)| (id, deployment.load()));
        loads.filter(|(_, load)| *load != Load::default()).map(|(id, load)| (id.clone(), load)).collect()
    }

    /// What it has counted for each deployment since it first had a route for it, those left out that it has never had a request
    /// for.
    pub fn measures(&self) -> HashMap<DeploymentId, Measures> {
        let routes = self.0.routes.load();
        let deployments = routes.iter().flat_map(|routes| &routes.deployments);
        let measures = deployments.map(|(id, deployment)| (id, deployment.measures().clone()));
        measures.filter(|(_, measures)| *measures != Measures::default()).map(|(id, all)| (id.clone(), all)).collect()
    }

    /// How many tokens it has counted where policies limit them, in the newest window of each limit.
    pub fn counted(&self) -> Vec<Counted> {
        let routes = self.0.routes.load();
        routes.as_ref().map(|routes| routes.meters.counted(&self.0.id)).unwrap_or_default()
    }

    /// Completes when somebody asks for a deployment that has no replica, by a request or by a wake call, or when a replica
    /// turns out to be gone, since the last time this completed. For one listener: a demand wakes one of several.
    pub async fn activity(&self) {
        self.0.demand.notified().await;
    }

    pub(crate) fn routes(&self) -> arc_swap::Guard<Option<Arc<Routes>>> {
        self.0.routes.load()
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    pub(crate) fn read_ahead(&self) -> &Arc<ReadAhead> {
        &self.0.read_ahead
    }

    /// What there is to write down of requests since the last time.
    pub fn accesses(&self) -> Accesses {
        self.0.waiting.fetch()
    }

    /// Completes when there is something to write down.
    pub async fn accessed(&self) {
        self.0.waiting.some().await;
    }

    pub(crate) fn waiting(&self) -> &Waiting {
        &self.0.waiting
    }

    pub(crate) fn traces(&self) -> Option<&Traces> {
        self.0.traces.as_ref()
    }

    pub(crate) fn request_ids(&self) -> &RequestIds {
        &self.0.request_ids
    }

    /// Closes connections to replicas that have been unused for too long.
    pub(crate) fn close_idle_connections(&self) {
        let Some(before) = Instant::now().checked_sub(self.0.settings.replica_idle_timeout) else {
            return;
        };
        let routes = self.0.routes.load();
        for deployment in routes.iter().flat_map(|routes| routes.deployments.values()) {
            deployment.seats().replicas.iter().for_each(|replica| replica.close_idle(before));
        }
    }
}
