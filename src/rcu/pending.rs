//! Whom a grace period waits for.
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

/// The CPUs that grace periods look at, and those that have not reported in this one.
#[derive(Debug)]
pub struct Pending {
    /// Whose sections count. Set Relaxed in [`Pending::join`], ordered by the fence
    /// behind it; cleared Relaxed in a still point, which orders it.
    watched: AtomicBits,
    /// Who has not reported. Stored Release in [`Pending::begin`], cleared Acquire in
    /// [`Pending::report`]: who finds its bit finds the count.
    cpus: AtomicBits,
    /// How many they are. Counted down AcqRel: the last one has seen what all the
    /// others did before they reported.
    left: AtomicUsize,
}

impl Pending {
    /// No CPU, and no grace period.
    pub fn new() -> Pending {
        Pending {
            watched: AtomicBits::new(),
            cpus: AtomicBits::new(),
            left: AtomicUsize::new(0),
        }
    }

    /// From here on `cpu`'s sections count.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked.
    ///
    /// # Panics
    /// If they did already.
    pub fn join(&self, cpu: CpuId) {
        let new = self.watched.set(cpu.index(), Ordering::Relaxed);
        assert!(new, "BUG: {cpu:?} joins the grace periods twice");
        // Pairs with the fence of `Sequence::try_begin`: a leader that doesn't see this
        // CPU yet began after a store that this CPU's sections see.
        fence(Ordering::SeqCst);
    }

    /// No section of `cpu`'s counts any more, and none that it was in: as
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

    /// Whose sections count: for who has begun a grace period.
    ///
    /// # Context
    /// Preemption off until the SGI is sent: none of them leaves meanwhile.
    #[inline]
    pub fn watched(&self) -> CpuMask {
        CpuMask::from_bits(self.watched.snapshot(Ordering::Relaxed))
    }

    /// A grace period waits for all of `cpus`. Only when the one before is over.
    #[inline]
    pub fn begin(&self, cpus: &CpuMask) {
        // Relaxed: the store of the bits orders it.
        self.left.store(cpus.count(), Ordering::Relaxed);
        self.cpus.store(cpus.bits(), Ordering::Release);
    }

    /// `cpu` is quiescent; returns whether it was the last that had to be. A second
    /// report, or one that no grace period waits for, is none (`reports-once` of
    /// [`rcu`](crate::rcu)).
    #[inline]
    #[must_use]
    pub fn report(&self, cpu: CpuId) -> bool {
        self.cpus.clear(cpu.index(), Ordering::Acquire)
            && self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Who has not reported, a moment ago: for diagnosis.
    pub fn cpus_racy(&self) -> CpuMask {
        CpuMask::from_bits(self.cpus.snapshot(Ordering::Relaxed))
    }
}

impl Default for Pending {
    fn default() -> Self {
        Self::new()
    }
}
