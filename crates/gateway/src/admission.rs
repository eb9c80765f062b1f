//! One deployment's slots and its queue. Choosing a replica is reserving a slot on it; dropping the permit gives the slot to
//! whoever waits longest. A free slot costs no lock; only those who must wait take one.

mod choose;
mod queue;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use api::{
    id::{DeploymentId, ReplicaId},
    internal::{
        measures::Measures,
        routes::{Availability, DeploymentRoute, Endpoint, Load},
    },
};
use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout_at},
};

use self::queue::{Bounds, Queue, Waiter};
use crate::replica::Replica;

/// A deployment as the gateway knows it. Outlives the tables that describe it, and with it its counters and its queue.
pub(crate) struct Deployment {
    id: DeploymentId,
    seats: ArcSwap<Seats>,
    /// Replicas that the newest table does not list, with the requests that they still have.
    leaving: Mutex<Vec<Arc<Replica>>>,
    queue: Mutex<Queue>,
    /// The length of the queue, readable without its lock.
    queued: AtomicU32,
    /// Slots given out, ever.
    admitted: AtomicU64,
    /// Slots given back, ever.
    released: AtomicU64,
    /// Requests that left the queue without a slot, ever.
    gave_up: AtomicU64,
    wakes: AtomicU64,
    measures: Mutex<Measures>,
    demand: Arc<Notify>,
}

/// What the newest table says of a deployment.
pub(crate) struct Seats {
    pub(crate) route: Arc<DeploymentRoute>,
    pub(crate) replicas: Vec<Arc<Replica>>,
    /// Whether requests may wait here and be sent on.
    pub(crate) open: Result<(), Closed>,
}

/// Why a request was not admitted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// The queue has no place.
    Full { fullness: Fullness, in_flight: u32 },
    /// Every replica is busy, and here nobody waits for that to change.
    Busy { in_flight: u32, slots: u32 },
    /// Its deadline passed.
    Late,
    /// The environment by which it came has stopped sending requests here.
    Moved,
    /// The deployment takes no requests any more.
    Closed(Closed),
}

/// What of a queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fullness {
    /// So many requests wait.
    Requests { waiting: u32, limit: u32 },
    /// So many bytes of bodies wait.
    Bytes { waiting: u64, limit: u64 },
}

/// Why a deployment takes no requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// It has never been ready.
    NotReady,
    /// It was deactivated.
    Inactive,
    /// It failed.
    Unhealthy,
    /// The newest table does not have it.
    Gone,
}

/// Where a request enters the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Behind all others.
    New,
    /// Before all others: it had a slot, on a replica that could not be used.
    Again,
    /// Behind all others, even where the queue is full: it has waited elsewhere.
    Moved,
}

/// A request that asks for a slot.
#[derive(Clone, Copy)]
pub(crate) struct Applicant<'a> {
    /// Where it enters the queue.
    pub(crate) turn: Turn,
    /// How long it waits at most.
    pub(crate) deadline: Instant,
    /// The announced size of its body.
    pub(crate) bytes: u64,
    /// Where it came by an environment: whether that still sends its requests here.
    pub(crate) is_meant: Option<&'a (dyn Fn() -> bool + Send + Sync)>,
}

impl Deployment {
    /// A deployment seen for the first time. `demand` is told when replicas are wanted.
    pub(crate) fn new(route: Arc<DeploymentRoute>, demand: Arc<Notify>) -> Self {
        let replicas = route.replicas.iter().cloned().map(|endpoint| Arc::new(Replica::new(endpoint, route.protocol)));
        Self {
            id: route.id.clone(),
            seats: ArcSwap::from_pointee(Seats {
                replicas: replicas.collect(),
                open: openness(route.availability),
                route,
            }),
            leaving: Mutex::default(),
            queue: Mutex::default(),
            queued: AtomicU32::new(0),
            admitted: AtomicU64::new(0),
            released: AtomicU64::new(0),
            gave_up: AtomicU64::new(0),
            wakes: AtomicU64::new(0),
            measures: Mutex::default(),
            demand,
        }
    }

    pub(crate) fn id(&self) -> &DeploymentId {
        &self.id
    }

    /// What the newest table says.
    pub(crate) fn seats(&self) -> arc_swap::Guard<Arc<Seats>> {
        self.seats.load()
    }

    /// Takes over what a newer table says. Replicas that stay keep their requests and connections; those that go are used no
    /// more; those that come take from the queue at once, as many as they have slots.
    pub(crate) fn update(self: &Arc<Self>, route: &Arc<DeploymentRoute>) {
        let before = self.seats.load_full();
        if before.route == *route {
            return;
        }
        let keep = |endpoint: &Endpoint| {
            let kept = before.replicas.iter().find(|replica| replica.endpoint() == endpoint);
            kept.cloned().unwrap_or_else(|| Arc::new(Replica::new(endpoint.clone(), route.protocol)))
        };
        self.replace(Seats {
            route: route.clone(),
            replicas: route.replicas.iter().map(keep).collect(),
            open: openness(route.availability),
        });
    }

