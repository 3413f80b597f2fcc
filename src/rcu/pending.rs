//! The CPUs for which a grace period waits.
//!
//! ```text
//!   leader, preemption off          CPU                        a CPU that goes
//!   ──────────────────────          ───                        ───────────────
//!   watched, less the idle          ... section ends           still point:
//!   left = how many                 its bit cleared?             not watched
//!   their bits (Release) ── SGI ──► left - 1; 0: the last        reports
//! ```
//!
//! `tests/loom_rcu.rs` model-checks this file.

use crate::cpu::{CpuId, CpuMask};
use crate::sync::AtomicBits;
use crate::sync::atomic::{AtomicUsize, Ordering, fence};

/// The CPUs that grace periods watch, and those that have not reported in the current
/// one.
#[derive(Debug)]
pub struct Pending {
    /// The CPUs whose sections count. Set Relaxed in [`Pending::join`], ordered by the
    /// fence behind it; cleared Relaxed in a still point, which orders it.
    watched: AtomicBits,
    /// The CPUs that have not reported. Stored Release in [`Pending::begin`], cleared
    /// Acquire in [`Pending::report`]: a CPU that finds its bit set also sees the count
    /// in `left`.
    cpus: AtomicBits,
    /// Number of CPUs that have not reported. Counted down AcqRel: the last CPU has
    /// seen all that the others did before they reported.
    left: AtomicUsize,
}

impl Pending {
    /// Returns a state with no watched CPU and no grace period.
    pub fn new() -> Pending {
        Pending {
            watched: AtomicBits::new(),
            cpus: AtomicBits::new(),
            left: AtomicUsize::new(0),
        }
    }

    /// Adds `cpu` to the watched CPUs: from here on its sections count.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked.
    ///
    /// # Panics
    /// If it is watched already.
    pub fn join(&self, cpu: CpuId) {
        let new = self.watched.set(cpu.index(), Ordering::Relaxed);
        assert!(new, "BUG: {cpu:?} joins the grace periods twice");
        // Pairs with the fence of `Sequence::try_begin`: a leader that doesn't see this
        // CPU yet began after a store that this CPU's sections see.
        fence(Ordering::SeqCst);
    }

    /// Removes `cpu` from the watched CPUs and reports it. Returns as
    /// [`Pending::report`].
    ///
    /// # Context
    /// `cpu` itself, in the still point that takes it down: no leader is between
    /// [`Pending::watched`] and its SGI.
    #[must_use]
    pub fn leave(&self, cpu: CpuId) -> bool {
        // First: the next grace period must not wait for it.
        let was = self.watched.clear(cpu.index(), Ordering::Relaxed);
        assert!(was, "BUG: {cpu:?} leaves the grace periods twice");
        self.report(cpu)
    }

    /// Returns the watched CPUs, for the thread that has begun a grace period.
    ///
    /// # Context
    /// Preemption off until the SGI is sent: none of them leaves meanwhile.
    #[inline]
    pub fn watched(&self) -> CpuMask {
        CpuMask::from_bits(self.watched.snapshot(Ordering::Relaxed))
    }

    /// Makes the grace period wait for all of `cpus`. Called only when the one before
    /// is over.
    #[inline]
    pub fn begin(&self, cpus: &CpuMask) {
        // Relaxed: the store of the bits orders it.
        self.left.store(cpus.count(), Ordering::Relaxed);
        self.cpus.store(cpus.bits(), Ordering::Release);
    }

    /// Reports that `cpu` is quiescent. Returns whether it was the last CPU that the
    /// grace period waited for. A second report, or one that no grace period waits for,
    /// has no effect (`reports-once` of [`rcu`](crate::rcu)).
    #[inline]
    #[must_use]
    pub fn report(&self, cpu: CpuId) -> bool {
        self.cpus.clear(cpu.index(), Ordering::Acquire)
            && self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Returns the CPUs that had not reported a moment ago, for diagnosis.
    pub fn cpus_racy(&self) -> CpuMask {
        CpuMask::from_bits(self.cpus.snapshot(Ordering::Relaxed))
    }
}

impl Default for Pending {
    fn default() -> Self {
        Self::new()
    }
}
