//! One replica as the gateway knows it: how many slots are taken, whether it can be reached, and the connections to it.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use api::internal::routes::Endpoint;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{admission::Deployment, connection::Connection};

const FIRST_PROBE: Duration = Duration::from_millis(10);
const LAST_PROBE: Duration = Duration::from_secs(1);

/// A replica. Kept from table to table while its endpoint stays the same.
#[derive(Debug)]
pub(crate) struct Replica {
    endpoint: Endpoint,
    in_flight: AtomicU32,
    /// Whether it could not be reached; it is given no requests until it can.
    unreachable: AtomicBool,
    /// Whether the newest table does not have it; it is given no requests again.
    retired: AtomicBool,
    /// Connections without a request, the one used last at the end.
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

impl Replica {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            in_flight: AtomicU32::new(0),
            unreachable: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            idle: Mutex::default(),
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
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
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
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

    /// Closes connections that nothing has used since `before`.
    pub(crate) fn close_idle(&self, before: Instant) {
        self.idle.lock().retain(|idle| idle.since >= before);
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
        if let Ok(connection) = Connection::open(&replica.endpoint.address, connect_timeout).await {
            replica.keep(connection);
            replica.unreachable.store(false, Ordering::SeqCst);
            deployment.serve_waiting();
            return;
        }
        pause = (pause * 2).min(LAST_PROBE);
    }
}
