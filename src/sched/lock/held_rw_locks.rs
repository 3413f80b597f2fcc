//! The `RwLock`s that a thread holds for reading. The thread keeps them, so that a wait
//! for one of them that might never end is found before it begins.

#![forbid(unsafe_code)]

use crate::sync::atomic::{AtomicUsize, Ordering};

/// How many locks a thread keeps: more than a program with an order among its locks
/// holds for reading at a time.
const KNOWN: usize = 4;

/// The addresses of the locks, 0 where there is none. Locks beyond [`KNOWN`] are left
/// out. Relaxed: only the thread itself uses it.
#[derive(Debug)]
pub(crate) struct HeldRwLocks([AtomicUsize; KNOWN]);

impl HeldRwLocks {
    /// Returns a record without a lock.
    pub(crate) fn new() -> HeldRwLocks {
        HeldRwLocks(core::array::from_fn(|_| AtomicUsize::new(0)))
    }

    /// Returns whether the record has the lock at `address`.
    #[inline]
    pub(super) fn contains(&self, address: usize) -> bool {
        self.find(address).is_some()
    }

    /// Records that the thread holds the lock at `address` for reading.
    #[inline]
    pub(super) fn add(&self, address: usize) {
        if let Some(free) = self.find(0) {
            free.store(address, Ordering::Relaxed);
        }
    }

    /// Removes the lock at `address` from the record.
    #[inline]
    pub(super) fn remove(&self, address: usize) {
        if let Some(its) = self.find(address) {
            its.store(0, Ordering::Relaxed);
        }
    }

    fn find(&self, address: usize) -> Option<&AtomicUsize> {
        let mut all = self.0.iter();
        all.find(|held| held.load(Ordering::Relaxed) == address)
    }
}