    /// Ends all use of a deployment that the newest table does not have.
    pub(crate) fn close(self: &Arc<Self>) {
        self.replace(Seats { route: self.seats.load().route.clone(), replicas: vec![], open: Err(Closed::Gone) });
    }

    fn replace(self: &Arc<Self>, seats: Seats) {
        let after = Arc::new(seats);
        let before = self.seats.swap(after.clone());
        let is_gone = |replica: &&Arc<Replica>| !after.replicas.iter().any(|other| Arc::ptr_eq(other, replica));
        let gone: Vec<Arc<Replica>> = before.replicas.iter().filter(is_gone).cloned().collect();
        gone.iter().for_each(|replica| replica.retire());
        let mut leaving = self.leaving.lock();
        leaving.retain(|replica| replica.in_flight() > 0);
        leaving.extend(gone);
        drop(leaving);
        match after.open {
            Ok(()) => self.serve_waiting(),
            Err(closed) => self.dismiss(|_| true, || NotAdmitted::Closed(closed)),
        }
    }

    /// A slot on the least loaded replica: at once when one is free and nobody waits, else after waiting in line. Dropping the
    /// future leaves the line.
    pub(crate) async fn admit(self: &Arc<Self>, applicant: Applicant<'_>) -> Result<Permit, NotAdmitted> {
        if applicant.turn != Turn::Again && self.queued.load(Ordering::SeqCst) == 0 {
            let seats = self.seats.load();
            if seats.open.is_ok()
                && let Some(permit) = self.reserve(&seats)
            {
                return Ok(permit);
            }
        }
        let mut place = self.enqueue(applicant)?;
        // Asked only now: whoever changes the routes stores them first, and then sends those away who stand in line.
        if applicant.is_meant.is_some_and(|is_meant| !is_meant()) {
            return Err(NotAdmitted::Moved);
        }
        match timeout_at(applicant.deadline, &mut place.slot).await {
            Ok(Ok(result)) => result,
            // Whoever takes a waiting request out of the queue answers it.
            Ok(Err(_unanswered)) => Err(NotAdmitted::Closed(Closed::Gone)),
            Err(_elapsed) => Err(NotAdmitted::Late),
        }
    }

