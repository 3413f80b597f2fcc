//! CPUs that another CPU may count as still while they sleep.
//!
//! A CPU that waits with IRQs on sleeps with IRQs masked all the same: a pending interrupt ends a
//! WFI, and only then does the CPU let the handler run. As long as it sleeps, it is as still as a
//! CPU that has masked IRQs for good. So if a CPU that sleeps is asked to mask IRQs, it need not be
//! woken to say that it has. It is enough that it looks, after its sleep and before it lets a
//! handler run, whether another CPU has counted it meanwhile.
//!
//! ```text
//!   the CPU that waits (IRQs masked)           the CPU that counts
//!   ────────────────────────────────           ───────────────────
//!   look at the state
//!   begin: set own bit (Release)               store the state
//!   WFI                                        count: clear the bits (Acquire)
//!   take back: clear own bit                     those that were set are still from now on
//!     it was set: serve interrupts, begin anew   those that were not are woken
//!     it was not: stay masked
//! ```
//!
//! # Invariants
//! - **counted-or-back**: a bit is set by its own CPU alone, and cleared once: by that CPU, which
//!   takes it back, or by the one that counts it. Both are read-modify-writes of one word, so
//!   each knows which of them it was.
//! - **counted-stays-masked**: a CPU that has been counted takes no interrupt until what it waits
//!   for is over.
//!
//! # Memory ordering
//! A CPU that begins does so with Release, and every later change of the word continues its release
//! sequence. The CPU that counts clears with Acquire. So all that a CPU has done before its sleep,
//! interrupts among it, happens before what is done on the strength of its being still. Taking a bit
//! back is Relaxed: no data comes with it.
//!
//! `tests/loom_multi_stop.rs` and `tests/loom_abort.rs` model-check this file.

#![forbid(unsafe_code)]

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{AtomicBits, Bits};

/// The CPUs that sleep in one kind of wait and may be counted as still.
#[derive(Debug)]
pub struct Resting {
    /// Set Release in [`Resting::begin`], pairs with the Acquire of [`Resting::count`].
    cpus: AtomicBits,
    /// When CPUs were counted last, in ticks. Relaxed: waits learn from it, and it is reported. If two
    /// CPUs count others at once, it is when the later one did.
    counted_at: AtomicU64,
}

impl Resting {
    /// Returns that no CPU is at rest.
    pub fn new() -> Resting {
        Resting {
            cpus: AtomicBits::new(),
            counted_at: AtomicU64::new(0),
        }
    }

    /// Lets other CPUs count `cpu`, which is this CPU, from now on.
    ///
    /// # Context
    /// IRQs masked, until [`Resting::take_back`].
    #[inline]
    pub fn begin(&self, cpu: usize) {
        self.cpus.set(cpu, Ordering::Release);
    }

    /// Ends that for `cpu`, which is this CPU; returns whether it has not been counted. If it has,
    /// IRQs stay masked (counted-stays-masked).
    #[inline]
    #[must_use]
    pub fn take_back(&self, cpu: usize) -> bool {
        self.cpus.clear(cpu, Ordering::Relaxed)
    }

    /// Counts those of `cpus` that are at rest as still from `now` on; returns which those are.
    #[must_use]
    pub fn count(&self, cpus: &Bits, now: u64) -> Bits {
        self.counted_at.store(now, Ordering::Relaxed);
        self.cpus.clear_each(cpus, Ordering::Acquire) // (counted-or-back)
    }

    /// Returns when CPUs were counted last, in ticks.
    #[inline]
    pub fn counted_at(&self) -> u64 {
        self.counted_at.load(Ordering::Relaxed)
    }
}

impl Default for Resting {
    fn default() -> Self {
        Resting::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_counted_or_takes_it_back() {
        let resting = Resting::new();
        let mut cpus = [0; crate::config::MASK_WORDS];
        cpus[0] = 0b1011;
        for cpu in 0..3 {
            resting.begin(cpu);
        }
        assert!(resting.take_back(1));
        let counted = resting.count(&cpus, 7);
        assert_eq!(
            counted[0], 0b1,
            "not what is back, elsewhere, or never began"
        );
        assert_eq!(resting.counted_at(), 7);
        assert_eq!(resting.count(&cpus, 8)[0], 0, "once");
        assert!(!resting.take_back(0));
        assert!(resting.take_back(2));
    }
}
