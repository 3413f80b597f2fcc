//! Where a thread may run, and whether it stays on its CPU for now.
//!
//! A thread whose CPUs have all gone may run anywhere. Its affinity remembers the CPUs until it
//! gets others, or until that is forgotten: see `give_back`.
//!
//! ```text
//!   the thread, on its CPU                `set_affinity`
//!   ──────────────────────                ──────────────
//!   the last pin is off                   cpus = the new ones
//!   fence(SeqCst)       evict-or-leave    fence(SeqCst)
//!   may it be here?                       is it pinned?
//!     no: it evicts itself                  no: evicts the thread
//! ```
//!
//! # Invariants
//! - **evict-or-leave**: a thread on a CPU that it may no longer use leaves it. Either
//!   `set_affinity` reads a pin count of 0 and evicts the thread, or `unpin` reads the
//!   new CPUs and the thread evicts itself. Both may happen: the second eviction finds
//!   nothing to do. Both fences are needed (store buffering).
//! - **only-owner-pins**: only the running thread itself pins and unpins itself. Its
//!   CPUs are changed under its run-queue lock. So a holder of that lock knows both
//!   while the thread doesn't run.
//!
//! `tests/loom_affinity.rs` model-checks this file.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask};
use crate::sync::AtomicBits;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

/// What a thread must do after it has dropped a pin.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpinned {
    /// Stay: it holds another pin.
    NotYet,
    /// Nothing: it may stay.
    MayStay,
    /// Leave: it may no longer run on this CPU.
    MustGo,
}

/// The CPUs on which a thread may run, and its pins.
#[derive(Debug)]
pub struct Affinity {
    /// The CPUs on which the thread may run. Relaxed (evict-or-leave, only-owner-pins);
    /// a reader without the lock gets a hint.
    cpus: AtomicBits,
    /// Whether there is more than one CPU in `cpus`. Relaxed: as `cpus`.
    has_choice: AtomicBool,
    /// The CPUs that the thread has lost. Relaxed: read and written under the thread's
    /// run-queue lock.
    lost: AtomicBits,
    /// Whether `lost` counts. Relaxed: set under the thread's run-queue lock, and read under it
    /// again by a reader that rests on it.
    has_lost: AtomicBool,
    /// Number of pins that the thread holds. Relaxed (evict-or-leave, only-owner-pins).
    pins: AtomicU32,
}

impl Affinity {
    /// Returns the affinity of a thread that may run on `cpus` and isn't pinned.
    pub fn new(cpus: &CpuMask) -> Affinity {
        let affinity = Affinity {
            cpus: AtomicBits::new(),
            has_choice: AtomicBool::new(false),
            lost: AtomicBits::new(),
            has_lost: AtomicBool::new(false),
            pins: AtomicU32::new(0),
        };
        affinity.set(cpus);
        affinity
    }

    /// Returns the CPUs on which the thread may run.
    pub fn cpus(&self) -> CpuMask {
        CpuMask::from_bits(self.cpus.snapshot(Ordering::Relaxed))
    }

    /// Returns whether the thread may run on `cpu`.
    #[inline]
    pub fn allows(&self, cpu: CpuId) -> bool {
        self.cpus.get(cpu.index(), Ordering::Relaxed)
    }

    /// Returns word `word` of the CPUs on which the thread may run.
    #[inline]
    pub fn word(&self, word: usize) -> u64 {
        self.cpus.word(word, Ordering::Relaxed)
    }

    /// Returns whether the thread may run on more than one CPU, pins aside.
    #[inline]
    pub fn has_choice(&self) -> bool {
        self.has_choice.load(Ordering::Relaxed)
    }

    /// Returns whether the thread is pinned to its CPU.
    #[inline]
    pub fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Relaxed) != 0
    }

    /// Pins the thread to its CPU until [`Affinity::unpin`]. Returns whether this is
    /// its first pin.
    ///
    /// # Context
    /// The thread itself.
    #[inline]
    pub fn pin(&self) -> bool {
        let pins = self.pins.load(Ordering::Relaxed);
        self.pins.store(pins + 1, Ordering::Relaxed);
        pins == 0
    }

    /// Drops one pin. Returns what the thread must do then.
    ///
    /// # Context
    /// The thread itself, on `cpu`, preemption off.
    ///
    /// # Panics
    /// If the thread holds no pin.
    #[inline]
    pub fn unpin(&self, cpu: CpuId) -> Unpinned {
        let pins = self.pins.load(Ordering::Relaxed);
        assert!(pins > 0, "BUG: a thread is unpinned more often than pinned");
        self.pins.store(pins - 1, Ordering::Relaxed);
        if pins > 1 {
            return Unpinned::NotYet;
        }
        fence(Ordering::SeqCst); // The thread's half (evict-or-leave).
        if self.allows(cpu) {
            Unpinned::MayStay
        } else {
            Unpinned::MustGo
        }
    }

    /// Lets the thread run on `cpus` only.
    ///
    /// # Context
    /// The thread doesn't run: the CPU that will run it reads the new mask.
    pub fn set(&self, cpus: &CpuMask) {
        self.forget_lost();
        self.cpus.store(cpus.bits(), Ordering::Relaxed);
        self.has_choice.store(cpus.count() > 1, Ordering::Relaxed);
    }

    /// Lets the thread, whose CPUs have all gone, run on `cpus`, and remembers those that it has
    /// lost.
    ///
    /// # Context
    /// As [`Affinity::set`], under the thread's run-queue lock.
    pub fn lose(&self, cpus: &CpuMask) {
        let lost = self.cpus();
        self.set(cpus);
        self.lost.store(lost.bits(), Ordering::Relaxed);
        self.has_lost.store(true, Ordering::Relaxed);
    }

    /// Returns the CPUs that the thread has lost, if it has, and has got no others since.
    pub fn lost(&self) -> Option<CpuMask> {
        let has_lost = self.has_lost.load(Ordering::Relaxed);
        has_lost.then(|| CpuMask::from_bits(self.lost.snapshot(Ordering::Relaxed)))
    }

    /// Forgets which CPUs the thread has lost.
    pub fn forget_lost(&self) {
        self.has_lost.store(false, Ordering::Relaxed);
    }

    /// Does as [`Affinity::set`] for a thread that may be running or queued on `cpu`.
    /// Returns whether the caller has to move the thread off `cpu`.
    #[must_use]
    pub fn change(&self, cpus: &CpuMask, cpu: CpuId) -> bool {
        self.set(cpus);
        fence(Ordering::SeqCst); // The other's half (evict-or-leave).
        !cpus.contains(cpu) && !self.is_pinned()
    }
}