    /// What has been counted, to count on.
    pub(crate) fn measures(&self) -> MutexGuard<'_, Measures> {
        self.measures.lock()
    }

    /// Records a wake call.
    pub(crate) fn wake(&self) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        self.call_attention();
    }

    /// Asks whoever starts replicas to look.
    pub(crate) fn call_attention(&self) {
        self.demand.notify_one();
    }

    /// What it has on its hands now.
    pub(crate) fn load(&self) -> Load {
        Load {
            in_flight: self.in_flight(),
            by_replica: self.in_flight_by_replica(),
            queued: self.queued.load(Ordering::SeqCst),
            finished: self.released.load(Ordering::SeqCst) + self.gave_up.load(Ordering::SeqCst),
            wakes: self.wakes.load(Ordering::SeqCst),
        }
    }

    fn in_flight(&self) -> u32 {
        // Given back is read first, so that a slot that changes hands meanwhile never makes the difference negative.
        let released = self.released.load(Ordering::SeqCst);
        let admitted = self.admitted.load(Ordering::SeqCst);
        u32::try_from(admitted.saturating_sub(released)).unwrap_or(u32::MAX)
    }

    fn in_flight_by_replica(&self) -> BTreeMap<ReplicaId, u32> {
        let seats = self.seats.load();
        let mut leaving = self.leaving.lock();
        leaving.retain(|replica| replica.in_flight() > 0);
        let mut by_replica = BTreeMap::new();
        for replica in seats.replicas.iter().chain(leaving.iter()).filter(|replica| replica.in_flight() > 0) {
            *by_replica.entry(replica.endpoint().replica_id.clone()).or_default() += replica.in_flight();
        }
        by_replica
    }

    /// Hands free slots to those who wait.
    pub(crate) fn serve_waiting(self: &Arc<Self>) {
        let mut queue = self.queue.lock();
        let left_over = self.hand_out(&mut queue);
        drop(queue);
        // Giving a slot back may take the lock again.
        drop(left_over);
    }

    /// Sends those away who came by an environment: one has stopped sending requests here.
    pub(crate) fn send_away(&self) {
        self.dismiss(|waiter| waiter.by_environment, || NotAdmitted::Moved);
    }

    fn dismiss(&self, is_dismissed: impl Fn(&Waiter) -> bool, answer: impl Fn() -> NotAdmitted) {
        let mut queue = self.queue.lock();
        let dismissed = queue.take(is_dismissed);
        self.gave_up.fetch_add(dismissed.len() as u64, Ordering::SeqCst);
        self.queued.store(queue.len(), Ordering::SeqCst);
        // One that has left meanwhile does not need to hear it.
        dismissed.into_iter().for_each(|waiter| drop(waiter.slot.send(Err(answer()))));
    }

    fn enqueue(self: &Arc<Self>, applicant: Applicant<'_>) -> Result<Place, NotAdmitted> {
        let Applicant { turn, bytes, is_meant, .. } = applicant;
        let mut queue = self.queue.lock();
        // Read under the lock: whoever closes the deployment empties the queue under it afterwards.
        let seats = self.seats.load();
        seats.open.map_err(NotAdmitted::Closed)?;
        if turn == Turn::New {
            self.check_place(&queue, &seats, bytes)?;
        }
        let is_first = queue.is_empty();
        let (sender, slot) = oneshot::channel();
        let number = queue.insert(turn, Waiter { slot: sender, by_environment: is_meant.is_some(), bytes });
        // Counted before looking for a slot, as a slot is freed before looking for a count: one of the two sees the other.
        self.queued.store(queue.len(), Ordering::SeqCst);
        let left_over = self.hand_out(&mut queue);
        let begins = is_first && !queue.is_empty();
        drop(queue);
        drop(left_over);
        if begins || seats.replicas.is_empty() {
            self.call_attention();
        }
        Ok(Place { deployment: self.clone(), number, slot })
    }

    /// Whether one more may wait. Where nobody waits for a busy replica, they still wait for one that is to be started.
    fn check_place(&self, queue: &Queue, seats: &Seats, bytes: u64) -> Result<(), NotAdmitted> {
        let (limits, in_flight) = (&seats.route.limits, self.in_flight());
        if !limits.waits_when_full && !seats.replicas.is_empty() {
            let slots = seats.route.slots_per_replica.saturating_mul(seats.replicas.len() as u32);
            return Err(NotAdmitted::Busy { in_flight, slots });
        }
        let bounds = Bounds { requests: limits.max_queued, bytes: limits.max_queued_bytes };
        queue.fullness(bytes, bounds).map_or(Ok(()), |fullness| Err(NotAdmitted::Full { fullness, in_flight }))
    }

    /// Gives free slots to the first in line while there are both. What it returns belongs to nobody and is to be dropped
    /// without the lock.
    fn hand_out(self: &Arc<Self>, queue: &mut Queue) -> Option<Permit> {
        let seats = self.seats.load();
        let mut permit = None;
        while !queue.is_empty() {
            let Some(free) = permit.take().or_else(|| self.reserve(&seats)) else {
                break;
            };
            let waiter = queue.pop().expect("the queue was not empty under its lock");
            permit = waiter.slot.send(Ok(free)).err().and_then(Result::ok);
        }
        self.queued.store(queue.len(), Ordering::SeqCst);
        permit
    }

    /// Takes a slot on the least loaded replica that has one free.
    fn reserve(self: &Arc<Self>, seats: &Seats) -> Option<Permit> {
        let number = self.admitted.load(Ordering::Relaxed);
        let replica = choose::reserve(&seats.replicas, seats.route.slots_per_replica, number)?;
        self.admitted.fetch_add(1, Ordering::SeqCst);
        Some(Permit { deployment: self.clone(), replica: replica.clone() })
    }
}

fn openness(availability: Availability) -> Result<(), Closed> {
    match availability {
        Availability::Serve => Ok(()),
        Availability::NotReady => Err(Closed::NotReady),
        Availability::Inactive => Err(Closed::Inactive),
        Availability::Unhealthy => Err(Closed::Unhealthy),
    }
}

/// A place in the queue; dropping it leaves the queue.
struct Place {
    deployment: Arc<Deployment>,
    number: i64,
    slot: oneshot::Receiver<Result<Permit, NotAdmitted>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.deployment.queue.lock();
        if queue.remove(self.number).is_some() {
            self.deployment.gave_up.fetch_add(1, Ordering::SeqCst);
            self.deployment.queued.store(queue.len(), Ordering::SeqCst);
        }
    }
}

/// A slot on a replica, held. Dropping it gives the slot to the next in line.
#[derive(Debug)]
pub(crate) struct Permit {
    deployment: Arc<Deployment>,
    replica: Arc<Replica>,
}

impl Permit {
    pub(crate) fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    pub(crate) fn deployment_id(&self) -> &DeploymentId {
        &self.deployment.id
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.replica.release();
        self.deployment.released.fetch_add(1, Ordering::SeqCst);
        if self.deployment.queued.load(Ordering::SeqCst) > 0 {
            self.deployment.serve_waiting();
        }
    }
}

impl std::fmt::Debug for Deployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Deployment").field(&self.id).finish()
    }
}

#[cfg(test)]
mod tests;
