//! The locks that a thread reads under: kept in the thread, so that a wait for one of them
//! that might have no end is found before it begins.

#![forbid(unsafe_code)]

use crate::sync::atomic::{AtomicUsize, Ordering};

/// How many locks of its own a thread knows: more than a program with an order among its
/// locks reads under at a time.
const KNOWN: usize = 4;

/// The addresses of the locks, 0 where there is none. Those beyond [`KNOWN`] are left out. A
/// thread changes its own alone: Relaxed.
#[derive(Debug)]
pub(crate) struct HeldRwLocks([AtomicUsize; KNOWN]);

impl HeldRwLocks {
    /// None.
    pub(crate) fn new() -> HeldRwLocks {
        HeldRwLocks(core::array::from_fn(|_| AtomicUsize::new(0)))
    }

    /// Returns whether the thread is known to read under the lock at `address`.
    #[inline]
    pub(super) fn contains(&self, address: usize) -> bool {
        self.find(address).is_some()
    }

    /// The thread reads under the lock at `address`.
    #[inline]
    pub(super) fn add(&self, address: usize) {
        if let Some(free) = self.find(0) {
            free.store(address, Ordering::Relaxed);
        }
    }

    /// The thread no longer reads under the lock at `address`.
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
