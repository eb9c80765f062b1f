//! What the tasks share: the rooms around them, each other's bells, what was last observed and what was last published.
//! Both of the latter are found again after a restart, so they live in memory only.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use api::{
    id::{DeploymentId, ReplicaId},
    internal::{
        replica::{Level, LogLine, Phase, StartTimes},
        routes::{Address, Table},
    },
};
use backends::Observed;
use planner::{Timestamp, heartbeat::Health};
use store::domain::{Component, LogRecord};
use tokio::sync::{RwLock, watch};

use crate::{Error, Parts, Settings, driver::Bell, mirror::Mirror, sites::Sites};

/// Everything that the locations run, as it was when each last answered.
pub(crate) type Observation = HashMap<ReplicaId, Seen>;

/// What is needed of a replica beyond what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The position of its location.
    pub at: usize,
    pub phase: Phase,
    pub address: Address,
    /// How long the parts of its start took, once that is over.
    pub start: Option<StartTimes>,
}

impl Seen {
    /// What a location has told of one of its replicas.
    pub fn new(at: usize, observed: &Observed) -> Self {
        let status = &observed.status;
        Self {
            at,
            start: (status.phase == Phase::Ready).then_some(status.start),
            phase: status.phase.clone(),
            address: observed.address.clone(),
        }
    }
}

/// The table in force.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub table: Table,
    /// Every replica that a request may go to.
    pub replicas: HashSet<ReplicaId>,
}

/// Cheap to clone; all clones are the same.
#[derive(Clone)]
pub(crate) struct Shared {
    pub parts: Parts,
    pub settings: Arc<Settings>,
    pub mirror: Arc<Mirror>,
    pub bells: Bells,
    pub sites: Arc<Sites>,
    /// The health of each location.
    pub health: watch::Sender<Arc<Vec<Health>>>,
    /// None until a location has answered once and everything it owns has been stored.
    pub observation: watch::Sender<Option<Arc<Observation>>>,
    /// None until the first publication.
    pub published: watch::Sender<Option<Arc<Published>>>,
    /// Held for reading from before a build begins until its artifact is recorded; garbage is collected when nobody holds it.
    pub building: Arc<RwLock<()>>,
}

/// A bell for each task.
#[derive(Clone, Default)]
pub(crate) struct Bells {
    pub builds: Bell,
    pub observe: Bell,
    pub logs: Bell,
    pub accesses: Bell,
    pub export: Bell,
    pub deployments: Bell,
    pub promotions: Bell,
    pub tell: Bell,
    pub routes: Bell,
    pub reloads: Bell,
    pub standby: Bell,
    pub heartbeat: Bell,
}

impl Shared {
    pub fn new(mut parts: Parts, settings: Settings) -> Result<Self, Error> {
        let sites = Arc::new(Sites::new(std::mem::take(&mut parts.sites))?);
        Ok(Self {
            health: watch::Sender::new(Arc::new(vec![Health::default(); sites.len()])),
            sites,
            mirror: Arc::new(Mirror::new(parts.store.clone())),
            parts,
            settings: Arc::new(settings),
            bells: Bells::default(),
            observation: watch::Sender::new(None),
            published: watch::Sender::new(None),
            building: Arc::default(),
        })
    }

    /// The health of each location, by position.
    pub fn health(&self) -> Arc<Vec<Health>> {
        self.health.borrow().clone()
    }

    /// What was last observed; none before the first time.
    pub fn observed(&self) -> Option<Arc<Observation>> {
        self.observation.borrow().clone()
    }

    /// What was last published; none before the first time.
    pub fn published(&self) -> Option<Arc<Published>> {
        self.published.borrow().clone()
    }
}

/// A line that the platform writes into a deployment's log.
pub(crate) fn line(now: Timestamp, level: Level, message: impl Into<String>) -> LogLine {
    LogLine { timestamp_ns: now.as_nanos(), level: Some(level), request_id: None, message: message.into() }
}

/// The same as a record of the platform about a deployment, or about one of its replicas.
pub(crate) fn record(deployment: &DeploymentId, replica: Option<&ReplicaId>, line: LogLine) -> LogRecord {
    LogRecord { deployment_id: deployment.clone(), replica_id: replica.cloned(), component: Component::Deploy, line }
}
