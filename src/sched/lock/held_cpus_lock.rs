//! How a thread holds the lock of the CPUs. The thread keeps it, so that a wait for the
//! lock that would never end is found before it begins.

#![forbid(unsafe_code)]

use core::fmt;

use crate::sync::atomic::{AtomicU32, Ordering};

/// The value of a thread that holds the lock for writing.
const WRITES: u32 = u32::MAX;

/// How often a thread holds the lock for reading, or [`WRITES`] if it holds it for
/// writing. Relaxed: only the thread itself uses it.
#[derive(Debug)]
pub(crate) struct HeldCpusLock(AtomicU32);

impl HeldCpusLock {
    /// Returns the state of a thread that doesn't hold the lock.
    pub(crate) fn new() -> HeldCpusLock {
        HeldCpusLock(AtomicU32::new(0))
    }

    /// Returns whether the thread holds the lock.
    #[inline]
    pub(in crate::sched) fn is_held(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Counts one more read.
    #[inline]
    pub(super) fn begin_read(&self) {
        self.0
            .store(self.0.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn end_read(&self) {
        self.0
            .store(self.0.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }

    /// Records that the thread holds the lock for writing.
    pub(super) fn begin_write(&self) {
        self.0.store(WRITES, Ordering::Relaxed);
    }

    pub(super) fn end_write(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Why the running thread may not wait for the lock of the CPUs: the wait would never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WouldDeadlock {
    /// The thread holds the lock itself.
    HoldsIt,
    /// The thread is a per-CPU thread. The control CPU's thread that takes that CPU
    /// down holds the lock, and waits until the per-CPU thread has parked.
    PerCpu,
}

impl fmt::Display for WouldDeadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WouldDeadlock::HoldsIt => "takes the lock of the CPUs, and holds it",
            WouldDeadlock::PerCpu => {
                "takes the lock of the CPUs, and the holder waits for this thread to park"
            }
        })
    }
}
