//! The counter that the CPUs of a batch count down, each when it has walked its steps: control
//! is woken once, not once for each CPU.
//!
//! # Invariants
//! - **counted-once**: each CPU of the batch counts once, so exactly one of them is the last.
//! - **last-sees-all**: the last CPU, and control after it, see all that each CPU did before it
//!   counted.
//!
//! # Memory ordering
//! A count is AcqRel. Its Release pairs with the Acquire of every later count: those continue
//! its release sequence, as read-modify-writes of one word. The last CPU wakes control through
//! a lock, which carries on what it has seen. Control begins a batch while no CPU counts, and
//! orders that by what it posts to the CPUs.
//!
//! `tests/loom_countdown.rs` model-checks this file.

use crate::sync::atomic::{AtomicU32, Ordering};

/// How many CPUs of a batch have not counted yet.
#[derive(Debug)]
pub struct Countdown(AtomicU32);

impl Countdown {
    /// Returns a counter with no batch under way.
    pub fn new() -> Countdown {
        Countdown(AtomicU32::new(0))
    }

    /// Begins a batch of `cpus` CPUs.
    ///
    /// # Context
    /// Control, before it posts to the first of them.
    ///
    /// # Panics
    /// If a batch is under way.
    pub fn begin(&self, cpus: u32) {
        // Relaxed: what control posts to the CPUs orders it.
        let left = self.0.swap(cpus, Ordering::Relaxed);
        assert!(left == 0, "BUG: {left} CPUs still walk for another batch");
    }

    /// Counts the calling CPU; returns whether it is the last (counted-once).
    ///
    /// # Panics
    /// If more CPUs count than control has begun with.
    pub fn count(&self) -> bool {
        let left = self.0.fetch_sub(1, Ordering::AcqRel);
        assert!(left > 0, "BUG: a CPU counts for no batch");
        left == 1
    }
}

impl Default for Countdown {
    fn default() -> Self {
        Self::new()
    }
}
