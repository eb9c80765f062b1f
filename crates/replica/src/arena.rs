//! Shared memory for large bodies: a sealed memory file each way, mapped by both processes for their whole life. Each side
//! allocates in the file it writes and keeps a block until the other side has read it.
#![allow(unsafe_code)] // the mapping; every access is bounds-checked here

use std::{
    cell::RefCell,
    ffi::c_void,
    num::NonZeroUsize,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    ptr::NonNull,
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, ProtFlags, mmap, munmap},
    },
    unistd::ftruncate,
};
use tokio::sync::mpsc;

use crate::protocol::Block;

/// Allocation unit. Bodies smaller than this travel in their frame.
pub const UNIT: usize = 256 * 1024;

/// Size of each arena. Only touched pages use memory; what finds no room travels in its frame.
pub const SIZE: usize = 64 * 1024 * 1024;

/// A memory file, mapped.
struct Mapping {
    start: NonNull<c_void>,
    file: OwnedFd,
}

// SAFETY: the memory is only read and written through raw copies and slices whose ranges one owner holds at a time.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(name: &std::ffi::CStr) -> nix::Result<Self> {
        // Not close-on-exec: the worker inherits it. Sealed, so that nobody can shrink it under a reader.
        let file = memfd_create(name, MFdFlags::MFD_ALLOW_SEALING)?;
        ftruncate(&file, SIZE as i64)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL))?;
        let size = NonZeroUsize::new(SIZE).expect("the size is not zero");
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start =
            unsafe { mmap(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &file, 0)? };
        Ok(Self { start, file })
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= SIZE, "blocks lie inside the arena");
        // SAFETY: in bounds, and the block belongs to the caller until the worker has been told of it.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr().cast::<u8>().add(offset), bytes.len())
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this size, and nothing that refers to it outlives its owner.
        let _ = unsafe { munmap(self.start, SIZE) };
    }
}

/// The arena we write: bodies of requests.
#[derive(Clone)]
pub struct Outgoing {
    mapping: Arc<Mapping>,
    used: Rc<RefCell<Vec<bool>>>,
}

impl Outgoing {
    /// Makes the memory file.
    pub fn new() -> nix::Result<Self> {
        Ok(Self {
            mapping: Arc::new(Mapping::new(c"greenroom-requests")?),
            used: Rc::new(RefCell::new(vec![false; SIZE / UNIT])),
        })
    }

    /// The descriptor that the worker inherits.
    pub fn descriptor(&self) -> RawFd {
        self.mapping.file.as_raw_fd()
    }

    /// Room for `length` bytes, if there is any.
    pub fn allocate(&self, length: usize) -> Option<Lease> {
        let mut used = self.used.borrow_mut();
        let count = length.div_ceil(UNIT).max(1);
        let start = used.windows(count).position(|window| window.iter().all(|unit| !unit))?;
        used[start..start + count].fill(true);
        Some(Lease { arena: self.clone(), start, count, length: 0 })
    }
}

/// A block of ours; dropping it gives the room back.
pub struct Lease {
    arena: Outgoing,
    start: usize,
    count: usize,
    length: usize,
}

impl Lease {
    /// Appends to the block. False when it does not fit any more.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let fits = self.length + bytes.len() <= self.count * UNIT;
        if fits {
            self.arena.mapping.write(self.start * UNIT + self.length, bytes);
            self.length += bytes.len();
        }
        fits
    }

    /// What to tell the worker.
    pub fn block(&self) -> Block {
        Block { offset: (self.start * UNIT) as u64, length: self.length as u32 }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.arena.used.borrow_mut()[self.start..self.start + self.count].fill(false);
    }
}

/// The arena that the worker writes: bodies of answers.
pub struct Incoming {
    mapping: Arc<Mapping>,
    read: mpsc::Sender<Block>,
}

impl Incoming {
    /// Makes the memory file. The receiver hears of every block that has been read.
    pub fn new() -> nix::Result<(Self, mpsc::Receiver<Block>)> {
        let (read, receiver) = mpsc::channel(SIZE / UNIT);
        Ok((Self { mapping: Arc::new(Mapping::new(c"greenroom-answers")?), read }, receiver))
    }

    /// The descriptor that the worker inherits.
    pub fn descriptor(&self) -> RawFd {
        self.mapping.file.as_raw_fd()
    }

    /// The bytes of a block, without a copy. None for a block that cannot be.
    pub fn take(&self, block: Block) -> Option<Bytes> {
        let end = block.offset.checked_add(u64::from(block.length))?;
        (end <= SIZE as u64)
            .then(|| Bytes::from_owner(Reading { mapping: self.mapping.clone(), block, read: self.read.clone() }))
    }
}

/// A block that is being read; dropping it tells the worker.
struct Reading {
    mapping: Arc<Mapping>,
    block: Block,
    read: mpsc::Sender<Block>,
}

impl AsRef<[u8]> for Reading {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `take` checked the bounds; the worker leaves the block alone until it hears that it was read. A worker that
        // breaks this rule garbles its own answer and nothing else.
        unsafe {
            let start = self.mapping.start.as_ptr().cast::<u8>().add(self.block.offset as usize);
            std::slice::from_raw_parts(start, self.block.length as usize)
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // Cannot be full: it has room for every unit of the arena. Closed means that the worker is gone.
        let _ = self.read.try_send(self.block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_comes_back_when_a_lease_ends() {
        let arena = Outgoing::new().unwrap();
        let whole = arena.allocate(SIZE).unwrap();
        assert!(arena.allocate(1).is_none());
        drop(whole);
        assert!(arena.allocate(SIZE).is_some());
    }

    #[test]
    fn a_lease_takes_no_more_than_it_has_room_for() {
        let arena = Outgoing::new().unwrap();
        let mut lease = arena.allocate(10).unwrap();
        assert!(lease.append(&vec![1; UNIT]));
        assert!(!lease.append(&[1]));
        assert_eq!(lease.block(), Block { offset: 0, length: UNIT as u32 });
    }

    #[test]
    fn a_block_outside_the_arena_is_refused() {
        let (arena, _) = Incoming::new().unwrap();
        assert!(arena.take(Block { offset: SIZE as u64 - 1, length: 2 }).is_none());
        assert!(arena.take(Block { offset: u64::MAX, length: 2 }).is_none());
    }

    #[test]
    fn the_worker_hears_when_a_block_was_read() {
        let (arena, mut read) = Incoming::new().unwrap();
        let block = Block { offset: 0, length: 3 };
        let bytes = arena.take(block).unwrap();
        assert!(read.try_recv().is_err());
        drop(bytes);
        assert_eq!(read.try_recv().unwrap(), block);
    }
}
