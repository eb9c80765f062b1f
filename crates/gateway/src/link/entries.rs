//! What the calls on a link have received and nobody has taken yet.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::Lost;

/// All calls, by id. An id is free again when the replica and the caller are done with it.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) entries: Vec<Option<Entry>>,
    free: Vec<u32>,
}

/// What one call has received and nobody has taken yet.
pub(super) struct Entry {
    /// Where its request begins among all bytes.
    pub(super) begin: u64,
    pub(super) head: Option<Head>,
    pub(super) pieces: VecDeque<Bytes>,
    pub(super) unread: usize,
    pub(super) is_held: bool,
    pub(super) end: Option<Result<(), Lost>>,
    pub(super) waker: Option<Waker>,
    pub(super) is_abandoned: bool,
}

/// The first frame of an answer.
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) meta: Bytes,
    /// All of the body, unless it comes in pieces.
    pub(super) whole: Option<Bytes>,
}

impl Calls {
    pub(super) fn insert(&mut self, entry: Entry) -> u32 {
        match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = Some(entry);
                id
            }
            None => {
                self.entries.push(Some(entry));
                self.entries.len() as u32 - 1
            }
        }
    }

    pub(super) fn find(&mut self, id: u32) -> Option<&mut Entry> {
        self.entries.get_mut(id as usize)?.as_mut()
    }

    pub(super) fn entry(&mut self, id: u32) -> &mut Entry {
        self.find(id).expect("an entry lives as long as its call")
    }

    pub(super) fn remove(&mut self, id: u32) {
        self.entries[id as usize] = None;
        self.free.push(id);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.entries.len()
    }
}

impl Entry {
    pub(super) fn new(begin: u64) -> Self {
        Self {
            begin,
            head: None,
            pieces: VecDeque::new(),
            unread: 0,
            is_held: false,
            end: None,
            waker: None,
            is_abandoned: false,
        }
    }

    pub(super) fn wait<T>(&mut self, context: &Context<'_>) -> Poll<T> {
        match &mut self.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => self.waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}
