//! The claim of an entry (a sleeping thread or a timer): which CPU's queue holds it.
//!
//! Each CPU's queue has its own lock. Two CPUs that hold different locks agree by this
//! word. `tests/loom_timer.rs` model-checks this file.

#![forbid(unsafe_code)]

use crate::cpu::CpuId;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::const_unless_loom;

/// No queue.
const NONE: u32 = u32::MAX;

/// The CPU whose queue holds the entry, if any. It changes under the lock of the queue
/// that it names. From no queue to a queue it changes by a compare-exchange, because
/// two CPUs that insert the entry into different queues hold different locks.
#[derive(Debug)]
pub struct Claim {
    cpu: AtomicU32,
}

impl Claim {
    const_unless_loom! {
        /// Returns the claim of an entry that is in no queue.
        pub const fn new() -> Claim {
            Claim {
                cpu: AtomicU32::new(NONE),
            }
        }
    }

    /// Returns the CPU whose queue holds the entry. Without that queue's lock only
    /// `None` is certain: then all that was done before the entry left its queue is
    /// visible. `Some` is a hint.
    pub fn queue(&self) -> Option<CpuId> {
        // Acquire: pairs with the Release of `leave`.
        CpuId::new(self.cpu.load(Ordering::Acquire) as usize)
    }

    /// Returns whether the entry is in the queue of `cpu`.
    ///
    /// # Context
    /// Under that queue's lock, which orders the load.
    pub fn is_in(&self, cpu: CpuId) -> bool {
        self.cpu.load(Ordering::Relaxed) == cpu.as_u32()
    }

    /// Claims the entry for the queue of `cpu`, if no queue holds it. Returns whether
    /// it did.
    ///
    /// # Context
    /// Under the lock of `cpu`'s queue.
    #[must_use]
    pub fn enter(&self, cpu: CpuId) -> bool {
        // Acquire: pairs with the Release of `leave`, because it may be linked again.
        let (ok, failed) = (Ordering::Acquire, Ordering::Relaxed);
        self.cpu
            .compare_exchange(NONE, cpu.as_u32(), ok, failed)
            .is_ok()
    }

    /// Gives the claim up, after the entry was unlinked from its queue.
    ///
    /// # Context
    /// Under that queue's lock.
    pub fn leave(&self) {
        self.cpu.store(NONE, Ordering::Release);
    }
}

impl Default for Claim {
    fn default() -> Self {
        Self::new()
    }
}
