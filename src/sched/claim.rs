//! Which CPU's queue a thing is in that is due at an instant.
//!
//! The queues are under locks of their own, so the word is what two of them agree by.
//! `tests/loom_timer.rs` model-checks this file.

#![forbid(unsafe_code)]

use crate::cpu::CpuId;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::const_unless_loom;

/// No queue.
const NONE: u32 = u32::MAX;

/// The CPU in whose queue a thing is, if it is in one. It changes under the lock of the
/// queue that it names; from none to one it changes by a compare-exchange, because two
/// that put it into different queues hold different locks.
#[derive(Debug)]
pub struct Claim {
    cpu: AtomicU32,
}

impl Claim {
    const_unless_loom! {
        /// Of a thing that is in no queue.
        pub const fn new() -> Claim {
            Claim {
                cpu: AtomicU32::new(NONE),
            }
        }
    }

    /// The CPU in whose queue it is. Without that queue's lock `None` is sure, and all
    /// that was done before it left its queue is visible; all else is a hint.
    pub fn queue(&self) -> Option<CpuId> {
        // Acquire: pairs with the Release of `leave`.
        CpuId::new(self.cpu.load(Ordering::Acquire) as usize)
    }

    /// Whether it is in the queue of `cpu`. Under that queue's lock, which orders it.
    pub fn is_in(&self, cpu: CpuId) -> bool {
        self.cpu.load(Ordering::Relaxed) == cpu.as_u32()
    }

    /// Makes it one of `cpu`'s queue, whose lock is held, if it is in none; returns
    /// whether it was.
    #[must_use]
    pub fn enter(&self, cpu: CpuId) -> bool {
        // Acquire: pairs with the Release of `leave`, because it may be linked again.
        let (ok, failed) = (Ordering::Acquire, Ordering::Relaxed);
        self.cpu
            .compare_exchange(NONE, cpu.as_u32(), ok, failed)
            .is_ok()
    }

    /// It has been unlinked from the queue that it is in, whose lock is held.
    pub fn leave(&self) {
        self.cpu.store(NONE, Ordering::Release);
    }

    /// It moves to the queue of `cpu`; the locks of both are held. Not by way of none:
    /// a look that finds none is not repeated.
    pub fn move_to(&self, cpu: CpuId) {
        // Relaxed: a look that finds either queue takes that queue's lock.
        self.cpu.store(cpu.as_u32(), Ordering::Relaxed);
    }
}

impl Default for Claim {
    fn default() -> Self {
        Self::new()
    }
}
