//! One replica as the gateway knows it: how many slots are taken, whether it can be reached, and the connections to it.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use api::internal::{
    replica::{Protocol, StartTimes},
    routes::{Address, Endpoint},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{admission::Deployment, connection::Connection, link::Link};

const FIRST_PROBE: Duration = Duration::from_millis(10);
const LAST_PROBE: Duration = Duration::from_secs(1);

/// A replica. Kept from table to table while its endpoint stays the same.
pub(crate) struct Replica {
    endpoint: Endpoint,
    protocol: Protocol,
    /// Since when the table has it.
    since: Instant,
    in_flight: AtomicU32,
    /// Whether it could not be reached; it is given no requests until it can.
    unreachable: AtomicBool,
    /// Whether the newest table does not have it; it is given no requests again.
    retired: AtomicBool,
    /// Connections without a request, the one used last at the end.
    idle: Mutex<Vec<Idle>>,
    link: Mutex<LinkState>,
}

/// Whether requests can share one connection.
#[derive(Default)]
enum LinkState {
    /// It has not been offered.
    #[default]
    None,
    /// It has been offered, and is being opened or could not be.
    Asked,
    Open(Arc<Link>),
}

#[derive(Debug)]
struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

impl Replica {
    pub(crate) fn new(endpoint: Endpoint, protocol: Protocol) -> Self {
        Self {
            endpoint,
            protocol,
            since: Instant::now(),
            in_flight: AtomicU32::new(0),
            unreachable: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            idle: Mutex::default(),
            link: Mutex::default(),
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The parts of its start, if the table did not have it yet at `moment`.
    pub(crate) fn start_after(&self, moment: Instant) -> Option<&StartTimes> {
        (self.since > moment).then_some(&self.endpoint.start)
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::SeqCst)
    }

    pub(crate) fn has_room(&self, slots: u32) -> bool {
        self.in_flight() < slots && !self.unreachable.load(Ordering::SeqCst)
    }

    /// Takes one of `slots` slots, if one is free.
    pub(crate) fn reserve(&self, slots: u32) -> bool {
        let more = |taken| (taken < slots).then_some(taken + 1);
        !self.unreachable.load(Ordering::SeqCst)
            && self.in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// Gives a slot back.
    pub(crate) fn release(&self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// Takes it out of use: it stays for the requests it has.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.idle.lock().clear();
        self.close_link();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// A new connection to it, within `limit`.
    pub(crate) async fn connect(&self, limit: Duration) -> io::Result<Box<Connection>> {
        Connection::open(&self.endpoint.address, self.protocol, limit).await
    }

    /// A connection that was used before and is fit to be used again.
    pub(crate) async fn reuse(&self) -> Option<Box<Connection>> {
        loop {
            let mut connection = self.idle.lock().pop()?.connection;
            if connection.is_fit().await {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, connection: Box<Connection>) {
        let mut idle = self.idle.lock();
        // Asked under the lock, so that none is kept after retiring has cleared them.
        if !self.is_retired() {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Closes connections that nothing has used since `before`, and the link if nothing has used it since the last time.
    pub(crate) fn close_idle(&self, before: Instant) {
        self.idle.lock().retain(|idle| idle.since >= before);
        if self.link().is_some_and(|link| link.is_unused()) {
            self.close_link();
        }
    }

    /// The connection that many requests share, where there is one.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        match &*self.link.lock() {
            LinkState::Open(link) => Some(link.clone()),
            LinkState::None | LinkState::Asked => None,
        }
    }

    /// Takes up a replica's offer of a link, in the background.
    pub(crate) fn accept_link(self: &Arc<Self>, connect_timeout: Duration) {
        let Address::Unix(path) = &self.endpoint.address else { return };
        let mut state = self.link.lock();
        if matches!(*state, LinkState::None) {
            *state = LinkState::Asked;
            tokio::spawn(keep_link(Arc::downgrade(self), path.clone(), connect_timeout));
        }
    }

    /// Uses a link no more that has ended.
    pub(crate) fn forget_link(&self, ended: &Arc<Link>) {
        let mut state = self.link.lock();
        if matches!(&*state, LinkState::Open(link) if Arc::ptr_eq(link, ended)) {
            *state = LinkState::None;
        }
    }

    fn close_link(&self) {
        if let LinkState::Open(link) = std::mem::take(&mut *self.link.lock()) {
            link.close();
        }
    }

    /// Gives it no more requests until connecting works, which is tried in the background, ever more slowly, while the
    /// deployment has it. So no request is spent on finding out.
    pub(crate) fn set_aside(self: &Arc<Self>, deployment: &Arc<Deployment>, connect_timeout: Duration) {
        self.idle.lock().clear();
        if !self.unreachable.swap(true, Ordering::SeqCst) {
            tokio::spawn(probe(Arc::downgrade(self), Arc::downgrade(deployment), connect_timeout));
        }
    }
}

/// Opens a link and moves its bytes until it ends. A replica that offers a link and gives none is not asked again.
async fn keep_link(replica: Weak<Replica>, path: PathBuf, connect_timeout: Duration) {
    let (link, driver) = match Link::open(&path, connect_timeout).await {
        Ok(opened) => opened,
        Err(error) => return tracing::warn!(%error, path = %path.display(), "cannot open a link to a replica"),
    };
    let upgrade = || replica.upgrade().filter(|replica| !replica.is_retired());
    let Some(replica) = upgrade() else { return };
    *replica.link.lock() = LinkState::Open(link.clone());
    drop(replica);
    driver.run().await;
    if let Some(replica) = upgrade() {
        replica.forget_link(&link);
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.close_link();
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Replica").field(&self.endpoint.replica_id).finish()
    }
}

async fn probe(replica: Weak<Replica>, deployment: Weak<Deployment>, connect_timeout: Duration) {
    let mut pause = FIRST_PROBE;
    loop {
        tokio::time::sleep(pause).await;
        let (Some(replica), Some(deployment)) = (replica.upgrade(), deployment.upgrade()) else {
            return;
        };
        if replica.is_retired() {
            return;
        }
        if let Ok(connection) = replica.connect(connect_timeout).await {
            replica.keep(connection);
            replica.unreachable.store(false, Ordering::SeqCst);
            deployment.serve_waiting();
            return;
        }
        pause = (pause * 2).min(LAST_PROBE);
    }
}
