//! Where a thread may run, and whether it stays on its CPU for now.
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
//! - **evict-or-leave**: a thread on a CPU that it may no longer use goes. Either
//!   `set_affinity` reads no pin and evicts the thread, or `unpin` reads the new CPUs
//!   and the thread evicts itself. Both may happen: the second eviction finds nothing
//!   to do. Both fences are needed (store buffering).
//! - **only-owner-pins**: only the running thread itself pins and unpins it; its CPUs
//!   are changed under its run-queue lock. So a holder of that lock knows both while
//!   the thread doesn't run.
//!
//! `tests/loom_affinity.rs` model-checks this file.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask};
use crate::sync::AtomicBits;
use crate::sync::atomic::{AtomicU32, Ordering, fence};

/// What a thread does whose pin was taken off.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpinned {
    /// Another pin keeps it.
    NotYet,
    /// It may stay.
    MayStay,
    /// It may not be here: it goes elsewhere.
    MustGo,
}

/// The CPUs of a thread, and its pins.
#[derive(Debug)]
pub struct Affinity {
    /// Relaxed (evict-or-leave, only-owner-pins); a reader without the lock gets a hint.
    cpus: AtomicBits,
    /// How often it has asked to stay. Relaxed (evict-or-leave, only-owner-pins).
    pins: AtomicU32,
}

impl Affinity {
    /// Of a thread that may run on `cpus`, and isn't pinned.
    pub fn new(cpus: &CpuMask) -> Affinity {
        let affinity = Affinity {
            cpus: AtomicBits::new(),
            pins: AtomicU32::new(0),
        };
        affinity.set(cpus);
        affinity
    }

    /// Where it may run.
    pub fn cpus(&self) -> CpuMask {
        CpuMask::from_bits(self.cpus.snapshot(Ordering::Relaxed))
    }

    /// Whether it may run on `cpu`.
    #[inline]
    pub fn allows(&self, cpu: CpuId) -> bool {
        self.cpus.get(cpu.index(), Ordering::Relaxed)
    }

    /// Whether it stays on its CPU for now.
    #[inline]
    pub fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Relaxed) != 0
    }

    /// Keeps it on its CPU until [`Affinity::unpin`]; returns whether this is the first
    /// pin. By the thread itself.
    #[inline]
    pub fn pin(&self) -> bool {
        let pins = self.pins.load(Ordering::Relaxed);
        self.pins.store(pins + 1, Ordering::Relaxed);
        pins == 0
    }

    /// Takes a pin off it. By the thread itself, on `cpu`, preemption off.
    ///
    /// # Panics
    /// If there is none.
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

    /// Lets it run on `cpus` and on no others. While it doesn't run: who lets it run
    /// looks.
    pub fn set(&self, cpus: &CpuMask) {
        self.cpus.store(cpus.bits(), Ordering::Relaxed);
    }

    /// As [`Affinity::set`], while it may run or be queued on `cpu`; returns whether the
    /// caller has to make it go from there.
    #[must_use]
    pub fn change(&self, cpus: &CpuMask, cpu: CpuId) -> bool {
        self.set(cpus);
        fence(Ordering::SeqCst); // The other's half (evict-or-leave).
        !cpus.contains(cpu) && !self.is_pinned()
    }
}
