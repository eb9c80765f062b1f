//! Who waits for a slot of one deployment, in which order, and with how many bytes.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::{Fullness, NotAdmitted, Permit, Turn};

/// Waiting requests by their place; the smallest goes first.
#[derive(Default)]
pub(super) struct Queue {
    waiting: BTreeMap<i64, Waiter>,
    next: i64,
    /// The last place given at the front, below all others.
    front: i64,
    /// Of the bodies of all that wait, as they were announced.
    bytes: u64,
}

/// A request in the queue.
pub(super) struct Waiter {
    pub slot: oneshot::Sender<Result<Permit, NotAdmitted>>,
    /// Whether it came by an environment, which may send it elsewhere.
    pub by_environment: bool,
    /// The announced size of its body.
    pub bytes: u64,
}

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub requests: u32,
    pub bytes: u64,
}

impl Queue {
    pub fn len(&self) -> u32 {
        self.waiting.len() as u32
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What is full, if another request with so many bytes has no place. One that waits alone may have any size that is allowed.
    pub fn fullness(&self, bytes: u64, bounds: Bounds) -> Option<Fullness> {
        let waiting = self.len();
        if waiting >= bounds.requests {
            Some(Fullness::Requests { waiting, limit: bounds.requests })
        } else if waiting > 0 && self.bytes.saturating_add(bytes) > bounds.bytes {
            Some(Fullness::Bytes { waiting: self.bytes, limit: bounds.bytes })
        } else {
            None
        }
    }

    /// Puts a request in its place. Says which that is.
    pub fn insert(&mut self, turn: Turn, waiter: Waiter) -> i64 {
        let place = match turn {
            Turn::New | Turn::Moved => {
                self.next += 1;
                self.next
            }
            Turn::Again => {
                self.front -= 1;
                self.front
            }
        };
        self.bytes += waiter.bytes;
        self.waiting.insert(place, waiter);
        place
    }

    pub fn pop(&mut self) -> Option<Waiter> {
        let (_, waiter) = self.waiting.pop_first()?;
        self.bytes -= waiter.bytes;
        Some(waiter)
    }

    /// Takes out whoever is at a place, if anybody still is.
    pub fn remove(&mut self, place: i64) -> Option<Waiter> {
        let waiter = self.waiting.remove(&place)?;
        self.bytes -= waiter.bytes;
        Some(waiter)
    }

    /// Takes out those that are meant.
    pub fn take(&mut self, is_meant: impl Fn(&Waiter) -> bool) -> Vec<Waiter> {
        let (taken, kept): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(_, waiter)| is_meant(waiter));
        self.waiting = kept;
        let taken: Vec<Waiter> = taken.into_values().collect();
        self.bytes -= taken.iter().map(|waiter| waiter.bytes).sum::<u64>();
        taken
    }
}
